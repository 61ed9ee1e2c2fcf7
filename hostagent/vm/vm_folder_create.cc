// VMs that are made.
#include <algorithm>
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
      const absl::string_view folder = paths_.folder;
      return status::Error(
                 v1::REASON_ALREADY_EXISTS,
                 absl::StrCat("folder ", status::Quote(folder.substr(folder.rfind('/') + 1)),
                              " of the datastore has a VM already"))
          .Object("vm", vm)
          .NextStep("Choose another name, or register the VM that is there.");
    }
  }
  return names;
}

// The claim keeps others (hosts, on one datastore) from making a VM in the folder meanwhile. It
// ends with its process, and what a former one left is nobody's then.
absl::StatusOr<VmFolder::Fresh> VmFolder::ClaimFolder(absl::string_view vm) {
  Fresh fresh;
  KS_ASSIGN_OR_RETURN(const bool was_there, files_.Exists(paths_.folder));
  fresh.folder_was_there = was_there;
  const auto claim = [&]() -> absl::Status {
    KS_RETURN_IF_ERROR(files_.MakeFolders(paths_.folder));
    KS_RETURN_IF_ERROR(ListWithoutVm(vm).status());
    KS_RETURN_IF_ERROR(files_.Open(paths_.Claim(), files::OpenMode::kCreate).status());
    absl::StatusOr<files::FileLock> lock = files_.Lock(paths_.Claim());
    if (status::ReasonOf(lock.status()) == v1::REASON_VM_IN_USE) {
      return status::Error(v1::REASON_CONFLICT, "a VM of this name is being made there")
          .Object("vm", vm)
          .NextStep("Wait for its end, or choose another name.");
    }
    if (!lock.ok()) {
      EndClaim();
      return lock.status();
    }
    lock_ = *std::move(lock);
    KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListWithoutVm(vm));
    for (const std::string& name : names) {
      if (!absl::StartsWith(name, paths_.TemporaryPrefix())) {
        fresh.files_before.push_back(name);
      } else if (paths_.In(name) != paths_.Claim()) {
        KS_RETURN_IF_ERROR(files_.Remove(paths_.In(name), files::Durability::kNotDurable));
      }
    }
    return absl::OkStatus();
  };
  const absl::Status claimed = claim();
  if (claimed.ok()) return fresh;
  if (lock_.held()) EndClaim();
  if (!was_there) files_.RemoveFolder(paths_.folder).IgnoreError();  // if it is empty
  return claimed;
}

void VmFolder::EndClaim() {
  files_.Remove(paths_.Claim(), files::Durability::kNotDurable).IgnoreError();
  lock_.Release();
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

// What was made of a VM that is not to be, and its folder if that was not there.
void VmFolder::RemoveNew(const Fresh& fresh) {
  const absl::StatusOr<std::vector<std::string>> names = files_.List(paths_.folder);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, paths_.stem) ||
        std::binary_search(fresh.files_before.begin(), fresh.files_before.end(), name)) {
      continue;
    }
    files_.Remove(paths_.In(name), files::Durability::kNotDurable).IgnoreError();
  }
  // It stays where somebody else put something into it.
  if (!fresh.folder_was_there) files_.RemoveFolder(paths_.folder).IgnoreError();
}

}  // namespace keysphere::hostagent::vm
