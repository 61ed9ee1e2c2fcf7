#include "hostagent/tpm/real_tpm.h"

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files/scripted_faults.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/in_child.h"
#include "hostagent/tpm/real_tpm_fixture.h"

namespace keysphere::hostagent::tpm {
namespace {

using crypto::SecretKey;
using status::HasReason;
using status::IsOk;

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

TEST_F(RealTpmTest, AFullDiskIsToldAsThatAndNotAsABrokenChip) {
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] { EXPECT_THAT(PowerOn()->Shutdown(), IsOk()); }));
  // The chip writes when it starts, and when it is shut down.
  for (int skip = 0; skip < 2; ++skip) {
    ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] {
      files::ScriptedFaults faults;
      faults.Add({files::Operation::kWrite, "chip", skip, -1, {ENOSPC}, {}});
      const files::FileSystem full(&faults);
      RealTpm::Options options;
      options.tpm_dir = absl::StrCat(dir_, "/chip");
      options.files = &full;
      const auto tpm = RealTpm::Create(options);
      const absl::Status status = tpm.ok() ? (*tpm)->Shutdown() : tpm.status();
      EXPECT_THAT(status, HasReason(v1::REASON_STORAGE_FULL)) << skip;
    })) << skip;
  }
  ASSERT_TRUE(InChild(ChildEnd::kOrderly, [&] { EXPECT_THAT(PowerOn()->Shutdown(), IsOk()); }));
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

}  // namespace
}  // namespace keysphere::hostagent::tpm
