#include "services/simulator/failure.h"

#include <string>

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(FailureTest, ALineCarriesAllThatTheErrorSays) {
  const absl::Status failure =
      status::Error(v1::REASON_INVALID_STATE, "the folder \"/a b\"\nis not empty")
          .Object("folder", "/a b")
          .NextStep("Name another one.")
          .Other(v1::REASON_TOO_LARGE)
          .With("key", "value");
  const std::string line = FailedLine(failure);
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  const absl::Status read = ParseFailedLine(line);
  EXPECT_EQ(read, failure) << read;
  EXPECT_EQ(status::DetailOf(read).SerializeAsString(),
            status::DetailOf(failure).SerializeAsString());
}

TEST(FailureTest, OtherLinesAreNone) {
  EXPECT_THAT(ParseFailedLine("READY {}"), IsOk());
  EXPECT_THAT(ParseFailedLine(""), IsOk());
  EXPECT_THAT(ParseFailedLine("FAILED {"), HasReason(v1::REASON_INTERNAL));
  EXPECT_THAT(ParseFailedLine("FAILED {}"), HasReason(v1::REASON_INTERNAL));
}

}  // namespace
}  // namespace keysphere::simulator
