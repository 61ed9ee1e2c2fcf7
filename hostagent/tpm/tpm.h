#ifndef KEYSPHERE_HOSTAGENT_TPM_TPM_H_
#define KEYSPHERE_HOSTAGENT_TPM_TPM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

namespace keysphere::hostagent::tpm {

// What the host's mainboard carries. A TPM 1.2 counts as none for everything (S29): it is told
// apart only so that a host can say why it has no TPM.
enum class TpmVersion { kNone, k12, k20 };

absl::string_view TpmVersionName(TpmVersion version);  // "none", "1.2", "2.0"

struct TpmStats {
  TpmVersion version = TpmVersion::kNone;
  // Where commands go: "none", "in-process", "fake" or the TCTI string.
  std::string transport;
  uint64_t seals = 0;
  uint64_t unseals = 0;
  uint64_t failures = 0;
  // Whether the TPM's own memory, where it lies in this process, is locked and excluded from
  // dumps. False: `memory_note` says why.
  bool memory_protected = true;
  std::string memory_note;
};

// The host's TPM as the agent uses it: secrets sealed so that they open only in this TPM and only
// while PCR 7 (the state of Secure Boot, SHA-256 bank) is what it was (S138). Thread safe; a call
// takes some milliseconds and blocks.
class Tpm {
 public:
  virtual ~Tpm() = default;

  virtual TpmVersion version() const = 0;
  // A TPM 2.0 is there. All the rest of this interface answers TPM_FAILED without it.
  bool usable() const { return version() == TpmVersion::k20; }

  // Encrypts `secret` (1 to 64 bytes) inside the TPM, under the present value of PCR 7. The blob is
  // no secret.
  virtual absl::StatusOr<std::string> Seal(const crypto::SecretKey& secret) = 0;

  // RECOVERY_REQUIRED: PCR 7 changed since, or another TPM sealed the blob (S138, S144).
  // CIPHERTEXT_CORRUPT: not a blob, or a damaged one. TPM_FAILED: the TPM does not answer or
  // refuses for another reason.
  virtual absl::StatusOr<crypto::SecretKey> Unseal(absl::string_view blob) = 0;

  // The 32 bytes of PCR 7.
  virtual absl::StatusOr<std::string> ReadPcr7() = 0;

  // Part of an orderly stop of the host: TPM2_Shutdown. A host that loses power does not call it.
  virtual absl::Status Shutdown() = 0;

  virtual TpmStats Stats() const = 0;
};

// A host without a TPM, or with one that it cannot use (TPM 1.2).
std::unique_ptr<Tpm> MakeNoTpm(TpmVersion version = TpmVersion::kNone);

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_TPM_H_
