#include "common/crypto/mac.h"

#include <string>
#include <vector>

#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::IsOk;
using testing::ToHex;

std::string Mac(absl::string_view key, std::initializer_list<absl::string_view> parts) {
  std::string mac(kMacBytes, '\0');
  EXPECT_THAT(HmacSha256({reinterpret_cast<const uint8_t*>(key.data()), key.size()}, parts,
                         {reinterpret_cast<uint8_t*>(&mac[0]), mac.size()}),
              IsOk());
  return ToHex(mac);
}

// RFC 4231, cases 1, 2, 4 and 6.
TEST(MacTest, FixedVectors) {
  EXPECT_EQ(Mac(std::string(20, '\x0b'), {"Hi There"}),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Mac("Jefe", {"what do ya want for nothing?"}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  std::string counting;
  for (char c = 1; c <= 25; ++c) counting.push_back(c);
  EXPECT_EQ(Mac(counting, {std::string(50, '\xcd')}),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  EXPECT_EQ(
      Mac(std::string(131, '\xaa'), {"Test Using Larger Than Block-Size Key - Hash Key First"}),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(MacTest, PartsAreOneText) {
  EXPECT_EQ(Mac("Jefe", {"what do ya want ", "", "for nothing?"}),
            Mac("Jefe", {"what do ya want for nothing?"}));
}

TEST(MacTest, NoKeyIsZeros) {
  EXPECT_EQ(Mac("", {"text"}), Mac(std::string(32, '\0'), {"text"}));
  EXPECT_EQ(Mac("", {"text"}), Mac(std::string(1, '\0'), {"text"}));
}

TEST(MacTest, TheMacHas32Bytes) {
  std::vector<uint8_t> mac(31);
  EXPECT_FALSE(HmacSha256({}, {"text"}, absl::MakeSpan(mac)).ok());
}

}  // namespace
}  // namespace keysphere::crypto
