// Encryption, decryption and rekeys of a VM's files, as plans that happen whole or not at all.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/vm/kek_cache.h"
#include "hostagent/vm/vm_folder.h"
#include "hostagent/vm/vm_job.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr size_t kDekBytes = 32;

absl::StatusOr<crypto::SecretKey> NewDek() { return crypto::SecretKey::Random(kDekBytes); }

}  // namespace

// S106, S107: what the plans below need of the VM.
absl::Status VmFolder::CheckReencryptable(absl::string_view action) const {
  if (config_->suspended) {
    return status::Error(v1::REASON_INVALID_POWER_STATE,
                         absl::StrCat("cannot ", action, ": the VM is suspended"))
        .Object("vm", config_->name)
        .NextStep("Power the VM on, and then off.");
  }
  const absl::StatusOr<std::string> snapshots =
      files_.ReadFile(paths_.In(paths_.stem + ".vmsd"), Vmx::kMaxFileBytes);
  int count = 0;
  if (snapshots.ok()) {
    const absl::StatusOr<Vmx> list = Vmx::Parse(*snapshots, paths_.stem + ".vmsd");
    if (list.ok() && !absl::SimpleAtoi(list->Get("snapshot.numSnapshots", "0"), &count)) count = 0;
  }
  if (count > 0) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("cannot ", action, ": the VM has ", count, " snapshots"))
        .Object("vm", config_->name)
        .NextStep("Remove the snapshots.");
  }
  return absl::OkStatus();
}

absl::Status VmFolder::PlanNewHome(Plan* plan, const crypto::SecretKey& kek, const KeyId& key,
                                   absl::string_view guid, const Vmx& inner,
                                   const absl::optional<std::string>& nvram) const {
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey dek, NewDek());
  KS_ASSIGN_OR_RETURN(const KeySafe home, SealDek(kek, key, dek, DekBinding(guid, "home")));
  absl::optional<KeySafe> nvram_safe;
  if (nvram.has_value()) {
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey nvram_dek, NewDek());
    KS_ASSIGN_OR_RETURN(KeySafe safe, SealDek(kek, key, nvram_dek, DekBinding(guid, "nvram")));
    KS_ASSIGN_OR_RETURN(std::string sealed, SealNvram(*nvram, guid, nvram_dek));
    plan->transaction.Write(inner.Get(kNvram), std::move(sealed));
    nvram_safe = std::move(safe);
  }
  KS_ASSIGN_OR_RETURN(const Vmx outer, SealConfig(inner, guid, home, nvram_safe, dek));
  plan->transaction.Write(paths_.vmx_name, outer.Serialize());
  plan->config_text = inner.Serialize();
  return absl::OkStatus();
}

absl::Status VmFolder::PlanSameHome(Plan* plan, const OpenVm& open, const Vmx& inner,
                                    const absl::optional<KeySafe>& nvram) const {
  KS_ASSIGN_OR_RETURN(const Vmx outer,
                      SealConfig(inner, sealed_->guid, sealed_->home, nvram, open.home_dek()));
  plan->transaction.Write(paths_.vmx_name, outer.Serialize());
  plan->config_text = inner.Serialize();
  return absl::OkStatus();
}

// `new_kek` null: the disk becomes plain. `old_dek` empty: it is plain.
absl::Status VmFolder::PlanDisk(Plan* plan, const VmDisk& disk, crypto::SecretKey old_dek,
                                const crypto::SecretKey* new_kek, const KeyId& new_key,
                                absl::string_view guid) const {
  KS_ASSIGN_OR_RETURN(files::FileLock lock, LockFlat(files_, paths_, disk));
  plan->disk_locks.push_back(std::move(lock));
  VmDisk next = disk;
  crypto::SecretKey new_dek;
  if (new_kek != nullptr) {
    if (next.descriptor.Get(Vmdk::kUuid).empty()) {
      next.descriptor.Set(Vmdk::kUuid, VmwareUuid(NewUuid()));
    }
    KS_ASSIGN_OR_RETURN(new_dek, NewDek());
    KS_ASSIGN_OR_RETURN(KeySafe safe, SealDek(*new_kek, new_key, new_dek, DiskBinding(guid, next)));
    next.descriptor.Set(Vmdk::kEncryptionKeys, FormatKeySafe(safe));
    next.key_safe = std::move(safe);
  } else {
    next.descriptor.Erase(Vmdk::kEncryptionKeys);
    next.key_safe.reset();
  }
  const std::string temporary = paths_.Temporary(plan->tag, disk.flat_file);
  plan->transaction.Write(disk.file, next.descriptor.Serialize());
  plan->transaction.TakeOver(temporary, disk.flat_file);
  DiskCopy::Spec spec;
  spec.source = paths_.In(disk.flat_file);
  spec.source_bytes = disk.FlatBytes();
  spec.old_dek = std::move(old_dek);
  spec.target = paths_.In(temporary);
  spec.target_bytes = next.FlatBytes();
  spec.new_dek = std::move(new_dek);
  plan->copies.emplace_back(std::move(spec));
  return absl::OkStatus();
}

absl::Status VmFolder::PlanSelectedDisks(Plan* plan, const DiskSelection& disks,
                                         const crypto::SecretKey& kek, const KeyId& key,
                                         absl::string_view guid, Vmx* inner) const {
  std::vector<const VmDisk*> selected;
  for (const VmDisk& disk : disks_) {
    if (disks.all && !disk.encrypted()) selected.push_back(&disk);
  }
  for (const std::string& device : disks.devices) {
    const VmDisk* const disk = FindDisk(device);
    if (disk == nullptr) {
      return status::Error(v1::REASON_NOT_FOUND,
                           absl::StrCat("the VM has no disk ", status::Quote(device)))
          .Object("disk", device);
    }
    if (disk->encrypted()) {
      return status::Error(v1::REASON_INVALID_STATE,
                           absl::StrCat("disk ", status::Quote(device), " is encrypted already"))
          .Object("disk", device);
    }
    if (std::find(selected.begin(), selected.end(), disk) == selected.end()) {
      selected.push_back(disk);
    }
  }
  for (const VmDisk* const disk : selected) {
    KS_RETURN_IF_ERROR(PlanDisk(plan, *disk, crypto::SecretKey(), &kek, key, guid));
    inner->Set(disk->device + kDiskEncrypted, "TRUE");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::Encrypt(const crypto::SecretKey& kek,
                                                         const KeyId& key,
                                                         const DiskSelection& disks) {
  return Job(/*powered_off=*/true, "encrypt", [&](Plan* plan) -> absl::Status {
    if (sealed_.has_value()) {
      return status::Error(
                 v1::REASON_INVALID_STATE,
                 absl::StrCat("VM ", status::Quote(sealed_->name), " is encrypted already"))
          .Object("vm", sealed_->name)
          .NextStep("Rekey it to change its key.");
    }
    KS_RETURN_IF_ERROR(CheckReencryptable("encrypt"));
    const std::string guid = config_->uuid.empty() ? NewUuid() : config_->uuid;
    Vmx inner = config_->vmx;
    inner.Set(kMigrateEncryption, "required");  // S113
    KS_ASSIGN_OR_RETURN(const absl::optional<std::string> nvram, ReadNvram(nullptr));
    KS_RETURN_IF_ERROR(PlanSelectedDisks(plan, disks, kek, key, guid, &inner));
    return PlanNewHome(plan, kek, key, guid, inner, nvram);
  });
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::EncryptDisks(KekLookup lookup,
                                                              const DiskSelection& disks) {
  return Job(/*powered_off=*/true, "encrypt disks", [&](Plan* plan) -> absl::Status {
    KekCache keks(lookup);
    KS_ASSIGN_OR_RETURN(const OpenVm open, OpenHome(keks));
    KS_RETURN_IF_ERROR(CheckReencryptable("encrypt disks"));
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey* const kek, keks.Get(sealed_->home.key));
    Vmx inner = config_->vmx;
    KS_RETURN_IF_ERROR(
        PlanSelectedDisks(plan, disks, *kek, sealed_->home.key, sealed_->guid, &inner));
    return PlanSameHome(plan, open, inner, sealed_->nvram);
  });
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::Decrypt(KekLookup lookup) {
  return Job(/*powered_off=*/true, "decrypt", [&](Plan* plan) -> absl::Status {
    KekCache keks(lookup);
    KS_RETURN_IF_ERROR(OpenHome(keks).status());
    KS_RETURN_IF_ERROR(CheckReencryptable("decrypt"));
    if (config_->vtpm) {
      return status::Error(v1::REASON_INVALID_STATE, "cannot decrypt: the VM has a vTPM")
          .Object("vm", config_->name)
          .NextStep("Remove the vTPM first.");
    }
    if (sealed_->nvram.has_value()) {
      KS_ASSIGN_OR_RETURN(const crypto::SecretKey dek, OpenNvramDek(keks));
      KS_ASSIGN_OR_RETURN(absl::optional<std::string> nvram, ReadNvram(&dek));
      if (nvram.has_value()) plan->transaction.Write(config_->nvram, *std::move(nvram));
    }
    for (const VmDisk& disk : disks_) {
      KS_RETURN_IF_ERROR(disk.problem);
      if (!disk.encrypted()) continue;
      KS_ASSIGN_OR_RETURN(crypto::SecretKey dek, OpenDiskDek(disk, keks));
      KS_RETURN_IF_ERROR(PlanDisk(plan, disk, std::move(dek), nullptr, {}, sealed_->guid));
    }
    Vmx plain = config_->vmx;
    for (const VmDisk& disk : disks_) plain.Erase(disk.device + kDiskEncrypted);
    plan->transaction.Write(paths_.vmx_name, plain.Serialize());
    return absl::OkStatus();
  });
}

absl::Status VmFolder::ShallowRekey(KekLookup lookup, const crypto::SecretKey& new_kek,
                                    const KeyId& new_key, bool include_disks) {
  return Run(/*powered_off=*/false, "rekey", [&](Plan* plan) -> absl::Status {
    KekCache keks(lookup);
    return PlanShallow(plan, keks, new_kek, new_key, include_disks);
  });
}

absl::Status VmFolder::PlanShallow(Plan* plan, KekCache& keks, const crypto::SecretKey& new_kek,
                                   const KeyId& new_key, bool include_disks) {
  KS_ASSIGN_OR_RETURN(const OpenVm open, OpenHome(keks));
  const std::string& guid = sealed_->guid;
  Vmx outer = vmx_;
  KS_ASSIGN_OR_RETURN(const KeySafe home,
                      SealDek(new_kek, new_key, open.home_dek(), DekBinding(guid, "home")));
  outer.Set(kKeySafe, FormatKeySafe(home));
  if (sealed_->nvram.has_value()) {
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey dek, OpenNvramDek(keks));
    KS_ASSIGN_OR_RETURN(const KeySafe safe,
                        SealDek(new_kek, new_key, dek, DekBinding(guid, "nvram")));
    outer.Set(kNvramKeySafe, FormatKeySafe(safe));
  }
  plan->transaction.Write(paths_.vmx_name, outer.Serialize());
  if (!include_disks) return absl::OkStatus();
  for (const VmDisk& disk : disks_) {
    KS_RETURN_IF_ERROR(disk.problem);
    if (!disk.encrypted()) continue;
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey dek, OpenDiskDek(disk, keks));
    KS_ASSIGN_OR_RETURN(const KeySafe safe,
                        SealDek(new_kek, new_key, dek, DiskBinding(guid, disk)));
    Vmdk descriptor = disk.descriptor;
    descriptor.Set(Vmdk::kEncryptionKeys, FormatKeySafe(safe));
    plan->transaction.Write(disk.file, descriptor.Serialize());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::DeepRekey(KekLookup lookup,
                                                           const crypto::SecretKey& new_kek,
                                                           const KeyId& new_key,
                                                           bool include_disks) {
  return Job(/*powered_off=*/true, "deep rekey", [&](Plan* plan) -> absl::Status {
    KekCache keks(lookup);
    KS_RETURN_IF_ERROR(OpenHome(keks).status());
    KS_RETURN_IF_ERROR(CheckReencryptable("deep rekey"));
    absl::optional<std::string> nvram;
    if (sealed_->nvram.has_value()) {
      KS_ASSIGN_OR_RETURN(const crypto::SecretKey dek, OpenNvramDek(keks));
      KS_ASSIGN_OR_RETURN(nvram, ReadNvram(&dek));
    }
    KS_RETURN_IF_ERROR(PlanNewHome(plan, new_kek, new_key, sealed_->guid, config_->vmx, nvram));
    for (const VmDisk& disk : disks_) {
      if (!include_disks) break;
      KS_RETURN_IF_ERROR(disk.problem);
      if (!disk.encrypted()) continue;
      KS_ASSIGN_OR_RETURN(crypto::SecretKey dek, OpenDiskDek(disk, keks));
      KS_RETURN_IF_ERROR(PlanDisk(plan, disk, std::move(dek), &new_kek, new_key, sealed_->guid));
    }
    return absl::OkStatus();
  });
}

}  // namespace keysphere::hostagent::vm
