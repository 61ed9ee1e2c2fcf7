#include "kmip/server/scripted_faults.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/random/random.h"

namespace keysphere::kmip::server {
namespace {

class ScriptedFaultsTest : public ::testing::Test {
 protected:
  void Set(ScriptedFaults::Script script) { faults_.Set(std::move(script)); }

  random::SeededRandom random_{7};
  int deaths_ = 0;
  ScriptedFaults faults_{&random_, [this] { ++deaths_; }};
};

TEST_F(ScriptedFaultsTest, TheNthRequestFailsAndNoOther) {
  ScriptedFaults::Script script;
  script.fail_request = 2;
  Set(script);
  EXPECT_FALSE(faults_.OnMessage().fail);
  EXPECT_TRUE(faults_.OnMessage().fail);
  EXPECT_FALSE(faults_.OnMessage().fail);
}

TEST_F(ScriptedFaultsTest, LatencyLiesBetweenItsBounds) {
  ScriptedFaults::Script script;
  script.latency = absl::Milliseconds(100);
  script.jitter = absl::Milliseconds(50);
  Set(script);
  for (int i = 0; i < 50; ++i) {
    const absl::Duration delay = faults_.OnMessage().delay;
    EXPECT_GE(delay, absl::Milliseconds(100));
    EXPECT_LE(delay, absl::Milliseconds(150));
  }
  script.hang = true;
  Set(script);
  EXPECT_EQ(faults_.OnMessage().delay, absl::InfiniteDuration());
}

TEST_F(ScriptedFaultsTest, ItDiesOnceAfterACreate) {
  faults_.OnCreated();
  EXPECT_EQ(deaths_, 0);
  ScriptedFaults::Script script;
  script.die_after_create = true;
  Set(script);
  faults_.OnCreated();
  faults_.OnCreated();
  EXPECT_EQ(deaths_, 1);
}

}  // namespace
}  // namespace keysphere::kmip::server
