#include "common/rpc/authorizer.h"

#include <gtest/gtest.h>

#include "common/status/matchers.h"

namespace keysphere::rpc {
namespace {

using status::HasReason;
using status::IsOk;

CallInfo CallOf(identity::Kind kind) {
  CallInfo call;
  call.caller = identity::Identity{"lab.example", kind, "someone"};
  return call;
}

TEST(RuleTableTest, S128_AMethodWithoutARuleIsRefused) {
  RuleTable rules;
  rules.Add("/s/Known", RuleTable::Anyone());
  EXPECT_THAT(rules.Authorize(CallOf(identity::Kind::kUser), "/s/Known"), IsOk());
  EXPECT_THAT(rules.Authorize(CallOf(identity::Kind::kController), "/s/Forgotten"),
              HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_TRUE(rules.HasRule("/s/Known"));
  EXPECT_FALSE(rules.HasRule("/s/Forgotten"));
}

TEST(RuleTableTest, S128_KindsAreHeldApart) {
  RuleTable rules;
  rules.Add("/s/M", RuleTable::OnlyKinds({identity::Kind::kController, identity::Kind::kHost}));
  EXPECT_THAT(rules.Authorize(CallOf(identity::Kind::kController), "/s/M"), IsOk());
  EXPECT_THAT(rules.Authorize(CallOf(identity::Kind::kHost), "/s/M"), IsOk());
  EXPECT_THAT(rules.Authorize(CallOf(identity::Kind::kUser), "/s/M"),
              HasReason(v1::REASON_NO_PERMISSION));
}

TEST(RuleTableDeathTest, ASecondRuleIsADefect) {
  RuleTable rules;
  rules.Add("/s/M", RuleTable::Anyone());
  EXPECT_DEATH(rules.Add("/s/M", RuleTable::Anyone()), "");
}

}  // namespace
}  // namespace keysphere::rpc
