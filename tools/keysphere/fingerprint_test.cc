#include "tools/keysphere/fingerprint.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_repeat.h"
#include "gtest/gtest.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

TEST(FingerprintTest, EitherCaseWithAndWithoutColonsIsTheSame) {
  const std::string plain = absl::StrCat("0a", absl::StrRepeat("bc", 31));
  for (const std::string& text : {plain, absl::StrCat("0A", absl::StrRepeat("BC", 31)),
                                  absl::StrCat("0A", absl::StrRepeat(":BC", 31)),
                                  absl::StrCat("0a", absl::StrRepeat(":bc", 31))}) {
    const auto parsed = ParseFingerprint(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, plain);
  }
}

TEST(FingerprintTest, WhatIsNoSha256IsAUsageError) {
  for (const std::string& text :
       {std::string(), std::string("abc"), absl::StrRepeat("ab", 20), absl::StrRepeat("ab", 33),
        absl::StrRepeat("xy", 32), absl::StrCat("0a", absl::StrRepeat("-bc", 31)),
        absl::StrCat("0a", absl::StrRepeat(":bc", 30)),
        absl::StrCat("sha256:", absl::StrRepeat("a", 57)), absl::StrRepeat("a:b", 31) + "ab"}) {
    EXPECT_TRUE(IsUsageError(ParseFingerprint(text).status())) << text;
  }
}

}  // namespace
}  // namespace keysphere::cli
