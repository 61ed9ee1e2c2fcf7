#include "hostagent/keys/key_cache.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"

namespace keysphere::hostagent::keys {

using host::v1::KeyEntry;
using host::v1::KeyReport;
using host::v1::WithheldProvider;

void KeyCache::Put(const KeyEntry& entry, crypto::SecretKey kdk) {
  auto key = std::make_shared<const crypto::SecretKey>(std::move(kdk));
  sync::MutexLock lock(&mutex_);
  keys_[entry.provider()] = Key{entry, std::move(key)};
}

void KeyCache::Relabel(const KeyEntry& entry) {
  sync::MutexLock lock(&mutex_);
  const auto it = keys_.find(entry.provider());
  if (it != keys_.end()) it->second.entry = entry;
}

void KeyCache::Remove(absl::string_view provider) {
  sync::MutexLock lock(&mutex_);
  keys_.erase(std::string(provider));
}

void KeyCache::Clear() {
  standard_.Clear();
  sync::MutexLock lock(&mutex_);
  keys_.clear();
}

void KeyCache::Note(const KeyPlan& plan, const host::v1::ApplyKeysRequest& request) {
  sync::MutexLock lock(&mutex_);
  if (request.allow_removal()) {
    collisions_.clear();
    refused_.clear();
    withheld_.clear();
  } else {
    for (const std::string& provider : plan.named) {
      collisions_.erase(provider);
      refused_.erase(provider);
      withheld_.erase(provider);
    }
  }
  for (const KeyEntry& entry : plan.collisions) collisions_[entry.provider()] = entry;
  for (const WithheldProvider& refused : plan.refused) {
    refused_[refused.entry().provider()] = refused;
  }
  for (const WithheldProvider& withheld : request.withheld()) {
    withheld_[withheld.entry().provider()] = withheld;
  }
}

bool KeyCache::Holds(absl::string_view provider) const {
  sync::MutexLock lock(&mutex_);
  return keys_.find(provider) != keys_.end();
}

bool KeyCache::HoldsKey(absl::string_view provider, absl::string_view key_id) const {
  return Holds(provider) || standard_.Find(provider, key_id) != nullptr;
}

std::string KeyCache::CheckValue(absl::string_view provider, absl::string_view key_id) const {
  std::string cached = standard_.CheckValue(provider, key_id);
  if (!cached.empty()) return cached;
  sync::MutexLock lock(&mutex_);
  const auto it = keys_.find(provider);
  return it == keys_.end() ? "" : it->second.entry.key_check_value();
}

bool KeyCache::Collides(absl::string_view provider) const {
  sync::MutexLock lock(&mutex_);
  return collisions_.find(provider) != collisions_.end();
}

std::vector<KeyEntry> KeyCache::Held() const {
  sync::MutexLock lock(&mutex_);
  return HeldLocked();
}

size_t KeyCache::size() const {
  sync::MutexLock lock(&mutex_);
  return keys_.size();
}

absl::StatusOr<KeyCache::KdkPtr> KeyCache::Find(absl::string_view provider,
                                                absl::string_view key_id) const {
  {
    sync::MutexLock lock(&mutex_);
    const auto it = keys_.find(provider);
    if (it != keys_.end()) return it->second.kdk;
  }
  return status::Error(
             v1::REASON_KEY_MISSING_ON_HOST,
             absl::StrCat("the host does not hold the key of provider ", status::Quote(provider)))
      .Object("provider", provider)
      .With("provider", provider)
      .With("key_id", key_id);
}

absl::StatusOr<crypto::SecretKey> KeyCache::FindStandard(absl::string_view provider,
                                                         absl::string_view key_id) const {
  const StandardKeys::KeyPtr key = standard_.Find(provider, key_id);
  if (key == nullptr) return crypto::SecretKey();
  return key->Clone();
}

absl::StatusOr<crypto::SecretKey> KeyCache::VmKek(absl::string_view provider,
                                                  absl::string_view key_id) const {
  KS_ASSIGN_OR_RETURN(crypto::SecretKey cached, FindStandard(provider, key_id));
  if (!cached.empty()) return cached;
  KS_ASSIGN_OR_RETURN(const KdkPtr kdk, Find(provider, key_id));
  return crypto::DeriveVmKek(*kdk, key_id);
}

absl::StatusOr<crypto::SecretKey> KeyCache::HostKey(absl::string_view provider,
                                                    absl::string_view key_id) const {
  KS_ASSIGN_OR_RETURN(crypto::SecretKey cached, FindStandard(provider, key_id));
  if (!cached.empty()) return cached;
  KS_ASSIGN_OR_RETURN(const KdkPtr kdk, Find(provider, key_id));
  return crypto::DeriveHostKey(*kdk, key_id);
}

std::vector<v1::Reason> KeyCache::WhyWithheld(absl::string_view provider) const {
  sync::MutexLock lock(&mutex_);
  std::vector<v1::Reason> reasons;
  for (const auto* table : {&withheld_, &refused_}) {
    const auto it = table->find(provider);
    if (it != table->end()) reasons.push_back(it->second.reason());
  }
  return reasons;
}

KeyReport KeyCache::Report(absl::string_view cluster) const {
  sync::MutexLock lock(&mutex_);
  KeyReport report = ReportLocked();
  report.set_digest(keyset::Digest(HeldLocked(), cluster, standard_.digest()));
  return report;
}

std::string KeyCache::ReportBytes() const {
  sync::MutexLock lock(&mutex_);
  return ReportLocked().SerializeAsString() + standard_.digest().value();
}

KeyReport KeyCache::ReportLocked() const {
  KeyReport report;
  standard_.Count(&report);
  for (const auto& [name, key] : keys_) *report.add_held() = key.entry;
  for (const auto& [name, entry] : collisions_) *report.add_collisions() = entry;
  for (const auto& [name, refused] : refused_) *report.add_refused() = refused;
  return report;
}

std::string KeyCache::Digest(absl::string_view cluster) const {
  sync::MutexLock lock(&mutex_);
  return keyset::Digest(HeldLocked(), cluster, standard_.digest());
}

std::vector<KeyEntry> KeyCache::HeldLocked() const {
  std::vector<KeyEntry> held;
  held.reserve(keys_.size());
  for (const auto& [name, key] : keys_) held.push_back(key.entry);
  return held;
}

}  // namespace keysphere::hostagent::keys
