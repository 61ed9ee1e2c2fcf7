#include "controller/encryption/vm_encryption.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "controller/encryption/audit.h"

namespace keysphere::controller::encryption {
namespace {

using hosts::HostSession;

std::string VmObject(absl::string_view vm) { return absl::StrCat("vm/", vm); }

absl::Status PoweredOn(absl::string_view vm) {
  return status::Error(v1::REASON_INVALID_POWER_STATE,
                       absl::StrCat("VM ", status::Quote(vm), " is powered on"))
      .Object("vm", vm)
      .NextStep("Power it off first.");
}

absl::Status Locked(const v1::Vm& vm) {
  return status::Error(v1::REASON_VM_LOCKED, absl::StrCat("VM ", status::Quote(vm.name()),
                                                          " is locked: ", vm.lock().summary()))
      .Object("vm", vm.name())
      .NextStep(vm.lock().next_step());
}

}  // namespace

absl::StatusOr<hosts::Hosts::FoundVm> VmEncryption::FindUsable(const std::string& vm,
                                                               const std::string& host) const {
  KS_ASSIGN_OR_RETURN(hosts::Hosts::FoundVm found, deps_.hosts->FindVm(vm, host));
  if (!found.host->connected()) return found.host->NotResponding();
  return found;
}

absl::Status VmEncryption::Refusal(const access::Caller& caller, const HostSession& host,
                                   const v1::Vm& vm, const v1::CryptoSpec& crypto,
                                   bool needs_license, std::string* provider) const {
  std::vector<absl::Status> refusals;
  if (vm.power_state() == v1::POWER_STATE_ON) refusals.push_back(PoweredOn(vm.name()));
  if (vm.lock_state() == v1::LOCK_STATE_LOCKED) refusals.push_back(Locked(vm));
  if (needs_license && deps_.edition == Edition::kStandard) {
    refusals.push_back(
        status::Error(v1::REASON_LICENSE, "this edition does not encrypt VMs; a vTPM works")
            .Object("vm", vm.name())
            .NextStep("Use an Enterprise Plus edition."));
  }
  absl::StatusOr<std::string> chosen = deps_.readiness->Choose(crypto.key(), host.Facts().cluster);
  if (chosen.ok()) {
    *provider = *chosen;
    refusals.push_back(deps_.readiness->Refusal(caller, host, *provider));
  } else {
    refusals.push_back(chosen.status());
  }
  return status::First(refusals);
}

void VmEncryption::Run(const access::Caller& caller, absl::string_view operation,
                       const std::string& vm, Session host, const v1::CryptoKeyId& key,
                       const v1::CryptoKeyId& old_key, HostCall call,
                       status::Callback<v1::Task> done) {
  deps_.tasks->Begin(
      caller, absl::StrCat("VirtualMachines.", operation), VmObject(vm),
      [this, caller, operation = std::string(operation), vm, host, key, old_key,
       call = std::move(call), done = std::move(done)](absl::StatusOr<v1::Task> task) mutable {
        if (!task.ok()) return done(task.status());
        const std::string id = task->id();
        done(std::move(task));
        auto go = [this, caller, operation, id, vm, host, key, old_key,
                   call = std::move(call)](absl::Status ready) mutable {
          if (!ready.ok()) return deps_.tasks->End(id, ready);
          if (deps_.tasks->CancelRequested(id)) {
            return deps_.tasks->End(
                id, status::Error(v1::REASON_CANCELLED, "cancelled before the host began")
                        .Object("vm", vm));
          }
          deps_.tasks->Progress(id, 10);
          CallHost(caller, operation, id, vm, host, key, old_key, std::move(call));
        };
        if (key.provider_id().empty()) return go(absl::OkStatus());
        deps_.readiness->EnsureReady(caller, host, key.provider_id(), std::move(go));
      });
}

void VmEncryption::CallHost(const access::Caller& caller, const std::string& operation,
                            const std::string& id, const std::string& vm, Session host,
                            const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
                            HostCall call) {
  if (!host->connected()) return deps_.tasks->End(id, host->NotResponding());
  call(host->OnStrand<host::v1::HostVm>([this, caller, operation, id, vm, host, key,
                                         old_key](absl::StatusOr<host::v1::HostVm> answer) {
    if (!answer.ok()) {
      host->NoteAnswer(answer.status());
      return deps_.tasks->End(id, answer.status());
    }
    host->TakeVm(*answer);
    const bool crypto = !key.key_id().empty() || !old_key.key_id().empty();
    if (!crypto) return deps_.tasks->End(id, absl::OkStatus());
    Audit(deps_.events, caller, operation, VmObject(vm), key, old_key, host->name());
    // Whoever is told of the end finds the event (S148).
    deps_.events->Flushed(
        [tasks = deps_.tasks, id](const absl::Status&) { tasks->End(id, absl::OkStatus()); });
  }));
}

void VmEncryption::EncryptVm(const access::Caller& caller, const v1::EncryptVmRequest& request,
                             status::Callback<v1::Task> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const v1::Vm& vm = found->vm;
  const Session host = found->host;
  if (!vm.key_id().key_id().empty() && vm.lock_state() != v1::LOCK_STATE_LOCKED &&
      vm.power_state() != v1::POWER_STATE_ON) {
    return done(
        status::Error(v1::REASON_INVALID_STATE,
                      absl::StrCat("VM ", status::Quote(vm.name()), " is encrypted already"))
            .Object("vm", vm.name()));
  }
  std::string provider;
  if (absl::Status refusal =
          Refusal(caller, *host, vm, request.crypto(), /*needs_license=*/true, &provider);
      !refusal.ok()) {
    return done(refusal);
  }
  const v1::CryptoKeyId key = deps_.readiness->NewKey(provider);
  host::v1::EncryptHostVmRequest wanted;
  wanted.set_vm(vm.name());
  *wanted.mutable_key() = key;
  wanted.set_skip_hard_disks(request.crypto().skip_hard_disks());
  Run(
      caller, "EncryptVm", vm.name(), host, key, {},
      [host, wanted](status::Callback<host::v1::HostVm> answer) mutable {
        wanted.set_epoch(host->epoch());
        host->link()->EncryptHostVm(wanted, std::move(answer));
      },
      std::move(done));
}

void VmEncryption::DecryptVm(const access::Caller& caller, const v1::DecryptVmRequest& request,
                             status::Callback<v1::Task> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const v1::Vm& vm = found->vm;
  const Session host = found->host;
  std::vector<absl::Status> refusals;
  if (vm.power_state() == v1::POWER_STATE_ON) refusals.push_back(PoweredOn(vm.name()));
  if (vm.lock_state() == v1::LOCK_STATE_LOCKED) refusals.push_back(Locked(vm));
  if (absl::Status refusal = status::First(refusals); !refusal.ok()) return done(refusal);
  if (vm.key_id().key_id().empty()) {
    return done(status::Error(v1::REASON_INVALID_STATE,
                              absl::StrCat("VM ", status::Quote(vm.name()), " is not encrypted"))
                    .Object("vm", vm.name()));
  }
  const std::string name = vm.name();
  const v1::CryptoKeyId old_key = vm.key_id();
  // The host needs the old key, and may have it even if it is entitled to it no more.
  host->Sync(HostSession::SyncKind::kAdd,
             [this, caller, name, host, old_key,
              done = std::move(done)](absl::StatusOr<hosts::SyncResult>) mutable {
               Run(
                   caller, "DecryptVm", name, host, {}, old_key,
                   [host, name](status::Callback<host::v1::HostVm> answer) {
                     host::v1::DecryptHostVmRequest wanted;
                     wanted.set_epoch(host->epoch());
                     wanted.set_vm(name);
                     host->link()->DecryptHostVm(std::move(wanted), std::move(answer));
                   },
                   std::move(done));
             });
}

void VmEncryption::AddVtpm(const access::Caller& caller, const v1::AddVtpmRequest& request,
                           status::Callback<v1::Task> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const v1::Vm& vm = found->vm;
  const Session host = found->host;
  const bool encrypted = !vm.key_id().key_id().empty();
  if (!encrypted && !request.has_crypto()) {
    // S112, but with S13's reason where nothing could encrypt the home anyway.
    const absl::Status choice = deps_.readiness->Choose({}, host->Facts().cluster).status();
    const absl::Status refused =
        status::Error(v1::REASON_INVALID_STATE,
                      absl::StrCat("the home of VM ", status::Quote(vm.name()),
                                   " is not encrypted: a vTPM needs that"))
            .Object("vm", vm.name())
            .NextStep("Encrypt the home in the same operation.");
    return done(choice.ok() ? refused : choice);
  }
  v1::CryptoSpec crypto = request.crypto();
  if (encrypted) *crypto.mutable_key()->mutable_provider_id() = vm.key_id().provider_id();
  std::string provider;
  if (absl::Status refusal = Refusal(caller, *host, vm, crypto, /*needs_license=*/false, &provider);
      !refusal.ok()) {
    return done(refusal);
  }
  v1::CryptoKeyId key = encrypted ? vm.key_id() : deps_.readiness->NewKey(provider);
  host::v1::AddHostVmVtpmRequest wanted;
  wanted.set_vm(vm.name());
  if (!encrypted) *wanted.mutable_key() = key;
  Run(
      caller, "AddVtpm", vm.name(), host, key, {},
      [host, wanted](status::Callback<host::v1::HostVm> answer) mutable {
        wanted.set_epoch(host->epoch());
        host->link()->AddHostVmVtpm(wanted, std::move(answer));
      },
      std::move(done));
}

void VmEncryption::CreateVm(const access::Caller& caller, const v1::CreateVmRequest& request,
                            status::Callback<v1::Task> done) {
  if (absl::Status valid = files::ValidateName(request.name()); !valid.ok()) return done(valid);
  absl::StatusOr<Session> found = deps_.hosts->Connected(request.host());
  if (!found.ok()) return done(found.status());
  const Session host = *found;
  if (host->vms().count(request.name()) != 0) {
    return done(status::Error(v1::REASON_ALREADY_EXISTS,
                              absl::StrCat("host ", status::Quote(request.host()), " has a VM ",
                                           status::Quote(request.name()), " already"))
                    .Object("vm", request.name()));
  }
  v1::CryptoKeyId key;
  if (request.has_crypto()) {
    // The method's rule covers plain VMs; an encrypted one needs more (S128).
    if (absl::Status allowed = deps_.access->Require(caller, access::kEncryptNew); !allowed.ok()) {
      return done(allowed);
    }
    v1::Vm vm;
    vm.set_name(request.name());
    std::string provider;
    const bool vtpm_only = request.vtpm() && request.crypto().skip_hard_disks();
    if (absl::Status refusal = Refusal(caller, *host, vm, request.crypto(), !vtpm_only, &provider);
        !refusal.ok()) {
      return done(refusal);
    }
    key = deps_.readiness->NewKey(provider);
  } else if (request.vtpm()) {
    return done(status::Error(v1::REASON_INVALID_STATE, "a vTPM needs an encrypted VM home")
                    .Object("vm", request.name())
                    .NextStep("Ask for encryption too."));
  }
  host::v1::CreateHostVmRequest wanted;
  wanted.set_name(request.name());
  wanted.set_datastore(request.datastore());
  *wanted.mutable_disks() = request.disks();
  wanted.set_vtpm(request.vtpm());
  wanted.set_guest_os(request.guest_os());
  wanted.set_skip_hard_disks(request.crypto().skip_hard_disks());
  if (!key.key_id().empty()) *wanted.mutable_key() = key;
  Run(
      caller, "CreateVm", request.name(), host, key, {},
      [host, wanted](status::Callback<host::v1::HostVm> answer) mutable {
        wanted.set_epoch(host->epoch());
        host->link()->CreateHostVm(wanted, std::move(answer));
      },
      std::move(done));
}

void VmEncryption::GenerateKey(const access::Caller&, const v1::GenerateKeyRequest& request,
                               status::Callback<v1::GenerateKeyResponse> done) {
  absl::StatusOr<std::string> name = request.provider();
  if (request.provider().empty()) name = deps_.providers->EffectiveDefault("");
  if (!name.ok()) return done(name.status());
  if (deps_.providers->Find(*name) == nullptr) {
    return done(
        status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no key provider ", status::Quote(*name)))
            .Object("provider", *name));
  }
  done(status::Error(v1::REASON_UNSUPPORTED,
                     "a native key provider derives its keys: none is generated")
           .Object("provider", *name)
           .NextStep("Encrypt with an empty key id and this provider."));
}

void VmEncryption::QueryCryptoKeyStatus(const access::Caller&,
                                        const v1::QueryCryptoKeyStatusRequest& request,
                                        status::Callback<v1::QueryCryptoKeyStatusResponse> done) {
  if (request.keys().empty() || request.keys().size() > 1000) {
    return done(status::Error(v1::REASON_INVALID_ARGUMENT, "1 to 1,000 keys can be asked"));
  }
  v1::QueryCryptoKeyStatusResponse response;
  for (const v1::CryptoKeyId& key : request.keys()) {
    v1::CryptoKeyStatus* const state = response.add_statuses();
    *state->mutable_key() = key;
    const bool known = deps_.providers->Find(key.provider_id()) != nullptr;
    state->set_key_available(false);
    state->set_reason(known ? v1::CryptoKeyStatus::REASON_KEY_STATE_MANAGED_BY_NKP
                            : v1::CryptoKeyStatus::REASON_KEY_STATE_CLUSTER_INVALID);
    for (const Session& host : deps_.hosts->All()) {
      if (host->LastHostKey().key_id() == key.key_id()) state->add_hosts(host->name());
      for (const auto& [name, vm] : host->vms()) {
        if (vm.vm().key_id().key_id() == key.key_id()) state->add_vms(name);
      }
    }
  }
  done(std::move(response));
}

}  // namespace keysphere::controller::encryption
