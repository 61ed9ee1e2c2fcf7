#include "hostagent/tpm/fake_tpm.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"
#include "hostagent/tpm/blob.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr absl::string_view kMagic = "KSFAKETPM1";
constexpr size_t kDigestBytes = 32;

}  // namespace

FakeTpmHardware::FakeTpmHardware(TpmVersion version) : version_(version) {
  sync::MutexLock lock(&mutex_);
  auto seed = crypto::SecretKey::Random(32);
  auto id = crypto::SecretKey::Random(32);
  KS_CHECK(seed.ok() && id.ok());
  seed_ = std::move(seed).value();
  const auto bytes = id->bytes(crypto::SecretKeyAccess::Token());
  chip_id_ =
      crypto::Sha256(absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void FakeTpmHardware::SetVersion(TpmVersion version) {
  sync::MutexLock lock(&mutex_);
  version_ = version;
}

void FakeTpmHardware::SetFirmware(absl::string_view measured) {
  sync::MutexLock lock(&mutex_);
  firmware_ = std::string(measured);
}

void FakeTpmHardware::FailNext(int calls) {
  sync::MutexLock lock(&mutex_);
  fail_next_ = calls;
}

TpmVersion FakeTpmHardware::version() const {
  sync::MutexLock lock(&mutex_);
  return version_;
}

int FakeTpmHardware::power_cycles() const {
  sync::MutexLock lock(&mutex_);
  return power_cycles_;
}

int FakeTpmHardware::orderly_shutdowns() const {
  sync::MutexLock lock(&mutex_);
  return orderly_shutdowns_;
}

void FakeTpmHardware::PowerCycle() {
  sync::MutexLock lock(&mutex_);
  ++power_cycles_;
  // As the chip does: a reset PCR is zero, extending hashes old value and measurement.
  pcr7_ = crypto::Sha256(absl::StrCat(std::string(kDigestBytes, '\0'), crypto::Sha256(firmware_)));
}

FakeTpm::FakeTpm(std::shared_ptr<FakeTpmHardware> hardware)
    : hardware_(std::move(hardware)), version_(hardware_->version()) {
  hardware_->PowerCycle();
  sync::MutexLock lock(&hardware_->mutex_);
  stats_.version = version_;
  stats_.transport = "fake";
}

absl::Status FakeTpm::CheckAnswers() {
  if (!usable()) {
    return status::Error(v1::REASON_TPM_FAILED, "this host has no TPM 2.0")
        .NextStep("Give the host a TPM 2.0.");
  }
  if (hardware_->fail_next_ > 0) {
    --hardware_->fail_next_;
    ++stats_.failures;
    return status::Error(v1::REASON_TPM_FAILED, "the TPM does not answer")
        .NextStep("Power-cycle the host.");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FakeTpm::Seal(const crypto::SecretKey& secret) {
  sync::MutexLock lock(&hardware_->mutex_);
  KS_RETURN_IF_ERROR(CheckAnswers());
  const std::string header = absl::StrCat(hardware_->chip_id_, hardware_->pcr7_);
  KS_ASSIGN_OR_RETURN(const std::string sealed,
                      crypto::GcmSealSecret(hardware_->seed_, header, secret));
  ++stats_.seals;
  return FrameBlob(kMagic, absl::StrCat(header, sealed));
}

absl::StatusOr<crypto::SecretKey> FakeTpm::Unseal(absl::string_view blob) {
  sync::MutexLock lock(&hardware_->mutex_);
  KS_RETURN_IF_ERROR(CheckAnswers());
  auto secret = UnsealLocked(blob);
  ++(secret.ok() ? stats_.unseals : stats_.failures);
  return secret;
}

absl::StatusOr<crypto::SecretKey> FakeTpm::UnsealLocked(absl::string_view blob) {
  KS_ASSIGN_OR_RETURN(const absl::string_view rest, UnframeBlob(kMagic, blob));
  if (rest.size() < 2 * kDigestBytes) {
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "not a blob that a TPM sealed");
  }
  if (rest.substr(0, kDigestBytes) != hardware_->chip_id_) {
    return status::Error(v1::REASON_RECOVERY_REQUIRED, "another TPM sealed this")
        .NextStep("Provide the host's recovery key, or put the host's own TPM back.");
  }
  if (rest.substr(kDigestBytes, kDigestBytes) != hardware_->pcr7_) {
    return status::Error(v1::REASON_RECOVERY_REQUIRED,
                         "PCR 7 (Secure Boot) is not what it was at sealing")
        .NextStep("Provide the host's recovery key, or restore the firmware's Secure Boot state.");
  }
  return crypto::GcmOpenSecret(hardware_->seed_, rest.substr(0, 2 * kDigestBytes),
                               rest.substr(2 * kDigestBytes));
}

absl::StatusOr<std::string> FakeTpm::ReadPcr7() {
  sync::MutexLock lock(&hardware_->mutex_);
  KS_RETURN_IF_ERROR(CheckAnswers());
  return hardware_->pcr7_;
}

absl::Status FakeTpm::Shutdown() {
  sync::MutexLock lock(&hardware_->mutex_);
  ++hardware_->orderly_shutdowns_;
  return absl::OkStatus();
}

TpmStats FakeTpm::Stats() const {
  sync::MutexLock lock(&hardware_->mutex_);
  return stats_;
}

}  // namespace keysphere::hostagent::tpm
