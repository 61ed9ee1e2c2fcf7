#include "kmip/client/fake_key_server.h"

#include <gtest/gtest.h>

#include "common/executor/simulated_executor.h"
#include "common/status/matchers.h"

namespace keysphere::kmip::client {
namespace {

using status::HasReason;
using status::IsOk;

class FakeKeyServerTest : public ::testing::Test {
 protected:
  // Runs until the answer has come.
  template <typename T, typename Call>
  absl::StatusOr<T> Ask(Call call) {
    absl::optional<absl::StatusOr<T>> answer;
    call([&](absl::StatusOr<T> result) { answer = std::move(result); });
    EXPECT_FALSE(answer.has_value());
    EXPECT_TRUE(executor_.RunUntil([&] { return answer.has_value(); }, absl::Minutes(1)));
    return *std::move(answer);
  }
  absl::StatusOr<std::string> Create(FakeKeyServer* node) {
    return Ask<std::string>(
        [&](auto done) { node->CreateKey(absl::Seconds(10), std::move(done)); });
  }

  executor::SimulatedExecutor executor_{1, absl::FromUnixSeconds(1)};
  random::SeededRandom random_{1};
  FakeKeys keys_{&random_};
  FakeKeyServer a_{&keys_, &executor_, &executor_};
  FakeKeyServer b_{&keys_, &executor_, &executor_};
};

TEST_F(FakeKeyServerTest, NodesShareTheirKeys) {
  const std::string uid = Create(&a_).value();
  const auto keys = Ask<KeyServer::Keys>([&](auto done) {
    b_.GetKeys({uid, "other"}, absl::Seconds(10), std::move(done));
  });
  ASSERT_THAT(keys, IsOk());
  ASSERT_EQ(keys->size(), 2);
  EXPECT_EQ((*keys)[0]->size(), 32);
  EXPECT_THAT((*keys)[1], HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(FakeKeyServerTest, FaultsAndDeadlines) {
  a_.set_mode(FakeKeyServer::Mode::kDown);
  EXPECT_THAT(Create(&a_), HasReason(v1::REASON_KMS_UNREACHABLE));
  a_.set_mode(FakeKeyServer::Mode::kHang);
  const absl::Time before = executor_.Now();
  EXPECT_THAT(Create(&a_), HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_EQ(executor_.Now() - before, absl::Seconds(10));
  EXPECT_EQ(keys_.size(), 0);
  a_.set_mode(FakeKeyServer::Mode::kUp);
  a_.FailNext(absl::UnavailableError("lost"), true);
  EXPECT_FALSE(Create(&a_).ok());
  EXPECT_EQ(keys_.size(), 1);
  a_.set_versions({{1, 2}});
  EXPECT_THAT(Create(&a_), HasReason(v1::REASON_KMS_VERSION_UNSUPPORTED));
}

}  // namespace
}  // namespace keysphere::kmip::client
