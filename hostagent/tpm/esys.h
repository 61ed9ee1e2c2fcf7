#ifndef KEYSPHERE_HOSTAGENT_TPM_ESYS_H_
#define KEYSPHERE_HOSTAGENT_TPM_ESYS_H_

#include <tss2/tss2_esys.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

namespace keysphere::hostagent::tpm {

// TPM_FAILED with tpm2-tss' words for `rc`.
absl::Status EsysError(TSS2_RC rc, absl::string_view action);

// One use of a TPM 2.0 through tpm2-tss' ESAPI: a few commands, then thrown away, so that no buffer
// of the library outlives the secret that went through it.
class Esys {
 public:
  // `tcti` outlives it. With `encrypt`, secrets are encrypted on their way to the chip: sessions
  // are salted with the storage key, whose private half never leaves it (a few ms each, since
  // tpm2-tss loads OpenSSL's algorithms anew for every hash).
  static absl::StatusOr<std::unique_ptr<Esys>> Open(TSS2_TCTI_CONTEXT* tcti, bool encrypt);
  Esys(const Esys&) = delete;
  Esys& operator=(const Esys&) = delete;
  ~Esys();

  // PCR 7 of the SHA-256 bank.
  absl::StatusOr<std::string> ReadPcr7();
  absl::Status ExtendPcr7(absl::string_view sha256);

  // A data object with `secret` under PolicyPCR(7), as bytes: the storage key's name, the object's
  // public and private areas.
  absl::StatusOr<std::string> Seal(const crypto::SecretKey& secret);
  // RECOVERY_REQUIRED and CIPHERTEXT_CORRUPT as Tpm::Unseal says.
  absl::StatusOr<crypto::SecretKey> Unseal(absl::string_view object);

  absl::Status ShutdownTpm();

 private:
  Esys(ESYS_CONTEXT* context, bool encrypt) : context_(context), encrypt_(encrypt) {}

  absl::Status MakeStorageKey();
  absl::Status CheckParent(const TPM2B_NAME& parent);
  absl::StatusOr<ESYS_TR> StartSession(TPM2_SE type, TPMA_SESSION attributes);
  absl::StatusOr<ESYS_TR> StartPcr7Session(TPM2_SE type, TPMA_SESSION attributes);
  absl::StatusOr<TPM2B_DIGEST> Pcr7Policy();
  absl::StatusOr<std::string> Create(const TPM2B_SENSITIVE_CREATE& sensitive, ESYS_TR session,
                                     const TPM2B_DIGEST& policy);
  // Further commands through the same buffers: what a secret left in them is written over.
  void FlushBuffers();
  ESYS_TR Keep(ESYS_TR handle);

  ESYS_CONTEXT* context_;
  const bool encrypt_;
  ESYS_TR storage_key_ = ESYS_TR_NONE;
  std::vector<ESYS_TR> handles_;  // flushed at the end
};

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_ESYS_H_
