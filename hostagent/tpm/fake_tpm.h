#ifndef KEYSPHERE_HOSTAGENT_TPM_FAKE_TPM_H_
#define KEYSPHERE_HOSTAGENT_TPM_FAKE_TPM_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/sync/mutex.h"
#include "hostagent/tpm/tpm.h"

namespace keysphere::hostagent::tpm {

// The chip and firmware of a simulated host: what stays when the host's agent is restarted. Any
// number of them live in one process. Thread safe.
class FakeTpmHardware {
 public:
  explicit FakeTpmHardware(TpmVersion version = TpmVersion::k20);
  FakeTpmHardware(const FakeTpmHardware&) = delete;
  FakeTpmHardware& operator=(const FakeTpmHardware&) = delete;

  // Another chip is put in, or taken out. Agents that run keep what they saw at their start.
  void SetVersion(TpmVersion version);
  // What the firmware will extend PCR 7 with from the next power cycle on; at first "secureBoot".
  void SetFirmware(absl::string_view measured);
  // The next `calls` of Seal, Unseal and ReadPcr7 answer TPM_FAILED.
  void FailNext(int calls);

  TpmVersion version() const;
  // How often it was reset, and how often an orderly shutdown came before.
  int power_cycles() const;
  int orderly_shutdowns() const;

 private:
  friend class FakeTpm;
  void PowerCycle();

  mutable sync::Mutex mutex_;
  TpmVersion version_ ABSL_GUARDED_BY(mutex_);
  std::string firmware_ ABSL_GUARDED_BY(mutex_) = "secureBoot";
  std::string pcr7_ ABSL_GUARDED_BY(mutex_);
  int fail_next_ ABSL_GUARDED_BY(mutex_) = 0;
  int power_cycles_ ABSL_GUARDED_BY(mutex_) = 0;
  int orderly_shutdowns_ ABSL_GUARDED_BY(mutex_) = 0;
  // The storage seed: never leaves the chip. Blobs name the chip by a hash of it.
  crypto::SecretKey seed_ ABSL_GUARDED_BY(mutex_);
  std::string chip_id_ ABSL_GUARDED_BY(mutex_);
};

// A Tpm over FakeTpmHardware. Making one is a power cycle. Sealed blobs are really encrypted, with
// the value of PCR 7 authenticated, so that a blob opens only where it should.
class FakeTpm : public Tpm {
 public:
  explicit FakeTpm(std::shared_ptr<FakeTpmHardware> hardware);

  TpmVersion version() const override { return version_; }
  absl::StatusOr<std::string> Seal(const crypto::SecretKey& secret) override;
  absl::StatusOr<crypto::SecretKey> Unseal(absl::string_view blob) override;
  absl::StatusOr<std::string> ReadPcr7() override;
  absl::Status Shutdown() override;
  TpmStats Stats() const override;

 private:
  absl::Status CheckAnswers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(hardware_->mutex_);
  absl::StatusOr<crypto::SecretKey> UnsealLocked(absl::string_view blob)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(hardware_->mutex_);

  const std::shared_ptr<FakeTpmHardware> hardware_;
  const TpmVersion version_;
  TpmStats stats_ ABSL_GUARDED_BY(hardware_->mutex_);
};

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_FAKE_TPM_H_
