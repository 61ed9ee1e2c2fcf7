#include "hostagent/keys/standard_keys.h"

namespace keysphere::hostagent::keys {

using host::v1::StandardKeyList;
using host::v1::StandardProviderState;

const StandardKeys::Cached* StandardKeys::FindLocked(absl::string_view provider,
                                                     absl::string_view key_id) const {
  const auto keys = providers_.find(provider);
  if (keys == providers_.end()) return nullptr;
  const auto it = keys->second.find(key_id);
  return it == keys->second.end() ? nullptr : &it->second;
}

void StandardKeys::Put(StandardKey key) {
  auto shared = std::make_shared<const crypto::SecretKey>(std::move(key.key));
  sync::MutexLock lock(&mutex_);
  Cached& cached = providers_[key.provider][key.key_id];
  if (cached.key == nullptr) {
    ++size_;
  } else {
    digest_.Toggle(key.provider, key.key_id, cached.check_value);
  }
  digest_.Toggle(key.provider, key.key_id, key.check_value);
  cached.check_value = std::move(key.check_value);
  cached.key = std::move(shared);
}

void StandardKeys::Remove(absl::string_view provider, absl::string_view key_id) {
  sync::MutexLock lock(&mutex_);
  const auto keys = providers_.find(provider);
  if (keys == providers_.end()) return;
  const auto it = keys->second.find(key_id);
  if (it == keys->second.end()) return;
  digest_.Toggle(provider, key_id, it->second.check_value);
  --size_;
  keys->second.erase(it);
  if (keys->second.empty()) providers_.erase(keys);
}

void StandardKeys::Clear() {
  sync::MutexLock lock(&mutex_);
  providers_.clear();
  digest_ = keyset::CachedKeysDigest();
  size_ = 0;
}

bool StandardKeys::Note(const host::v1::ApplyKeysRequest& request) {
  std::map<std::string, ServerState, std::less<>> told;
  for (const StandardProviderState& state : request.standard_providers()) {
    ServerState& server = told[state.provider()];
    server.unreachable = state.kms_unreachable();
    server.missing = {state.missing_key_ids().begin(), state.missing_key_ids().end()};
  }
  sync::MutexLock lock(&mutex_);
  if (!request.allow_removal()) told.insert(servers_.begin(), servers_.end());
  if (told == servers_) return false;
  servers_ = std::move(told);
  return true;
}

StandardKeys::KeyPtr StandardKeys::Find(absl::string_view provider,
                                        absl::string_view key_id) const {
  sync::MutexLock lock(&mutex_);
  const Cached* const cached = FindLocked(provider, key_id);
  return cached == nullptr ? nullptr : cached->key;
}

std::string StandardKeys::CheckValue(absl::string_view provider, absl::string_view key_id) const {
  sync::MutexLock lock(&mutex_);
  const Cached* const cached = FindLocked(provider, key_id);
  return cached == nullptr ? "" : cached->check_value;
}

bool StandardKeys::Knows(absl::string_view provider) const {
  sync::MutexLock lock(&mutex_);
  return servers_.find(provider) != servers_.end() || providers_.find(provider) != providers_.end();
}

v1::Reason StandardKeys::WhyMissing(absl::string_view provider, absl::string_view key_id) const {
  sync::MutexLock lock(&mutex_);
  const auto it = servers_.find(provider);
  if (it == servers_.end()) return v1::REASON_KEY_MISSING_ON_HOST;
  if (it->second.unreachable) return v1::REASON_KMS_UNREACHABLE;
  return it->second.missing.find(key_id) == it->second.missing.end()
             ? v1::REASON_KEY_MISSING_ON_HOST
             : v1::REASON_KEY_MISSING_ON_KMS;
}

std::vector<StandardKeyList> StandardKeys::List() const {
  sync::MutexLock lock(&mutex_);
  std::vector<StandardKeyList> lists;
  lists.reserve(providers_.size());
  for (const auto& [provider, keys] : providers_) {
    StandardKeyList& list = lists.emplace_back();
    list.set_provider(provider);
    for (const auto& [key_id, cached] : keys) {
      StandardKeyList::Key* key = list.add_keys();
      key->set_key_id(key_id);
      key->set_key_check_value(cached.check_value);
    }
  }
  return lists;
}

void StandardKeys::Count(host::v1::KeyReport* report) const {
  sync::MutexLock lock(&mutex_);
  for (const auto& [provider, keys] : providers_) {
    host::v1::KeyReport::StandardKeys* count = report->add_standard();
    count->set_provider(provider);
    count->set_keys(static_cast<int64_t>(keys.size()));
  }
}

keyset::CachedKeysDigest StandardKeys::digest() const {
  sync::MutexLock lock(&mutex_);
  return digest_;
}

size_t StandardKeys::size() const {
  sync::MutexLock lock(&mutex_);
  return size_;
}

}  // namespace keysphere::hostagent::keys
