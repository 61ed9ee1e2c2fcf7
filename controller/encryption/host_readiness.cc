#include "controller/encryption/host_readiness.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/remediation/desired_state.h"

namespace keysphere::controller::encryption {
namespace {

using hosts::HostSession;

bool Holds(const HostSession& host, const host::v1::KeyEntry& entry) {
  for (const host::v1::KeyEntry& held : host.keys().held()) {
    if (keyset::SameKey(held, entry)) return true;
  }
  return false;
}

bool Collides(const HostSession& host, const host::v1::KeyEntry& entry) {
  for (const host::v1::KeyEntry& held : host.keys().held()) {
    if (held.provider() == entry.provider() && !keyset::SameKey(held, entry)) return true;
  }
  return false;
}

// Of the KDK from which the host has derived its key; `known` where it no longer holds one.
std::string CheckValueOf(const HostSession& host, const v1::CryptoKeyId& key,
                         const std::string& known) {
  if (host.status().host_key().key_id() == key.key_id()) return known;
  for (const host::v1::KeyEntry& held : host.keys().held()) {
    if (held.provider() == key.provider_id()) return held.key_check_value();
  }
  return known;
}

absl::Status Mismatch(const HostSession& host, absl::string_view provider) {
  return status::Error(v1::REASON_KEY_MISMATCH,
                       absl::StrCat("host ", status::Quote(host.name()),
                                    " holds another key under the name of provider ",
                                    status::Quote(provider)))
      .Object("host", host.name())
      .NextStep("Run a pass of the remediation loop: it swaps the key.")
      .With("provider", provider);
}

}  // namespace

absl::StatusOr<std::string> HostReadiness::Choose(const v1::CryptoKeyId& wanted,
                                                  const std::string& cluster) const {
  if (wanted.provider_id().empty()) {
    if (!wanted.key_id().empty()) {
      return status::Error(v1::REASON_INVALID_ARGUMENT, "a key id needs its provider")
          .NextStep("Name the provider, or leave both empty.");
    }
    return providers_->EffectiveDefault(cluster);
  }
  const providers::Provider* const provider = providers_->Find(wanted.provider_id());
  if (provider == nullptr) {
    return status::Error(v1::REASON_PROVIDER_MISSING,
                         absl::StrCat("this vCenter has no key provider ",
                                      status::Quote(wanted.provider_id())))
        .Object("provider", wanted.provider_id())
        .NextStep("Create or import it, or name another.");
  }
  if (provider->type == v1::PROVIDER_TYPE_NATIVE && !wanted.key_id().empty()) {
    return status::Error(v1::REASON_UNSUPPORTED,
                         "under a native key provider the key id is made by the operation")
        .Object("provider", wanted.provider_id())
        .NextStep("Leave the key id empty.");
  }
  return wanted.provider_id();
}

absl::Status HostReadiness::Refusal(const access::Caller& caller, const HostSession& host,
                                    const std::string& provider_name) const {
  const providers::Provider* const provider = providers_->Find(provider_name);
  if (provider == nullptr) return absl::OkStatus();
  std::vector<absl::Status> refusals;
  refusals.push_back(remediation::Entitlement(host.Facts(), *provider));
  if (host.status().crypto_state() == v1::CRYPTO_STATE_PENDING_INCAPABLE) {
    refusals.push_back(
        status::Error(v1::REASON_HOST_NOT_SAFE,
                      absl::StrCat("encryption mode of host ", status::Quote(host.name()),
                                   " is disabled and cannot be switched on before its reboot"))
            .Object("host", host.name())
            .NextStep("Reboot the host, then try again."));
  } else if (host.status().crypto_state() != v1::CRYPTO_STATE_SAFE &&
             !access_->Has(caller, access::kRegisterHost)) {
    refusals.push_back(
        status::Error(v1::REASON_HOST_NOT_SAFE,
                      absl::StrCat("encryption mode of host ", status::Quote(host.name()),
                                   " is off and the caller may not switch it on"))
            .Object("host", host.name())
            .NextStep("Ask somebody with Cryptographer.RegisterHost to enable it."));
  }
  if (Collides(host, remediation::EntryOf(*provider))) {
    refusals.push_back(Mismatch(host, provider_name));
  }
  return status::First(refusals);
}

void HostReadiness::EnsureKey(std::shared_ptr<HostSession> host, const std::string& provider_name,
                              status::DoneCallback done) {
  const providers::Provider* const provider = providers_->Find(provider_name);
  if (provider == nullptr) {
    return done(status::Error(
                    v1::REASON_PROVIDER_MISSING,
                    absl::StrCat("this vCenter has no key provider ", status::Quote(provider_name)))
                    .Object("provider", provider_name)
                    .NextStep("Import its backup."));
  }
  if (provider->type == v1::PROVIDER_TYPE_STANDARD) {
    return done(remediation::Entitlement(host->Facts(), *provider));
  }
  const host::v1::KeyEntry entry = remediation::EntryOf(*provider);
  if (Holds(*host, entry)) return done(absl::OkStatus());
  if (absl::Status entitled = remediation::Entitlement(host->Facts(), *provider); !entitled.ok()) {
    return done(entitled);
  }
  host->Sync(HostSession::SyncKind::kAdd, [host, entry, done = std::move(done)](
                                              absl::StatusOr<hosts::SyncResult> synced) mutable {
    if (!synced.ok()) return done(synced.status());
    if (Holds(*host, entry)) return done(absl::OkStatus());
    if (Collides(*host, entry)) return done(Mismatch(*host, entry.provider()));
    v1::Reason reason = v1::REASON_KEY_MISSING_ON_HOST;
    for (const host::v1::WithheldProvider& refused : host->keys().refused()) {
      if (refused.entry().provider() == entry.provider()) reason = refused.reason();
    }
    done(status::Error(reason, absl::StrCat("host ", status::Quote(host->name()),
                                            " does not take the key of provider ",
                                            status::Quote(entry.provider())))
             .Object("host", host->name())
             .NextStep("Look at the host's log, and run a pass of the remediation loop.")
             .With("provider", entry.provider()));
  });
}

void HostReadiness::SetMode(std::shared_ptr<HostSession> host,
                            host::v1::SetCryptoModeRequest::Action action,
                            const KeyMaker::HostKey& key, status::DoneCallback done) {
  if (!host->connected()) return done(host->NotResponding());
  host::v1::SetCryptoModeRequest request;
  request.set_epoch(host->epoch());
  request.set_action(action);
  if (!key.id.key_id().empty()) *request.mutable_host_key() = key.id;
  if (key.fetched.key != nullptr) {
    absl::StatusOr<std::string> sealed =
        host->Seal(key.id.provider_id(), key.id.key_id(), *key.fetched.key);
    if (!sealed.ok()) return done(sealed.status());
    host::v1::SealedStandardKeys* const material = request.mutable_host_key_material();
    material->set_provider(key.id.provider_id());
    host::v1::SealedStandardKeys::Key* const one = material->add_keys();
    one->set_key_id(key.id.key_id());
    one->set_sealed(*std::move(sealed));
  }
  host->link()->SetCryptoMode(
      std::move(request),
      host->OnStrand<host::v1::SetCryptoModeResponse>(
          [this, host, key,
           done = std::move(done)](absl::StatusOr<host::v1::SetCryptoModeResponse> answer) mutable {
            if (!answer.ok()) {
              host->NoteAnswer(answer.status());
              return done(answer.status());
            }
            if (key.fetched.key != nullptr) {
              host->NoteHostKey(needs_->Name(key.id), key.fetched);
              keys_->Share(*host, key);
            }
            host::v1::GetHostStatusResponse status = host->status();
            status.set_crypto_state(answer->crypto_state());
            *status.mutable_host_key() = answer->host_key();
            status.set_host_key_check_value(
                key.fetched.key != nullptr
                    ? key.fetched.check_value
                    : CheckValueOf(*host, answer->host_key(), status.host_key_check_value()));
            host->TakeStatus(status);
            done(absl::OkStatus());
          }));
}

void HostReadiness::MakeSafe(std::shared_ptr<HostSession> host, const KeyMaker::HostKey& key,
                             status::DoneCallback done) {
  using Request = host::v1::SetCryptoModeRequest;
  if (host->status().crypto_state() == v1::CRYPTO_STATE_SAFE) return done(absl::OkStatus());
  if (host->status().crypto_state() == v1::CRYPTO_STATE_PREPARED) {
    return SetMode(host, Request::ACTION_ENABLE, key, std::move(done));
  }
  SetMode(host, Request::ACTION_PREPARE, {},
          [this, host, key, done = std::move(done)](absl::Status prepared) mutable {
            if (!prepared.ok()) return done(prepared);
            SetMode(host, Request::ACTION_ENABLE, key, std::move(done));
          });
}

void HostReadiness::BecomeSafe(std::shared_ptr<HostSession> host, const std::string& provider,
                               status::DoneCallback done) {
  if (host->status().crypto_state() == v1::CRYPTO_STATE_SAFE) return done(absl::OkStatus());
  const std::string name = host->name();
  std::vector<status::DoneCallback>& waiting = becoming_safe_[name];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  auto tell = [this, name](absl::Status safe) {
    std::vector<status::DoneCallback> told = std::move(becoming_safe_[name]);
    becoming_safe_.erase(name);
    for (status::DoneCallback& one : told) one(safe);
  };
  if (host->status().crypto_state() == v1::CRYPTO_STATE_PENDING_INCAPABLE) {
    // It refuses: no key is made for that.
    return MakeSafe(std::move(host), KeyMaker::HostKey(), std::move(tell));
  }
  keys_->NewHostKey(provider, [this, host = std::move(host),
                               tell](absl::StatusOr<KeyMaker::HostKey> key) mutable {
    if (!key.ok()) return tell(key.status());
    MakeSafe(std::move(host), *key, std::move(tell));
  });
}

void HostReadiness::MakeClusterSafe(const HostSession& but, const std::string& provider,
                                    absl::AnyInvocable<void()> done) {
  auto waiting = std::make_shared<int>(1);
  auto finish = std::make_shared<absl::AnyInvocable<void()>>(std::move(done));
  const auto one_done = [waiting, finish]() {
    if (--*waiting == 0) (*finish)();
  };
  const providers::Provider* const found = providers_->Find(provider);
  const host::v1::KeyEntry entry =
      found == nullptr ? host::v1::KeyEntry() : remediation::EntryOf(*found);
  for (std::shared_ptr<HostSession>& host : hosts_->InCluster(but.Facts().cluster)) {
    if (host->name() == but.name() || !host->connected()) continue;
    const bool ready =
        host->safe() && (entry.type() == v1::PROVIDER_TYPE_STANDARD || Holds(*host, entry));
    if (ready) continue;
    ++*waiting;
    EnsureKey(host, provider, [this, host, provider, one_done](absl::Status has_key) {
      if (!has_key.ok()) return one_done();
      BecomeSafe(host, provider, [one_done](absl::Status) { one_done(); });
    });
  }
  one_done();
}

void HostReadiness::EnsureReady(const access::Caller& caller, std::shared_ptr<HostSession> host,
                                const std::string& provider, status::DoneCallback done) {
  if (absl::Status refusal = Refusal(caller, *host, provider); !refusal.ok()) return done(refusal);
  const bool may_enable = access_->Has(caller, access::kRegisterHost);
  EnsureKey(
      host, provider,
      [this, host, provider, may_enable, done = std::move(done)](absl::Status has_key) mutable {
        if (!has_key.ok() || !may_enable) return done(has_key);
        BecomeSafe(host, provider,
                   [this, host, provider, done = std::move(done)](absl::Status safe) mutable {
                     if (!safe.ok()) return done(safe);
                     MakeClusterSafe(*host, provider, [done = std::move(done)]() mutable {
                       done(absl::OkStatus());
                     });
                   });
      });
}

}  // namespace keysphere::controller::encryption
