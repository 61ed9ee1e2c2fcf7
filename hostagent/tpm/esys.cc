#include "hostagent/tpm/esys.h"

#include <openssl/crypto.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr size_t kMaxSecretBytes = 64;
constexpr size_t kSha256Bytes = 32;
constexpr TPMT_SYM_DEF kAes128Cfb = {TPM2_ALG_AES, {128}, {TPM2_ALG_CFB}};

// A structure that ESAPI allocated.
struct EsysFree {
  void operator()(void* memory) const { Esys_Free(memory); }
};
template <typename T>
using EsysPtr = std::unique_ptr<T, EsysFree>;

TPML_PCR_SELECTION Pcr7() {
  TPML_PCR_SELECTION selection = {};
  selection.count = 1;
  selection.pcrSelections[0].hash = TPM2_ALG_SHA256;
  selection.pcrSelections[0].sizeofSelect = 3;
  selection.pcrSelections[0].pcrSelect[0] = 1 << 7;
  return selection;
}

// The storage key: made anew from the chip's seed at each use, and the same each time. NODA here
// and below: an agent that is killed leaves the chip without TPM2_Shutdown, which counts as a
// failed try for every other object, and a few of them lock the chip.
TPM2B_PUBLIC StorageKeyTemplate() {
  TPM2B_PUBLIC area = {};
  TPMT_PUBLIC& key = area.publicArea;
  key.type = TPM2_ALG_ECC;
  key.nameAlg = TPM2_ALG_SHA256;
  key.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM |
                         TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                         TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA;
  TPMS_ECC_PARMS& ecc = key.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  return area;
}

TPM2B_PUBLIC SealedObjectTemplate(const TPM2B_DIGEST& policy) {
  TPM2B_PUBLIC area = {};
  TPMT_PUBLIC& object = area.publicArea;
  object.type = TPM2_ALG_KEYEDHASH;
  object.nameAlg = TPM2_ALG_SHA256;
  object.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;
  object.authPolicy = policy;
  object.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  return area;
}

// The error without the number of the handle, parameter or session that it is about. Errors of the
// library's own layers keep their layer and match none of the TPM's.
TSS2_RC Kind(TSS2_RC rc) {
  constexpr TSS2_RC kFormatOne = 0x80;
  if ((rc & 0xFFFF0000) != 0 || (rc & kFormatOne) == 0) return rc;
  return rc & 0xBF;
}

absl::Status UnsealError(TSS2_RC rc) {
  switch (Kind(rc)) {
    case TPM2_RC_POLICY_FAIL:
    case TPM2_RC_PCR_CHANGED:
      return status::Error(v1::REASON_RECOVERY_REQUIRED,
                           "PCR 7 (Secure Boot) is not what it was at sealing")
          .NextStep(
              "Provide the host's recovery key, or restore the firmware's Secure Boot state.");
    case TPM2_RC_INTEGRITY:
      return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "the TPM finds the sealed blob damaged");
    default:
      return EsysError(rc, "the TPM does not unseal");
  }
}

absl::Status CorruptBlob() {
  return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "not a blob that a TPM sealed");
}

}  // namespace

absl::Status EsysError(TSS2_RC rc, absl::string_view action) {
  return status::Error(v1::REASON_TPM_FAILED, absl::StrCat(action, ": ", Tss2_RC_Decode(rc)))
      .NextStep("Power-cycle the host; if it stays so, its TPM is defective.");
}

absl::StatusOr<std::unique_ptr<Esys>> Esys::Open(TSS2_TCTI_CONTEXT* tcti, bool encrypt) {
  ESYS_CONTEXT* context = nullptr;
  const TSS2_RC rc = Esys_Initialize(&context, tcti, nullptr);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM software stack does not start");
  return std::unique_ptr<Esys>(new Esys(context, encrypt));
}

Esys::~Esys() {
  for (auto handle = handles_.rbegin(); handle != handles_.rend(); ++handle) {
    Esys_FlushContext(context_, *handle);
  }
  FlushBuffers();
  Esys_Finalize(&context_);
}

ESYS_TR Esys::Keep(ESYS_TR handle) {
  handles_.push_back(handle);
  return handle;
}

void Esys::FlushBuffers() {
  for (int i = 0; i < 3; ++i) {
    TPM2B_DIGEST* bytes = nullptr;
    if (Esys_GetRandom(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, 64, &bytes) ==
        TSS2_RC_SUCCESS) {
      Esys_Free(bytes);
    }
  }
}

absl::StatusOr<std::string> Esys::ReadPcr7() {
  const TPML_PCR_SELECTION selection = Pcr7();
  UINT32 counter = 0;
  TPML_PCR_SELECTION* read = nullptr;
  TPML_DIGEST* values = nullptr;
  const TSS2_RC rc = Esys_PCR_Read(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &selection,
                                   &counter, &read, &values);
  const EsysPtr<TPML_PCR_SELECTION> owned_read(read);
  const EsysPtr<TPML_DIGEST> owned_values(values);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "PCR 7 cannot be read");
  if (values->count != 1 || values->digests[0].size != kSha256Bytes) {
    return status::Error(v1::REASON_TPM_FAILED, "the TPM has no SHA-256 bank of PCRs")
        .NextStep("Enable the SHA-256 bank in the firmware's TPM settings.");
  }
  return std::string(reinterpret_cast<const char*>(values->digests[0].buffer), kSha256Bytes);
}

absl::Status Esys::ExtendPcr7(absl::string_view sha256) {
  TPML_DIGEST_VALUES values = {};
  values.count = 1;
  values.digests[0].hashAlg = TPM2_ALG_SHA256;
  if (sha256.size() != kSha256Bytes) {
    return status::Error(v1::REASON_INTERNAL, "a PCR is extended with 32 bytes");
  }
  std::memcpy(values.digests[0].digest.sha256, sha256.data(), kSha256Bytes);
  const TSS2_RC rc = Esys_PCR_Extend(context_, ESYS_TR_PCR7, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                     ESYS_TR_NONE, &values);
  return rc == TSS2_RC_SUCCESS ? absl::OkStatus() : EsysError(rc, "PCR 7 cannot be extended");
}

absl::Status Esys::MakeStorageKey() {
  if (storage_key_ != ESYS_TR_NONE) return absl::OkStatus();
  const TPM2B_SENSITIVE_CREATE no_auth = {};
  const TPM2B_PUBLIC key = StorageKeyTemplate();
  const TPM2B_DATA no_data = {};
  const TPML_PCR_SELECTION no_pcrs = {};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = Esys_CreatePrimary(context_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                        ESYS_TR_NONE, &no_auth, &key, &no_data, &no_pcrs, &handle,
                                        nullptr, nullptr, nullptr, nullptr);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM makes no storage key");
  storage_key_ = Keep(handle);
  return absl::OkStatus();
}

absl::StatusOr<ESYS_TR> Esys::StartSession(TPM2_SE type, TPMA_SESSION attributes) {
  ESYS_TR session = ESYS_TR_NONE;
  TSS2_RC rc = Esys_StartAuthSession(context_, encrypt_ ? storage_key_ : ESYS_TR_NONE, ESYS_TR_NONE,
                                     ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr, type,
                                     &kAes128Cfb, TPM2_ALG_SHA256, &session);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM starts no session");
  Keep(session);
  if (!encrypt_) attributes = 0;
  rc =
      Esys_TRSess_SetAttributes(context_, session, TPMA_SESSION_CONTINUESESSION | attributes, 0xFF);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "a TPM session takes no attributes");
  return session;
}

absl::StatusOr<ESYS_TR> Esys::StartPcr7Session(TPM2_SE type, TPMA_SESSION attributes) {
  KS_ASSIGN_OR_RETURN(const ESYS_TR session, StartSession(type, attributes));
  const TPM2B_DIGEST present_value = {};
  const TPML_PCR_SELECTION selection = Pcr7();
  const TSS2_RC rc = Esys_PolicyPCR(context_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                    &present_value, &selection);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM takes no policy of PCR 7");
  return session;
}

absl::StatusOr<TPM2B_DIGEST> Esys::Pcr7Policy() {
  KS_ASSIGN_OR_RETURN(const ESYS_TR trial, StartPcr7Session(TPM2_SE_TRIAL, 0));
  TPM2B_DIGEST* digest = nullptr;
  const TSS2_RC rc =
      Esys_PolicyGetDigest(context_, trial, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &digest);
  const EsysPtr<TPM2B_DIGEST> owned(digest);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM gives no policy");
  return *digest;
}

absl::StatusOr<std::string> Esys::Create(const TPM2B_SENSITIVE_CREATE& sensitive, ESYS_TR session,
                                         const TPM2B_DIGEST& policy) {
  const TPM2B_PUBLIC object = SealedObjectTemplate(policy);
  const TPM2B_DATA no_data = {};
  const TPML_PCR_SELECTION no_pcrs = {};
  TPM2B_PRIVATE* out_private = nullptr;
  TPM2B_PUBLIC* out_public = nullptr;
  TSS2_RC rc =
      Esys_Create(context_, storage_key_, session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &object,
                  &no_data, &no_pcrs, &out_private, &out_public, nullptr, nullptr, nullptr);
  const EsysPtr<TPM2B_PRIVATE> owned_private(out_private);
  const EsysPtr<TPM2B_PUBLIC> owned_public(out_public);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM does not seal");

  TPM2B_NAME* name = nullptr;
  rc = Esys_TR_GetName(context_, storage_key_, &name);
  const EsysPtr<TPM2B_NAME> owned_name(name);
  uint8_t bytes[sizeof(TPM2B_NAME) + sizeof(TPM2B_PUBLIC) + sizeof(TPM2B_PRIVATE)];
  size_t size = 0;
  if (rc == TSS2_RC_SUCCESS) {
    rc = Tss2_MU_TPM2B_NAME_Marshal(name, bytes, sizeof(bytes), &size);
  }
  if (rc == TSS2_RC_SUCCESS) {
    rc = Tss2_MU_TPM2B_PUBLIC_Marshal(out_public, bytes, sizeof(bytes), &size);
  }
  if (rc == TSS2_RC_SUCCESS) {
    rc = Tss2_MU_TPM2B_PRIVATE_Marshal(out_private, bytes, sizeof(bytes), &size);
  }
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the sealed object cannot be encoded");
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

absl::StatusOr<std::string> Esys::Seal(const crypto::SecretKey& secret) {
  if (secret.empty() || secret.size() > kMaxSecretBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "a TPM seals 1 to 64 bytes");
  }
  KS_RETURN_IF_ERROR(MakeStorageKey());
  KS_ASSIGN_OR_RETURN(const TPM2B_DIGEST policy, Pcr7Policy());
  ESYS_TR session = ESYS_TR_PASSWORD;
  if (encrypt_) {
    KS_ASSIGN_OR_RETURN(session, StartSession(TPM2_SE_HMAC, TPMA_SESSION_DECRYPT));
  }
  TPM2B_SENSITIVE_CREATE sensitive = {};
  const auto bytes = secret.bytes(crypto::SecretKeyAccess::Token());
  sensitive.sensitive.data.size = static_cast<UINT16>(bytes.size());
  std::memcpy(sensitive.sensitive.data.buffer, bytes.data(), bytes.size());
  auto object = Create(sensitive, session, policy);
  OPENSSL_cleanse(sensitive.sensitive.data.buffer, sizeof(sensitive.sensitive.data.buffer));
  // ESAPI keeps a copy of what was sealed last: let that be zeros.
  const auto written_over = Create(sensitive, session, policy);
  if (object.ok() && !written_over.ok()) return written_over.status();
  return object;
}

absl::Status Esys::CheckParent(const TPM2B_NAME& parent) {
  TPM2B_NAME* name = nullptr;
  const TSS2_RC rc = Esys_TR_GetName(context_, storage_key_, &name);
  const EsysPtr<TPM2B_NAME> owned(name);
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM's storage key has no name");
  if (name->size != parent.size || std::memcmp(name->name, parent.name, name->size) != 0) {
    return status::Error(v1::REASON_RECOVERY_REQUIRED, "another TPM sealed this")
        .NextStep("Provide the host's recovery key, or put the host's own TPM back.");
  }
  return absl::OkStatus();
}

absl::StatusOr<crypto::SecretKey> Esys::Unseal(absl::string_view object) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(object.data());
  size_t offset = 0;
  TPM2B_NAME parent = {};
  TPM2B_PUBLIC public_area = {};
  TPM2B_PRIVATE private_area = {};
  if (Tss2_MU_TPM2B_NAME_Unmarshal(bytes, object.size(), &offset, &parent) != TSS2_RC_SUCCESS ||
      Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes, object.size(), &offset, &public_area) !=
          TSS2_RC_SUCCESS ||
      Tss2_MU_TPM2B_PRIVATE_Unmarshal(bytes, object.size(), &offset, &private_area) !=
          TSS2_RC_SUCCESS ||
      offset != object.size()) {
    return CorruptBlob();
  }
  KS_RETURN_IF_ERROR(MakeStorageKey());
  KS_RETURN_IF_ERROR(CheckParent(parent));
  ESYS_TR loaded = ESYS_TR_NONE;
  TSS2_RC rc = Esys_Load(context_, storage_key_, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                         &private_area, &public_area, &loaded);
  if (rc != TSS2_RC_SUCCESS) return UnsealError(rc);
  Keep(loaded);
  KS_ASSIGN_OR_RETURN(const ESYS_TR session,
                      StartPcr7Session(TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT));
  TPM2B_SENSITIVE_DATA* data = nullptr;
  rc = Esys_Unseal(context_, loaded, session, ESYS_TR_NONE, ESYS_TR_NONE, &data);
  if (rc != TSS2_RC_SUCCESS) return UnsealError(rc);
  const EsysPtr<TPM2B_SENSITIVE_DATA> owned(data);
  auto secret = crypto::SecretKey::CopyOf({data->buffer, data->size});
  OPENSSL_cleanse(data->buffer, sizeof(data->buffer));
  return secret;
}

absl::Status Esys::ShutdownTpm() {
  const TSS2_RC rc =
      Esys_Shutdown(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SU_CLEAR);
  return rc == TSS2_RC_SUCCESS ? absl::OkStatus() : EsysError(rc, "the TPM does not shut down");
}

}  // namespace keysphere::hostagent::tpm
