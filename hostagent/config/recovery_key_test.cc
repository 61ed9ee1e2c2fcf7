#include "hostagent/config/recovery_key.h"

#include <string>

#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using crypto::testing::BytesOf;
using crypto::testing::CountingKey;
using status::HasReason;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr char kCounting[] =
    "000011-005665-011319-016973-022627-028281-033935-039589-"
    "045243-050897-056551-062205-067859-073513-079167-084821";

TEST(RecoveryKeyTest, FormIsFixed) {
  EXPECT_EQ(BytesOf(FormatRecoveryKey(CountingKey(0)).value()), kCounting);
  EXPECT_TRUE(ParseRecoveryKey(kCounting).value().Equals(CountingKey(0)));
  const std::string largest = BytesOf(FormatRecoveryKey(CountingKey(0xE0)).value());
  EXPECT_THAT(largest, MatchesRegex("([0-9]{6}-){15}[0-9]{6}"));
}

TEST(RecoveryKeyTest, AnyKeyComesBack) {
  for (int i = 0; i < 100; ++i) {
    const SecretKey key = SecretKey::Random(32).value();
    EXPECT_TRUE(ParseRecoveryKey(BytesOf(FormatRecoveryKey(key).value())).value().Equals(key));
  }
}

TEST(RecoveryKeyTest, SpacesAndDashesDoNotMatter) {
  std::string loose;
  for (const char c : std::string(kCounting))
    loose += c == '-' ? std::string(" \n") : std::string(1, c);
  EXPECT_TRUE(ParseRecoveryKey(loose).value().Equals(CountingKey(0)));
}

TEST(RecoveryKeyTest, AWrongDigitIsFoundAndItsGroupNamed) {
  for (size_t i = 0; i < sizeof(kCounting) - 1; ++i) {
    std::string text = kCounting;
    if (text[i] == '-') continue;
    text[i] = text[i] == '9' ? '0' : static_cast<char>(text[i] + 1);
    const auto parsed = ParseRecoveryKey(text);
    ASSERT_THAT(parsed, HasReason(v1::REASON_INVALID_ARGUMENT)) << i;
    EXPECT_THAT(std::string(parsed.status().message()),
                HasSubstr("group " + std::to_string(i / 7 + 1)));
  }
}

TEST(RecoveryKeyTest, MalformedTextIsRefusedAndNotQuoted) {
  const std::string good = kCounting;
  for (const std::string& text :
       {std::string(), std::string("000011"), good + "1", good + "-000011", good.substr(1),
        "x" + good.substr(1), "999999" + good.substr(6), std::string("\0", 1) + good}) {
    const auto parsed = ParseRecoveryKey(text);
    EXPECT_THAT(parsed, HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_THAT(std::string(parsed.status().message()), Not(HasSubstr("005665")));
  }
}

}  // namespace
}  // namespace keysphere::hostagent::config
