#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

// libtpms' headers come in this order.
#include <libtpms/tpm_types.h>
// clang-format off
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_memory.h>
// clang-format on
#include <openssl/crypto.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "hostagent/tpm/transport.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr size_t kMaxStateBytes = 1024 * 1024;
constexpr uint64_t kTctiMagic = 0x4b53504845524531;  // "KSPHERE1"

class LibtpmsTransport;

// libtpms' callbacks bear no context: this names the one chip of the process.
sync::Mutex owner_mutex;
LibtpmsTransport* owner ABSL_GUARDED_BY(owner_mutex) = nullptr;

LibtpmsTransport* Owner() {
  sync::MutexLock lock(&owner_mutex);
  return owner;
}

class LibtpmsTransport : public Transport {
 public:
  LibtpmsTransport(absl::string_view tpm_dir, const files::FileSystem* files)
      : tpm_dir_(tpm_dir), files_(files) {}
  ~LibtpmsTransport() override;

  bool Claim();
  absl::Status PowerCycle() override;
  bool can_power_cycle() const override { return true; }
  bool leaves_process() const override { return false; }
  TSS2_TCTI_CONTEXT* tcti() override { return reinterpret_cast<TSS2_TCTI_CONTEXT*>(&tcti_); }
  absl::Status ProtectMemory() override;
  absl::Status TakeStorageError() override { return std::exchange(error_, absl::OkStatus()); }

  // libtpms' permanent memory: a file for each name ("permall").
  TPM_RESULT Load(unsigned char** data, uint32_t* length, absl::string_view name);
  TPM_RESULT Store(absl::string_view data, absl::string_view name);
  TPM_RESULT Delete(absl::string_view name, bool must_exist);

 private:
  // What tpm2-tss sees: its own first members, then the way back to this object.
  struct Tcti {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    LibtpmsTransport* self;
  };

  static LibtpmsTransport* Self(TSS2_TCTI_CONTEXT* context) {
    return reinterpret_cast<Tcti*>(context)->self;
  }
  static TSS2_RC Transmit(TSS2_TCTI_CONTEXT* context, size_t size, const uint8_t* command);
  static TSS2_RC Receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response,
                         int32_t timeout);

  std::string PathOf(absl::string_view name) const {
    return absl::StrCat(tpm_dir_, "/tpm2-", name, ".state");
  }
  TPM_RESULT Failed(absl::Status status);

  const std::string tpm_dir_;
  const files::FileSystem* const files_;
  absl::Status error_;
  bool started_ = false;
  Tcti tcti_ = {};
  // libtpms' buffer for answers, and how much of it the last answer fills.
  unsigned char* response_ = nullptr;
  uint32_t response_size_ = 0;
  uint32_t response_capacity_ = 0;
};

TPM_RESULT NvramInit() { return TPM_SUCCESS; }
TPM_RESULT NvramLoad(unsigned char** data, uint32_t* length, uint32_t, const char* name) {
  return Owner()->Load(data, length, name);
}
TPM_RESULT NvramStore(const unsigned char* data, uint32_t length, uint32_t, const char* name) {
  return Owner()->Store({reinterpret_cast<const char*>(data), length}, name);
}
TPM_RESULT NvramDelete(uint32_t, const char* name, TPM_BOOL must_exist) {
  return Owner()->Delete(name, must_exist != 0);
}
TPM_RESULT IoInit() { return TPM_SUCCESS; }
TPM_RESULT GetLocality(TPM_MODIFIER_INDICATOR* locality, uint32_t) {
  *locality = 0;
  return TPM_SUCCESS;
}
TPM_RESULT GetPhysicalPresence(TPM_BOOL* present, uint32_t) {
  *present = 0;
  return TPM_SUCCESS;
}

LibtpmsTransport::~LibtpmsTransport() {
  if (started_) TPMLIB_Terminate();
  if (response_ != nullptr) {
    OPENSSL_cleanse(response_, response_capacity_);
    TPM_Free(response_);
  }
  sync::MutexLock lock(&owner_mutex);
  if (owner == this) owner = nullptr;
}

bool LibtpmsTransport::Claim() {
  sync::MutexLock lock(&owner_mutex);
  if (owner != nullptr) return false;
  owner = this;
  return true;
}

absl::Status LibtpmsTransport::PowerCycle() {
  if (std::exchange(started_, false)) TPMLIB_Terminate();
  libtpms_callbacks callbacks = {};
  callbacks.sizeOfStruct = sizeof(callbacks);
  callbacks.tpm_nvram_init = NvramInit;
  callbacks.tpm_nvram_loaddata = NvramLoad;
  callbacks.tpm_nvram_storedata = NvramStore;
  callbacks.tpm_nvram_deletename = NvramDelete;
  callbacks.tpm_io_init = IoInit;
  callbacks.tpm_io_getlocality = GetLocality;
  callbacks.tpm_io_getphysicalpresence = GetPhysicalPresence;
  TPM_RESULT result = TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2);
  if (result == TPM_SUCCESS) result = TPMLIB_RegisterCallbacks(&callbacks);
  if (result == TPM_SUCCESS) result = TPMLIB_MainInit();
  KS_RETURN_IF_ERROR(TakeStorageError());
  if (result != TPM_SUCCESS) {
    return status::Error(v1::REASON_TPM_FAILED,
                         absl::StrCat("libtpms does not start: its error ", result))
        .NextStep(
            "Restore the files of --tpm-dir from a backup, or empty it: a new TPM, and the "
            "host needs its recovery key.");
  }
  started_ = true;
  tcti_.common.v1.magic = kTctiMagic;
  tcti_.common.v1.version = 2;
  tcti_.common.v1.transmit = &LibtpmsTransport::Transmit;
  tcti_.common.v1.receive = &LibtpmsTransport::Receive;
  tcti_.self = this;
  return absl::OkStatus();
}

TSS2_RC LibtpmsTransport::Transmit(TSS2_TCTI_CONTEXT* context, size_t size,
                                   const uint8_t* command) {
  LibtpmsTransport* const self = Self(context);
  const TPM_RESULT result =
      TPMLIB_Process(&self->response_, &self->response_size_, &self->response_capacity_,
                     const_cast<unsigned char*>(command), static_cast<uint32_t>(size));
  return result == TPM_SUCCESS ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_IO_ERROR;
}

TSS2_RC LibtpmsTransport::Receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response,
                                  int32_t /*timeout*/) {
  LibtpmsTransport* const self = Self(context);
  if (response == nullptr) {
    *size = self->response_size_;
    return TSS2_RC_SUCCESS;
  }
  if (*size < self->response_size_) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  std::memcpy(response, self->response_, self->response_size_);
  *size = self->response_size_;
  // The answer may have been a secret; libtpms' own buffers are in protected memory, this is not.
  OPENSSL_cleanse(self->response_, self->response_capacity_);
  return TSS2_RC_SUCCESS;
}

TPM_RESULT LibtpmsTransport::Failed(absl::Status status) {
  error_ = std::move(status);
  return TPM_FAIL;
}

TPM_RESULT LibtpmsTransport::Load(unsigned char** data, uint32_t* length, absl::string_view name) {
  const absl::StatusOr<bool> exists = files_->Exists(PathOf(name));
  if (!exists.ok()) return Failed(exists.status());
  if (!*exists) return TPM_RETRY;  // a new chip
  absl::StatusOr<std::string> content = files_->ReadFile(PathOf(name), kMaxStateBytes);
  if (!content.ok()) return Failed(content.status());
  const TPM_RESULT result = TPM_Malloc(data, static_cast<uint32_t>(content->size()));
  if (result != TPM_SUCCESS) return result;
  std::memcpy(*data, content->data(), content->size());
  *length = static_cast<uint32_t>(content->size());
  OPENSSL_cleanse(&(*content)[0], content->size());
  return TPM_SUCCESS;
}

TPM_RESULT LibtpmsTransport::Store(absl::string_view data, absl::string_view name) {
  absl::Status status = files_->WriteFileAtomically(PathOf(name), data, 0600);
  return status.ok() ? TPM_SUCCESS : Failed(std::move(status));
}

TPM_RESULT LibtpmsTransport::Delete(absl::string_view name, bool must_exist) {
  absl::Status status = files_->Remove(PathOf(name));
  if (status.ok() || (absl::IsNotFound(status) && !must_exist)) return TPM_SUCCESS;
  return Failed(std::move(status));
}

// Writable segments of libtpms: its objects, sessions and buffers lie in global variables.
struct Protection {
  int segments = 0;
  int error = 0;
};

int ProtectSegments(dl_phdr_info* info, size_t /*size*/, void* data) {
  if (info->dlpi_name == nullptr || std::strstr(info->dlpi_name, "libtpms") == nullptr) return 0;
  auto* const protection = static_cast<Protection*>(data);
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) == 0) continue;
    const uintptr_t begin = (info->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const uintptr_t end =
        (info->dlpi_addr + segment.p_vaddr + segment.p_memsz + page - 1) & ~(page - 1);
    ++protection->segments;
    void* const address = reinterpret_cast<void*>(begin);
    if (madvise(address, end - begin, MADV_DONTDUMP) != 0) protection->error = errno;
    if (mlock(address, end - begin) != 0) protection->error = errno;
  }
  return 0;
}

absl::Status LibtpmsTransport::ProtectMemory() {
  Protection protection;
  dl_iterate_phdr(&ProtectSegments, &protection);
  if (protection.segments == 0) {
    return status::Error(v1::REASON_INTERNAL, "the memory of libtpms was not found");
  }
  if (protection.error != 0) {
    return status::Error(v1::REASON_KEY_MEMORY_FULL,
                         absl::StrCat("the memory of libtpms could not be locked: ",
                                      std::strerror(protection.error)))
        .NextStep("Raise ulimit -l.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeLibtpmsTransport(absl::string_view tpm_dir,
                                                                const files::FileSystem* files) {
  auto transport = std::make_unique<LibtpmsTransport>(tpm_dir, files);
  if (!transport->Claim()) {
    return status::Error(v1::REASON_INVALID_STATE, "this process has a TPM already")
        .NextStep("Run one host agent in a process.");
  }
  KS_RETURN_IF_ERROR(files->MakeFolders(tpm_dir));
  // A kill in the middle of a write left its temporary file; the chip's state is the former.
  KS_RETURN_IF_ERROR(files->RemoveStaleTemporaries(tpm_dir).status());
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace keysphere::hostagent::tpm
