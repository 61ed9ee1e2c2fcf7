// What a message does to the cache of standard providers' keys.
#include <map>

#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/keys/standard_keys.h"

namespace keysphere::hostagent::keys {
namespace {

using host::v1::ApplyKeysRequest;
using host::v1::SealedStandardKeys;
using host::v1::StandardKeyList;
using host::v1::StandardProviderState;

constexpr size_t kMaxKeyIdBytes = 256;
constexpr size_t kSealedKeyBytes = crypto::kKeyBytes + crypto::kHpkeOverheadBytes;

absl::Status Malformed(const std::string& provider, absl::string_view what) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, what).Object("provider", provider);
}

// What the key servers behind the providers lack; INVALID_ARGUMENT where one is named twice.
using MissingIds = std::map<std::string, std::set<std::string, std::less<>>>;
absl::StatusOr<MissingIds> CollectMissing(const ApplyKeysRequest& request) {
  MissingIds missing;
  for (const StandardProviderState& state : request.standard_providers()) {
    KS_RETURN_IF_ERROR(files::ValidateName(state.provider()));
    const auto [it, added] = missing.try_emplace(state.provider());
    if (!added) return Malformed(state.provider(), "a standard provider is named twice");
    it->second.insert(state.missing_key_ids().begin(), state.missing_key_ids().end());
  }
  return missing;
}

host::v1::KeyEntry EntryOf(const std::string& provider) {
  host::v1::KeyEntry entry;
  entry.set_provider(provider);
  entry.set_type(v1::PROVIDER_TYPE_STANDARD);
  return entry;
}

void PlanAdd(const StandardKeys& cached, bool tick, StandardKey key, StandardPlan* plan) {
  const std::string here = cached.CheckValue(key.provider, key.key_id);
  if (here == key.check_value) return;
  if (here.empty() || tick) {
    plan->add.push_back(std::move(key));
    return;
  }
  host::v1::KeyEntry& collision = plan->collisions.emplace_back(EntryOf(key.provider));
  collision.set_key_id(key.key_id);
  collision.set_key_check_value(key.check_value);
}

}  // namespace

absl::StatusOr<std::vector<StandardKey>> OpenStandardKeys(const SealedFor& to,
                                                          const SealedStandardKeys& sealed) {
  KS_RETURN_IF_ERROR(files::ValidateName(sealed.provider()));
  std::vector<StandardKey> keys;
  keys.reserve(static_cast<size_t>(sealed.keys_size()));
  for (const SealedStandardKeys::Key& sealed_key : sealed.keys()) {
    if (sealed_key.key_id().empty() || sealed_key.key_id().size() > kMaxKeyIdBytes) {
      return Malformed(sealed.provider(), "key_id must have 1 to 256 bytes");
    }
    if (sealed_key.sealed().size() != kSealedKeyBytes) {
      return Malformed(sealed.provider(), "a key must have 32 bytes");
    }
    StandardKey& key = keys.emplace_back();
    key.provider = sealed.provider();
    key.key_id = sealed_key.key_id();
    KS_ASSIGN_OR_RETURN(
        key.key, to.transport_key->Open(sealed_key.sealed(),
                                        keyset::SealInfo(to.host, to.boot_id, to.epoch,
                                                         sealed.provider(), sealed_key.key_id())));
    KS_ASSIGN_OR_RETURN(key.check_value, crypto::KeyCheckValue(key.key));
  }
  return keys;
}

absl::StatusOr<StandardPlan> PlanStandardKeys(const StandardKeys& cached,
                                              const ApplyKeysRequest& request, bool host_is_safe,
                                              const SealedFor& to) {
  const bool tick = request.allow_removal();
  KS_ASSIGN_OR_RETURN(const MissingIds missing, CollectMissing(request));
  StandardPlan plan;
  std::set<std::string> named;
  for (const SealedStandardKeys& sealed : request.standard_keys()) {
    if (!named.insert(sealed.provider()).second) {
      return Malformed(sealed.provider(), "a standard provider's keys are sent twice");
    }
    if (tick && missing.count(sealed.provider()) == 0) {
      return Malformed(sealed.provider(), "keys of a provider that standard_providers lacks");
    }
    if (!host_is_safe) {
      KS_RETURN_IF_ERROR(files::ValidateName(sealed.provider()));
      host::v1::WithheldProvider& refused = plan.refused.emplace_back();
      *refused.mutable_entry() = EntryOf(sealed.provider());
      refused.set_reason(v1::REASON_HOST_NOT_SAFE);
      continue;
    }
    KS_ASSIGN_OR_RETURN(std::vector<StandardKey> keys, OpenStandardKeys(to, sealed));
    for (StandardKey& key : keys) PlanAdd(cached, tick, std::move(key), &plan);
  }
  if (!tick) return plan;
  for (StandardKeyList& list : cached.List()) {
    const auto provider = missing.find(list.provider());
    if (provider == missing.end()) {
      plan.remove.push_back(std::move(list));
      continue;
    }
    StandardKeyList gone;
    gone.set_provider(list.provider());
    for (StandardKeyList::Key& key : *list.mutable_keys()) {
      if (provider->second.count(key.key_id()) > 0) *gone.add_keys() = std::move(key);
    }
    if (gone.keys_size() > 0) plan.remove.push_back(std::move(gone));
  }
  return plan;
}

}  // namespace keysphere::hostagent::keys
