#include "common/crypto/key_wrap.h"

#include <string>
#include <vector>

#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::HasReason;
using testing::CountingKey;
using testing::HexOf;
using testing::KeyFromHex;
using testing::ToHex;

struct Vector {
  const char* kek;
  const char* key;
  const char* wrapped;
};

// The first five: NIST CAVS 17.4, KWP-AE with AES-256. The others: computed with another library.
constexpr Vector kVectors[] = {
    {"397989e9208a7f0133eab2f8c9a5ec231eb3f771ec409a6c43c75b8ff39b489c", "ea",
     "6c0bf17e7c72f5b3a95988c20da4a776"},
    {"4c4d5694f818e9bc781afc8dbd80205fecbfda3395511def73738f2828515c4e", "76",
     "171ffd3852ef6291aa9aa4664e068bea"},
    {"f5a3f19df4bca6d8b9736a410053e8fdde705237c882df80e6d836fa9b5eb316", "9dba964ee6cbe6dad4",
     "708ca1a77dcb2f1fd61ff6a8b7c3be265fc624d18a78b8e3"},
    {"fb4f5463d70755bcb05a2e1748b662430733c02493571bd7dc0ad578166db463", "ff956ba8552e5840da",
     "0bab1a673e49d92f6f28d45eb9accee30a9b59d5a27ce20f"},
    {"790d4eee68e1c714db398e080072083838ffd8724ee490a66f7ca38f3e51b8d4", "7bce061c0794a6950d",
     "8b5bd6f81d5ece6ad03ce2ec577b24d987c67c9391c20285"},
    {"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "086e3aeda49a83d0a40b27c21b4263a8a19aecb44f9877bd9d7e67622ff218c6f73a156c8aa302a9"},
    {"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
     "000102030405060708090a0b0c0d0e0f10111213",
     "7c57e838675f51ce97ec077d85cb19a565eb980130bd5c33652a5f7a59156123"},
    {"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f", "00010203040506",
     "a67401866e1c378f80f64fe245ad58db"},
};

TEST(KeyWrapTest, S137_FixedVectors) {
  for (const Vector& v : kVectors) {
    const SecretKey kek = KeyFromHex(v.kek);
    EXPECT_EQ(ToHex(WrapKey(kek, KeyFromHex(v.key)).value()), v.wrapped);
    EXPECT_EQ(HexOf(UnwrapKey(kek, testing::FromHex(v.wrapped)).value()), v.key);
  }
}

TEST(KeyWrapTest, EverySizeComesBack) {
  const SecretKey kek = CountingKey(32);
  for (size_t size = 1; size <= 80; ++size) {
    const SecretKey key = SecretKey::Random(size).value();
    EXPECT_TRUE(UnwrapKey(kek, WrapKey(kek, key).value()).value().Equals(key)) << size;
  }
  const SecretKey largest = SecretKey::Random(4088).value();
  EXPECT_TRUE(UnwrapKey(kek, WrapKey(kek, largest).value()).value().Equals(largest));
}

TEST(KeyWrapTest, AnotherKekDoesNotUnwrap) {
  const std::string wrapped = WrapKey(CountingKey(32), CountingKey(0)).value();
  EXPECT_THAT(UnwrapKey(CountingKey(33), wrapped), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

// OpenSSL wipes more than it writes where a key does not unwrap.
TEST(KeyWrapTest, AFailureLeavesOtherKeysAlone) {
  const SecretKey right = CountingKey(32);
  const SecretKey wrong = CountingKey(33);
  const std::string wrapped = WrapKey(right, CountingKey(0)).value();
  for (const size_t size : {size_t{32}, size_t{64}}) {
    std::vector<SecretKey> keys;
    for (uint8_t i = 0; i < 64; ++i) keys.push_back(CountingKey(i, size));
    for (size_t i = 0; i < keys.size(); i += 2) keys[i] = SecretKey();  // room between the others
    EXPECT_THAT(UnwrapKey(wrong, wrapped), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
    for (uint8_t i = 1; i < 64; i += 2) {
      EXPECT_TRUE(keys[i].Equals(CountingKey(i, size))) << int{i};
    }
  }
}

TEST(KeyWrapTest, EveryFlippedBitIsFound) {
  const std::string wrapped = WrapKey(CountingKey(32), CountingKey(0)).value();
  for (size_t bit = 0; bit < wrapped.size() * 8; ++bit) {
    std::string damaged = wrapped;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THAT(UnwrapKey(CountingKey(32), damaged), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

TEST(KeyWrapTest, OtherSizesAreCorrupt) {
  const std::string wrapped = WrapKey(CountingKey(32), CountingKey(0)).value();
  for (size_t size = 0; size < wrapped.size(); ++size) {
    EXPECT_THAT(UnwrapKey(CountingKey(32), wrapped.substr(0, size)),
                HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
  EXPECT_THAT(UnwrapKey(CountingKey(32), std::string(8192, 'x')),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(KeyWrapTest, S37_OnlyKeksOf256Bits) {
  EXPECT_THAT(WrapKey(CountingKey(0, 16), CountingKey(0)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(UnwrapKey(CountingKey(0, 16), std::string(40, 'x')),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(WrapKey(CountingKey(0), SecretKey()), HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::crypto
