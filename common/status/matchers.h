#ifndef KEYSPHERE_COMMON_STATUS_MATCHERS_H_
#define KEYSPHERE_COMMON_STATUS_MATCHERS_H_

#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/status/redact.h"
#include "common/status/status.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"

// Matchers for tests:
//   EXPECT_THAT(Save(), IsOk());
//   EXPECT_THAT(Load(), IsOkAndHolds(Eq(3)));
//   EXPECT_THAT(Load(), HasReason(v1::REASON_NOT_FOUND));
//   EXPECT_THAT(message, EqualsProto(expected));
namespace keysphere::status {

inline const absl::Status& AsStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& AsStatus(const absl::StatusOr<T>& value) {
  return value.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << ToString(AsStatus(arg));
  return AsStatus(arg).ok();
}

MATCHER_P(StatusIs, code, "has the code " + absl::StatusCodeToString(code)) {
  *result_listener << ToString(AsStatus(arg));
  return AsStatus(arg).code() == code;
}

// The reason, and the code that goes with it.
MATCHER_P(HasReason, reason, "has the reason " + v1::Reason_Name(reason)) {
  *result_listener << ToString(AsStatus(arg));
  return !AsStatus(arg).ok() && ReasonOf(AsStatus(arg)) == reason &&
         AsStatus(arg).code() == CodeOf(reason);
}

MATCHER_P(IsOkAndHolds, inner, "is OK and holds a value that matches") {
  if (!arg.ok()) {
    *result_listener << ToString(arg.status());
    return false;
  }
  using Value = std::decay_t<decltype(*arg)>;
  return ::testing::ExplainMatchResult(::testing::SafeMatcherCast<const Value&>(inner), *arg,
                                       result_listener);
}

// The differences are listed without secret values.
MATCHER_P(EqualsProto, expected, "is " + PrintRedacted(expected)) {
  *result_listener << PrintRedacted(arg);
  return ::google::protobuf::util::MessageDifferencer::Equals(arg, expected);
}

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_MATCHERS_H_
