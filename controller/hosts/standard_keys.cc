#include "controller/hosts/standard_keys.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::hosts {
namespace {

std::string TextOf(const std::vector<host::v1::StandardProviderState>& states) {
  std::string text;
  for (const host::v1::StandardProviderState& state : states) {
    absl::StrAppend(&text, state.SerializeAsString(), "\n");
  }
  return text;
}

}  // namespace

// ---- What the host caches ----

void StandardKeys::Reset(
    const google::protobuf::RepeatedPtrField<host::v1::StandardKeyList>& cached,
    std::map<std::string, int64_t> verified) {
  cached_.clear();
  counts_.clear();
  digest_ = keyset::CachedKeysDigest();
  readings_.clear();
  ready_.clear();
  sending_.clear();
  missing_.clear();
  replaces_ = false;
  told_states_.clear();
  verified_ = std::move(verified);
  for (const host::v1::StandardKeyList& list : cached) {
    for (const host::v1::StandardKeyList::Key& key : list.keys()) {
      Put(needs_->Name(list.provider(), key.key_id()), key.key_check_value(), 0);
    }
  }
}

void StandardKeys::Relist(
    const google::protobuf::RepeatedPtrField<host::v1::StandardKeyList>& cached) {
  const absl::flat_hash_map<KeyNamePtr, Cached> former = std::move(cached_);
  cached_.clear();
  counts_.clear();
  digest_ = keyset::CachedKeysDigest();
  readings_.clear();
  for (const host::v1::StandardKeyList& list : cached) {
    for (const host::v1::StandardKeyList::Key& key : list.keys()) {
      const KeyNamePtr name = needs_->Name(list.provider(), key.key_id());
      const auto it = former.find(name);
      const bool same = it != former.end() && it->second.check_value == key.key_check_value();
      Put(name, key.key_check_value(), same ? it->second.instance : 0);
      // Keys that nobody here brought are to be verified.
      if (!same) verified_.erase(list.provider());
    }
  }
}

void StandardKeys::SetProviders(const std::vector<std::string>& providers,
                                const std::string& cluster) {
  providers_ = providers;
  if (cluster == cluster_) return;
  cluster_ = cluster;
  readings_.clear();
}

void StandardKeys::Put(KeyNamePtr key, const std::string& check_value, int64_t instance) {
  const auto it = cached_.find(key);
  if (it != cached_.end()) {
    digest_.Toggle(key->provider, key->id, it->second.check_value);
  } else {
    ++counts_[key->provider];
  }
  cached_[key] = Cached{check_value, instance};
  digest_.Toggle(key->provider, key->id, check_value);
  const auto reading = readings_.find(key->provider);
  if (reading != readings_.end()) reading->second.lacking.erase(key);
}

void StandardKeys::Erase(KeyNamePtr key) {
  const auto it = cached_.find(key);
  if (it == cached_.end()) return;
  digest_.Toggle(key->provider, key->id, it->second.check_value);
  cached_.erase(it);
  if (--counts_[key->provider] == 0) counts_.erase(key->provider);
  // It may be lacking now; the reading would not come past it again.
  const auto reading = readings_.find(key->provider);
  if (reading != readings_.end()) reading->second.lacking.insert(key);
}

int64_t StandardKeys::InstanceOf(const std::string& provider) const {
  const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(provider);
  return cluster == nullptr ? 0 : cluster->instance();
}

void StandardKeys::NoteCached(KeyNamePtr key, const kms::FetchedKey& fetched) {
  Put(key, fetched.check_value, fetched.instance);
}

bool StandardKeys::HasForeign() const {
  return std::any_of(counts_.begin(), counts_.end(),
                     [this](const auto& entry) { return !MayHold(entry.first); });
}

// ---- What it lacks ----

void StandardKeys::Read() {
  for (const std::string& provider : providers_) {
    const NeededKeys::OfProvider* const needed = needs_->Of(cluster_, provider);
    if (needed == nullptr) continue;
    Reading& reading = readings_[provider];
    if (reading.rewrites != needed->rewrites) {
      reading = Reading();
      reading.rewrites = needed->rewrites;
    }
    for (; reading.at < needed->log.size(); ++reading.at) {
      const KeyNamePtr key = needed->log[reading.at];
      if (!Caches(key)) reading.lacking.insert(key);
    }
    for (auto it = reading.lacking.begin(); it != reading.lacking.end();) {
      const bool over = needed->uses.count(*it) == 0 || Caches(*it);
      if (over) {
        reading.lacking.erase(it++);
      } else {
        ++it;
      }
    }
  }
}

std::vector<KeyNamePtr> StandardKeys::Lacking() {
  Read();
  std::vector<KeyNamePtr> lacking;
  for (const std::string& provider : providers_) {
    const auto it = readings_.find(provider);
    if (it == readings_.end()) continue;
    for (const KeyNamePtr key : it->second.lacking) {
      if (!Knows(key)) lacking.push_back(key);
    }
  }
  std::sort(lacking.begin(), lacking.end(), ByName());
  return lacking;
}

std::vector<KeyNamePtr> StandardKeys::LackingToAsk() {
  std::vector<KeyNamePtr> lacking = Lacking();
  const auto not_to_ask = [this](KeyNamePtr key) {
    const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(key->provider);
    return cluster == nullptr || !cluster->reachable() || cluster->Lacks(key->id);
  };
  lacking.erase(std::remove_if(lacking.begin(), lacking.end(), not_to_ask), lacking.end());
  return lacking;
}

std::vector<KeyNamePtr> StandardKeys::Unverified() const {
  std::set<std::string> open;
  for (const auto& [provider, count] : counts_) {
    const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(provider);
    if (cluster == nullptr || !cluster->reachable()) continue;
    const auto verified = verified_.find(provider);
    if (verified == verified_.end() || verified->second != cluster->instance()) {
      open.insert(provider);
    }
  }
  std::vector<KeyNamePtr> keys;
  if (open.empty()) return keys;
  for (const auto& [key, cached] : cached_) {
    if (open.count(key->provider) == 0) continue;
    if (cached.instance != InstanceOf(key->provider)) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end(), ByName());
  return keys;
}

bool StandardKeys::NoteVerified() {
  std::set<std::string> open;
  for (const KeyNamePtr key : Unverified()) open.insert(key->provider);
  bool news = false;
  for (const auto& [provider, count] : counts_) {
    const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(provider);
    if (cluster == nullptr || !cluster->reachable() || open.count(provider) != 0) continue;
    news = news || verified_[provider] != cluster->instance();
    verified_[provider] = cluster->instance();
  }
  return news;
}

void StandardKeys::Ready(KeyNamePtr key, const kms::FetchedKey& fetched) {
  if (!Knows(key)) ready_[key] = fetched;
}

void StandardKeys::Verified(KeyNamePtr key, const kms::FetchedKey& fetched) {
  const auto it = cached_.find(key);
  if (it == cached_.end()) return;
  it->second.instance = fetched.instance;
  missing_.erase(key);
  if (it->second.check_value == fetched.check_value) return;
  ready_[key] = fetched;  // as the KMS says
  replaces_ = true;
}

void StandardKeys::MissingOnKms(KeyNamePtr key, int64_t instance) {
  const auto it = cached_.find(key);
  // What a former KMS lacked says nothing.
  if (it == cached_.end() || instance != InstanceOf(key->provider)) return;
  it->second.instance = instance;
  missing_.insert(key);
}

// ---- Messages ----

bool StandardKeys::MayHold(absl::string_view provider) const {
  return std::find(providers_.begin(), providers_.end(), provider) != providers_.end();
}

bool StandardKeys::HasReady() const {
  return std::any_of(ready_.begin(), ready_.end(), [this](const auto& entry) {
    return MayHold(entry.first->provider) && !Caches(entry.first);
  });
}

std::vector<host::v1::StandardProviderState> StandardKeys::States() {
  Read();
  std::vector<host::v1::StandardProviderState> states;
  for (const std::string& provider : providers_) {
    const std::shared_ptr<kms::KmsCluster> cluster = kms_->Find(provider);
    if (cluster == nullptr) continue;
    host::v1::StandardProviderState state;
    state.set_provider(provider);
    std::set<std::string> missing;
    const auto reading = readings_.find(provider);
    if (reading != readings_.end()) {
      // A host that has all it needs is not told of every outage.
      state.set_kms_unreachable(!cluster->reachable() && !reading->second.lacking.empty());
      for (const KeyNamePtr key : reading->second.lacking) {
        if (cluster->Lacks(key->id)) missing.insert(key->id);
      }
    }
    for (const KeyNamePtr key : missing_) {
      if (key->provider == provider) missing.insert(key->id);
    }
    for (const std::string& id : missing) state.add_missing_key_ids(id);
    states.push_back(std::move(state));
  }
  return states;
}

bool StandardKeys::Told() { return TextOf(States()) == told_states_; }

absl::StatusOr<StandardKeys::Sent> StandardKeys::Fill(Sealer seal, bool removal,
                                                      host::v1::ApplyKeysRequest* request) {
  Sent sent;
  const std::vector<host::v1::StandardProviderState> states = States();
  sent.states = TextOf(states);
  for (const host::v1::StandardProviderState& state : states) {
    *request->add_standard_providers() = state;
  }
  std::map<std::string, std::vector<KeyNamePtr>> by_provider;
  size_t count = 0;
  for (const auto& [key, fetched] : ready_) {
    if (!MayHold(key->provider) || (!removal && Caches(key)) || count == kMaxKeys) continue;
    by_provider[key->provider].push_back(key);
    ++count;
  }
  for (const auto& [provider, keys] : by_provider) {
    host::v1::SealedStandardKeys* const message = request->add_standard_keys();
    message->set_provider(provider);
    for (const KeyNamePtr key : keys) {
      const kms::FetchedKey& fetched = ready_.at(key);
      host::v1::SealedStandardKeys::Key* const sealed = message->add_keys();
      sealed->set_key_id(key->id);
      KS_ASSIGN_OR_RETURN(*sealed->mutable_sealed(), seal(*key, *fetched.key));
      sent.keys[key] = fetched;
    }
  }
  for (const auto& [key, fetched] : sent.keys) {
    sending_.insert(key);
    ready_.erase(key);
  }
  if (removal) replaces_ = false;
  return sent;
}

void StandardKeys::Applied(const Sent& sent, const host::v1::ApplyKeysResponse& response) {
  bool refused = false;  // encryption mode is off there
  for (const host::v1::WithheldProvider& one : response.keys().refused()) {
    refused = refused || (one.entry().type() == v1::PROVIDER_TYPE_STANDARD &&
                          one.reason() == v1::REASON_HOST_NOT_SAFE);
  }
  // Keys that it caches with another value stay until a pass swaps them.
  std::set<std::string> collides;
  for (const host::v1::KeyEntry& entry : response.keys().collisions()) {
    if (entry.type() == v1::PROVIDER_TYPE_STANDARD) {
      collides.insert(absl::StrCat(entry.provider(), "\n", entry.key_id()));
    }
  }
  for (const auto& [key, fetched] : sent.keys) {
    sending_.erase(key);
    if (collides.count(absl::StrCat(key->provider, "\n", key->id)) != 0) continue;
    if (!refused) Put(key, fetched.check_value, fetched.instance);
  }
  for (const host::v1::StandardKeyList& list : response.removed_standard_keys()) {
    for (const host::v1::StandardKeyList::Key& key : list.keys()) {
      const KeyNamePtr name = needs_->Name(list.provider(), key.key_id());
      Erase(name);
      missing_.erase(name);
    }
  }
  told_states_ = sent.states;
}

void StandardKeys::NotApplied(const Sent& sent, bool again) {
  for (const auto& [key, fetched] : sent.keys) {
    sending_.erase(key);
    if (again) ready_[key] = fetched;
  }
}

}  // namespace keysphere::controller::hosts
