// Other KEKs for a VM that is encrypted, also while it runs.
#include <utility>

#include "common/crypto/secret_key.h"
#include "common/status/status.h"
#include "hostagent/agent/key_ids.h"
#include "hostagent/agent/lock_reasons.h"
#include "hostagent/agent/vm_registry.h"

namespace keysphere::hostagent::agent {

using host::v1::HostVm;
using host::v1::RekeyHostVmRequest;

absl::Status VmRegistry::CheckRekey(const VmRecord& vm, const RekeyHostVmRequest& request) const {
  if (request.depth() != v1::REKEY_DEPTH_SHALLOW && request.depth() != v1::REKEY_DEPTH_DEEP) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "depth must be shallow or deep");
  }
  KS_RETURN_IF_ERROR(CheckKeyId(request.key(), vm.name()));
  std::vector<absl::Status> refusals = NewKeyRefusals(request.key());
  refusals.push_back(CheckUsable(vm));
  if (request.depth() == v1::REKEY_DEPTH_DEEP) refusals.push_back(CheckOff(vm));
  if (vm.waiting) {
    refusals.push_back(
        status::Error(v1::REASON_KEYS_PENDING, "the host has not got its keys since its boot")
            .Object("vm", vm.name())
            .NextStep("wait for the first synchronisation with the controller"));
  }
  return status::First(refusals);
}

absl::Status VmRegistry::StartRekey(const RekeyHostVmRequest& request,
                                    VmRecord::Files* files) const {
  const vm::KeyId key = ToKeyId(request.key());
  const bool disks = !request.skip_hard_disks();
  const auto lookup = [this](const vm::KeyId& id) {
    return host_->keys.VmKek(id.provider, id.key_id);
  };
  // For a disk whose former KEK is not here the whole is refused: nothing is half done (S148).
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey kek, host_->keys.VmKek(key.provider, key.key_id));
  if (request.depth() == v1::REKEY_DEPTH_SHALLOW) {
    return files->folder->ShallowRekey(lookup, kek, key, disks);
  }
  KS_ASSIGN_OR_RETURN(files->job, files->folder->DeepRekey(lookup, kek, key, disks));
  return absl::OkStatus();
}

void VmRegistry::Rekey(const RekeyHostVmRequest& request, Done done) {
  RunOn<HostVm>(request.vm(), std::move(done), [this, request](const VmPtr& vm, Done answer) {
    const absl::Status allowed = CheckRekey(*vm, request);
    if (!allowed.ok()) {
      answer(allowed);
      return;
    }
    OnVm(
        vm,
        [this, request](VmRecord::Files* files) -> absl::StatusOr<FileView> {
          KS_RETURN_IF_ERROR(StartRekey(request, files));
          return Describe(*files->folder);
        },
        [this, vm, deep = request.depth() == v1::REKEY_DEPTH_DEEP,
         answer = std::move(answer)](absl::StatusOr<FileView> started) mutable {
          if (!started.ok() || !deep) {
            FinishChange(vm, std::move(started), std::move(answer));
            return;
          }
          RunJob(vm,
                 [this, vm, answer = std::move(answer)](absl::StatusOr<FileView> found) mutable {
                   FinishChange(vm, std::move(found), std::move(answer));
                 });
        });
  });
}

}  // namespace keysphere::hostagent::agent
