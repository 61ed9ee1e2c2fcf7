#include <random>
#include <string>

#include "common/crypto/bundle.h"
#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

// Damaged files: never a crash, never another key than the one that was exported.
namespace keysphere::crypto {
namespace {

using testing::CountingKey;
using testing::KeyOf;

constexpr int kRounds = 4000;

KeyBundle Sample() {
  KeyBundle bundle;
  bundle.provider = "nkp-a";
  bundle.key_id = "key-1";
  bundle.kdk = CountingKey(0);
  bundle.export_time = absl::FromUnixSeconds(1700000000);
  return bundle;
}

void ExpectRefusedOrUnharmed(const std::string& damaged, const SecretKey* password) {
  const auto read = ReadBundle(damaged, password);
  if (read.ok()) {
    EXPECT_TRUE(read->kdk.Equals(CountingKey(0)));
    EXPECT_EQ(read->provider, "nkp-a");
    EXPECT_EQ(read->key_id, "key-1");
    EXPECT_FALSE(read->tpm_required);
    return;
  }
  const v1::Reason reason = status::ReasonOf(read.status());
  EXPECT_TRUE(reason == v1::REASON_BUNDLE_INVALID || reason == v1::REASON_WRONG_PASSWORD ||
              reason == v1::REASON_CHECK_VALUE_MISMATCH)
      << read.status().message();
}

// A damaged number of iterations may be up to ten million and cost seconds: such files are passed
// over, since the limit has a test of its own. Both numbers stand as 02 01 01 in these bundles.
bool IterationsIntact(const std::string& whole, const std::string& damaged) {
  for (size_t at = whole.find("\x02\x01\x01"); at != std::string::npos;
       at = whole.find("\x02\x01\x01", at + 1)) {
    if (at + 3 <= damaged.size() && damaged.compare(at, 3, whole, at, 3) != 0) return false;
  }
  return true;
}

class BundleDamageTest : public ::testing::TestWithParam<bool> {
 protected:
  const SecretKey secret_ = KeyOf("password");
  const SecretKey* const password_ = GetParam() ? &secret_ : nullptr;
  const std::string whole_ = WriteBundle(Sample(), password_, 1).value();
};

TEST_P(BundleDamageTest, EveryTruncationIsRefused) {
  for (size_t size = 0; size < whole_.size(); ++size) {
    EXPECT_FALSE(ReadBundle(whole_.substr(0, size), password_).ok()) << size;
  }
}

TEST_P(BundleDamageTest, EveryFlippedBitIsRefusedOrHarmless) {
  for (size_t bit = 0; bit < whole_.size() * 8; ++bit) {
    std::string damaged = whole_;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    if (IterationsIntact(whole_, damaged)) ExpectRefusedOrUnharmed(damaged, password_);
  }
}

TEST_P(BundleDamageTest, RandomDamageIsRefusedOrHarmless) {
  std::mt19937 random(20240229);
  for (int round = 0; round < kRounds; ++round) {
    std::string damaged = whole_;
    const size_t changes = 1 + random() % 8;
    for (size_t i = 0; i < changes; ++i) {
      const size_t at = random() % damaged.size();
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, 1 + random() % 4);
          break;
        case 2:
          damaged.insert(at, 1 + random() % 4, static_cast<char>(random()));
          break;
        default:
          damaged.resize(at + 1);
      }
      if (damaged.empty()) break;
    }
    if (IterationsIntact(whole_, damaged)) ExpectRefusedOrUnharmed(damaged, password_);
  }
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutPassword, BundleDamageTest, ::testing::Bool());

}  // namespace
}  // namespace keysphere::crypto
