#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/in_child.h"
#include "hostagent/tpm/real_tpm.h"
#include "hostagent/tpm/real_tpm_fixture.h"

// What libtpms' memory shows, and that it is locked. Not for sanitizers: they lock nothing, keep
// freed memory, and their shadow is too large to read.
namespace keysphere::hostagent::tpm {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;

using RealTpmMemoryTest = RealTpmTest;

// Neither the limit nor the capability to lock memory.
void ForbidLocking() {
  const rlimit none = {0, 0};
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  ASSERT_EQ(syscall(SYS_capget, &header, sets), 0);
  sets[0].effective &= ~(1u << CAP_IPC_LOCK);
  ASSERT_EQ(syscall(SYS_capset, &header, sets), 0);
}

TEST_F(RealTpmMemoryTest, S147_MemoryThatCannotBeLockedIsReportedAndTheTpmWorks) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    ForbidLocking();
    const auto tpm = PowerOn();
    EXPECT_FALSE(tpm->Stats().memory_protected);
    EXPECT_NE(tpm->Stats().memory_note, "");
    EXPECT_TRUE(tpm->Unseal(tpm->Seal(Secret()).value()).value().Equals(Secret()));
  }));
}

// Where this process holds either half of `secret`: mappings that a core dump would contain, and
// those that it would not ("dd" in smaps' VmFlags).
struct Found {
  std::vector<std::string> dumped;
  std::vector<std::string> undumped;
};

Found Search(const SecretKey& secret) {
  const auto key = secret.bytes(SecretKeyAccess::Token());
  Found found;
  std::ifstream smaps("/proc/self/smaps");
  std::string mapping;
  unsigned long begin = 0;
  unsigned long end = 0;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long a = 0;
    unsigned long b = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &a, &b) == 2) {
      mapping = line;
      begin = a;
      end = b;
    }
    if (!absl::StartsWith(line, "VmFlags:") || !absl::StrContains(line, " rd")) continue;
    if (absl::StrContains(mapping, "[v")) continue;  // vvar, vdso, vsyscall
    std::vector<std::string>& place =
        absl::StrContains(line, " dd") ? found.undumped : found.dumped;
    const auto* const bytes = reinterpret_cast<const uint8_t*>(begin);
    for (int half = 0; half < 2; ++half) {
      if (memmem(bytes, end - begin, key.data() + half * 16, 16) != nullptr) {
        place.push_back(mapping);
      }
    }
  }
  return found;
}

TEST_F(RealTpmMemoryTest, S147_SealAndUnsealLeaveNoSecretInDumpableMemory) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    const SecretKey secret = SecretKey::Random(32).value();
    const std::string blob = tpm->Seal(secret).value();
    Found found = Search(secret);
    EXPECT_THAT(found.dumped, ::testing::IsEmpty()) << "after sealing";
    EXPECT_THAT(found.undumped, ::testing::Not(::testing::IsEmpty())) << "the search finds keys";
    const SecretKey opened = tpm->Unseal(blob).value();
    found = Search(opened);
    EXPECT_THAT(found.dumped, ::testing::IsEmpty()) << "after unsealing";
  }));
}

}  // namespace
}  // namespace keysphere::hostagent::tpm
