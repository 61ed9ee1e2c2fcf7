#include "hostagent/tpm/fake_tpm.h"

#include <memory>
#include <string>

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::hostagent::tpm {
namespace {

using crypto::SecretKey;
using status::HasReason;
using status::IsOk;

TEST(FakeTpmTest, SealedSecretOpensAfterAnAgentRestart) {
  const auto hardware = std::make_shared<FakeTpmHardware>();
  const SecretKey secret = SecretKey::Random(32).value();
  const std::string blob = FakeTpm(hardware).Seal(secret).value();
  FakeTpm restarted(hardware);
  EXPECT_TRUE(restarted.Unseal(blob).value().Equals(secret));
  EXPECT_EQ(hardware->power_cycles(), 2);
  EXPECT_EQ(restarted.Stats().unseals, 1u);
}

TEST(FakeTpmTest, S138_ChangedPcr7NeedsRecoveryAndTheFormerValueOpensAgain) {
  const auto hardware = std::make_shared<FakeTpmHardware>();
  FakeTpm before(hardware);
  const std::string pcr7 = before.ReadPcr7().value();
  const std::string blob = before.Seal(SecretKey::Random(32).value()).value();

  hardware->SetFirmware("no secureBoot");
  EXPECT_THAT(before.Unseal(blob), IsOk()) << "firmware is measured at the next power cycle only";
  FakeTpm changed(hardware);
  EXPECT_NE(changed.ReadPcr7().value(), pcr7);
  EXPECT_THAT(changed.Unseal(blob), HasReason(v1::REASON_RECOVERY_REQUIRED));

  hardware->SetFirmware("secureBoot");
  FakeTpm restored(hardware);
  EXPECT_EQ(restored.ReadPcr7().value(), pcr7);
  EXPECT_THAT(restored.Unseal(blob), IsOk());
}

TEST(FakeTpmTest, S144_AnotherTpmDoesNotOpenTheBlob) {
  FakeTpm mine(std::make_shared<FakeTpmHardware>());
  FakeTpm other(std::make_shared<FakeTpmHardware>());
  const std::string blob = mine.Seal(SecretKey::Random(32).value()).value();
  EXPECT_THAT(other.Unseal(blob), HasReason(v1::REASON_RECOVERY_REQUIRED));
}

TEST(FakeTpmTest, DamageAnywhereIsCorruption) {
  FakeTpm tpm(std::make_shared<FakeTpmHardware>());
  const std::string blob = tpm.Seal(SecretKey::Random(32).value()).value();
  for (size_t i = 0; i < blob.size(); ++i) {
    std::string damaged = blob;
    damaged[i] ^= 1;
    ASSERT_THAT(tpm.Unseal(damaged), HasReason(v1::REASON_CIPHERTEXT_CORRUPT)) << i;
    ASSERT_THAT(tpm.Unseal(blob.substr(0, i)), HasReason(v1::REASON_CIPHERTEXT_CORRUPT)) << i;
  }
}

TEST(FakeTpmTest, S29_Tpm12AndNoTpmAreNotUsable) {
  for (const TpmVersion version : {TpmVersion::kNone, TpmVersion::k12}) {
    FakeTpm fake(std::make_shared<FakeTpmHardware>(version));
    const std::unique_ptr<Tpm> none = MakeNoTpm(version);
    for (Tpm* tpm : {static_cast<Tpm*>(&fake), none.get()}) {
      EXPECT_EQ(tpm->version(), version);
      EXPECT_FALSE(tpm->usable());
      EXPECT_THAT(tpm->Seal(SecretKey::Random(32).value()), HasReason(v1::REASON_TPM_FAILED));
      EXPECT_THAT(tpm->Unseal("blob"), HasReason(v1::REASON_TPM_FAILED));
      EXPECT_THAT(tpm->ReadPcr7(), HasReason(v1::REASON_TPM_FAILED));
      EXPECT_THAT(tpm->Shutdown(), IsOk());
    }
  }
}

TEST(FakeTpmTest, InjectedFailuresEnd) {
  const auto hardware = std::make_shared<FakeTpmHardware>();
  FakeTpm tpm(hardware);
  hardware->FailNext(1);
  EXPECT_THAT(tpm.ReadPcr7(), HasReason(v1::REASON_TPM_FAILED));
  EXPECT_THAT(tpm.ReadPcr7(), IsOk());
  EXPECT_EQ(tpm.Stats().failures, 1u);
}

}  // namespace
}  // namespace keysphere::hostagent::tpm
