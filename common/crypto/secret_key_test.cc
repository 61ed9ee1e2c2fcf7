#include "common/crypto/secret_key.h"

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "gtest/gtest.h"

namespace keysphere::crypto {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

constexpr size_t kHeapBytes = size_t{1} << 16;

// This test makes its key memory itself. Its first test runs without.
class SecretKeyTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(InitKeyMemory(kHeapBytes), IsOk()); }

  static SecretKey Filled(uint8_t value, size_t size = 32) {
    SecretKey key = SecretKey::Zeroed(size).value();
    std::memset(key.mutable_bytes(SecretKeyAccess::Token()).data(), value, size);
    return key;
  }
};

TEST(AKeyMemoryTest, WithoutItNoKeyIsMadeAndTheErrorSaysSo) {
  ASSERT_EQ(GetKeyMemoryStats().capacity_bytes, 0u);
  const auto key = SecretKey::Zeroed(32);
  EXPECT_THAT(key, HasReason(v1::REASON_KEY_MEMORY_UNPROTECTED));
  EXPECT_THAT(std::string(key.status().message()), HasSubstr("InitKeyMemory was not called"));
  EXPECT_FALSE(SecretKey::Random(32).ok());
}

TEST(AKeyMemoryTest, SizesThatCannotBeLockedAreRefused) {
  for (const size_t bytes : {size_t{0}, size_t{100000}, size_t{8} << 20, size_t{2048}}) {
    EXPECT_THAT(InitKeyMemory(bytes), HasReason(v1::REASON_INVALID_ARGUMENT)) << bytes;
  }
  EXPECT_EQ(GetKeyMemoryStats().capacity_bytes, 0u);
}

TEST_F(SecretKeyTest, KeyMemoryMayBeMadeAgain) {
  EXPECT_THAT(InitKeyMemory(kHeapBytes), IsOk());
  EXPECT_EQ(GetKeyMemoryStats().capacity_bytes, kHeapBytes);
}

TEST_F(SecretKeyTest, IsMoveOnlyAndNotPrintable) {
  static_assert(!std::is_copy_constructible<SecretKey>::value, "");
  static_assert(!std::is_copy_assignable<SecretKey>::value, "");
  static_assert(!std::is_convertible<SecretKey, std::string>::value, "");
  SecretKey key = Filled(7);
  const SecretKey moved = std::move(key);
  EXPECT_TRUE(key.empty());  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_EQ(moved.size(), 32u);
}

TEST_F(SecretKeyTest, SizesAreLimited) {
  EXPECT_THAT(SecretKey::Zeroed(0), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(SecretKey::Zeroed(4097), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(SecretKey::Zeroed(1), IsOk());
  EXPECT_THAT(SecretKey::Zeroed(4096), IsOk());
}

TEST_F(SecretKeyTest, CopiesAndComparesBytes) {
  const std::vector<uint8_t> bytes = {1, 2, 3, 4};
  const SecretKey key = SecretKey::CopyOf(bytes).value();
  EXPECT_EQ(key.bytes(SecretKeyAccess::Token()), absl::MakeConstSpan(bytes));
  EXPECT_TRUE(key.Equals(key.Clone().value()));
  EXPECT_FALSE(key.Equals(Filled(1, 4)));
  EXPECT_FALSE(key.Equals(Filled(1, 3)));
  EXPECT_FALSE(key.Equals(SecretKey()));
  EXPECT_TRUE(SecretKey().Equals(SecretKey().Clone().value()));
  EXPECT_FALSE(SecretKey::Random(32).value().Equals(SecretKey::Random(32).value()));
}

TEST_F(SecretKeyTest, S147_FreedBytesAreWiped) {
  const uint8_t* bytes = nullptr;
  {
    const SecretKey key = Filled(0xa5);
    bytes = key.bytes(SecretKeyAccess::Token()).data();
    ASSERT_EQ(bytes[31], 0xa5);
  }
  // The heap stays mapped, and the first half of a free piece holds the free list's links.
  for (int i = 16; i < 32; ++i) EXPECT_EQ(bytes[i], 0) << i;
}

TEST_F(SecretKeyTest, S147_MoveAssignmentWipesTheFormerKey) {
  SecretKey key = Filled(0xa5);
  const uint8_t* const former = key.bytes(SecretKeyAccess::Token()).data();
  key = Filled(0x5a);
  for (int i = 16; i < 32; ++i) EXPECT_EQ(former[i], 0) << i;
}

// VmFlags of the mapping that holds `address`.
std::string FlagsOf(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    } else if (inside && absl::StartsWith(line, "VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST_F(SecretKeyTest, S147_BytesLieInMemoryThatIsLockedAndNotDumped) {
  const SecretKey key = Filled(1);
  const std::string flags = FlagsOf(key.bytes(SecretKeyAccess::Token()).data());
  EXPECT_THAT(flags, HasSubstr(" lo "));
  EXPECT_THAT(flags, HasSubstr(" dd "));
}

TEST_F(SecretKeyTest, StopsWhenThreeQuartersAreFullAndGoesOnWhenKeysAreFreed) {
  std::vector<SecretKey> keys;
  auto key = SecretKey::Zeroed(1024);
  for (; key.ok(); key = SecretKey::Zeroed(1024)) keys.push_back(*std::move(key));

  EXPECT_THAT(key, HasReason(v1::REASON_KEY_MEMORY_FULL));
  EXPECT_EQ(key.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(keys.size(), 40u);
  EXPECT_LE(GetKeyMemoryStats().used_bytes, kHeapBytes / 4 * 3);
  keys.pop_back();
  EXPECT_THAT(SecretKey::Zeroed(1024), IsOk());
}

TEST_F(SecretKeyTest, S147_OpensslsOrdinaryMemoryIsWipedToo) {
  auto* const block = static_cast<uint8_t*>(OPENSSL_malloc(256));
  std::memset(block, 0xa5, 256);
  auto* const grown = static_cast<uint8_t*>(OPENSSL_realloc(block, 100000));
  EXPECT_EQ(grown[255], 0xa5);
  OPENSSL_free(grown);
  // The functions installed by InitKeyMemory are in force: OpenSSL accepts none after them.
  CRYPTO_malloc_fn malloc_function = nullptr;
  CRYPTO_realloc_fn realloc_function = nullptr;
  CRYPTO_free_fn free_function = nullptr;
  CRYPTO_get_mem_functions(&malloc_function, &realloc_function, &free_function);
  EXPECT_NE(free_function, &CRYPTO_free);
  EXPECT_NE(realloc_function, &CRYPTO_realloc);
}

}  // namespace
}  // namespace keysphere::crypto
