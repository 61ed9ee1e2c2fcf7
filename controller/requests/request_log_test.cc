#include "controller/requests/request_log.h"

#include <gtest/gtest.h>

#include "common/executor/simulated_executor.h"
#include "common/status/matchers.h"
#include "common/store/memory_store.h"
#include "keysphere/v1/inventory.pb.h"
#include "keysphere/v1/key_providers.pb.h"

namespace keysphere::controller::requests {
namespace {

class RequestLogTest : public ::testing::Test {
 protected:
  RequestLogTest() { Load(); }

  void Load() {
    auto loaded = RequestLog::Load(&store_, &strand_, &executor_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    log_ = *std::move(loaded);
  }

  // Creates a "cluster" whose only member is the number of runs so far.
  absl::StatusOr<v1::Cluster> Create(const std::string& name, const std::string& id,
                                     const std::string& user = "ann") {
    v1::CreateClusterRequest request;
    request.set_name(name);
    request.set_request_id(id);
    absl::StatusOr<v1::Cluster> result = absl::UnknownError("not called");
    log_->Run<v1::CreateClusterRequest, v1::Cluster>(
        {user, ""}, "/keysphere.v1.Clusters/CreateCluster", request,
        [&](absl::StatusOr<v1::Cluster> r) { result = std::move(r); },
        [&](status::Callback<v1::Cluster> done) {
          ++runs_;
          if (!failure_.ok()) return done(failure_);
          v1::Cluster cluster;
          cluster.set_name(std::to_string(runs_));
          done(std::move(cluster));
        });
    executor_.RunUntilIdle();
    return result;
  }

  executor::SimulatedExecutor executor_{1, absl::FromUnixSeconds(1'700'000'000)};
  store::MemoryStore store_{&executor_};
  executor::Strand strand_{&executor_};
  std::unique_ptr<RequestLog> log_;
  int runs_ = 0;
  absl::Status failure_;
};

TEST_F(RequestLogTest, TheSameRequestRunsOnceAndAnswersAlike) {
  EXPECT_EQ(Create("c", "r1")->name(), "1");
  EXPECT_EQ(Create("c", "r1")->name(), "1");
  EXPECT_EQ(runs_, 1);
  Load();
  EXPECT_EQ(Create("c", "r1")->name(), "1") << "over a restart too";
}

TEST_F(RequestLogTest, WithoutAnIdEachRuns) {
  EXPECT_EQ(Create("c", "")->name(), "1");
  EXPECT_EQ(Create("c", "")->name(), "2");
}

TEST_F(RequestLogTest, AnotherPayloadIsRefusedAnotherUserIsNot) {
  ASSERT_TRUE(Create("c", "r1").ok());
  EXPECT_EQ(status::ReasonOf(Create("d", "r1").status()), v1::REASON_REQUEST_ID_REUSED);
  EXPECT_EQ(Create("d", "r1", "bob")->name(), "2");
}

TEST_F(RequestLogTest, ARefusalIsNotKept) {
  failure_ = absl::UnavailableError("later");
  EXPECT_FALSE(Create("c", "r1").ok());
  failure_ = absl::OkStatus();
  EXPECT_EQ(Create("c", "r1")->name(), "2");
}

TEST_F(RequestLogTest, KeptForADay) {
  ASSERT_TRUE(Create("c", "r1").ok());
  executor_.AdvanceBy(absl::Hours(23));
  EXPECT_EQ(Create("c", "r1")->name(), "1");
  executor_.AdvanceBy(absl::Hours(2));
  EXPECT_EQ(Create("d", "r1")->name(), "2");
}

TEST_F(RequestLogTest, TooLongAnIdIsRefused) {
  EXPECT_EQ(status::ReasonOf(Create("c", std::string(65, 'x')).status()),
            v1::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(runs_, 0);
}

TEST_F(RequestLogTest, S146_ARequestWithASecretLeavesNothingInTheStore) {
  v1::ExportKeyProviderRequest request;
  request.set_name("nkp");
  request.set_password("hunter2");
  request.set_request_id("r1");
  int runs = 0;
  for (int i = 0; i < 2; ++i) {
    log_->Run<v1::ExportKeyProviderRequest, v1::ExportKeyProviderResponse>(
        {"ann", ""}, "m", request, [](absl::StatusOr<v1::ExportKeyProviderResponse>) {},
        [&](status::Callback<v1::ExportKeyProviderResponse> done) {
          ++runs;
          done(v1::ExportKeyProviderResponse());
        });
    executor_.RunUntilIdle();
  }
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(store_.Range("", "", 10)->empty());
}

TEST_F(RequestLogTest, WhoAsksWhileItRunsGetsTheSameAnswer) {
  v1::CreateClusterRequest request;
  request.set_request_id("r1");
  status::Callback<v1::Cluster> finish;
  int answers = 0;
  for (int i = 0; i < 2; ++i) {
    log_->Run<v1::CreateClusterRequest, v1::Cluster>(
        {"ann", ""}, "m", request,
        [&](absl::StatusOr<v1::Cluster> r) { answers += r.ok() ? 1 : 0; },
        [&](status::Callback<v1::Cluster> done) { finish = std::move(done); });
  }
  finish(v1::Cluster());
  executor_.RunUntilIdle();
  EXPECT_EQ(answers, 2);
}

}  // namespace
}  // namespace keysphere::controller::requests
