#include "hostagent/tpm/real_tpm.h"

#include <tss2/tss2_tpm2_types.h>

#include <cstdint>
#include <utility>

#include "common/status/status.h"
#include "hostagent/tpm/blob.h"
#include "hostagent/tpm/firmware.h"
#include "hostagent/tpm/private_stack.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr absl::string_view kMagic = "KSTPM1";

uint32_t BigEndian(const uint8_t* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = (value << 8) | bytes[i];
  return value;
}

// Sends TPM2_Startup(CLEAR) as bytes: a TPM 1.2 answers it too, in its own format, which tpm2-tss
// would not understand.
absl::StatusOr<TpmVersion> StartChip(TSS2_TCTI_CONTEXT* tcti) {
  constexpr uint8_t kStartupClear[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0};
  constexpr uint32_t kAnswerOf12 = 0x00C4;
  constexpr size_t kHeaderBytes = 10;  // tag, size, code
  uint8_t answer[TPM2_MAX_RESPONSE_SIZE] = {};
  size_t size = sizeof(answer);
  TSS2_RC rc = Tss2_Tcti_Transmit(tcti, sizeof(kStartupClear), kStartupClear);
  if (rc == TSS2_RC_SUCCESS) {
    rc = Tss2_Tcti_Receive(tcti, &size, answer, TSS2_TCTI_TIMEOUT_BLOCK);
  }
  if (rc != TSS2_RC_SUCCESS) return EsysError(rc, "the TPM does not answer");
  if (size < kHeaderBytes) {
    return status::Error(v1::REASON_TPM_FAILED, "the TPM's answer is too short");
  }
  if (BigEndian(answer, 2) == kAnswerOf12) return TpmVersion::k12;
  const uint32_t code = BigEndian(answer + 6, 4);
  // The machine's firmware started its chip already.
  if (code != TPM2_RC_SUCCESS && code != TPM2_RC_INITIALIZE) {
    return EsysError(code, "the TPM does not start");
  }
  return TpmVersion::k20;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RealTpm>> RealTpm::Create(Options options) {
  std::unique_ptr<Transport> transport;
  if (options.tcti.empty()) {
    KS_ASSIGN_OR_RETURN(transport, MakeLibtpmsTransport(options.tpm_dir, options.files));
  } else {
    KS_ASSIGN_OR_RETURN(transport, MakeTctiTransport(options.tcti));
  }
  std::unique_ptr<RealTpm> tpm(new RealTpm(std::move(options), std::move(transport)));
  KS_RETURN_IF_ERROR(tpm->PowerOn());
  return tpm;
}

absl::Status RealTpm::PowerOn() {
  sync::MutexLock lock(&mutex_);
  std::string measurement;
  if (transport_->can_power_cycle()) {
    KS_ASSIGN_OR_RETURN(measurement, MeasureFirmware(*options_.files, options_.tpm_dir));
  }
  KS_RETURN_IF_ERROR(transport_->PowerCycle());
  const absl::StatusOr<TpmVersion> version = StartChip(transport_->tcti());
  // The chip says only that it failed; why is known here.
  KS_RETURN_IF_ERROR(transport_->TakeStorageError());
  KS_RETURN_IF_ERROR(version.status());
  version_ = *version;
  stats_.version = version_;
  stats_.transport = options_.tcti.empty() ? "in-process" : options_.tcti;
  if (!usable()) return absl::OkStatus();
  const absl::Status is_protected = transport_->ProtectMemory();
  if (!is_protected.ok()) {
    stats_.memory_protected = false;
    stats_.memory_note = std::string(is_protected.message());
  }
  if (measurement.empty()) return absl::OkStatus();
  return With([&](Esys* esys) { return esys->ExtendPcr7(measurement); });
}

absl::Status RealTpm::With(absl::FunctionRef<absl::Status(Esys*)> work) {
  if (!usable()) {
    return status::Error(v1::REASON_TPM_FAILED, "this host has a TPM 1.2, which counts as none")
        .NextStep("Give the host a TPM 2.0.");
  }
  absl::Status result;
  TSS2_TCTI_CONTEXT* const tcti = transport_->tcti();
  const bool encrypt = transport_->leaves_process();
  const bool stack_is_private = RunOnPrivateStack([&] {
    auto esys = Esys::Open(tcti, encrypt);
    result = esys.ok() ? work(esys->get()) : esys.status();
  });
  if (!stack_is_private && stats_.memory_protected) {
    stats_.memory_protected = false;
    stats_.memory_note = "the stack of TPM commands could not be locked";
  }
  // A chip whose memory could not be written says only that it failed.
  const absl::Status stored = transport_->TakeStorageError();
  if (!stored.ok()) result = stored;
  if (!result.ok()) ++stats_.failures;
  return result;
}

absl::StatusOr<std::string> RealTpm::Seal(const crypto::SecretKey& secret) {
  sync::MutexLock lock(&mutex_);
  std::string object;
  KS_RETURN_IF_ERROR(With([&](Esys* esys) -> absl::Status {
    KS_ASSIGN_OR_RETURN(object, esys->Seal(secret));
    return absl::OkStatus();
  }));
  ++stats_.seals;
  return FrameBlob(kMagic, object);
}

absl::StatusOr<crypto::SecretKey> RealTpm::Unseal(absl::string_view blob) {
  KS_ASSIGN_OR_RETURN(const absl::string_view object, UnframeBlob(kMagic, blob));
  sync::MutexLock lock(&mutex_);
  crypto::SecretKey secret;
  KS_RETURN_IF_ERROR(With([&](Esys* esys) -> absl::Status {
    KS_ASSIGN_OR_RETURN(secret, esys->Unseal(object));
    return absl::OkStatus();
  }));
  ++stats_.unseals;
  return secret;
}

absl::StatusOr<std::string> RealTpm::ReadPcr7() {
  sync::MutexLock lock(&mutex_);
  std::string value;
  KS_RETURN_IF_ERROR(With([&](Esys* esys) -> absl::Status {
    KS_ASSIGN_OR_RETURN(value, esys->ReadPcr7());
    return absl::OkStatus();
  }));
  return value;
}

absl::Status RealTpm::Shutdown() {
  sync::MutexLock lock(&mutex_);
  // A chip of the machine goes on when the agent stops.
  if (!usable() || !transport_->can_power_cycle()) return absl::OkStatus();
  return With([](Esys* esys) { return esys->ShutdownTpm(); });
}

TpmStats RealTpm::Stats() const {
  sync::MutexLock lock(&mutex_);
  return stats_;
}

}  // namespace keysphere::hostagent::tpm
