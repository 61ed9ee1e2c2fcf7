#include "common/crypto/xts.h"

#include <limits>
#include <string>
#include <vector>

#include "common/crypto/digest.h"
#include "common/crypto/kdf.h"
#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::HasReason;
using status::IsOk;
using testing::CountingKey;
using testing::KeyFromHex;
using testing::ToHex;

using Bytes = std::vector<uint8_t>;

absl::string_view View(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes Pattern(size_t size, int modulus) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i % modulus);
  return bytes;
}

// IEEE 1619, vector 10: AES-256, data unit ff of 512 bytes. The digest of the whole ciphertext was
// computed with another library.
TEST(XtsTest, S137_VectorOfTheStandard) {
  const SecretKey key = KeyFromHex(
      "2718281828459045235360287471352662497757247093699959574966967627"
      "3141592653589793238462643383279502884197169399375105820974944592");
  const Bytes plain = Pattern(512, 256);
  Bytes out(512);
  ASSERT_THAT(internal::XtsCrypt(key, true, 512, 0xff, plain, absl::MakeSpan(out)), IsOk());
  EXPECT_EQ(ToHex(View(out).substr(0, 32)),
            "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b");
  EXPECT_EQ(Sha256Hex(View(out)),
            "e97e974fa393af794f7a4684395814cf820de60a01eaec677d87b452e316b364");
  ASSERT_THAT(internal::XtsCrypt(key, false, 512, 0xff, out, absl::MakeSpan(out)), IsOk());
  EXPECT_EQ(out, plain);
}

// Computed with another library, one data unit at a time.
TEST(XtsTest, S137_UnitsOf4096BytesUnderTheirNumbers) {
  const SecretKey key = DeriveXtsKey(CountingKey(0)).value();
  const Bytes plain = Pattern(2 * kXtsUnitBytes, 251);
  Bytes out(plain.size());
  ASSERT_THAT(XtsEncrypt(key, 0xffffffff, plain, absl::MakeSpan(out)), IsOk());
  EXPECT_EQ(ToHex(View(out).substr(0, 16)), "423e65f8cfaa21fe8484a164738b0807");
  EXPECT_EQ(ToHex(View(out).substr(4096, 16)), "01157e1b425fe666963ba9a66fa61c04");
  EXPECT_EQ(Sha256Hex(View(out)),
            "39f935643dd572ddc70f8fb73b40af125451037b14d52e4ee5557eec2d550ae0");
}

TEST(XtsTest, ManyUnitsAtOnceAreTheSameAsOneByOne) {
  const SecretKey key = DeriveXtsKey(CountingKey(0)).value();
  const Bytes plain = Pattern(5 * kXtsUnitBytes, 251);
  Bytes at_once(plain.size());
  ASSERT_THAT(XtsEncrypt(key, 40, plain, absl::MakeSpan(at_once)), IsOk());
  Bytes in_place = plain;
  for (size_t i = 0; i < 5; ++i) {
    const auto unit = absl::MakeSpan(in_place).subspan(i * kXtsUnitBytes, kXtsUnitBytes);
    ASSERT_THAT(XtsEncrypt(key, 40 + i, unit, unit), IsOk());
  }
  EXPECT_TRUE(at_once == in_place);
  ASSERT_THAT(XtsDecrypt(key, 40, at_once, absl::MakeSpan(at_once)), IsOk());
  EXPECT_TRUE(at_once == plain);
}

TEST(XtsTest, EqualUnitsAtDifferentPlacesDiffer) {
  const SecretKey key = DeriveXtsKey(CountingKey(0)).value();
  const Bytes plain(2 * kXtsUnitBytes, 0);
  Bytes out(plain.size());
  ASSERT_THAT(XtsEncrypt(key, 0, plain, absl::MakeSpan(out)), IsOk());
  EXPECT_NE(View(out).substr(0, 4096), View(out).substr(4096));
}

TEST(XtsTest, WrongSizesAreRefused) {
  const SecretKey key = DeriveXtsKey(CountingKey(0)).value();
  Bytes data(2 * kXtsUnitBytes);
  const auto span = absl::MakeSpan(data);
  EXPECT_THAT(XtsEncrypt(key, 0, span.first(4095), span.first(4095)),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(XtsEncrypt(key, 0, span, span.first(4096)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(XtsEncrypt(CountingKey(0), 0, span, span), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(XtsDecrypt(key, std::numeric_limits<uint64_t>::max(), span, span),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(XtsDecrypt(key, 0, {}, {}), IsOk());
}

TEST(XtsTest, AKeyWithEqualHalvesIsRefused) {
  const SecretKey key = testing::KeyOf(std::string(64, 'k'));
  Bytes data(kXtsUnitBytes);
  EXPECT_THAT(XtsEncrypt(key, 0, data, absl::MakeSpan(data)),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::crypto
