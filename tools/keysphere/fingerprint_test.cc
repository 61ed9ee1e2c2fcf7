#include "tools/keysphere/fingerprint.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

std::string Repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(FingerprintTest, EitherCaseWithAndWithoutColonsIsTheSame) {
  const std::string plain = absl::StrCat("0a", Repeated("bc", 31));
  for (const std::string& text :
       {plain, absl::StrCat("0A", Repeated("BC", 31)), absl::StrCat("0A", Repeated(":BC", 31)),
        absl::StrCat("0a", Repeated(":bc", 31))}) {
    const auto parsed = ParseFingerprint(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, plain);
  }
}

TEST(FingerprintTest, WhatIsNoSha256IsAUsageError) {
  for (const std::string& text :
       {std::string(), std::string("abc"), Repeated("ab", 20), Repeated("ab", 33),
        Repeated("xy", 32), absl::StrCat("0a", Repeated("-bc", 31)),
        absl::StrCat("0a", Repeated(":bc", 30)), absl::StrCat("sha256:", Repeated("a", 57)),
        Repeated("a:b", 31) + "ab"}) {
    EXPECT_TRUE(IsUsageError(ParseFingerprint(text).status())) << text;
  }
}

}  // namespace
}  // namespace keysphere::cli
