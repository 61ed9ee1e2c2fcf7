// VMs that are made.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/vm/vm_folder.h"
#include "hostagent/vm/vm_job.h"

namespace keysphere::hostagent::vm {

absl::StatusOr<VmInTheMaking> VmFolder::Create(const files::FileSystem& files,
                                               absl::string_view folder, const NewVm& spec) {
  KS_RETURN_IF_ERROR(files::ValidateName(spec.name));
  if (spec.vtpm && spec.kek == nullptr) {
    return status::Error(v1::REASON_INVALID_STATE, "a vTPM needs an encrypted VM home")
        .Object("vm", spec.name)
        .NextStep("Encrypt the VM from the beginning.");
  }
  VmPaths paths;
  paths.folder = std::string(folder);
  paths.stem = files::PathSafe(spec.name);
  paths.vmx_name = paths.stem + ".vmx";
  auto plan = std::make_unique<Plan>();
  VmInTheMaking making;
  making.folder = absl::WrapUnique(new VmFolder(files, std::move(paths)));
  KS_ASSIGN_OR_RETURN(plan->fresh, making.folder->ClaimFolder(spec.name));
  plan->fresh->temporaries = making.folder->paths_.Temporary(plan->tag, "");
  const absl::Status planned = making.folder->PlanNewVm(plan.get(), spec);
  // Where anything fails from here on, its end removes what there is of the VM.
  making.job = absl::WrapUnique(new VmJob(making.folder.get(), std::move(plan)));
  KS_RETURN_IF_ERROR(planned);
  return making;
}

absl::StatusOr<std::vector<std::string>> VmFolder::ListWithoutVm(absl::string_view vm) const {
  KS_ASSIGN_OR_RETURN(std::vector<std::string> names, files_.List(paths_.folder));
  for (const std::string& name : names) {
    if (absl::EndsWithIgnoreCase(name, ".vmx") && !absl::StartsWith(name, ".")) {
      return status::Error(v1::REASON_ALREADY_EXISTS,
                           absl::StrCat("folder ", status::Quote(BaseName(paths_.folder)),
                                        " of the datastore has a VM already"))
          .Object("vm", vm)
          .NextStep("Choose another name, or register the VM that is there.");
    }
  }
  return names;
}

absl::Status VmFolder::LockClaim(absl::string_view vm) {
  constexpr int kTries = 3;
  for (int tries = 1;; ++tries) {
    KS_RETURN_IF_ERROR(files_.MakeFolders(paths_.folder));
    KS_RETURN_IF_ERROR(ListWithoutVm(vm).status());
    const absl::Status opened = files_.Open(paths_.Claim(), files::OpenMode::kCreate).status();
    absl::StatusOr<files::FileLock> lock = files_.Lock(paths_.Claim());
    if (lock.ok()) {
      lock_ = *std::move(lock);
      return absl::OkStatus();
    }
    const absl::Status failed = opened.ok() ? lock.status() : opened;
    switch (status::ReasonOf(failed)) {
      case v1::REASON_VM_IN_USE:
        return status::Error(v1::REASON_CONFLICT, "a VM of this name is being made there")
            .Object("vm", vm)
            .NextStep("Wait for its end, or choose another name.");
      case v1::REASON_NOT_FOUND:  // who failed there removed its folder meanwhile
        if (tries < kTries) continue;
        return failed;
      default:
        if (opened.ok()) EndClaim();
        return failed;
    }
  }
}

// The claim keeps others (hosts, on one datastore) from making a VM in the folder meanwhile. It
// ends with its process, and what a former one left is nobody's then.
absl::StatusOr<VmFolder::Fresh> VmFolder::ClaimFolder(absl::string_view vm) {
  Fresh fresh;
  const absl::StatusOr<files::FileInfo> info = files_.Stat(paths_.folder);
  fresh.folder_was_there = info.ok();
  if (info.ok() && !info->is_folder) {
    return status::Error(v1::REASON_ALREADY_EXISTS,
                         absl::StrCat("where the VM's folder would be, the datastore has a file ",
                                      status::Quote(BaseName(paths_.folder))))
        .Object("vm", vm)
        .NextStep("Choose another name, or move the file away.");
  }
  if (status::ReasonOf(info.status()) != v1::REASON_NOT_FOUND) KS_RETURN_IF_ERROR(info.status());
  const auto claim = [&]() -> absl::Status {
    KS_RETURN_IF_ERROR(LockClaim(vm));
    KS_RETURN_IF_ERROR(ListWithoutVm(vm).status());
    KS_RETURN_IF_ERROR(RemoveLeftovers());
    KS_ASSIGN_OR_RETURN(fresh.files_before, files_.List(paths_.folder));
    return absl::OkStatus();
  };
  const absl::Status claimed = claim();
  if (claimed.ok()) return fresh;
  if (lock_.held()) EndClaim();
  // If it is empty.
  if (!fresh.folder_was_there) files_.RemoveFolder(paths_.folder).IgnoreError();
  return claimed;
}

absl::Status VmFolder::RemoveLeftovers() {
  KS_ASSIGN_OR_RETURN(const bool removed, RemoveClaimed(files_, paths_));
  // What gets those names from now on is somebody's again.
  if (removed) KS_RETURN_IF_ERROR(WriteClaim(files_, &lock_, {}));
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(paths_.folder));
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, paths_.TemporaryPrefix()) || paths_.In(name) == paths_.Claim()) {
      continue;
    }
    KS_RETURN_IF_ERROR(files_.Remove(paths_.In(name), files::Durability::kNotDurable));
  }
  return files_.RemoveStaleTemporaries(paths_.folder).status();
}

absl::Status VmFolder::RemoveUnfinished(const files::FileSystem& files,
                                        absl::string_view vmx_path) {
  VmPaths paths;
  paths.folder = files::FolderOf(vmx_path);
  paths.vmx_name = std::string(BaseName(vmx_path));
  paths.stem = paths.vmx_name.substr(0, paths.vmx_name.rfind('.'));
  const std::unique_ptr<VmFolder> vm = absl::WrapUnique(new VmFolder(files, std::move(paths)));
  const std::string& folder = vm->paths_.folder;
  absl::StatusOr<files::FileLock> lock = files.Lock(vm->paths_.Claim());
  if (lock.ok()) {
    vm->lock_ = *std::move(lock);
    const absl::Status no_vm = vm->ListWithoutVm("").status();
    if (no_vm.ok()) {
      KS_RETURN_IF_ERROR(vm->RemoveLeftovers());
    } else if (status::ReasonOf(no_vm) != v1::REASON_ALREADY_EXISTS) {
      return no_vm;
    }
    vm->EndClaim();
  } else if (status::ReasonOf(lock.status()) != v1::REASON_NOT_FOUND) {
    return status::ReasonOf(lock.status()) == v1::REASON_VM_IN_USE ? absl::OkStatus()
                                                                   : lock.status();
  }
  const absl::StatusOr<std::vector<std::string>> left = files.List(folder);
  return left.ok() && left->empty() ? files.RemoveFolder(folder) : absl::OkStatus();
}

void VmFolder::EndClaim() {
  files_.Remove(paths_.Claim(), files::Durability::kNotDurable).IgnoreError();
  lock_.Release();
}

absl::Status VmFolder::CommitNew(Plan* plan) {
  Fresh& fresh = *plan->fresh;
  // The claim keeps those away who make VMs, not those who copy files.
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> there, ListWithoutVm(config_->name));
  std::vector<std::string> names;
  for (std::string& name : plan->transaction.NewFiles()) {
    if (name == paths_.vmx_name ||
        std::binary_search(fresh.files_before.begin(), fresh.files_before.end(), name)) {
      continue;
    }
    if (std::binary_search(there.begin(), there.end(), name)) {
      return status::Error(v1::REASON_ALREADY_EXISTS,
                           absl::StrCat("a file ", status::Quote(name),
                                        " came into the VM's folder while the VM was made"))
          .Object("vm", config_->name)
          .NextStep("Move the file away, or choose another name.");
    }
    names.push_back(std::move(name));
  }
  KS_RETURN_IF_ERROR(WriteClaim(files_, &lock_, names));
  fresh.files = std::move(names);
  KS_RETURN_IF_ERROR(plan->transaction.CommitNew(files_, paths_, [&]() -> absl::Status {
    KS_RETURN_IF_ERROR(ListWithoutVm(config_->name).status());
    fresh.vmx = *plan->transaction.Content(paths_.vmx_name);
    return absl::OkStatus();
  }));
  EndClaim();
  return absl::OkStatus();
}

absl::Status VmFolder::PlanNewVm(Plan* plan, const NewVm& spec) {
  const std::string uuid = spec.uuid.empty() ? NewUuid() : spec.uuid;
  Vmx inner = NewVmx(spec.name, spec.guest_os, uuid, paths_.stem + ".nvram");
  KS_ASSIGN_OR_RETURN(VmConfig config, VmConfig::Read(inner, paths_.vmx_name));
  const std::string guid = config.uuid;
  SetConfig(std::move(config));
  for (const NewDisk& disk : spec.disks) {
    KS_RETURN_IF_ERROR(
        PlanNewDisk(plan, disk, disk.encrypt ? spec.kek : nullptr, spec.key, guid, &inner));
  }
  if (spec.kek == nullptr) {
    plan->transaction.Write(paths_.vmx_name, inner.Serialize());
    return absl::OkStatus();
  }
  inner.Set(kMigrateEncryption, "required");  // S113
  absl::optional<std::string> nvram;
  if (spec.vtpm) {
    inner.Set(kVtpmPresent, "TRUE");
    KS_ASSIGN_OR_RETURN(nvram, WithNewVtpm(""));
  }
  return PlanNewHome(plan, *spec.kek, spec.key, guid, inner, nvram);
}

// What was made of a VM that is not to be, and its folder if that was not there. Nothing else:
// other files may have come into it meanwhile.
void VmFolder::RemoveNew(const Fresh& fresh) {
  if (!fresh.vmx.empty()) {
    const absl::StatusOr<std::string> vmx = files_.ReadFile(paths_.Vmx(), Vmx::kMaxFileBytes);
    if (vmx.ok() && *vmx == fresh.vmx) {
      files_.Remove(paths_.Vmx(), files::Durability::kNotDurable).IgnoreError();
    }
  }
  std::vector<std::string> names = fresh.files;
  const absl::StatusOr<std::vector<std::string>> there = files_.List(paths_.folder);
  if (there.ok()) {
    std::copy_if(
        there->begin(), there->end(), std::back_inserter(names),
        [&fresh](const std::string& name) { return absl::StartsWith(name, fresh.temporaries); });
  }
  for (const std::string& name : names) {
    files_.Remove(paths_.In(name), files::Durability::kNotDurable).IgnoreError();
  }
  EndClaim();
  // It stays where somebody else put something into it.
  if (!fresh.folder_was_there) files_.RemoveFolder(paths_.folder).IgnoreError();
}

}  // namespace keysphere::hostagent::vm
