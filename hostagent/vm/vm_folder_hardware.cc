// Changes of a VM's virtual hardware, and its end.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/vm/kek_cache.h"
#include "hostagent/vm/vm_folder.h"
#include "hostagent/vm/vm_job.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr int kScsiControllers = 4;
constexpr int kScsiUnits = 16;
constexpr int kControllersOwnUnit = 7;
constexpr int kMaxDisks = 256;

}  // namespace

absl::Status VmFolder::AddVtpm(KekLookup lookup, const crypto::SecretKey* kek, const KeyId& key) {
  return Run(/*powered_off=*/true, "add a vTPM", [&](Plan* plan) -> absl::Status {
    KekCache keks(lookup);
    return PlanVtpm(plan, keks, kek, key);
  });
}

absl::Status VmFolder::PlanVtpm(Plan* plan, KekCache& keks, const crypto::SecretKey* kek,
                                const KeyId& key) {
  if (!sealed_.has_value() && kek == nullptr) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("a vTPM needs an encrypted VM home; VM ",
                                      status::Quote(config_->name), " is not encrypted"))
        .Object("vm", config_->name)
        .NextStep("Encrypt the VM, or have its home encrypted in the same operation.");
  }
  absl::optional<OpenVm> open;
  if (sealed_.has_value()) {
    KS_ASSIGN_OR_RETURN(OpenVm opened, OpenHome(keks));
    open = std::move(opened);
  }
  KS_RETURN_IF_ERROR(CheckReencryptable("add a vTPM"));
  if (config_->vtpm) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("VM ", status::Quote(config_->name), " has a vTPM"))
        .Object("vm", config_->name);
  }
  Vmx inner = config_->vmx;
  inner.Set(kVtpmPresent, "TRUE");
  inner.Set(kMigrateEncryption, "required");
  if (config_->nvram.empty()) inner.Set(kNvram, paths_.stem + ".nvram");
  crypto::SecretKey dek;
  if (sealed_.has_value() && sealed_->nvram.has_value()) {
    KS_ASSIGN_OR_RETURN(dek, OpenNvramDek(keks));
  }
  absl::optional<std::string> nvram;
  if (!sealed_.has_value() || !dek.empty()) {
    KS_ASSIGN_OR_RETURN(nvram, ReadNvram(dek.empty() ? nullptr : &dek));
  }
  KS_ASSIGN_OR_RETURN(std::string with_vtpm, WithNewVtpm(nvram.value_or("")));
  if (!sealed_.has_value()) {
    const std::string guid = config_->uuid.empty() ? NewUuid() : config_->uuid;
    return PlanNewHome(plan, *kek, key, guid, inner, std::move(with_vtpm));
  }
  absl::optional<KeySafe> safe = sealed_->nvram;
  if (dek.empty()) {
    KS_ASSIGN_OR_RETURN(dek, crypto::SecretKey::Random(32));
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey* const home_kek, keks.Get(sealed_->home.key));
    KS_ASSIGN_OR_RETURN(KeySafe fresh, SealDek(*home_kek, sealed_->home.key, dek,
                                               DekBinding(sealed_->guid, "nvram")));
    safe = std::move(fresh);
  }
  KS_ASSIGN_OR_RETURN(std::string file, SealNvram(with_vtpm, sealed_->guid, dek));
  plan->transaction.Write(inner.Get(kNvram), std::move(file));
  return PlanSameHome(plan, *open, inner, safe);
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::AddDisk(const NewDisk& disk, KekLookup lookup) {
  return Job(/*powered_off=*/false, "add a disk", [&](Plan* plan) -> absl::Status {
    if (!sealed_.has_value()) {
      Vmx vmx = config_->vmx;
      KS_RETURN_IF_ERROR(PlanNewDisk(plan, disk, nullptr, {}, "", &vmx));
      plan->transaction.Write(paths_.vmx_name, vmx.Serialize());
      return absl::OkStatus();
    }
    KekCache keks(lookup);
    KS_ASSIGN_OR_RETURN(const OpenVm open, OpenHome(keks));
    const KeyId& key = sealed_->home.key;
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey* const kek, keks.Get(key));
    Vmx inner = config_->vmx;
    KS_RETURN_IF_ERROR(
        PlanNewDisk(plan, disk, disk.encrypt ? kek : nullptr, key, sealed_->guid, &inner));
    return PlanSameHome(plan, open, inner, sealed_->nvram);
  });
}

// Free file names and a free place at a SCSI controller, which `vmx` then has.
absl::StatusOr<VmDisk> VmFolder::NameNewDisk(const Plan& plan, uint64_t bytes, Vmx* vmx) const {
  VmDisk disk;
  disk.bytes = bytes;
  for (int number = 1; number <= kMaxDisks && disk.file.empty(); ++number) {
    const std::string file = absl::StrCat(paths_.stem, "-", number, ".vmdk");
    const std::string flat = absl::StrCat(paths_.stem, "-", number, "-flat.vmdk");
    KS_ASSIGN_OR_RETURN(const bool file_taken, files_.Exists(paths_.In(file)));
    KS_ASSIGN_OR_RETURN(const bool flat_taken, files_.Exists(paths_.In(flat)));
    if (file_taken || flat_taken || FindDisk(file) != nullptr ||
        plan.transaction.Content(file) != nullptr) {
      continue;
    }
    disk.file = file;
    disk.flat_file = flat;
  }
  for (int place = 0; place < kScsiControllers * kScsiUnits && disk.device.empty(); ++place) {
    const int unit = place % kScsiUnits;
    const std::string controller = absl::StrCat("scsi", place / kScsiUnits);
    const std::string device = absl::StrCat(controller, ":", unit);
    if (unit == kControllersOwnUnit || vmx->Find(device + ".fileName") != nullptr ||
        vmx->Find(device + ".present") != nullptr) {
      continue;
    }
    disk.device = device;
    if (!vmx->GetBool(controller + ".present", false)) {
      vmx->Set(controller + ".present", "TRUE");
      vmx->Set(controller + ".virtualDev", "pvscsi");
    }
  }
  if (disk.file.empty() || disk.device.empty()) {
    return status::Error(v1::REASON_TOO_LARGE, "the VM has no place for another disk")
        .Object("vm", config_->name);
  }
  vmx->Set(disk.device + ".present", "TRUE");
  vmx->Set(disk.device + ".deviceType", "scsi-hardDisk");
  vmx->Set(disk.device + ".fileName", disk.file);
  disk.descriptor =
      Vmdk::New(disk.flat_file, bytes / kSectorBytes, 0xfffffffe, VmwareUuid(NewUuid()));
  return disk;
}

absl::Status VmFolder::PlanNewDisk(Plan* plan, const NewDisk& spec, const crypto::SecretKey* kek,
                                   const KeyId& key, absl::string_view guid, Vmx* inner) const {
  DiskCopy::Spec copy;
  if (!spec.raw_image.empty()) {
    const absl::StatusOr<files::RandomAccessFile> image =
        files_.Open(spec.raw_image, files::OpenMode::kRead);
    if (!image.ok()) return AsMissing(image.status(), BaseName(spec.raw_image));
    KS_ASSIGN_OR_RETURN(copy.source_bytes, image->Size());
    copy.source = spec.raw_image;
  }
  const uint64_t bytes =
      std::max(spec.bytes, (copy.source_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes);
  if (bytes == 0 || bytes % kSectorBytes != 0 || bytes / kSectorBytes > kMaxDiskSectors) {
    return status::Error(
        v1::REASON_INVALID_ARGUMENT,
        absl::StrCat("a disk of ", bytes, " bytes; needed: a multiple of 512, at most 62 TB"));
  }
  KS_ASSIGN_OR_RETURN(VmDisk disk, NameNewDisk(*plan, bytes, inner));
  if (kek != nullptr) {
    KS_ASSIGN_OR_RETURN(copy.new_dek, crypto::SecretKey::Random(32));
    KS_ASSIGN_OR_RETURN(KeySafe safe, SealDek(*kek, key, copy.new_dek, DiskBinding(guid, disk)));
    KS_ASSIGN_OR_RETURN(plan->added_dek, copy.new_dek.Clone());
    disk.descriptor.Set(Vmdk::kEncryptionKeys, FormatKeySafe(safe));
    disk.key_safe = std::move(safe);
    inner->Set(disk.device + kDiskEncrypted, "TRUE");
  }
  const std::string temporary = paths_.Temporary(plan->tag, disk.flat_file);
  copy.target = paths_.In(temporary);
  copy.target_bytes = disk.FlatBytes();
  plan->copies.emplace_back(std::move(copy));
  plan->added_disk = disk.file;
  plan->transaction.Write(disk.file, disk.descriptor.Serialize());
  plan->transaction.TakeOver(temporary, disk.flat_file);
  return absl::OkStatus();
}

absl::Status VmFolder::Destroy() {
  KS_RETURN_IF_ERROR(Begin(/*powered_off=*/true, "delete"));
  std::vector<std::string> names;
  for (const VmDisk& disk : config_ != nullptr ? disks_ : ScanDisks()) {
    names.push_back(disk.file);
    if (!disk.flat_file.empty()) names.push_back(disk.flat_file);
  }
  for (const char* const ending : {".nvram", ".vmsd", ".vmxf"}) {
    names.push_back(paths_.stem + ending);
  }
  if (config_ != nullptr && !config_->nvram.empty()) names.push_back(config_->nvram);
  // Without its .vmx the VM is gone; what a crash leaves of the rest belongs to nobody.
  absl::Status done = files_.Remove(paths_.Vmx());
  ReleaseLock();
  KS_RETURN_IF_ERROR(done);
  for (const std::string& name : names) {
    const absl::Status removed = files_.Remove(paths_.In(name), files::Durability::kNotDurable);
    if (status::ReasonOf(removed) != v1::REASON_NOT_FOUND) done.Update(removed);
  }
  KS_RETURN_IF_ERROR(done);
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> left, files_.List(paths_.folder));
  return left.empty() ? files_.RemoveFolder(paths_.folder) : files_.SyncFolder(paths_.folder);
}

}  // namespace keysphere::hostagent::vm
