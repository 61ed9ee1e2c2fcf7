#include "common/crypto/kdf.h"

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/crypto/key_wrap.h"
#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::HasReason;
using testing::CountingKey;
using testing::HexOf;
using testing::ToHex;

constexpr char kKeyId[] = "0f9d1b6a-7c1e-4a52-9a0e-5b1f0c2d3e4f";

// Computed with another implementation of SP 800-108 (HMAC by hand) from the bytes 00..1f.
TEST(KdfTest, S136_FixedVectors) {
  const SecretKey kdk = CountingKey(0);
  EXPECT_EQ(HexOf(DeriveVmKek(kdk, kKeyId).value()),
            "bb34f672dae0c0641aa9c80d54300d2a95c47f417993d924ee1c617f015e4287");
  EXPECT_EQ(HexOf(DeriveHostKey(kdk, kKeyId).value()),
            "85e9e0223af073399e0ac72fdb55e14ffa06845d9f070b05280e5af2c2e30c65");
  EXPECT_EQ(HexOf(DeriveXtsKey(kdk).value()),
            "676b82b83623958f61d6719ca5372fb30d3d99698575fc32928402fbc235dffd"
            "f8a1209716761e0bd74545cb04ef7acd3886ca6044a7c2be944b742d8ebf028d");
  EXPECT_EQ(ToHex(KeyCheckValue(kdk).value()), "baadc6e7baef2e9b");
  EXPECT_EQ(HexOf(DeriveHostConfigBodyKey(kdk).value()),
            "0ce1a870a533da0f1020808d82042e222b3afc86509b8ed71fa2c7140f21ece5");
  EXPECT_EQ(HexOf(DeriveHostConfigJournalKey(kdk).value()),
            "b95974ce7e37efef35c40e1d2061f7e531a39096ee3e1235a901d97ee6b94d0c");
  EXPECT_EQ(HexOf(DeriveHostConfigSecretsKey(kdk).value()),
            "28a90ea04069b5e9c1345b27de5661bcd59665ab42381f553f4437c906a2e60a");
}

TEST(KdfTest, S36_SameInputsGiveTheSameKek) {
  const SecretKey kdk = SecretKey::Random(32).value();
  const SecretKey elsewhere = kdk.Clone().value();
  EXPECT_TRUE(DeriveVmKek(kdk, kKeyId).value().Equals(DeriveVmKek(elsewhere, kKeyId).value()));
}

TEST(KdfTest, S136_AnotherKeyIdOrKdkOrPurposeGivesAnotherKey) {
  const SecretKey kdk = CountingKey(0);
  const std::set<std::string> keys = {HexOf(DeriveVmKek(kdk, kKeyId).value()),
                                      HexOf(DeriveVmKek(kdk, "other").value()),
                                      HexOf(DeriveVmKek(CountingKey(1), kKeyId).value()),
                                      HexOf(DeriveHostKey(kdk, kKeyId).value())};
  EXPECT_EQ(keys.size(), 4u);
}

TEST(KdfTest, S37_OnlyKeysOf256Bits) {
  for (const size_t size : {size_t{16}, size_t{24}, size_t{33}, size_t{64}}) {
    const SecretKey key = CountingKey(0, size);
    EXPECT_THAT(DeriveVmKek(key, kKeyId), HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_THAT(DeriveXtsKey(key), HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_THAT(KeyCheckValue(key), HasReason(v1::REASON_INVALID_ARGUMENT));
  }
  EXPECT_THAT(DeriveVmKek(SecretKey(), kKeyId), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(KdfTest, AnEmptyKeyIdIsRefused) {
  EXPECT_THAT(DeriveVmKek(CountingKey(0), ""), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(DeriveHostKey(CountingKey(0), ""), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(KdfTest, S141_CheckValuesTellKeysApart) {
  EXPECT_NE(KeyCheckValue(CountingKey(0)).value(), KeyCheckValue(CountingKey(1)).value());
  EXPECT_EQ(KeyCheckValue(CountingKey(0)).value().size(), kCheckValueBytes);
}

TEST(KdfTest, ThreadsDeriveAtTheSameTime) {
  const SecretKey kdk = CountingKey(0);
  std::vector<std::thread> threads;
  std::atomic<int> equal{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&kdk, &equal] {
      for (int i = 0; i < 50; ++i) {
        const SecretKey kek = DeriveVmKek(kdk, kKeyId).value();
        const SecretKey dek = UnwrapKey(kek, WrapKey(kek, kdk).value()).value();
        if (dek.Equals(kdk)) ++equal;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal.load(), 200);
}

}  // namespace
}  // namespace keysphere::crypto
