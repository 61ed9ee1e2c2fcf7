#include "common/status/detail.h"

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::status {
namespace {

TEST(DetailTest, AnErrorIsMadeAgainFromItsParts) {
  const absl::Status error = Error(v1::REASON_NOT_FOUND, "it is not there")
                                 .Object("vm", "a/b")
                                 .NextStep("Look elsewhere.")
                                 .Other(v1::REASON_TOO_LARGE)
                                 .With("key", "value");
  EXPECT_EQ(FromDetail(error.message(), DetailOf(error)), error);
}

TEST(DetailTest, WithoutAReasonItIsInternal) {
  EXPECT_THAT(FromDetail("why", ErrorDetail()), HasReason(v1::REASON_INTERNAL));
}

}  // namespace
}  // namespace keysphere::status
