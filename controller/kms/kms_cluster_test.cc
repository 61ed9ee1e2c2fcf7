#include "controller/kms/kms_cluster.h"

#include "common/executor/simulated_executor.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kmip/client/fake_key_server.h"

namespace keysphere::controller::kms {
namespace {

using kmip::client::FakeKeys;
using kmip::client::FakeKeyServer;
using kmip::client::KeyServer;
using status::HasReason;
using status::IsOk;
using ::testing::SizeIs;

// Nodes made with the cluster, which owns them.
class Nodes : public KeyServerFactory {
 public:
  explicit Nodes(executor::SimulatedExecutor* executor)
      : executor_(executor), random_(7), keys(&random_) {}
  absl::StatusOr<std::unique_ptr<KeyServer>> Connect(const KmsConfig&,
                                                     const v1::KmsServer&) override {
    auto node = std::make_unique<FakeKeyServer>(&keys, executor_, executor_);
    made.push_back(node.get());
    return std::unique_ptr<KeyServer>(std::move(node));
  }

 private:
  executor::SimulatedExecutor* const executor_;
  random::SeededRandom random_;

 public:
  FakeKeys keys;
  std::vector<FakeKeyServer*> made;
};

class KmsClusterTest : public ::testing::Test {
 protected:
  KmsClusterTest()
      : executor_(1, absl::FromUnixSeconds(1'700'000'000)),
        strand_(&executor_),
        nodes_(&executor_) {
    KmsConfig config;
    config.provider = "skp";
    for (const char* name : {"n1", "n2", "n3"}) {
      config.servers.emplace_back().set_name(name);
      config.servers.back().set_address(name);
    }
    cluster_ = std::make_shared<KmsCluster>(
        KmsCluster::Deps{&strand_, &executor_, &nodes_, "8.0.3"}, std::move(config), 1);
  }

  absl::StatusOr<std::string> Create() {
    absl::optional<absl::StatusOr<std::string>> made;
    strand_.Post([&] { cluster_->Create([&](absl::StatusOr<std::string> id) { made = id; }); });
    executor_.RunUntil([&] { return made.has_value(); }, absl::Minutes(2));
    return *made;
  }
  KmsCluster::Fetched Fetch(const std::vector<std::string>& ids) {
    absl::optional<KmsCluster::Fetched> fetched;
    strand_.Post([&] {
      cluster_->Fetch(ids, [&](KmsCluster::Fetched keys) { fetched = std::move(keys); });
    });
    executor_.RunUntil([&] { return fetched.has_value(); }, absl::Minutes(2));
    return *std::move(fetched);
  }
  int Calls(const std::string& operation) {
    int sum = 0;
    for (FakeKeyServer* node : nodes_.made) sum += node->calls()[operation];
    return sum;
  }

  executor::SimulatedExecutor executor_;
  executor::Strand strand_;
  Nodes nodes_;
  std::shared_ptr<KmsCluster> cluster_;
};

TEST_F(KmsClusterTest, AKeyUnderWayIsAskedOnceForAllWhoWant) {
  const std::string id = *Create();
  int answered = 0;
  strand_.Post([&] {
    for (int i = 0; i < 10; ++i) {
      cluster_->Fetch({id}, [&](KmsCluster::Fetched keys) {
        EXPECT_THAT(keys[0], IsOk());
        ++answered;
      });
    }
  });
  executor_.RunUntilIdle();
  EXPECT_EQ(answered, 10);
  EXPECT_EQ(Calls("Get"), 1);
}

TEST_F(KmsClusterTest, S63_AThousandKeysComeInTheTimeOfAFewRequests) {
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(*nodes_.keys.Create());
  for (FakeKeyServer* node : nodes_.made) node->set_latency(absl::Milliseconds(100));
  const absl::Time before = executor_.Now();
  const KmsCluster::Fetched keys = Fetch(ids);
  ASSERT_THAT(keys, SizeIs(1000));
  for (const auto& key : keys) ASSERT_THAT(key, IsOk());
  EXPECT_LE(executor_.Now() - before, absl::Milliseconds(500));
}

TEST_F(KmsClusterTest, AKeyThatTheKmsLacksIsToldApartFromTheOthers) {
  const std::string id = *Create();
  const KmsCluster::Fetched keys = Fetch({"nonsense", id});
  EXPECT_THAT(keys[0], HasReason(v1::REASON_KEY_MISSING_ON_KMS));
  EXPECT_THAT(keys[1], IsOk());
  EXPECT_TRUE(cluster_->Lacks("nonsense"));
  EXPECT_FALSE(cluster_->Lacks(id));
  EXPECT_TRUE(cluster_->reachable());
}

TEST_F(KmsClusterTest, S60_ANodeThatFailedIsTriedLastUntilACheckFindsItWell) {
  nodes_.made[0]->set_mode(FakeKeyServer::Mode::kHang);
  for (int i = 0; i < 6; ++i) ASSERT_THAT(Create(), IsOk());
  nodes_.made[0]->set_mode(FakeKeyServer::Mode::kUp);
  for (int i = 0; i < 6; ++i) ASSERT_THAT(Create(), IsOk());
  EXPECT_EQ(nodes_.made[0]->calls()["Create"], 0);
  bool checked = false;
  strand_.Post([&] { cluster_->Check(absl::Hours(24), [&] { checked = true; }); });
  executor_.RunUntilIdle();
  ASSERT_TRUE(checked);
  for (int i = 0; i < 6; ++i) ASSERT_THAT(Create(), IsOk());
  EXPECT_EQ(nodes_.made[0]->calls()["Create"], 2);
}

TEST_F(KmsClusterTest, AllNodesHangingEndsWithinTheOperationsTime) {
  for (FakeKeyServer* node : nodes_.made) node->set_mode(FakeKeyServer::Mode::kHang);
  const absl::Time before = executor_.Now();
  EXPECT_THAT(Create(), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_LE(executor_.Now() - before, KmsCluster::kOperationTimeout);
  EXPECT_FALSE(cluster_->reachable());
  EXPECT_EQ(cluster_->unanswered_creates(), 3);
}

TEST_F(KmsClusterTest, AServersNameIsSaidOnce) {
  for (FakeKeyServer* node : nodes_.made) {
    node->FailNext(status::Error(v1::REASON_KMS_UNREACHABLE, "it is off"));
  }
  const absl::Status refused = Create().status();
  EXPECT_THAT(refused, HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("used: n1: it is off; n2: it is off; n3: it is off"));
  EXPECT_EQ(cluster_->status_reason(), "n1: it is off; n2: it is off; n3: it is off");
}

// A server that does not take our certificate cannot be used; one that refuses what was asked can.
TEST_F(KmsClusterTest, S94_ARefusalOfOurCertificateIsTheServersFailure) {
  const absl::Status refused =
      status::Error(v1::REASON_NO_PERMISSION, "the peer refuses our certificate")
          .With("sent", "false");
  nodes_.made[0]->FailNext(refused);
  EXPECT_THAT(Create(), IsOk());
  EXPECT_EQ(cluster_->status(), v1::KMS_STATUS_YELLOW);
  EXPECT_THAT(cluster_->status_reason(), ::testing::HasSubstr("refuses our certificate"));
  EXPECT_EQ(cluster_->unanswered_creates(), 0);
  for (FakeKeyServer* node : nodes_.made) node->FailNext(refused);
  const absl::Status none = Create().status();
  EXPECT_THAT(none, HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(status::DetailOf(none).next_step(), ::testing::HasSubstr("user and password"));
  EXPECT_FALSE(cluster_->reachable());

  for (FakeKeyServer* node : nodes_.made) {
    node->FailNext(status::Error(v1::REASON_NO_PERMISSION, "this client may not create"));
  }
  EXPECT_THAT(Create(), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_TRUE(cluster_->reachable());
}

TEST_F(KmsClusterTest, S60_AServerThatFailsIsPassedOverAndOneThatRefusesIsNot) {
  const auto fail = [](const char* failed) {
    return status::Error(v1::REASON_KMS_REFUSED, "the key server refuses")
        .With("server_failed", failed);
  };
  for (int i = 0; i < 3; ++i) {
    for (size_t failing = 0; failing < nodes_.made.size(); ++failing) {
      nodes_.made[failing]->FailNext(fail("true"));
      EXPECT_THAT(Create(), IsOk());
      EXPECT_THAT(Create(), IsOk());
      EXPECT_THAT(Create(), IsOk());
    }
  }
  EXPECT_EQ(cluster_->unanswered_creates(), 0);
  for (FakeKeyServer* node : nodes_.made) node->FailNext(fail("true"));
  EXPECT_THAT(Create(), HasReason(v1::REASON_KMS_UNREACHABLE));
  for (FakeKeyServer* node : nodes_.made) node->FailNext(fail("false"));
  EXPECT_THAT(Create(), HasReason(v1::REASON_KMS_REFUSED));
}

TEST_F(KmsClusterTest, S60_AServerThatFailsForEachKeyIsPassedOverToo) {
  const std::string id = *Create();
  const absl::Status failed =
      status::Error(v1::REASON_KMS_REFUSED, "General Failure").With("server_failed", "true");
  nodes_.keys.Refuse(id, failed, failed);
  EXPECT_THAT(Fetch({id})[0], HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_FALSE(cluster_->reachable());
  absl::Status states;
  strand_.Post([&] {
    cluster_->GetStates(
        {id}, [&](const absl::StatusOr<KmsCluster::States>& answer) { states = answer.status(); });
  });
  executor_.RunUntilIdle();
  EXPECT_THAT(states, HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(Calls("GetAttributes"), 3);
}

TEST_F(KmsClusterTest, S152_AKeyThatIsKeptFromUsIsNotMissingButADestroyedOneIs) {
  const std::string archived = *Create();
  const std::string destroyed = *Create();
  const std::string refused = *Create();
  nodes_.keys.Refuse(archived, status::Error(v1::REASON_INVALID_STATE, "Object Archived"));
  nodes_.keys.SetState(destroyed, kmip::client::KeyState::kDestroyed);
  nodes_.keys.Refuse(refused, status::Error(v1::REASON_KMS_REFUSED, "Cryptographic Failure"));
  const KmsCluster::Fetched keys = Fetch({archived, destroyed, refused});
  EXPECT_THAT(keys[0], HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(keys[1], HasReason(v1::REASON_KEY_MISSING_ON_KMS));
  EXPECT_THAT(keys[2], HasReason(v1::REASON_KMS_REFUSED));
  EXPECT_FALSE(cluster_->Lacks(archived));
  EXPECT_TRUE(cluster_->Lacks(destroyed));
  EXPECT_FALSE(cluster_->Lacks(refused));
}

TEST_F(KmsClusterTest, S92_GreenIsSaidWhenAllWereAsked) {
  ASSERT_THAT(Create(), IsOk());
  EXPECT_EQ(cluster_->status(), v1::KMS_STATUS_GRAY);
  strand_.Post([&] { cluster_->Check(absl::Hours(24), [] {}); });
  executor_.RunUntilIdle();
  EXPECT_EQ(cluster_->status(), v1::KMS_STATUS_GREEN);
}

TEST_F(KmsClusterTest, S94_TheNextStepForEndedCertificatesIsAboutThem) {
  for (FakeKeyServer* node : nodes_.made) {
    node->FailNext(status::Error(v1::REASON_CERT_EXPIRED, "its certificate ended"));
  }
  EXPECT_THAT(status::DetailOf(Create().status()).next_step(),
              ::testing::HasSubstr("certificates that are valid"));
}

TEST_F(KmsClusterTest, ActivatingAnActiveKeyIsNoError) {
  const std::string id = *Create();
  nodes_.keys.SetState(id, kmip::client::KeyState::kActive);
  absl::Status status = absl::UnknownError("not answered");
  strand_.Post([&] { cluster_->Activate(id, [&](absl::Status done) { status = done; }); });
  executor_.RunUntilIdle();
  EXPECT_THAT(status, IsOk());
  nodes_.keys.SetState(id, kmip::client::KeyState::kDeactivated);
  strand_.Post([&] { cluster_->Activate(id, [&](absl::Status done) { status = done; }); });
  executor_.RunUntilIdle();
  EXPECT_THAT(status, HasReason(v1::REASON_INVALID_STATE));
}

}  // namespace
}  // namespace keysphere::controller::kms
