#include "common/crypto/aead.h"

#include <set>
#include <string>

#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::HasReason;
using status::IsOkAndHolds;
using testing::CountingKey;
using testing::FromHex;

// Computed with another library.
TEST(AeadTest, S137_FixedVectorOpens) {
  EXPECT_THAT(GcmOpen(CountingKey(0), "aad",
                      FromHex("000102030405060708090a0b"
                              "376eb772abc5b67ef535519ee121298002ed4e265959884c0456")),
              IsOkAndHolds(std::string("plain text")));
}

TEST(AeadTest, WhatWasSealedOpens) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16}, size_t{4096}, size_t{1000003}}) {
    const std::string plaintext(size, 'p');
    const std::string sealed = GcmSeal(CountingKey(0), "aad", plaintext).value();
    EXPECT_EQ(sealed.size(), size + kGcmOverheadBytes);
    EXPECT_TRUE(GcmOpen(CountingKey(0), "aad", sealed).value() == plaintext) << size;
  }
}

TEST(AeadTest, EverySealingHasItsOwnNonce) {
  std::set<std::string> nonces;
  for (int i = 0; i < 1000; ++i) {
    nonces.insert(GcmSeal(CountingKey(0), "", "x").value().substr(0, 12));
  }
  EXPECT_EQ(nonces.size(), 1000u);
}

TEST(AeadTest, AnotherKeyOrContextDoesNotOpen) {
  const std::string sealed = GcmSeal(CountingKey(0), "aad", "plain").value();
  EXPECT_THAT(GcmOpen(CountingKey(1), "aad", sealed), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(GcmOpen(CountingKey(0), "aae", sealed), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(GcmOpen(CountingKey(0), "", sealed), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(AeadTest, EveryFlippedBitAndEveryTruncationIsFound) {
  const std::string sealed = GcmSeal(CountingKey(0), "aad", "plain").value();
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string damaged = sealed;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THAT(GcmOpen(CountingKey(0), "aad", damaged), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_THAT(GcmOpen(CountingKey(0), "aad", sealed.substr(0, size)),
                HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

TEST(AeadTest, SecretsComeBackInKeyMemory) {
  const SecretKey secret = SecretKey::Random(32).value();
  const std::string sealed = GcmSealSecret(CountingKey(0), "aad", secret).value();
  EXPECT_TRUE(GcmOpenSecret(CountingKey(0), "aad", sealed).value().Equals(secret));
  EXPECT_THAT(GcmOpenSecret(CountingKey(1), "aad", sealed),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  const std::string nothing = GcmSealSecret(CountingKey(0), "aad", SecretKey()).value();
  EXPECT_TRUE(GcmOpenSecret(CountingKey(0), "aad", nothing).value().empty());
}

TEST(AeadTest, S37_OnlyKeysOf256Bits) {
  EXPECT_THAT(GcmSeal(CountingKey(0, 16), "", "x"), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(GcmOpen(CountingKey(0, 16), "", std::string(40, 'x')),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::crypto
