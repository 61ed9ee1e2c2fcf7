#include "common/files/names.h"

#include <gtest/gtest.h>

#include <set>

#include "common/status/status.h"

namespace keysphere::files {
namespace {

std::string Repeat(absl::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result.append(text.data(), text.size());
  return result;
}

TEST(ValidateNameTest, OneTo80CharactersAreAccepted) {
  EXPECT_TRUE(ValidateName("a").ok());
  EXPECT_TRUE(ValidateName("web 1/../%2e").ok());
  EXPECT_TRUE(ValidateName(Repeat("a", 80)).ok());
  EXPECT_TRUE(ValidateName(Repeat("\xF0\x9F\x98\x80", 80)).ok());  // counted in characters
}

TEST(ValidateNameTest, OthersAreInvalidNames) {
  const absl::string_view nul("a\0b", 3);
  const std::string names[] = {
      "",
      Repeat("a", 81),
      Repeat("\xC3\xA9", 81),
      std::string(nul),
      "a\nb",
      "\x7F",
      "\xC2\x85",          // C1
      "\xFF",              // no first byte
      "\xC3",              // cut
      "\xC0\xAF",          // overlong '/'
      "\xED\xA0\x80",      // surrogate
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xC3(",             // no continuation
      " ",
      " a",
      "a ",
      "\xC2\xA0",       // no-break space
      "a\xE3\x80\x80",  // ideographic space
      "\xE2\x80\x8B"
      "a",  // of no width
  };
  for (const std::string& name : names) {
    EXPECT_EQ(status::ReasonOf(ValidateName(name)), v1::REASON_INVALID_NAME) << status::Quote(name);
  }
}

TEST(PathSafeTest, PlainNamesStayReadable) {
  EXPECT_EQ(PathSafe("web-1_a.b c"), "web-1_a.b c");
  EXPECT_EQ(PathSafe("50%"), "50%25");
}

TEST(PathSafeTest, NothingIsEverAPath) {
  EXPECT_EQ(PathSafe("."), "%2E");
  EXPECT_EQ(PathSafe(".."), "%2E%2E");
  EXPECT_EQ(PathSafe("../etc/passwd"), "%2E.%2Fetc%2Fpasswd");
  EXPECT_EQ(PathSafe("/"), "%2F");
  EXPECT_EQ(PathSafe(".hidden"), "%2Ehidden");
  EXPECT_EQ(PathSafe(absl::string_view("a\0b", 3)), "a%00b");
}

TEST(PathSafeTest, DifferentNamesGiveDifferentShortComponents) {
  const std::string long_a = Repeat("\xF0\x9F\x98\x80", 80);
  std::string long_b = long_a;
  long_b.back() = '\x81';
  const std::string names[] = {
      "", "%", "a%2Fb", "a/b", Repeat("a", 80), long_a, long_b, "%h", " a", "a ", "a", ".a", "a."};
  std::set<std::string> seen;
  for (const std::string& name : names) {
    const std::string safe = PathSafe(name);
    EXPECT_TRUE(seen.insert(safe).second) << safe;
    EXPECT_LE(safe.size(), 255);
    EXPECT_FALSE(safe.empty());
    EXPECT_EQ(safe.find('/'), std::string::npos);
    EXPECT_NE(safe[0], '.');
  }
}

}  // namespace
}  // namespace keysphere::files
