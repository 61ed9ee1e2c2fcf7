#include "common/status/status.h"

#include <string>

#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::status {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusTest, AnErrorCarriesItsReasonObjectAndNextStep) {
  const absl::Status status = Error(v1::REASON_NOT_BACKED_UP, "provider has no backup")
                                  .Object("provider", "nkp-a")
                                  .NextStep("Back it up.")
                                  .With("provider", "nkp-a");

  EXPECT_THAT(status, HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  const ErrorDetail detail = DetailOf(status);
  EXPECT_EQ(detail.object(), "provider/nkp-a");
  EXPECT_EQ(detail.next_step(), "Back it up.");
  EXPECT_EQ(detail.metadata().at("provider"), "nkp-a");
  EXPECT_EQ(ToString(status),
            "NOT_BACKED_UP: provider has no backup (provider/nkp-a; Back it up.)");
}

TEST(StatusTest, EveryReasonHasACode) {
  for (int i = v1::Reason_MIN; i <= v1::Reason_MAX; ++i) {
    if (i == v1::REASON_UNSPECIFIED || !v1::Reason_IsValid(i)) continue;
    EXPECT_NE(CodeOf(static_cast<Reason>(i)), absl::StatusCode::kUnknown)
        << v1::Reason_Name(static_cast<Reason>(i));
  }
}

TEST(StatusTest, AStatusWithoutADetailHasTheReasonOfItsCode) {
  EXPECT_EQ(ReasonOf(absl::NotFoundError("x")), v1::REASON_NOT_FOUND);
  EXPECT_EQ(ReasonOf(absl::UnavailableError("x")), v1::REASON_UNREACHABLE);
  EXPECT_EQ(ReasonOf(absl::UnknownError("x")), v1::REASON_INTERNAL);
  EXPECT_EQ(ReasonOf(absl::OkStatus()), v1::REASON_UNSPECIFIED);
}

TEST(StatusTest, S154_TheFirstCauseIsTheReasonAndTheOthersAreInTheDetail) {
  // Given refusals in another order than S154's, one of them with causes of its own.
  const absl::Status first = First({
      Error(v1::REASON_KMS_UNREACHABLE, "kms"),
      absl::OkStatus(),
      Error(v1::REASON_NOT_FOUND, "outside the order"),
      Error(v1::REASON_VM_LOCKED, "locked").Other(v1::REASON_KEY_MISSING_ON_HOST),
      Error(v1::REASON_NOT_BACKED_UP, "backup").NextStep("Back it up."),
      Error(v1::REASON_VM_LOCKED, "locked again"),
  });

  EXPECT_THAT(first, HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_EQ(first.message(), "backup");
  EXPECT_EQ(DetailOf(first).next_step(), "Back it up.");
  EXPECT_THAT(DetailOf(first).others(),
              ElementsAre(v1::REASON_VM_LOCKED, v1::REASON_KEY_MISSING_ON_HOST,
                          v1::REASON_KMS_UNREACHABLE, v1::REASON_NOT_FOUND));
}

TEST(StatusTest, S154_NothingRefusesWhenAllAreOk) {
  EXPECT_THAT(First({}), IsOk());
  EXPECT_THAT(First({absl::OkStatus(), absl::OkStatus()}), IsOk());
}

TEST(StatusTest, OfTwoCausesOutsideTheOrderTheFormerIsTheReason) {
  EXPECT_THAT(First({Error(v1::REASON_STALE_EPOCH, "a"), Error(v1::REASON_INVALID_NAME, "b")}),
              HasReason(v1::REASON_STALE_EPOCH));
}

TEST(StatusTest, MessageAndDetailStayBelowTwoKiB) {
  ErrorBuilder error(v1::REASON_INVALID_NAME, std::string(100'000, 'm'));
  error.Object("vm", std::string(100'000, 'o')).NextStep(std::string(100'000, 'n'));
  for (int i = 0; i < 100; ++i) error.With("key" + std::to_string(i), std::string(10'000, 'v'));
  for (int i = 1; i < 72; ++i) error.Other(static_cast<Reason>(i));

  const absl::Status status = error;

  EXPECT_LE(status.message().size() + DetailOf(status).ByteSizeLong(), 2048u);
  EXPECT_THAT(status, HasReason(v1::REASON_INVALID_NAME));
  EXPECT_THAT(DetailOf(status).object(), HasSubstr("ooo..."));
}

TEST(StatusTest, TextOfFourByteCharactersStaysBelowTwoKiBToo) {
  std::string keys;
  for (int i = 0; i < 10'000; ++i) keys += "\xf0\x9f\x94\x91";
  ErrorBuilder error(v1::REASON_INVALID_NAME, keys);
  error.Object(keys, keys).NextStep(keys);
  for (int i = 0; i < 16; ++i) error.With(keys + std::to_string(i), keys);

  const absl::Status status = error;

  EXPECT_LE(status.message().size() + DetailOf(status).ByteSizeLong(), 2048u);
}

TEST(StatusTest, QuotedInputHas64CharactersAtMost) {
  EXPECT_EQ(Quote("web-1"), "\"web-1\"");
  EXPECT_EQ(Quote(std::string(64, 'x')), "\"" + std::string(64, 'x') + "\"");
  EXPECT_EQ(Quote(std::string(65, 'x')), "\"" + std::string(61, 'x') + "...\"");
  EXPECT_EQ(Quote("a\n\"b\\\x1b[0m"), R"("a\n\"b\\\x1b[0m")");
}

TEST(StatusTest, QuotedInputIsValidUtf8) {
  EXPECT_EQ(Quote("schl\xc3\xbcssel"), "\"schl\xc3\xbcssel\"");
  EXPECT_EQ(Quote("\xc3"), R"("\xc3")");                  // cut off
  EXPECT_EQ(Quote("\xc0\xaf"), R"("\xc0\xaf")");          // overlong
  EXPECT_EQ(Quote("\xed\xa0\x80"), R"("\xed\xa0\x80")");  // surrogate
  EXPECT_EQ(Quote("a\xe2\x80\xae"
                  "b"),
            R"("a\u202eb")");  // a change of direction
}

TEST(StatusTest, ControlCharactersOfAMessageAreEscaped) {
  const absl::Status status = Error(v1::REASON_NOT_FOUND, "no\x07 vm").Object("vm", "a\nb");
  EXPECT_EQ(status.message(), "no\\x07 vm");
  EXPECT_EQ(DetailOf(status).object(), "vm/a\\nb");
  EXPECT_THAT(ToString(absl::NotFoundError("a\nb")), Not(HasSubstr("\n")));
}

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return Error(v1::REASON_INVALID_ARGUMENT, "odd");
  return value / 2;
}

absl::StatusOr<int> Quarter(int value) {
  KS_ASSIGN_OR_RETURN(const int half, Half(value));
  KS_RETURN_IF_ERROR(Half(half).status());
  return Half(half);
}

TEST(StatusTest, TheMacrosPassErrorsOn) {
  EXPECT_THAT(Quarter(8), IsOkAndHolds(2));
  EXPECT_THAT(Quarter(6), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Quarter(5), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(StatusDeathTest, AFailedCheckNamesItsCondition) {
  EXPECT_DEATH(KS_CHECK(1 + 1 == 3), "check failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace keysphere::status
