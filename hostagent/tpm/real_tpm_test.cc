#include "hostagent/tpm/real_tpm.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/in_child.h"

namespace keysphere::hostagent::tpm {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;
using status::HasReason;
using status::IsOk;

// Every use of libtpms is in a process of its own, which is also a host's power-on.
class RealTpmTest : public ::testing::Test {
 protected:
  RealTpmTest() {
    dir_ = absl::StrCat(::testing::TempDir(), "/tpm/",
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    EXPECT_TRUE(files_.MakeFolders(dir_).ok());
  }

  std::unique_ptr<RealTpm> PowerOn(absl::string_view chip = "chip") {
    RealTpm::Options options;
    options.tpm_dir = absl::StrCat(dir_, "/", chip);
    options.files = &files_;
    return RealTpm::Create(options).value();
  }

  void Write(absl::string_view name, absl::string_view content) {
    EXPECT_TRUE(files_.WriteFileAtomically(absl::StrCat(dir_, "/", name), content, 0600).ok());
  }
  std::string Read(absl::string_view name) {
    return files_.ReadFile(absl::StrCat(dir_, "/", name), 1 << 20).value();
  }

  // A fixed secret, so that processes can compare.
  static SecretKey Secret() {
    SecretKey secret = SecretKey::Zeroed(32).value();
    for (int i = 0; i < 32; ++i) {
      secret.mutable_bytes(SecretKeyAccess::Token())[i] = static_cast<uint8_t>(i * 7 + 1);
    }
    return secret;
  }

  const files::FileSystem files_;
  std::string dir_;
};

TEST_F(RealTpmTest, SealedSecretOpensAfterAnOrderlyRestart) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    EXPECT_EQ(tpm->version(), TpmVersion::k20);
    const std::string blob = tpm->Seal(Secret()).value();
    Write("blob", blob);
    EXPECT_TRUE(tpm->Unseal(blob).value().Equals(Secret()));
    EXPECT_THAT(tpm->Shutdown(), IsOk());
    const TpmStats stats = tpm->Stats();
    EXPECT_EQ(stats.seals, 1u);
    EXPECT_EQ(stats.unseals, 1u);
    EXPECT_EQ(stats.failures, 0u);
    EXPECT_EQ(stats.transport, "in-process");
    EXPECT_TRUE(stats.memory_protected) << stats.memory_note;
  }));
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    EXPECT_TRUE(PowerOn()->Unseal(Read("blob")).value().Equals(Secret()));
  }));
}

TEST_F(RealTpmTest, S148_TenPowerLossesDoNotLockTheTpm) {
  ASSERT_TRUE(
      InChild(ChildEnd::kKilled, [&] { Write("blob", PowerOn()->Seal(Secret()).value()); }));
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(InChild(ChildEnd::kKilled, [&] {
      const auto tpm = PowerOn();
      EXPECT_TRUE(tpm->Unseal(Read("blob")).value().Equals(Secret()));
      EXPECT_THAT(tpm->Seal(Secret()), IsOk());
    })) << i;
  }
}

TEST_F(RealTpmTest, S138_ChangedFirmwareNeedsRecoveryAndTheFormerOpensAgain) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    Write("blob", tpm->Seal(Secret()).value());
    Write("pcr7", tpm->ReadPcr7().value());
  }));
  const std::string firmware = Read("chip/firmware.json");
  Write("chip/firmware.json", "{\"secureBoot\": false}");
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    EXPECT_NE(tpm->ReadPcr7().value(), Read("pcr7"));
    EXPECT_THAT(tpm->Unseal(Read("blob")), HasReason(v1::REASON_RECOVERY_REQUIRED));
    // Sealing to the new state works.
    EXPECT_THAT(tpm->Unseal(tpm->Seal(Secret()).value()), IsOk());
  }));
  Write("chip/firmware.json", firmware);
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    EXPECT_EQ(tpm->ReadPcr7().value(), Read("pcr7"));
    EXPECT_THAT(tpm->Unseal(Read("blob")), IsOk());
  }));
}

TEST_F(RealTpmTest, S144_AnotherTpmDoesNotOpenTheBlob) {
  ASSERT_TRUE(
      InChild(ChildEnd::kOrderly, [&] { Write("blob", PowerOn()->Seal(Secret()).value()); }));
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    EXPECT_THAT(PowerOn("stranger")->Unseal(Read("blob")), HasReason(v1::REASON_RECOVERY_REQUIRED));
  }));
}

TEST_F(RealTpmTest, DamageAnywhereIsCorruption) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    const std::string blob = tpm->Seal(Secret()).value();
    for (size_t i = 0; i < blob.size(); ++i) {
      std::string damaged = blob;
      damaged[i] ^= 1;
      ASSERT_THAT(tpm->Unseal(damaged), HasReason(v1::REASON_CIPHERTEXT_CORRUPT)) << i;
    }
    EXPECT_THAT(tpm->Unseal(""), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
    EXPECT_THAT(tpm->Unseal(blob), IsOk());
  }));
}

TEST_F(RealTpmTest, SecretsOfOneTo64BytesAreSealed) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    const auto tpm = PowerOn();
    for (const size_t size : {1, 16, 64}) {
      const SecretKey secret = SecretKey::Random(size).value();
      EXPECT_TRUE(tpm->Unseal(tpm->Seal(secret).value()).value().Equals(secret)) << size;
    }
    EXPECT_THAT(tpm->Seal(SecretKey::Random(65).value()), HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_THAT(tpm->Seal(SecretKey()), HasReason(v1::REASON_INVALID_ARGUMENT));
  }));
}

TEST_F(RealTpmTest, OneTpmInAProcess) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    auto tpm = PowerOn();
    RealTpm::Options options;
    options.tpm_dir = absl::StrCat(dir_, "/second");
    options.files = &files_;
    EXPECT_THAT(RealTpm::Create(options), HasReason(v1::REASON_INVALID_STATE));
    tpm.reset();
    EXPECT_THAT(RealTpm::Create(options), IsOk());
  }));
}

TEST_F(RealTpmTest, DamagedChipMemoryIsReported) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] { PowerOn(); }));
  Write("chip/tpm2-permall.state", "rubbish");
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
    RealTpm::Options options;
    options.tpm_dir = absl::StrCat(dir_, "/chip");
    options.files = &files_;
    EXPECT_THAT(RealTpm::Create(options), HasReason(v1::REASON_TPM_FAILED));
  }));
  EXPECT_EQ(Read("chip/tpm2-permall.state"), "rubbish") << "never replaced by a new chip";
}

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

TEST_F(RealTpmTest, S147_MemoryThatCannotBeLockedIsReportedAndTheTpmWorks) {
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

TEST_F(RealTpmTest, S147_SealAndUnsealLeaveNoSecretInDumpableMemory) {
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
