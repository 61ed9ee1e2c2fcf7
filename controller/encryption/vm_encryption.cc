#include "controller/encryption/vm_encryption.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"

namespace keysphere::controller::encryption {
namespace {

using hosts::HostSession;

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

// Its disks may be under others than its home (S153).
bool UsesKey(const v1::Vm& vm, const v1::CryptoKeyId& key) {
  return keyset::SameKey(vm.key_id(), key) ||
         std::any_of(vm.disks().begin(), vm.disks().end(), [&key](const v1::VmDisk& disk) {
           return keyset::SameKey(disk.key_id(), key);
         });
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

bool VmEncryption::Doubts(const v1::Vm& vm, const v1::EncryptVmRequest&) {
  return !vm.key_id().key_id().empty();
}

bool VmEncryption::Doubts(const v1::Vm& vm, const v1::DecryptVmRequest&) {
  return vm.key_id().key_id().empty();
}

bool VmEncryption::Doubts(const v1::Vm& vm, const v1::AddVtpmRequest& request) {
  return vm.key_id().key_id().empty() && !request.has_crypto();
}

bool VmEncryption::Doubts(const v1::Vm& vm, const v1::RekeyVmRequest&) {
  return vm.key_id().key_id().empty();
}

template <typename Request>
void VmEncryption::Start(const access::Caller& caller, const Request& request,
                         status::Callback<v1::Task> done, Begin<Request> begin) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const Session host = found->host;
  if (found->vm.power_state() != v1::POWER_STATE_ON) {
    // A locked one, or one that waits for its key after a boot, is judged by nobody here.
    const bool rereads = found->vm.lock_state() == v1::LOCK_STATE_UNLOCKED;
    if (!rereads || !Doubts(found->vm, request)) {
      return (this->*begin)(caller, request, *found, std::move(done));
    }
    return Reread(host, request.vm(),
                  [this, caller, request, begin, done = std::move(done)]() mutable {
                    const auto again = FindUsable(request.vm(), request.host());
                    if (!again.ok()) return done(again.status());
                    (this->*begin)(caller, request, *again, std::move(done));
                  });
  }
  host::v1::GetHostVmRequest wanted;
  wanted.set_epoch(host->epoch());
  wanted.set_vm(request.vm());
  host->link()->GetHostVm(
      std::move(wanted),
      host->OnStrand<host::v1::HostVm>([this, caller, request, host, begin, done = std::move(done)](
                                           absl::StatusOr<host::v1::HostVm> now) mutable {
        if (!now.ok()) {
          host->NoteAnswer(now.status());
          return done(now.status());
        }
        host->TakeVm(*now);
        const auto again = FindUsable(request.vm(), request.host());
        if (!again.ok()) return done(again.status());
        (this->*begin)(caller, request, *again, std::move(done));
      }));
}

void VmEncryption::EncryptVm(const access::Caller& caller, const v1::EncryptVmRequest& request,
                             status::Callback<v1::Task> done) {
  Start(caller, request, std::move(done), &VmEncryption::BeginEncryptVm);
}

void VmEncryption::DecryptVm(const access::Caller& caller, const v1::DecryptVmRequest& request,
                             status::Callback<v1::Task> done) {
  Start(caller, request, std::move(done), &VmEncryption::BeginDecryptVm);
}

void VmEncryption::AddVtpm(const access::Caller& caller, const v1::AddVtpmRequest& request,
                           status::Callback<v1::Task> done) {
  Start(caller, request, std::move(done), &VmEncryption::BeginAddVtpm);
}

void VmEncryption::RekeyVm(const access::Caller& caller, const v1::RekeyVmRequest& request,
                           status::Callback<v1::Task> done) {
  Start(caller, request, std::move(done), &VmEncryption::BeginRekeyVm);
}

void VmEncryption::BeginEncryptVm(const access::Caller& caller, const v1::EncryptVmRequest& request,
                                  const hosts::Hosts::FoundVm& found,
                                  status::Callback<v1::Task> done) {
  const v1::Vm& vm = found.vm;
  const Session host = found.host;
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
  host::v1::EncryptHostVmRequest wanted;
  wanted.set_vm(vm.name());
  wanted.set_skip_hard_disks(request.crypto().skip_hard_disks());
  Work work(caller, "EncryptVm", vm.name(), host);
  work.vm_uuid = vm.uuid();
  work.key = request.crypto().key();
  work.key.set_provider_id(provider);
  work.call = [host, wanted](const v1::CryptoKeyId& key,
                             status::Callback<host::v1::HostVm> answer) mutable {
    wanted.set_epoch(host->epoch());
    *wanted.mutable_key() = key;
    host->link()->EncryptHostVm(wanted, std::move(answer));
  };
  Run(std::move(work), std::move(done));
}

void VmEncryption::BeginDecryptVm(const access::Caller& caller, const v1::DecryptVmRequest&,
                                  const hosts::Hosts::FoundVm& found,
                                  status::Callback<v1::Task> done) {
  const v1::Vm& vm = found.vm;
  const Session host = found.host;
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
  Work work(caller, "DecryptVm", name, host);
  work.vm_uuid = vm.uuid();
  work.old_key = vm.key_id();
  work.call = [host, name](const v1::CryptoKeyId&, status::Callback<host::v1::HostVm> answer) {
    host::v1::DecryptHostVmRequest wanted;
    wanted.set_epoch(host->epoch());
    wanted.set_vm(name);
    host->link()->DecryptHostVm(std::move(wanted), std::move(answer));
  };
  // The host needs the old key, and may have it even if it is entitled to it no more.
  BringKeys(host, vm, [this, work = std::move(work), done = std::move(done)]() mutable {
    Run(std::move(work), std::move(done));
  });
}

void VmEncryption::BeginAddVtpm(const access::Caller& caller, const v1::AddVtpmRequest& request,
                                const hosts::Hosts::FoundVm& found,
                                status::Callback<v1::Task> done) {
  const v1::Vm& vm = found.vm;
  const Session host = found.host;
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
  if (encrypted) {
    crypto.mutable_key()->Clear();
    crypto.mutable_key()->set_provider_id(vm.key_id().provider_id());
  }
  std::string provider;
  if (absl::Status refusal = Refusal(caller, *host, vm, crypto, /*needs_license=*/false, &provider);
      !refusal.ok()) {
    return done(refusal);
  }
  host::v1::AddHostVmVtpmRequest wanted;
  wanted.set_vm(vm.name());
  Work work(caller, "AddVtpm", vm.name(), host);
  work.vm_uuid = vm.uuid();
  work.key_is_the_vms = encrypted;
  work.key = encrypted ? vm.key_id() : request.crypto().key();
  work.key.set_provider_id(provider);
  work.call = [host, wanted, encrypted](const v1::CryptoKeyId& key,
                                        status::Callback<host::v1::HostVm> answer) mutable {
    wanted.set_epoch(host->epoch());
    if (!encrypted) *wanted.mutable_key() = key;
    host->link()->AddHostVmVtpm(wanted, std::move(answer));
  };
  Run(std::move(work), std::move(done));
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
    key = request.crypto().key();
    key.set_provider_id(provider);
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
  Work work(caller, "CreateVm", request.name(), host);
  work.key = key;
  work.call = [host, wanted](const v1::CryptoKeyId& made,
                             status::Callback<host::v1::HostVm> answer) mutable {
    wanted.set_epoch(host->epoch());
    if (!made.key_id().empty()) *wanted.mutable_key() = made;
    host->link()->CreateHostVm(wanted, std::move(answer));
  };
  Run(std::move(work), std::move(done));
}

void VmEncryption::BeginRekeyVm(const access::Caller& caller, const v1::RekeyVmRequest& request,
                                const hosts::Hosts::FoundVm& found,
                                status::Callback<v1::Task> done) {
  const v1::Vm& vm = found.vm;
  const Session host = found.host;
  if (request.depth() != v1::REKEY_DEPTH_SHALLOW && request.depth() != v1::REKEY_DEPTH_DEEP) {
    return done(status::Error(v1::REASON_INVALID_ARGUMENT, "depth: shallow or deep"));
  }
  // A shallow rekey needs no power-off (S43); that a VM is not encrypted comes after the refusals.
  v1::Vm judged = vm;
  if (request.depth() == v1::REKEY_DEPTH_SHALLOW) judged.set_power_state(v1::POWER_STATE_OFF);
  std::string provider;
  if (absl::Status refusal = Refusal(caller, *host, judged, request.crypto(),
                                     /*needs_license=*/false, &provider);
      !refusal.ok()) {
    return done(refusal);
  }
  if (vm.key_id().key_id().empty()) {
    return done(status::Error(v1::REASON_INVALID_STATE,
                              absl::StrCat("VM ", status::Quote(vm.name()), " is not encrypted"))
                    .Object("vm", vm.name())
                    .NextStep("Encrypt it."));
  }
  host::v1::RekeyHostVmRequest wanted;
  wanted.set_vm(vm.name());
  wanted.set_depth(request.depth());
  wanted.set_skip_hard_disks(request.crypto().skip_hard_disks());
  Work work(caller, "RekeyVm", vm.name(), host);
  work.vm_uuid = vm.uuid();
  work.key = request.crypto().key();
  work.key.set_provider_id(provider);
  work.old_key = vm.key_id();
  work.call = [host, wanted](const v1::CryptoKeyId& key,
                             status::Callback<host::v1::HostVm> answer) mutable {
    wanted.set_epoch(host->epoch());
    *wanted.mutable_key() = key;
    host->link()->RekeyHostVm(wanted, std::move(answer));
  };
  // The host unwraps with the old keys; what cannot be had it names when it refuses (S156).
  BringKeys(host, vm, [this, work = std::move(work), done = std::move(done)]() mutable {
    Run(std::move(work), std::move(done));
  });
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
  if (const std::shared_ptr<kms::KmsCluster> cluster = deps_.kms->Find(*name); cluster != nullptr) {
    return cluster->Create(
        [provider = *name, done = std::move(done)](absl::StatusOr<std::string> id) mutable {
          if (!id.ok()) return done(id.status());
          v1::GenerateKeyResponse response;
          response.mutable_key()->set_provider_id(provider);
          response.mutable_key()->set_key_id(*std::move(id));
          done(std::move(response));
        });
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
  for (const v1::CryptoKeyId& key : request.keys()) {
    if (!key.provider_id().empty() && !key.key_id().empty()) continue;
    return done(status::Error(v1::REASON_INVALID_ARGUMENT, "a key has a provider and a key id")
                    .NextStep("Name both."));
  }
  auto response = std::make_shared<v1::QueryCryptoKeyStatusResponse>();
  std::set<std::string> standard;
  for (const v1::CryptoKeyId& key : request.keys()) {
    v1::CryptoKeyStatus* const state = response->add_statuses();
    *state->mutable_key() = key;
    const bool known = deps_.providers->Find(key.provider_id()) != nullptr;
    state->set_key_available(false);
    state->set_reason(known ? v1::CryptoKeyStatus::REASON_KEY_STATE_MANAGED_BY_NKP
                            : v1::CryptoKeyStatus::REASON_KEY_STATE_CLUSTER_INVALID);
    if (deps_.keys->IsStandard(key.provider_id())) standard.insert(key.provider_id());
    for (const Session& host : deps_.hosts->All()) {
      if (keyset::SameKey(host->LastHostKey(), key)) state->add_hosts(host->name());
      for (const auto& [name, vm] : host->vms()) {
        if (UsesKey(vm.vm(), key)) state->add_vms(name);
      }
    }
  }
  auto open = std::make_shared<size_t>(standard.size() + 1);
  auto finish =
      std::make_shared<status::Callback<v1::QueryCryptoKeyStatusResponse>>(std::move(done));
  const auto one_done = [open, finish, response] {
    if (--*open == 0) (*finish)(std::move(*response));
  };
  for (const std::string& provider : standard) AskStates(provider, request, response, one_done);
  one_done();
}

void VmEncryption::AskStates(const std::string& provider,
                             const v1::QueryCryptoKeyStatusRequest& request,
                             std::shared_ptr<v1::QueryCryptoKeyStatusResponse> response,
                             absl::AnyInvocable<void()> done) {
  using Status = v1::CryptoKeyStatus;
  std::vector<std::string> ids;
  std::vector<int> places;
  for (int i = 0; i < request.keys_size(); ++i) {
    if (request.keys(i).provider_id() != provider) continue;
    ids.push_back(request.keys(i).key_id());
    places.push_back(i);
  }
  deps_.kms->Find(provider)->GetStates(
      std::move(ids), [response, places, done = std::move(done)](
                          const absl::StatusOr<kms::KmsCluster::States>& states) mutable {
        for (size_t i = 0; i < places.size(); ++i) {
          Status* const status = response->mutable_statuses(places[i]);
          if (!states.ok()) {
            status->set_reason(Status::REASON_KEY_STATE_CLUSTER_UNREACHABLE);
            continue;
          }
          const absl::StatusOr<kmip::client::KeyState>& state = (*states)[i];
          const bool active = state.ok() && *state == kmip::client::KeyState::kActive;
          status->set_key_available(active);
          // A destroyed key is there in name only: locks call it missing, too (S89).
          const bool destroyed =
              state.ok() && (*state == kmip::client::KeyState::kDestroyed ||
                             *state == kmip::client::KeyState::kDestroyedCompromised);
          if (active) {
            status->clear_reason();
          } else if (destroyed ||
                     status::ReasonOf(state.status()) == v1::REASON_KEY_MISSING_ON_KMS) {
            status->set_reason(Status::REASON_KEY_STATE_MISSING_IN_KMS);
          } else if (state.ok()) {
            status->set_reason(Status::REASON_KEY_STATE_NOT_ACTIVE_OR_ENABLED);
          } else {
            // A KMS that refuses to say is of as little use as one that is away.
            status->set_reason(Status::REASON_KEY_STATE_CLUSTER_UNREACHABLE);
          }
        }
        done();
      });
}

}  // namespace keysphere::controller::encryption
