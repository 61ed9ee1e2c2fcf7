#include "hostagent/vm/vm_folder.h"

#include <algorithm>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/vm/kek_cache.h"
#include "hostagent/vm/running_vm.h"
#include "hostagent/vm/vm_job.h"

namespace keysphere::hostagent::vm {
namespace {

// The .vmx that `path` means. Errors name no folder of this machine.
absl::StatusOr<VmPaths> FindVmx(const files::FileSystem& files, absl::string_view path) {
  VmPaths paths;
  while (path.size() > 1 && absl::EndsWith(path, "/")) path.remove_suffix(1);
  const absl::StatusOr<files::FileInfo> info = files.Stat(path);
  if (!info.ok()) return AsMissing(info.status(), BaseName(path));
  if (!info->is_folder) {
    paths.folder = files::FolderOf(path);
    paths.vmx_name = std::string(BaseName(path));
  } else {
    paths.folder = std::string(path);
    KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(path));
    for (const std::string& name : names) {
      if (!absl::EndsWithIgnoreCase(name, ".vmx") || absl::StartsWith(name, ".")) continue;
      if (!paths.vmx_name.empty()) {
        return status::Error(v1::REASON_INVALID_ARGUMENT,
                             absl::StrCat(status::Quote(BaseName(path)), " has more than one .vmx"))
            .NextStep("Name the .vmx instead of the folder.");
      }
      paths.vmx_name = name;
    }
    if (paths.vmx_name.empty()) {
      return status::Error(v1::REASON_VM_FILE_MISSING,
                           absl::StrCat(status::Quote(BaseName(path)), " has no .vmx"))
          .Object("file", BaseName(path));
    }
  }
  if (!absl::EndsWithIgnoreCase(paths.vmx_name, ".vmx")) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(BaseName(path)), " is no .vmx"));
  }
  paths.stem = paths.vmx_name.substr(0, paths.vmx_name.size() - 4);
  return paths;
}

DiskDescription DescribeDisk(const VmDisk& disk) {
  DiskDescription description;
  description.device = disk.device;
  description.file = disk.file;
  description.flat_file = disk.flat_file;
  description.bytes = disk.bytes;
  if (disk.key_safe.has_value()) description.key_id = disk.key_safe->key;
  description.problem = disk.problem;
  return description;
}

}  // namespace

VmFolder::~VmFolder() { KS_CHECK(running_ == nullptr && !job_); }

absl::StatusOr<std::unique_ptr<VmFolder>> VmFolder::Open(const files::FileSystem& files,
                                                         absl::string_view path) {
  KS_ASSIGN_OR_RETURN(VmPaths paths, FindVmx(files, path));
  std::unique_ptr<VmFolder> vm = absl::WrapUnique(new VmFolder(files, std::move(paths)));
  KS_ASSIGN_OR_RETURN(const bool needs_recovery, NeedsRecovery(files, vm->paths_));
  if (needs_recovery) {
    absl::StatusOr<files::FileLock> lock = files.Lock(vm->paths_.Vmx());
    if (lock.ok()) {
      vm->lock_ = *std::move(lock);
      vm->unrecovered_ = true;
      const absl::Status recovered = vm->RecoverIfNeeded();
      vm->lock_.Release();
      KS_RETURN_IF_ERROR(recovered);
    } else if (status::ReasonOf(lock.status()) != v1::REASON_VM_IN_USE) {
      return lock.status();
    }
    // In use: what was found belongs to a change that goes on, or to a powered-on VM. It has not
    // been committed, or will be completed by who holds the lock.
  }
  // What atomic writes left; those of others that are going on stay.
  KS_RETURN_IF_ERROR(files.RemoveStaleTemporaries(vm->paths_.folder).status());
  KS_RETURN_IF_ERROR(vm->Load());
  return vm;
}

absl::optional<KeyId> VmFolder::ReadKeyId(const files::FileSystem& files, absl::string_view path) {
  const absl::StatusOr<std::string> text = files.ReadFile(path, Vmx::kMaxFileBytes);
  if (!text.ok()) return absl::nullopt;
  // Line by line: one that is damaged says nothing about the others.
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const absl::StatusOr<Vmx> vmx = Vmx::Parse(line, path);
    const std::string* const locator = vmx.ok() ? vmx->Find(kKeySafe) : nullptr;
    if (locator == nullptr) continue;
    const absl::StatusOr<KeySafe> safe = ParseKeySafe(*locator, path);
    if (safe.ok()) return safe->key;
  }
  return absl::nullopt;
}

absl::Status VmFolder::RecoverIfNeeded(bool disks_locked) {
  if (!unrecovered_) return absl::OkStatus();
  const bool had_lock = lock_.held();
  if (!had_lock) {
    KS_ASSIGN_OR_RETURN(lock_, files_.Lock(paths_.Vmx()));
  }
  const absl::Status recovered = Recover(files_, paths_, &lock_, disks_locked);
  if (!had_lock) lock_.Release();
  KS_RETURN_IF_ERROR(recovered);
  unrecovered_ = false;
  return absl::OkStatus();
}

absl::Status VmFolder::Load() {
  const absl::StatusOr<files::FileInfo> info = files_.Stat(paths_.Vmx());
  if (!info.ok()) return AsMissing(info.status(), paths_.vmx_name);
  const absl::StatusOr<std::string> text = files_.ReadFile(paths_.Vmx(), Vmx::kMaxFileBytes);
  if (!text.ok()) {
    if (status::ReasonOf(text.status()) != v1::REASON_TOO_LARGE) {
      return AsMissing(text.status(), paths_.vmx_name);
    }
    return status::Error(v1::REASON_VM_FILE_INVALID,
                         absl::StrCat(status::Quote(paths_.vmx_name), " is larger than ",
                                      Vmx::kMaxFileBytes, " bytes"))
        .With("file", paths_.vmx_name)
        .NextStep("Restore the file from a backup.");
  }
  KS_ASSIGN_OR_RETURN(Vmx vmx, Vmx::Parse(*text, paths_.vmx_name));
  KS_ASSIGN_OR_RETURN(absl::optional<SealedConfig> sealed,
                      SealedConfig::Read(vmx, paths_.vmx_name));
  if (!sealed.has_value()) {
    KS_ASSIGN_OR_RETURN(VmConfig config, VmConfig::Read(vmx, paths_.vmx_name));
    config_text_.clear();
    SetConfig(std::move(config));
  } else if (!sealed_.has_value() || sealed_->data != sealed->data) {
    // What was known of the former one may no longer hold.
    config_.reset();
    config_text_.clear();
    disks_.clear();
  }
  vmx_ = std::move(vmx);
  sealed_ = std::move(sealed);
  vmx_info_ = *info;
  return absl::OkStatus();
}

void VmFolder::SetConfig(VmConfig config) {
  config_ = std::make_shared<const VmConfig>(std::move(config));
  disks_.clear();
  for (const ConfigDisk& disk : config_->disks) disks_.push_back(LoadDisk(files_, paths_, disk));
}

absl::Status VmFolder::Refresh() {
  KS_RETURN_IF_ERROR(RecoverIfNeeded());
  const absl::StatusOr<files::FileInfo> info = files_.Stat(paths_.Vmx());
  if (!info.ok()) return AsMissing(info.status(), paths_.vmx_name);
  if (!SameFile(*info, vmx_info_)) KS_RETURN_IF_ERROR(Load());
  for (size_t i = 0; i < disks_.size(); ++i) {
    VmDisk& disk = disks_[i];
    const absl::StatusOr<files::FileInfo> descriptor = files_.Stat(paths_.In(disk.file));
    if (disk.problem.ok() && descriptor.ok() && SameFile(*descriptor, disk.descriptor_info)) {
      continue;
    }
    disk = LoadDisk(files_, paths_, config_->disks[i]);
  }
  return absl::OkStatus();
}

std::vector<VmDisk> VmFolder::ScanDisks() const {
  std::vector<VmDisk> disks;
  const absl::StatusOr<std::vector<std::string>> names = files_.List(paths_.folder);
  if (!names.ok()) return disks;
  for (const std::string& name : *names) {
    if (!absl::EndsWithIgnoreCase(name, ".vmdk") || absl::EndsWithIgnoreCase(name, "-flat.vmdk") ||
        absl::StartsWith(name, paths_.TemporaryPrefix()) || absl::StartsWith(name, ".")) {
      continue;
    }
    VmDisk disk = LoadDisk(files_, paths_, {"", name, false});
    // Blocks under other names than -flat are no descriptors.
    if (disk.encrypted() || disk.problem.ok()) disks.push_back(std::move(disk));
  }
  return disks;
}

const VmDisk* VmFolder::FindDisk(absl::string_view device_or_file) const {
  for (const VmDisk& disk : disks_) {
    if (absl::EqualsIgnoreCase(disk.device, device_or_file) || disk.file == device_or_file) {
      return &disk;
    }
  }
  return nullptr;
}

bool VmFolder::SharesFlat(size_t index) const {
  for (size_t i = 0; i < index; ++i) {
    if (disks_[i].problem.ok() && disks_[i].flat_file == disks_[index].flat_file) return true;
  }
  return false;
}

absl::Status VmFolder::CheckDisksAreThere() const {
  for (const VmDisk& disk : disks_) {
    const absl::Status found = CheckFlat(files_, paths_, disk);
    if (status::ReasonOf(found) == v1::REASON_VM_FILE_MISSING) return found;
  }
  return absl::OkStatus();
}

VmDescription VmFolder::Describe() const {
  VmDescription description;
  description.vmx_path = paths_.Vmx();
  description.encrypted = sealed_.has_value();
  description.config_known = config_ != nullptr;
  description.powered_on = running_ != nullptr;
  if (config_ != nullptr) {
    description.name = config_->name;
    description.guest_os = config_->guest_os;
    description.uuid = config_->uuid;
    description.vtpm = config_->vtpm;
    description.migrate_encryption_required = config_->migrate_encryption_required;
    for (const VmDisk& disk : disks_) description.disks.push_back(DescribeDisk(disk));
  }
  if (sealed_.has_value()) {
    description.name = sealed_->name;
    description.uuid = sealed_->guid;
    description.key_id = sealed_->home.key;
    description.migrate_encryption_required = true;
    if (config_ == nullptr) {
      for (const VmDisk& disk : ScanDisks()) description.disks.push_back(DescribeDisk(disk));
    }
  }
  return description;
}

std::vector<ObjectKey> VmFolder::ListKeyIds() const {
  std::vector<ObjectKey> keys;
  if (sealed_.has_value()) {
    keys.push_back({"home", sealed_->home.key});
    if (sealed_->nvram.has_value()) keys.push_back({"nvram", sealed_->nvram->key});
  }
  for (const DiskDescription& disk : Describe().disks) {
    if (disk.key_id.has_value()) keys.push_back({disk.file, *disk.key_id});
  }
  return keys;
}

absl::StatusOr<OpenVm> VmFolder::OpenHome(const crypto::SecretKey& kek) {
  if (!sealed_.has_value()) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("VM ", status::Quote(Describe().name), " is not encrypted"))
        .Object("vm", config_->name);
  }
  KS_ASSIGN_OR_RETURN(
      crypto::SecretKey dek,
      OpenDek(kek, sealed_->home, DekBinding(sealed_->guid, "home"), paths_.vmx_name));
  KS_ASSIGN_OR_RETURN(std::string text, OpenConfig(*sealed_, dek, paths_.vmx_name));
  if (config_ == nullptr || text != config_text_) {
    KS_ASSIGN_OR_RETURN(Vmx vmx, Vmx::Parse(text, paths_.vmx_name));
    KS_ASSIGN_OR_RETURN(VmConfig config, VmConfig::Read(std::move(vmx), paths_.vmx_name));
    config_text_ = std::move(text);
    SetConfig(std::move(config));
  }
  return OpenVm(std::move(dek), config_);
}

absl::StatusOr<OpenVm> VmFolder::OpenHome(KekCache& keks) {
  if (!sealed_.has_value()) return OpenHome(crypto::SecretKey());
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey* const kek, keks.Get(sealed_->home.key));
  return OpenHome(*kek);
}

absl::StatusOr<OpenVm> VmFolder::UnwrapHome(const crypto::SecretKey& kek) {
  if (running_ == nullptr && !job_) KS_RETURN_IF_ERROR(Refresh());
  return OpenHome(kek);
}

absl::StatusOr<OpenVm> VmFolder::UnwrapHome(KekLookup lookup) {
  if (running_ == nullptr && !job_) KS_RETURN_IF_ERROR(Refresh());
  KekCache keks(lookup);
  return OpenHome(keks);
}

absl::StatusOr<crypto::SecretKey> VmFolder::OpenNvramDek(KekCache& keks) const {
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey* const kek, keks.Get(sealed_->nvram->key));
  return OpenDek(*kek, *sealed_->nvram, DekBinding(sealed_->guid, "nvram"), paths_.vmx_name);
}

absl::StatusOr<crypto::SecretKey> VmFolder::OpenDiskDek(const VmDisk& disk, KekCache& keks) const {
  const auto about = [&disk](const absl::Status& status) {
    const v1::ErrorDetail detail = status::DetailOf(status);
    status::ErrorBuilder error(
        detail.reason(),
        absl::StrCat("disk ", status::Quote(disk.file), ", key ",
                     status::Quote(disk.key_safe->key.key_id), " of provider ",
                     status::Quote(disk.key_safe->key.provider), ": ", status.message()));
    error.Object("disk", disk.file).With("disk", disk.file).NextStep(detail.next_step());
    // A damaged key safe says nothing against the key.
    const bool damaged = detail.reason() == v1::REASON_CIPHERTEXT_CORRUPT &&
                         detail.metadata().count("provider") == 0;
    if (!damaged) {
      error.With("provider", disk.key_safe->key.provider).With("key_id", disk.key_safe->key.key_id);
    }
    return error;
  };
  if (!sealed_.has_value()) {
    return about(status::Error(v1::REASON_VM_FILE_INVALID,
                               "the disk is encrypted, but its VM's .vmx is not"));
  }
  const absl::StatusOr<const crypto::SecretKey*> kek = keks.Get(disk.key_safe->key);
  if (!kek.ok()) return about(kek.status());
  absl::StatusOr<crypto::SecretKey> dek =
      OpenDek(**kek, *disk.key_safe, DiskBinding(sealed_->guid, disk), disk.file);
  if (!dek.ok()) return about(dek.status());
  return dek;
}

absl::StatusOr<absl::optional<std::string>> VmFolder::ReadNvram(
    const crypto::SecretKey* dek) const {
  if (config_->nvram.empty()) return absl::optional<std::string>();
  const absl::StatusOr<std::string> text =
      files_.ReadFile(paths_.In(config_->nvram), kMaxNvramBytes + 64);
  if (!text.ok()) {
    // A plain VM's NVRAM is made at its first power-on; an encrypted one must be there.
    if (dek == nullptr && status::ReasonOf(text.status()) == v1::REASON_NOT_FOUND) {
      return absl::optional<std::string>();
    }
    return AsMissing(text.status(), config_->nvram);
  }
  if (dek == nullptr) return absl::optional<std::string>(*text);
  KS_ASSIGN_OR_RETURN(std::string nvram, OpenNvram(*text, sealed_->guid, *dek, config_->nvram));
  return absl::optional<std::string>(std::move(nvram));
}

}  // namespace keysphere::hostagent::vm
