#include "controller/encryption/host_encryption.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "controller/encryption/audit.h"

namespace keysphere::controller::encryption {
namespace {

using hosts::HostSession;
using ModeRequest = host::v1::SetCryptoModeRequest;

std::string HostObject(const HostSession& host) { return absl::StrCat("host/", host.name()); }

}  // namespace

void HostEncryption::Step(const access::Caller& caller, const std::string& host_name,
                          ModeRequest::Action action, v1::CryptoKeyId key,
                          absl::string_view operation, status::Callback<v1::Host> done) {
  if (absl::Status allowed = access_->Require(caller, access::kRegisterHost); !allowed.ok()) {
    return done(allowed);
  }
  absl::StatusOr<Session> host = hosts_->Connected(host_name);
  if (!host.ok()) return done(host.status());
  const v1::CryptoKeyId old_key = (*host)->status().host_key();
  auto finish = [this, caller, host = *host, key, old_key, operation = std::string(operation),
                 done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) return done(status);
    Audit(events_, caller, operation, HostObject(*host), key, old_key, host->name());
    done(host->Describe());
  };
  const bool needs_key =
      action == ModeRequest::ACTION_ENABLE || action == ModeRequest::ACTION_CHANGE_KEY;
  if (!needs_key) return readiness_->SetMode(*host, action, key, std::move(finish));
  // The host judges its own state first: a key is not sent for a step that it refuses anyway.
  const v1::CryptoState state = (*host)->status().crypto_state();
  const bool allowed = action == ModeRequest::ACTION_ENABLE ? state == v1::CRYPTO_STATE_PREPARED
                                                            : state == v1::CRYPTO_STATE_SAFE;
  if (!allowed) return readiness_->SetMode(*host, action, key, std::move(finish));
  readiness_->EnsureKey(
      *host, key.provider_id(),
      [this, host = *host, action, key, finish = std::move(finish)](absl::Status has_key) mutable {
        if (!has_key.ok()) return finish(has_key);
        readiness_->SetMode(host, action, key, std::move(finish));
      });
}

void HostEncryption::PrepareCrypto(const access::Caller& caller,
                                   const v1::PrepareCryptoRequest& request,
                                   status::Callback<v1::Host> done) {
  Step(caller, request.host(), ModeRequest::ACTION_PREPARE, {}, "PrepareCrypto", std::move(done));
}

void HostEncryption::EnableCrypto(const access::Caller& caller,
                                  const v1::EnableCryptoRequest& request,
                                  status::Callback<v1::Host> done) {
  v1::CryptoKeyId key = request.key();
  if (key.key_id().empty()) key = readiness_->NewKey(key.provider_id());
  Step(caller, request.host(), ModeRequest::ACTION_ENABLE, std::move(key), "EnableCrypto",
       std::move(done));
}

void HostEncryption::DisableCrypto(const access::Caller& caller,
                                   const v1::DisableCryptoRequest& request,
                                   status::Callback<v1::Host> done) {
  Step(caller, request.host(), ModeRequest::ACTION_DISABLE, {}, "DisableCrypto", std::move(done));
}

void HostEncryption::ChangeKey(const access::Caller& caller, const v1::ChangeKeyRequest& request,
                               status::Callback<v1::Host> done) {
  v1::CryptoKeyId key = request.key();
  if (key.key_id().empty()) key = readiness_->NewKey(key.provider_id());
  Step(caller, request.host(), ModeRequest::ACTION_CHANGE_KEY, std::move(key), "ChangeKey",
       std::move(done));
}

void HostEncryption::AddKey(const access::Caller& caller, const v1::AddKeyRequest& request,
                            status::Callback<v1::Host> done) {
  if (absl::Status allowed = access_->Require(caller, access::kRegisterHost); !allowed.ok()) {
    return done(allowed);
  }
  absl::StatusOr<Session> host = hosts_->Connected(request.host());
  if (!host.ok()) return done(host.status());
  if ((*host)->status().crypto_state() != v1::CRYPTO_STATE_SAFE) {
    return done(status::Error(v1::REASON_INVALID_STATE,
                              absl::StrCat("host ", status::Quote(request.host()),
                                           " is not safe: a key can be added only then"))
                    .Object("host", request.host())
                    .NextStep("Enable encryption mode first."));
  }
  readiness_->EnsureKey(*host, request.key().provider_id(),
                        [host = *host, done = std::move(done)](absl::Status status) mutable {
                          if (!status.ok()) return done(status);
                          done(host->Describe());
                        });
}

absl::StatusOr<v1::CryptoKeyId> HostEncryption::HostKeyToUse(const HostSession& host,
                                                             const v1::CryptoKeyId& wanted) const {
  const auto usable = [this](const v1::CryptoKeyId& key) {
    return !key.key_id().empty() && readiness_->Knows(key.provider_id());
  };
  if (!wanted.key_id().empty()) {
    if (!usable(wanted)) return readiness_->Choose(wanted, "").status();
    return wanted;
  }
  if (!wanted.provider_id().empty()) {
    KS_ASSIGN_OR_RETURN(const std::string named, readiness_->Choose(wanted, host.Facts().cluster));
    return readiness_->NewKey(named);
  }
  // The host's key, else its cluster's, else a new one of the effective default (S102). One of a
  // provider that this vCenter lacks, or that is not for this host, cannot be had.
  const v1::CryptoKeyId own = host.LastHostKey();
  if (host.status().crypto_state() == v1::CRYPTO_STATE_SAFE &&
      !host.status().host_key().key_id().empty()) {
    return host.status().host_key();
  }
  if (readiness_->CanDerive(host, own, host.LastHostKeyCheckValue())) return own;
  for (const Session& other : hosts_->InCluster(host.Facts().cluster)) {
    const v1::CryptoKeyId& key = other->status().host_key();
    if (readiness_->CanDerive(host, key, other->status().host_key_check_value())) return key;
  }
  KS_ASSIGN_OR_RETURN(const std::string provider, readiness_->Choose({}, host.Facts().cluster));
  return readiness_->NewKey(provider);
}

void HostEncryption::ConfigureCryptoKey(const access::Caller& caller,
                                        const v1::ConfigureCryptoKeyRequest& request,
                                        status::Callback<v1::ConfigureCryptoKeyResponse> done) {
  if (absl::Status allowed = access_->Require(caller, access::kRegisterHost); !allowed.ok()) {
    return done(allowed);
  }
  absl::StatusOr<Session> found = hosts_->Connected(request.host());
  if (!found.ok()) return done(found.status());
  const Session host = *found;
  const absl::StatusOr<v1::CryptoKeyId> key = HostKeyToUse(*host, request.key());
  if (!key.ok()) return done(key.status());
  const bool safe = host->status().crypto_state() == v1::CRYPTO_STATE_SAFE;
  const bool same = host->status().host_key().key_id() == key->key_id();
  auto unlock = [this, caller, host, key = *key,
                 done = std::move(done)](absl::Status ready) mutable {
    if (!ready.ok()) return done(ready);
    UnlockAll(caller, host, key, std::move(done));
  };
  if (safe && same) {
    // It has its key; what it lacks for its VMs travels now.
    return host->Sync(
        HostSession::SyncKind::kAdd,
        [host, unlock = std::move(unlock)](absl::StatusOr<hosts::SyncResult> synced) mutable {
          unlock(synced.status());
        });
  }
  readiness_->EnsureKey(
      host, key->provider_id(),
      [this, host, safe, key = *key, unlock = std::move(unlock)](absl::Status has_key) mutable {
        if (!has_key.ok()) return unlock(has_key);
        if (safe) {
          return readiness_->SetMode(host, ModeRequest::ACTION_CHANGE_KEY, key, std::move(unlock));
        }
        readiness_->MakeSafe(host, key, std::move(unlock));
      });
}

void HostEncryption::RestoreHostKey(const std::string& name) {
  const absl::StatusOr<Session> found = hosts_->Connected(name);
  if (!found.ok()) return;
  const Session host = *found;
  if (host->status().crypto_state() != v1::CRYPTO_STATE_INCAPABLE) return;
  v1::CryptoKeyId key = host->status().host_key();
  if (!readiness_->CanDerive(*host, key, host->status().host_key_check_value())) {
    if (!options_->Boolean(options::kNewHostKeyIfMissing)) return;
    const absl::StatusOr<std::string> provider = readiness_->Choose({}, host->Facts().cluster);
    if (!provider.ok()) return;
    key = readiness_->NewKey(*provider);
  }
  readiness_->EnsureKey(host, key.provider_id(), [this, host, key](const absl::Status& has_key) {
    if (!has_key.ok()) return;
    readiness_->MakeSafe(host, key, [this, host, key](const absl::Status& safe) {
      if (!safe.ok()) return;
      Audit(events_, access::Caller(), "RestoreHostKey", HostObject(*host), key, {}, host->name());
    });
  });
}

void HostEncryption::UnlockAll(const access::Caller& caller, Session host,
                               const v1::CryptoKeyId& key,
                               status::Callback<v1::ConfigureCryptoKeyResponse> done) {
  host::v1::UnlockAllHostVmsRequest request;
  request.set_epoch(host->epoch());
  host->link()->UnlockAllHostVms(
      std::move(request),
      host->OnStrand<host::v1::UnlockAllHostVmsResponse>(
          [this, caller, host, key, done = std::move(done)](
              absl::StatusOr<host::v1::UnlockAllHostVmsResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            v1::ConfigureCryptoKeyResponse response;
            *response.mutable_host() = host->Describe();
            for (const std::string& vm : answer->unlocked_vms()) response.add_unlocked_vms(vm);
            for (const host::v1::HostVm& vm : answer->still_locked()) {
              host->TakeVm(vm);
              auto* const locked = response.add_still_locked();
              locked->set_vm(vm.vm().name());
              *locked->mutable_explanation() = vm.vm().lock();
            }
            alarms_->Clear(alarms::kHostRequiresEncryption, HostObject(*host));
            Audit(events_, caller, "ConfigureCryptoKey", HostObject(*host), key, {}, host->name());
            // The other hosts' keys follow (S102).
            for (const Session& other : hosts_->InCluster(host->Facts().cluster)) {
              if (other->name() == host->name() || !other->connected()) continue;
              other->Sync(HostSession::SyncKind::kAdd, [](absl::StatusOr<hosts::SyncResult>) {});
            }
            done(std::move(response));
          }));
}

}  // namespace keysphere::controller::encryption
