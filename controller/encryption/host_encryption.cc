#include "controller/encryption/host_encryption.h"

#include <algorithm>
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
  auto finish = [this, caller, host = *host, old_key, operation = std::string(operation),
                 done = std::move(done)](const v1::CryptoKeyId& key, absl::Status status) mutable {
    if (!status.ok()) return done(status);
    Audit(events_, caller, operation, HostObject(*host), key, old_key, host->name());
    done(host->Describe());
  };
  const bool needs_key =
      action == ModeRequest::ACTION_ENABLE || action == ModeRequest::ACTION_CHANGE_KEY;
  // The host judges its own state first: a key is not made or sent for a step that it refuses.
  const v1::CryptoState state = (*host)->status().crypto_state();
  const bool allowed = action == ModeRequest::ACTION_ENABLE ? state == v1::CRYPTO_STATE_PREPARED
                                                            : state == v1::CRYPTO_STATE_SAFE;
  if (!needs_key || !allowed) {
    if (needs_key && key.key_id().empty()) key = keys_->NewName(key.provider_id());
    return readiness_->SetMode(*host, action, {key, {}},
                               [key, finish = std::move(finish)](absl::Status status) mutable {
                                 finish(key, std::move(status));
                               });
  }
  readiness_->EnsureKey(
      *host, key.provider_id(),
      [this, host = *host, action, key, finish = std::move(finish)](absl::Status has_key) mutable {
        if (!has_key.ok()) return finish(key, has_key);
        auto use = [this, host, action, key,
                    finish = std::move(finish)](absl::StatusOr<KeyMaker::HostKey> got) mutable {
          if (!got.ok()) return finish(key, got.status());
          readiness_->SetMode(host, action, *got,
                              [id = got->id, finish = std::move(finish)](
                                  absl::Status status) mutable { finish(id, std::move(status)); });
        };
        if (key.key_id().empty()) return keys_->NewHostKey(key.provider_id(), std::move(use));
        keys_->GetHostKey(key, std::move(use));
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
  Step(caller, request.host(), ModeRequest::ACTION_ENABLE, request.key(), "EnableCrypto",
       std::move(done));
}

void HostEncryption::DisableCrypto(const access::Caller& caller,
                                   const v1::DisableCryptoRequest& request,
                                   status::Callback<v1::Host> done) {
  Step(caller, request.host(), ModeRequest::ACTION_DISABLE, {}, "DisableCrypto", std::move(done));
}

void HostEncryption::ChangeKey(const access::Caller& caller, const v1::ChangeKeyRequest& request,
                               status::Callback<v1::Host> done) {
  Step(caller, request.host(), ModeRequest::ACTION_CHANGE_KEY, request.key(), "ChangeKey",
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
  readiness_->EnsureKey(
      *host, request.key().provider_id(),
      [this, caller, host = *host, key = request.key(),
       done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(status);
        // Under a standard provider it is that one key.
        host->BringStandard({needs_->Name(key)}, [this, caller, host, key, done = std::move(done)](
                                                     absl::Status brought) mutable {
          if (!brought.ok()) return done(brought);
          Audit(events_, caller, "AddKey", HostObject(*host), key, {}, host->name());
          done(host->Describe());
        });
      });
}

absl::StatusOr<HostEncryption::Candidates> HostEncryption::HostKeysToUse(
    const HostSession& host, const v1::CryptoKeyId& wanted) const {
  Candidates candidates;
  v1::CryptoKeyId fresh;
  if (!wanted.key_id().empty()) {
    if (!readiness_->Knows(wanted.provider_id())) return readiness_->Choose(wanted, "").status();
    return Candidates{wanted};
  }
  if (!wanted.provider_id().empty()) {
    KS_ASSIGN_OR_RETURN(*fresh.mutable_provider_id(),
                        readiness_->Choose(wanted, host.Facts().cluster));
    return Candidates{fresh};
  }
  // The host's key, else its cluster's, else a new one of the effective default (S102). One of a
  // provider that this vCenter lacks, or that is not for this host, cannot be had.
  if (host.safe() && !host.status().host_key().key_id().empty()) {
    return Candidates{host.status().host_key()};
  }
  const v1::CryptoKeyId own = host.LastHostKey();
  if (readiness_->CanDerive(host, own, host.LastHostKeyCheckValue())) candidates.push_back(own);
  for (const Session& other : hosts_->InCluster(host.Facts().cluster)) {
    const v1::CryptoKeyId& key = other->status().host_key();
    if (!readiness_->CanDerive(host, key, other->status().host_key_check_value())) continue;
    candidates.push_back(key);
    break;
  }
  const absl::StatusOr<std::string> provider = readiness_->Choose({}, host.Facts().cluster);
  if (provider.ok()) {
    fresh.set_provider_id(*provider);
    candidates.push_back(fresh);
  }
  if (candidates.empty()) return provider.status();
  return candidates;
}

void HostEncryption::FirstHostKey(Session host, Candidates candidates, absl::Status error,
                                  status::Callback<KeyMaker::HostKey> done) {
  if (candidates.empty()) return done(error);
  const v1::CryptoKeyId first = candidates.front();
  candidates.erase(candidates.begin());
  auto next = [this, host, first, candidates = std::move(candidates), error,
               done = std::move(done)](absl::StatusOr<KeyMaker::HostKey> key) mutable {
    if (key.ok()) return done(std::move(key));
    if (status::ReasonOf(key.status()) == v1::REASON_KMS_UNREACHABLE) {
      // A KMS that does not answer does not make a new key either.
      candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                      [&first](const v1::CryptoKeyId& other) {
                                        return other.provider_id() == first.provider_id();
                                      }),
                       candidates.end());
    }
    FirstHostKey(host, std::move(candidates), error.ok() ? key.status() : error, std::move(done));
  };
  readiness_->EnsureKey(host, first.provider_id(),
                        [this, first, next = std::move(next)](absl::Status has_key) mutable {
                          if (!has_key.ok()) return next(has_key);
                          if (!first.key_id().empty()) {
                            return keys_->GetHostKey(first, std::move(next));
                          }
                          keys_->NewHostKey(first.provider_id(), std::move(next));
                        });
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
  absl::StatusOr<Candidates> candidates = HostKeysToUse(*host, request.key());
  if (!candidates.ok()) return done(candidates.status());
  const v1::CryptoKeyId first = candidates->front();
  if (host->safe() && host->status().host_key().key_id() == first.key_id()) {
    // It has its key, whatever this vCenter knows of the provider; but another provider under that
    // name does matter (S141).
    return readiness_->EnsureKey(
        host, first.provider_id(),
        [this, caller, host, first, done = std::move(done)](absl::Status has_key) mutable {
          if (status::ReasonOf(has_key) == v1::REASON_KEY_MISMATCH) return done(has_key);
          Unlock(caller, host, first, std::move(done));
        });
  }
  FirstHostKey(
      host, *std::move(candidates), absl::OkStatus(),
      [this, caller, host, done = std::move(done)](absl::StatusOr<KeyMaker::HostKey> key) mutable {
        if (!key.ok()) return done(key.status());
        auto unlock = [this, caller, host, id = key->id,
                       done = std::move(done)](absl::Status ready) mutable {
          if (!ready.ok()) return done(ready);
          Unlock(caller, host, id, std::move(done));
        };
        if (host->safe()) {
          return readiness_->SetMode(host, ModeRequest::ACTION_CHANGE_KEY, *key, std::move(unlock));
        }
        readiness_->MakeSafe(host, *key, std::move(unlock));
      });
}

void HostEncryption::Unlock(const access::Caller& caller, Session host, const v1::CryptoKeyId& key,
                            status::Callback<v1::ConfigureCryptoKeyResponse> done) {
  // What it lacks for its VMs travels now; what cannot be had shows in the judgement.
  host->Sync(HostSession::SyncKind::kAdd, [this, caller, host, key, done = std::move(done)](
                                              absl::StatusOr<hosts::SyncResult> synced) mutable {
    if (!synced.ok()) return done(synced.status());
    host->BringAllStandard(
        [this, caller, host, key, done = std::move(done)](const absl::Status&) mutable {
          UnlockAll(caller, host, key, std::move(done));
        });
  });
}

void HostEncryption::RestoreHostKey(const std::string& name, absl::AnyInvocable<void()> done) {
  const absl::StatusOr<Session> found = hosts_->Connected(name);
  if (!found.ok()) return done();
  const Session host = *found;
  if (host->status().crypto_state() != v1::CRYPTO_STATE_INCAPABLE) return done();
  Candidates candidates;
  v1::CryptoKeyId old = host->status().host_key();
  const bool old_known = readiness_->CanDerive(*host, old, host->status().host_key_check_value());
  if (old_known) candidates.push_back(old);
  if (options_->Boolean(options::kNewHostKeyIfMissing) &&
      (!old_known || keys_->IsStandard(old.provider_id()))) {
    v1::CryptoKeyId fresh;
    const absl::StatusOr<std::string> provider = readiness_->Choose({}, host->Facts().cluster);
    if (provider.ok()) {
      fresh.set_provider_id(*provider);
      candidates.push_back(fresh);
    }
    for (const host::v1::KeyEntry& held : host->keys().held()) {
      fresh.set_provider_id(held.provider());
      if (readiness_->MayHold(*host, held.provider())) candidates.push_back(fresh);
    }
  }
  if (candidates.empty()) {
    TellHostKeyMissing(*host, status::Error(v1::REASON_PROVIDER_MISSING,
                                            "this vCenter has no provider that could have it"));
    return done();
  }
  FirstHostKey(
      host, std::move(candidates), absl::OkStatus(),
      [this, host, done = std::move(done)](absl::StatusOr<KeyMaker::HostKey> key) mutable {
        if (!key.ok()) {
          TellHostKeyMissing(*host, key.status());
          return done();
        }
        readiness_->MakeSafe(
            host, *key,
            [this, host, id = key->id, done = std::move(done)](const absl::Status& safe) mutable {
              // It may have made itself one meanwhile (S150).
              const bool has_it = host->status().host_key().key_id() == id.key_id();
              if (safe.ok() && has_it) {
                Audit(events_, access::Caller(), "RestoreHostKey", HostObject(*host), id, {},
                      host->name());
              } else if (!safe.ok()) {
                TellHostKeyMissing(*host, safe);
              }
              done();
            });
      });
}

void HostEncryption::TellHostKeyMissing(const HostSession& host, const absl::Status& why) {
  const std::string object = HostObject(host);
  if (alarms_->Shows(alarms::kHostRequiresEncryption, object)) return;
  const bool missing = status::ReasonOf(why) == v1::REASON_KEY_MISSING_ON_KMS;
  v1::Event event;
  event.set_type(missing ? events::kReqEnableKeyMissingOnKms : events::kReqEnableKmsClusterError);
  event.set_object(object);
  event.set_message(
      absl::StrCat("Host ", host.name(),
                   " requires encryption mode; its host key is not available: ", why.message()));
  (*event.mutable_arguments())["host"] = host.name();
  const int64_t revision = events_->Append(std::move(event));
  alarms_->Raise(alarms::kHostRequiresEncryption, object, v1::Alarm::SEVERITY_RED,
                 absl::StrCat("Host ", host.name(), " requires encryption mode: re-enable it"),
                 revision);
}

void HostEncryption::SetKeyPersistence(const access::Caller& caller,
                                       const v1::SetKeyPersistenceRequest& request,
                                       status::Callback<v1::Host> done) {
  if (absl::Status allowed = access_->Require(caller, access::kRegisterHost); !allowed.ok()) {
    return done(allowed);
  }
  const absl::StatusOr<Session> host = hosts_->Connected(request.host());
  if (!host.ok()) return done(host.status());
  host::v1::SetKeyPersistenceRequest wanted;
  wanted.set_epoch((*host)->epoch());
  wanted.set_enabled(request.enabled());
  (*host)->link()->SetKeyPersistence(
      std::move(wanted),
      (*host)->OnStrand<host::v1::SetKeyPersistenceResponse>(
          [this, caller, host = *host, done = std::move(done)](
              absl::StatusOr<host::v1::SetKeyPersistenceResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            host::v1::GetHostStatusResponse status = host->status();
            status.set_key_persistence(answer->enabled());
            host->TakeStatus(status);
            Audit(events_, caller,
                  answer->enabled() ? "EnableKeyPersistence" : "DisableKeyPersistence",
                  HostObject(*host), {}, {}, host->name());
            done(host->Describe());
          }));
}

void HostEncryption::WriteCoreDump(const access::Caller& caller,
                                   const v1::WriteCoreDumpRequest& request,
                                   status::Callback<v1::WriteCoreDumpResponse> done) {
  const absl::StatusOr<Session> host = hosts_->Connected(request.host());
  if (!host.ok()) return done(host.status());
  host::v1::WriteCoreDumpRequest wanted;
  wanted.set_epoch((*host)->epoch());
  wanted.set_vm(request.vm());
  (*host)->link()->WriteCoreDump(
      std::move(wanted),
      (*host)->OnStrand<host::v1::WriteCoreDumpResponse>(
          [this, caller, host = *host, vm = request.vm(),
           done = std::move(done)](absl::StatusOr<host::v1::WriteCoreDumpResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            v1::WriteCoreDumpResponse response;
            response.set_path(answer->path());
            if (answer->has_key()) *response.mutable_key() = answer->key();
            response.set_bytes(answer->bytes());
            Audit(events_, caller, "WriteCoreDump",
                  vm.empty() ? HostObject(*host) : absl::StrCat("vm/", vm), response.key(), {},
                  host->name());
            done(std::move(response));
          }));
}

void HostEncryption::ReadCoreDump(const access::Caller& caller,
                                  const v1::ReadCoreDumpRequest& request,
                                  status::Callback<v1::ReadCoreDumpResponse> done) {
  const absl::StatusOr<Session> host = hosts_->Connected(request.host());
  if (!host.ok()) return done(host.status());
  host::v1::ReadCoreDumpRequest wanted;
  wanted.set_epoch((*host)->epoch());
  wanted.set_path(request.path());
  wanted.set_part(request.part());
  (*host)->link()->ReadCoreDump(
      std::move(wanted),
      (*host)->OnStrand<host::v1::ReadCoreDumpResponse>(
          [this, caller, host = *host, part = request.part(),
           done = std::move(done)](absl::StatusOr<host::v1::ReadCoreDumpResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            v1::ReadCoreDumpResponse response;
            response.set_data(std::move(*answer->mutable_data()));
            response.set_parts(answer->parts());
            if (answer->has_key()) *response.mutable_key() = answer->key();
            if (part == 0) {
              Audit(events_, caller, "ReadCoreDump", HostObject(*host), response.key(), {},
                    host->name());
            }
            done(std::move(response));
          }));
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
              other->BringAllStandard([](const absl::Status&) {});
            }
            done(std::move(response));
          }));
}

}  // namespace keysphere::controller::encryption
