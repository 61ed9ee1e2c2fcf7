#include "controller/vms/vms.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "controller/encryption/audit.h"
#include "controller/paging/paging.h"

namespace keysphere::controller::vms {
namespace {

using hosts::HostSession;

std::string VmObject(absl::string_view vm) { return absl::StrCat("vm/", vm); }

// A request about a VM, with the epoch that the host wants.
template <typename Request>
Request ForHost(const HostSession& host, const std::string& vm) {
  Request request;
  request.set_epoch(host.epoch());
  request.set_vm(vm);
  return request;
}

}  // namespace

absl::StatusOr<hosts::Hosts::FoundVm> Vms::FindUsable(const std::string& vm,
                                                      const std::string& host) const {
  KS_ASSIGN_OR_RETURN(hosts::Hosts::FoundVm found, hosts_->FindVm(vm, host));
  if (!found.host->connected()) return found.host->NotResponding();
  return found;
}

status::Callback<host::v1::HostVm> Vms::Taking(Session host, status::Callback<v1::Vm> done) {
  return host->OnStrand<host::v1::HostVm>(
      [host, done = std::move(done)](absl::StatusOr<host::v1::HostVm> answer) mutable {
        if (!answer.ok()) {
          host->NoteAnswer(answer.status());
          return done(answer.status());
        }
        host->TakeVm(*answer);
        done(std::move(*answer->mutable_vm()));
      });
}

void Vms::BringKeys(Session host, absl::AnyInvocable<void()> then) {
  host->Sync(HostSession::SyncKind::kAdd,
             [then = std::move(then)](absl::StatusOr<hosts::SyncResult>) mutable { then(); });
}

void Vms::BringKeysFor(Session host, const v1::Vm& vm, absl::AnyInvocable<void()> then) {
  BringKeys(host, [host, keys = needs_->KeysOf(vm), then = std::move(then)]() mutable {
    host->BringStandard(keys, [then = std::move(then)](const absl::Status&) mutable { then(); });
  });
}

void Vms::BringAndJudge(Session host, v1::Vm vm, status::Callback<v1::Vm> done) {
  std::vector<hosts::KeyNamePtr> lacking;
  for (const hosts::KeyNamePtr key : needs_->KeysOf(vm)) {
    if (keys_->IsStandard(key->provider) && !host->Caches(key)) lacking.push_back(key);
  }
  const bool was_locked = vm.lock_state() == v1::LOCK_STATE_LOCKED;
  if (lacking.empty() && !was_locked) return done(std::move(vm));
  host->BringStandard(lacking, [this, host, was_locked, vm = std::move(vm),
                                done = std::move(done)](const absl::Status&) mutable {
    // With the key it is unlocked now; without, the host knows by now why it is not here (S89).
    const bool again = was_locked && keys_->IsStandard(vm.key_id().provider_id());
    if (!again || !host->connected()) return done(std::move(vm));
    host->link()->ReloadHostVm(
        ForHost<host::v1::ReloadHostVmRequest>(*host, vm.name()),
        Taking(host, [vm, done = std::move(done)](const absl::StatusOr<v1::Vm>& judged) mutable {
          done(judged.ok() ? *judged : vm);
        }));
  });
}

void Vms::RegisterVm(const access::Caller& caller, const v1::RegisterVmRequest& request,
                     status::Callback<v1::Vm> done) {
  absl::StatusOr<Session> host = hosts_->Connected(request.host());
  if (!host.ok()) return done(host.status());
  // One answer: what the host says of the VM before its key was looked for is told nobody.
  (*host)->HoldVm(request.vmx_path());
  auto finish = [this, caller, host = *host, path = request.vmx_path(),
                 done = std::move(done)](absl::StatusOr<v1::Vm> vm) mutable {
    if (vm.ok()) TellRegistered(caller, *host, *vm);
    host->ReleaseVm(path);
    if (!vm.ok()) return done(std::move(vm));
    const auto it = host->vms().find(vm->name());
    done(it == host->vms().end() ? *std::move(vm) : it->second.vm());
  };
  BringKeys(*host, [this, caller, host = *host, request, finish = std::move(finish)]() mutable {
    host::v1::RegisterHostVmRequest wanted;
    wanted.set_epoch(host->epoch());
    wanted.set_vmx_path(request.vmx_path());
    wanted.set_name(request.name());
    host->link()->RegisterHostVm(
        std::move(wanted), Taking(host, [this, caller, host, finish = std::move(finish)](
                                            absl::StatusOr<v1::Vm> vm) mutable {
          if (!vm.ok()) return finish(std::move(vm));
          EnableFor(
              caller, host, *std::move(vm),
              [this, host, finish = std::move(finish)](absl::StatusOr<v1::Vm> enabled) mutable {
                if (!enabled.ok()) return finish(std::move(enabled));
                BringAndJudge(host, *std::move(enabled), std::move(finish));
              });
        }));
  });
}

void Vms::TellRegistered(const access::Caller& caller, const HostSession& host, const v1::Vm& vm) {
  v1::Event event;
  event.set_type(events::kVmRegistered);
  event.set_object(VmObject(vm.name()));
  event.set_user(caller.user);
  event.set_message(absl::StrCat("Virtual machine ", vm.name(), " is registered on ", host.name()));
  (*event.mutable_arguments())["host"] = host.name();
  events_->Append(std::move(event));
}

void Vms::EnableFor(const access::Caller& caller, Session host, v1::Vm vm,
                    status::Callback<v1::Vm> done) {
  const std::string provider = vm.key_id().provider_id();
  if (provider.empty() || host->status().crypto_state() == v1::CRYPTO_STATE_SAFE) {
    return done(std::move(vm));
  }
  if (!access_->Has(caller, access::kRegisterHost)) {
    return UnregisterFrom(
        host, vm.name(), caller.user,
        [host, done = std::move(done)](absl::StatusOr<v1::UnregisterVmResponse>) mutable {
          done(status::Error(v1::REASON_HOST_NOT_SAFE,
                             absl::StrCat("encryption mode of host ", status::Quote(host->name()),
                                          " is off and the caller may not switch it on"))
                   .Object("host", host->name())
                   .NextStep("Ask somebody with Cryptographer.RegisterHost to enable it."));
        });
  }
  if (!readiness_->Knows(provider)) return done(std::move(vm));
  readiness_->EnsureReady(
      caller, host, provider,
      [host, vm = std::move(vm), done = std::move(done)](const absl::Status&) mutable {
        // A VM whose key cannot be had here is registered all the same, locked.
        const auto it = host->vms().find(vm.name());
        done(it == host->vms().end() ? std::move(vm) : it->second.vm());
      });
}

void Vms::UnregisterVm(const access::Caller& caller, const v1::UnregisterVmRequest& request,
                       status::Callback<v1::UnregisterVmResponse> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  UnregisterFrom(found->host, request.vm(), caller.user, std::move(done));
}

void Vms::UnregisterFrom(Session host, const std::string& vm, const std::string& user,
                         status::Callback<v1::UnregisterVmResponse> done) {
  auto wanted = ForHost<host::v1::UnregisterHostVmRequest>(*host, vm);
  wanted.set_user(user);
  host->link()->UnregisterHostVm(
      std::move(wanted),
      host->OnStrand<host::v1::UnregisterHostVmResponse>(
          [host, vm, user, done = std::move(done)](
              absl::StatusOr<host::v1::UnregisterHostVmResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            host->ForgetVm(vm, user);
            done(v1::UnregisterVmResponse());
          }));
}

void Vms::ReloadVm(const access::Caller&, const v1::ReloadVmRequest& request,
                   status::Callback<v1::Vm> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  found->host->link()->ReloadHostVm(
      ForHost<host::v1::ReloadHostVmRequest>(*found->host, request.vm()),
      Taking(found->host, std::move(done)));
}

void Vms::GetVm(const access::Caller&, const v1::GetVmRequest& request,
                status::Callback<v1::Vm> done) {
  auto found = hosts_->FindVm(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  done(std::move(found->vm));
}

void Vms::ListVms(const access::Caller&, const v1::ListVmsRequest& request,
                  status::Callback<v1::ListVmsResponse> done) {
  std::map<std::string, const v1::Vm*> chosen;  // by host and name
  const std::vector<Session> sessions = hosts_->All();
  for (const Session& host : sessions) {
    if (!request.host().empty() && host->name() != request.host()) continue;
    for (const auto& [name, vm] : host->vms()) {
      chosen.emplace(absl::StrCat(host->name(), "/", name), &vm.vm());
    }
  }
  const absl::StatusOr<paging::Page> page =
      paging::PageOf(chosen, request.page_size(), request.page_token());
  if (!page.ok()) return done(page.status());
  v1::ListVmsResponse response;
  for (const std::string& key : page->keys) *response.add_vms() = *chosen[key];
  response.set_next_page_token(page->next_token);
  done(std::move(response));
}

void Vms::PowerOnVm(const access::Caller& caller, const v1::PowerOnVmRequest& request,
                    status::Callback<v1::Vm> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const Session host = found->host;
  const v1::Vm vm = found->vm;
  auto power_on = [this, caller, host, vm, done = std::move(done)]() mutable {
    auto wanted = ForHost<host::v1::PowerOnHostVmRequest>(*host, vm.name());
    wanted.set_may_enable_host(access_->Has(caller, access::kRegisterHost));
    wanted.set_user(caller.user);
    host->link()->PowerOnHostVm(
        std::move(wanted),
        Taking(host, [this, host, vm, done = std::move(done)](absl::StatusOr<v1::Vm> on) mutable {
          if (!on.ok()) return done(Enrich(*host, vm, on.status()));
          done(std::move(on));
        }));
  };
  if (vm.key_id().key_id().empty()) return power_on();
  const bool enable = keys_->IsStandard(vm.key_id().provider_id()) && !host->safe() &&
                      access_->Has(caller, access::kRegisterHost);
  // A key that comes ends no lock (S68, S72): the host refuses without waiting for a KMS.
  const bool locked = vm.lock_state() == v1::LOCK_STATE_LOCKED;
  if (!enable && locked) return power_on();
  if (!enable) return BringKeysFor(host, vm, std::move(power_on));
  // A host that is not safe takes no key of a standard provider: it is enabled first (S151).
  readiness_->EnsureReady(
      caller, host, vm.key_id().provider_id(),
      [this, host, vm, power_on = std::move(power_on)](const absl::Status&) mutable {
        BringKeysFor(host, vm, std::move(power_on));
      });
}

void Vms::PowerOffVm(const access::Caller& caller, const v1::PowerOffVmRequest& request,
                     status::Callback<v1::Vm> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  auto wanted = ForHost<host::v1::PowerOffHostVmRequest>(*found->host, request.vm());
  wanted.set_user(caller.user);
  found->host->link()->PowerOffHostVm(std::move(wanted), Taking(found->host, std::move(done)));
}

void Vms::ResetVm(const access::Caller&, const v1::ResetVmRequest& request,
                  status::Callback<v1::Vm> done) {
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  found->host->link()->ResetHostVm(
      ForHost<host::v1::ResetHostVmRequest>(*found->host, request.vm()),
      Taking(found->host, std::move(done)));
}

void Vms::UnlockVm(const access::Caller& caller, const v1::UnlockVmRequest& request,
                   status::Callback<v1::Vm> done) {
  if (absl::Status allowed = access_->Require(caller, access::kRegisterVm); !allowed.ok()) {
    return done(allowed);
  }
  const auto found = FindUsable(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  const Session host = found->host;
  const v1::Vm vm = found->vm;
  const std::string provider = vm.key_id().provider_id();
  auto judge = [this, caller, host, vm, done = std::move(done)](absl::Status ready) mutable {
    if (!ready.ok()) return done(ready);
    host->link()->UnlockHostVm(
        ForHost<host::v1::UnlockHostVmRequest>(*host, vm.name()),
        Taking(host, [this, caller, host, vm,
                      done = std::move(done)](absl::StatusOr<v1::Vm> judged) mutable {
          if (!judged.ok()) return done(Enrich(*host, vm, judged.status()));
          encryption::Audit(events_, caller, "CryptoUnlock", VmObject(vm.name()), vm.key_id(), {},
                            host->name());
          done(std::move(judged));
        }));
  };
  if (provider.empty() || !readiness_->Knows(provider)) return judge(absl::OkStatus());
  // An entitlement that is missing need not matter: the host may still hold the key until the next
  // pass. A collision does matter (S141).
  readiness_->EnsureKey(
      host, provider, [this, host, vm, judge = std::move(judge)](absl::Status has_key) mutable {
        if (status::ReasonOf(has_key) == v1::REASON_KEY_MISMATCH) return judge(has_key);
        host->BringStandard(
            needs_->KeysOf(vm),
            [judge = std::move(judge)](const absl::Status&) mutable { judge(absl::OkStatus()); });
      });
}

}  // namespace keysphere::controller::vms
