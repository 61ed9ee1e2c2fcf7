#include "controller/encryption/key_maker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::encryption {

v1::Reason KeyMaker::WhyNotFetched(const v1::CryptoKeyId& key) const {
  const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(key.provider_id());
  if (cluster == nullptr) return v1::REASON_KEY_MISSING_ON_HOST;
  if (!cluster->reachable()) return v1::REASON_KMS_UNREACHABLE;
  return cluster->Lacks(key.key_id()) ? v1::REASON_KEY_MISSING_ON_KMS : v1::REASON_UNSPECIFIED;
}

v1::CryptoKeyId KeyMaker::NewName(const std::string& provider) const {
  v1::CryptoKeyId key;
  key.set_provider_id(provider);
  key.set_key_id(random_->Uuid());
  return key;
}

absl::StatusOr<std::shared_ptr<kms::KmsCluster>> KeyMaker::FindKms(
    const std::string& provider) const {
  std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(provider);
  if (cluster != nullptr) return cluster;
  return status::Error(
             v1::REASON_PROVIDER_MISSING,
             absl::StrCat("this vCenter has no standard key provider ", status::Quote(provider)))
      .Object("provider", provider);
}

void KeyMaker::Activate(const v1::CryptoKeyId& key, status::DoneCallback done) {
  // The provider may have been deleted since the key was made.
  const absl::StatusOr<std::shared_ptr<kms::KmsCluster>> cluster = FindKms(key.provider_id());
  if (!cluster.ok()) return done(cluster.status());
  (*cluster)->Activate(key.key_id(), std::move(done));
}

void KeyMaker::Obtain(const std::string& provider, const std::string& id,
                      status::Callback<HostKey> done) {
  const absl::StatusOr<std::shared_ptr<kms::KmsCluster>> found = FindKms(provider);
  if (!found.ok()) return done(found.status());
  const std::shared_ptr<kms::KmsCluster> cluster = *found;
  auto get = [cluster, provider, done = std::move(done)](absl::StatusOr<std::string> made) mutable {
    if (!made.ok()) return done(made.status());
    HostKey key;
    key.id.set_provider_id(provider);
    key.id.set_key_id(*made);
    cluster->Fetch({*made}, [key = std::move(key),
                             done = std::move(done)](kms::KmsCluster::Fetched fetched) mutable {
      if (!fetched.front().ok()) return done(fetched.front().status());
      key.fetched = *std::move(fetched.front());
      done(std::move(key));
    });
  };
  if (id.empty()) return cluster->Create(std::move(get));
  get(id);
}

void KeyMaker::ForVm(Session host, const v1::CryptoKeyId& wanted,
                     status::Callback<v1::CryptoKeyId> done) {
  const std::string& provider = wanted.provider_id();
  if (!IsStandard(provider)) {
    return done(wanted.key_id().empty() ? NewName(provider) : wanted);
  }
  Obtain(provider, wanted.key_id(),
         [this, host, done = std::move(done)](absl::StatusOr<HostKey> key) mutable {
           if (!key.ok()) return done(key.status());
           const hosts::KeyNamePtr name = needs_->Name(key->id);
           SendToOthers(*host, name, key->fetched);
           host->PushStandard(
               name, key->fetched,
               [this, host, name, id = key->id, done = std::move(done)](absl::Status sent) mutable {
                 if (!sent.ok()) return done(sent);
                 if (!host->Caches(name)) {
                   return done(status::Error(v1::REASON_KEY_MISSING_ON_HOST,
                                             absl::StrCat("host ", status::Quote(host->name()),
                                                          " does not take the key"))
                                   .Object("host", host->name())
                                   .NextStep("Enable encryption mode of the host."));
                 }
                 Activate(id, [id, done = std::move(done)](absl::Status active) mutable {
                   if (!active.ok()) return done(active);
                   done(id);
                 });
               });
         });
}

void KeyMaker::NewHostKey(const std::string& provider, status::Callback<HostKey> done) {
  if (!IsStandard(provider)) return done(HostKey{NewName(provider), {}});
  Obtain(provider, "", [this, done = std::move(done)](absl::StatusOr<HostKey> key) mutable {
    if (!key.ok()) return done(key.status());
    const v1::CryptoKeyId id = key->id;
    Activate(id, [key = *std::move(key), done = std::move(done)](absl::Status active) mutable {
      if (!active.ok()) return done(active);
      done(std::move(key));
    });
  });
}

void KeyMaker::GetHostKey(const v1::CryptoKeyId& id, status::Callback<HostKey> done) {
  if (!IsStandard(id.provider_id())) return done(HostKey{id, {}});
  Obtain(id.provider_id(), id.key_id(), std::move(done));
}

void KeyMaker::Share(const hosts::HostSession& owner, const HostKey& key) {
  if (key.fetched.key == nullptr) return;
  SendToOthers(owner, needs_->Name(key.id), key.fetched);
}

void KeyMaker::SendToOthers(const hosts::HostSession& owner, hosts::KeyNamePtr name,
                            const kms::FetchedKey& fetched) {
  for (const Session& other : hosts_->InCluster(owner.Facts().cluster)) {
    if (other->name() == owner.name() || !other->connected() || !other->safe()) continue;
    // One that does not answer is brought it later: its cluster needs it.
    other->PushStandard(name, fetched, [](const absl::Status&) {});
  }
}

void KeyMaker::AskKms(const v1::CryptoKeyId& key, status::DoneCallback done) {
  const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(key.provider_id());
  if (cluster == nullptr) return done(absl::OkStatus());
  cluster->GetStates(
      {key.key_id()},
      [done = std::move(done)](const absl::StatusOr<kms::KmsCluster::States>& states) mutable {
        done(states.status());
      });
}

}  // namespace keysphere::controller::encryption
