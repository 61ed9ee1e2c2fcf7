#include "common/crypto/hpke.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using internal::HpkeAead;
using status::HasReason;
using testing::CountingKey;
using testing::FromHex;
using testing::HexOf;
using testing::KeyFromHex;
using testing::ToHex;

struct Vector {
  HpkeAead aead;
  const char* private_key;
  const char* public_key;
  const char* ephemeral;
  const char* encapsulated;
  const char* ciphertext;  // of the first encryption
};

// The CFRG's vectors of RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256. The first is
// A.1.1 of the RFC; the second has our AEAD, for which the RFC's appendix has no room.
constexpr Vector kVectors[] = {
    {HpkeAead::kAes128Gcm, "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
     "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
     "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
     "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
     "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9"
     "6d8770ac83d07bea87e13c512a"},
    {HpkeAead::kAes256Gcm, "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
     "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
     "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
     "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
     "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be99319"
     "80a41de125a925cdad859d5b7a"},
};
constexpr char kInfo[] = "4f6465206f6e2061204772656369616e2055726e";
constexpr char kAad[] = "436f756e742d30";
constexpr char kPlain[] = "4265617574792069732074727574682c20747275746820626561757479";

TEST(HpkeTest, Rfc9180SealsTheVectors) {
  for (const Vector& v : kVectors) {
    HpkeContext sender = internal::HpkeSenderContext(v.aead, KeyFromHex(v.ephemeral),
                                                     FromHex(v.public_key), FromHex(kInfo))
                             .value();
    EXPECT_EQ(ToHex(sender.encapsulated_key()), v.encapsulated);
    EXPECT_EQ(ToHex(sender.Seal(FromHex(kAad), KeyFromHex(kPlain)).value()), v.ciphertext);
  }
}

TEST(HpkeTest, Rfc9180OpensTheVectors) {
  for (const Vector& v : kVectors) {
    EXPECT_EQ(ToHex(internal::X25519Public(KeyFromHex(v.private_key)).value()), v.public_key);
    const HpkeContext receiver =
        internal::HpkeReceiverContext(v.aead, KeyFromHex(v.private_key), FromHex(v.public_key),
                                      FromHex(v.encapsulated), FromHex(kInfo))
            .value();
    EXPECT_EQ(HexOf(receiver.OpenAt(0, FromHex(kAad), FromHex(v.ciphertext)).value()), kPlain);
  }
}

TEST(HpkeTest, ASessionSealsManyKeysWhichOpenInAnyOrder) {
  const TransportKey host = TransportKey::Generate().value();
  TransportSession session = TransportSession::Begin(host.public_key()).value();
  std::vector<std::string> sealed;
  for (uint8_t i = 0; i < 20; ++i) {
    sealed.push_back(session.Seal(absl::StrCat("key ", i), CountingKey(i)).value());
  }
  for (int i = 19; i >= 0; --i) {
    const auto opened = host.Open(sealed[i], absl::StrCat("key ", i));
    EXPECT_TRUE(opened.value().Equals(CountingKey(static_cast<uint8_t>(i)))) << i;
    EXPECT_THAT(host.Open(sealed[i], absl::StrCat("key ", i + 1)),
                HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
  // A key does not open in the place of another one of the session.
  const std::string mixed = sealed[3].substr(0, 40) + sealed[4].substr(40);
  EXPECT_THAT(host.Open(mixed, "key 3"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(host.Open(mixed, "key 4"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(HpkeTest, SessionsOfManySendersAllOpen) {
  const TransportKey host = TransportKey::Generate().value();
  std::vector<TransportSession> senders;
  for (int i = 0; i < 10; ++i) {
    senders.push_back(TransportSession::Begin(host.public_key()).value());
  }
  for (int round = 0; round < 3; ++round) {
    for (TransportSession& sender : senders) {
      const std::string sealed = sender.Seal("info", CountingKey(7)).value();
      EXPECT_TRUE(host.Open(sealed, "info").value().Equals(CountingKey(7)));
    }
  }
}

TEST(HpkeTest, WhatIsSealedToAKeyOpensWithIt) {
  const TransportKey host = TransportKey::Generate().value();
  for (const size_t size : {size_t{1}, size_t{32}, size_t{4000}}) {
    const SecretKey secret = SecretKey::Random(size).value();
    const std::string sealed = SealTo(host.public_key(), "info", secret).value();
    EXPECT_EQ(sealed.size(), size + kHpkeOverheadBytes);
    EXPECT_TRUE(host.Open(sealed, "info").value().Equals(secret));
  }
}

TEST(HpkeTest, SealingTwiceGivesDifferentBytes) {
  const TransportKey host = TransportKey::Generate().value();
  EXPECT_NE(SealTo(host.public_key(), "", CountingKey(0)).value(),
            SealTo(host.public_key(), "", CountingKey(0)).value());
}

TEST(HpkeTest, AnotherHostOrAnotherInfoDoesNotOpen) {
  const TransportKey host = TransportKey::Generate().value();
  const TransportKey other = TransportKey::Generate().value();
  const std::string sealed = SealTo(host.public_key(), "info", CountingKey(0)).value();
  EXPECT_THAT(other.Open(sealed, "info"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(host.Open(sealed, "inf0"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(host.Open(sealed, ""), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(HpkeTest, EveryDamagedByteAndTruncationIsFound) {
  const TransportKey host = TransportKey::Generate().value();
  const std::string sealed = SealTo(host.public_key(), "info", CountingKey(0)).value();
  // Under an agreement that is not known yet, and under one that is.
  for (size_t run = 0; run < 2 * sealed.size(); ++run) {
    if (run == sealed.size()) {
      EXPECT_TRUE(host.Open(sealed, "info").ok());
    }
    const size_t at = run % sealed.size();
    std::string damaged = sealed;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_THAT(host.Open(damaged, "info"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT)) << at;
    EXPECT_THAT(host.Open(sealed.substr(0, at), "info"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

// A.1.1.1 of the RFC: sequence numbers 0 and 1 of one context.
TEST(HpkeTest, Rfc9180SealsOneAfterTheOther) {
  const Vector& v = kVectors[0];
  HpkeContext sender = internal::HpkeSenderContext(v.aead, KeyFromHex(v.ephemeral),
                                                   FromHex(v.public_key), FromHex(kInfo))
                           .value();
  EXPECT_EQ(ToHex(sender.encapsulated_key()), v.encapsulated);
  EXPECT_EQ(ToHex(sender.Seal(FromHex(kAad), KeyFromHex(kPlain)).value()), v.ciphertext);
  EXPECT_EQ(ToHex(sender.Seal(FromHex("436f756e742d31"), KeyFromHex(kPlain)).value()),
            "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab25"
            "1c03d0c22a56b8ca42c2063b84");
}

TEST(HpkeTest, AKeyOpensOnlyAsWhatItWasSealed) {
  const TransportKey host = TransportKey::Generate().value();
  TransportSession session = TransportSession::Begin(host.public_key()).value();
  const std::string a = session.Seal("a", CountingKey(0)).value();
  const std::string b = session.Seal("b", CountingKey(1)).value();
  EXPECT_TRUE(host.Open(b, "b").value().Equals(CountingKey(1)));
  EXPECT_TRUE(host.Open(a, "a").value().Equals(CountingKey(0)));
  EXPECT_THAT(host.Open(a, "b"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  // As another number of the same session.
  const size_t number = kTransportPublicBytes;
  std::string moved = a;
  moved.replace(number, kSequenceBytes, b.substr(number, kSequenceBytes));
  EXPECT_THAT(host.Open(moved, "a"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(HpkeTest, PointsOfSmallOrderAreRefused) {
  const TransportKey host = TransportKey::Generate().value();
  const std::string zero(32, '\0');
  EXPECT_THAT(SealTo(zero, "", CountingKey(0)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(host.Open(zero + std::string(kHpkeOverheadBytes, 'x'), ""),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST(HpkeTest, WrongInputIsRefused) {
  EXPECT_THAT(SealTo("short", "", CountingKey(0)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(SealTo(TransportKey::Generate().value().public_key(), "", SecretKey()),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::crypto
