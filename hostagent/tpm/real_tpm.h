#ifndef KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_H_
#define KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "common/sync/mutex.h"
#include "hostagent/tpm/esys.h"
#include "hostagent/tpm/tpm.h"
#include "hostagent/tpm/transport.h"

namespace keysphere::hostagent::tpm {

// A real TPM 2.0 through tpm2-tss. Making it is the host's power-on: the chip is reset, started and
// PCR 7 extended once with the firmware's settings (a chip of the machine, `device:…`, is only
// connected to: its PCRs are the machine's).
//
// tpm2-tss prints to stderr what it does not like. A daemon sets TSS2_LOG=all+NONE in its
// environment before it makes one; errors are reported through Status alone.
class RealTpm : public Tpm {
 public:
  struct Options {
    // The folder of firmware.json and, in process, of the chip's memory. Made if missing (0700). It
    // is hardware: apart from the host's state, and never copied with it.
    std::string tpm_dir;
    // Empty: libtpms in this process (once in a process). Else a TCTI string; see transport.h.
    std::string tcti;
    const files::FileSystem* files = nullptr;
  };

  // version() is 1.2 where a TPM 1.2 answers (S29). TPM_FAILED: none answers.
  static absl::StatusOr<std::unique_ptr<RealTpm>> Create(Options options);
  // The chip loses power, but for a Shutdown before.
  ~RealTpm() override = default;

  TpmVersion version() const override { return version_; }
  absl::StatusOr<std::string> Seal(const crypto::SecretKey& secret) override;
  absl::StatusOr<crypto::SecretKey> Unseal(absl::string_view blob) override;
  absl::StatusOr<std::string> ReadPcr7() override;
  absl::Status Shutdown() override;
  TpmStats Stats() const override;

 private:
  RealTpm(Options options, std::unique_ptr<Transport> transport)
      : options_(std::move(options)), transport_(std::move(transport)) {}

  absl::Status PowerOn() ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs `work` with the chip; counts failures.
  absl::Status With(absl::FunctionRef<absl::Status(Esys*)> work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  TpmVersion version_ = TpmVersion::kNone;
  mutable sync::Mutex mutex_;
  const std::unique_ptr<Transport> transport_ ABSL_PT_GUARDED_BY(mutex_);
  TpmStats stats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_H_
