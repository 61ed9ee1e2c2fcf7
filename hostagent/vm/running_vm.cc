#include "hostagent/vm/running_vm.h"

#include <openssl/crypto.h>

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/vm/kek_cache.h"

namespace keysphere::hostagent::vm {

RunningVm::~RunningVm() {
  // A guest that wants its writes durable has flushed; this is a courtesy.
  (void)Flush();
  disks_.clear();
  folder_->running_ = nullptr;
  folder_->ReleaseLock();
}

absl::StatusOr<GuestDisk*> RunningVm::Disk(absl::string_view device_or_file) {
  const VmDisk* const disk = folder_->FindDisk(device_or_file);
  for (AttachedDisk& attached : disks_) {
    if (disk == nullptr || attached.file != disk->file) continue;
    if (attached.opened == nullptr) {
      KS_ASSIGN_OR_RETURN(attached.opened,
                          GuestDisk::Open(folder_->files_, folder_->paths_, *disk,
                                          attached.dek.empty() ? nullptr : &attached.dek));
    }
    return attached.opened.get();
  }
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("the VM has no disk ", status::Quote(device_or_file)))
      .Object("disk", device_or_file);
}

absl::Status RunningVm::Flush() {
  absl::Status first;
  for (AttachedDisk& attached : disks_) {
    if (attached.opened != nullptr) first.Update(attached.opened->Flush());
  }
  return first;
}

absl::StatusOr<absl::optional<std::string>> RunningVm::ReadNvram() const {
  return folder_->ReadNvram(nvram_dek_.empty() ? nullptr : &nvram_dek_);
}

absl::Status RunningVm::WriteNvram(absl::string_view nvram) {
  const std::string& name = folder_->config_->nvram;
  if (nvram.size() > kMaxNvramBytes) {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("an NVRAM of ", nvram.size(), " bytes"));
  }
  if (name.empty() || (folder_->encrypted() && nvram_dek_.empty())) {
    return status::Error(v1::REASON_INVALID_STATE, "the VM has no NVRAM")
        .Object("vm", folder_->config_->name);
  }
  std::string content(nvram);
  if (folder_->encrypted()) {
    KS_ASSIGN_OR_RETURN(content, SealNvram(nvram, folder_->sealed_->guid, nvram_dek_));
  }
  return folder_->files_.WriteFileAtomically(folder_->paths_.In(name), content, 0600);
}

const SealedConfig* RunningVm::sealed() const {
  return home_dek_.empty() || !folder_->sealed_.has_value() ? nullptr : &*folder_->sealed_;
}

absl::StatusOr<std::string> RunningVm::State() const {
  KS_ASSIGN_OR_RETURN(absl::optional<std::string> nvram, ReadNvram());
  std::string state = folder_->config_->vmx.Serialize();
  if (!nvram.has_value()) return state;
  state.reserve(state.size() + nvram->size());  // one block, which the caller can wipe
  state.append(*nvram);
  OPENSSL_cleanse(&(*nvram)[0], nvram->size());
  return state;
}

absl::StatusOr<std::unique_ptr<RunningVm>> VmFolder::PowerOn(KekLookup lookup) {
  KS_RETURN_IF_ERROR(Begin(/*powered_off=*/true, "power on"));
  auto running = absl::WrapUnique(new RunningVm(this));
  running_ = running.get();  // from here on its end releases the lock
  KekCache keks(lookup);
  if (sealed_.has_value()) {
    KS_ASSIGN_OR_RETURN(const OpenVm open, OpenHome(keks));
    KS_ASSIGN_OR_RETURN(running->home_dek_, open.home_dek().Clone());
    if (sealed_->nvram.has_value()) {
      KS_ASSIGN_OR_RETURN(running->nvram_dek_, OpenNvramDek(keks));
      KS_RETURN_IF_ERROR(
          AsMissing(files_.Stat(paths_.In(config_->nvram)).status(), config_->nvram));
    }
  }
  running->disks_.reserve(disks_.size());
  for (size_t i = 0; i < disks_.size(); ++i) {
    const VmDisk& disk = disks_[i];
    RunningVm::AttachedDisk attached;
    attached.file = disk.file;
    if (!SharesFlat(i)) {
      KS_ASSIGN_OR_RETURN(attached.lock, LockFlat(files_, paths_, disk));
    }
    if (disk.encrypted()) {
      KS_ASSIGN_OR_RETURN(attached.dek, OpenDiskDek(disk, keks));
    }
    running->disks_.push_back(std::move(attached));
  }
  return running;
}

}  // namespace keysphere::hostagent::vm
