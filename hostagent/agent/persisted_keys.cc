#include "hostagent/agent/persisted_keys.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "common/crypto/kdf.h"
#include "common/status/status.h"

namespace keysphere::hostagent::agent {
namespace {

using KeyNames = std::set<std::pair<std::string, std::string>>;

bool Erase(const KeyNames& names, config::HostConfig* config) {
  auto* const kept = config->mutable_persisted_keys();
  const int before = kept->size();
  kept->erase(std::remove_if(kept->begin(), kept->end(),
                             [&names](const config::PersistedKey& key) {
                               return names.count({key.provider(), key.key_id()}) > 0;
                             }),
              kept->end());
  return kept->size() != before;
}

}  // namespace

bool PersistsKeys(config::Mode mode, const config::HostConfig& config) {
  return mode == config::MODE_TPM && config.key_persistence();
}

absl::Status PersistKeys(const ConfigWriter& writer, const std::vector<keys::StandardKey>& keys,
                         config::HostConfig* config) {
  std::vector<config::PersistedKey> sealed;
  KeyNames names;
  for (const keys::StandardKey& key : keys) {
    config::PersistedKey& kept = sealed.emplace_back();
    kept.set_provider(key.provider);
    kept.set_key_id(key.key_id);
    KS_ASSIGN_OR_RETURN(
        *kept.mutable_sealed_key(),
        writer.SealSecret(config::PersistedKeySecretName(key.provider, key.key_id), key.key));
    names.emplace(key.provider, key.key_id);
  }
  Erase(names, config);
  for (config::PersistedKey& kept : sealed) *config->add_persisted_keys() = std::move(kept);
  return absl::OkStatus();
}

absl::StatusOr<bool> PersistAll(const ConfigWriter& writer, const keys::StandardKeys& cached,
                                config::HostConfig* config) {
  KeyNames kept;
  for (const config::PersistedKey& key : config->persisted_keys()) {
    kept.emplace(key.provider(), key.key_id());
  }
  std::vector<keys::StandardKey> missing;
  for (const host::v1::StandardKeyList& list : cached.List()) {
    for (const auto& listed : list.keys()) {
      if (kept.count({list.provider(), listed.key_id()}) > 0) continue;
      const keys::StandardKeys::KeyPtr key = cached.Find(list.provider(), listed.key_id());
      if (key == nullptr) continue;
      keys::StandardKey& copy = missing.emplace_back();
      copy.provider = list.provider();
      copy.key_id = listed.key_id();
      KS_ASSIGN_OR_RETURN(copy.key, key->Clone());
    }
  }
  if (missing.empty()) return false;
  KS_RETURN_IF_ERROR(PersistKeys(writer, missing, config));
  return true;
}

bool ForgetKeys(const std::vector<host::v1::StandardKeyList>& lists, config::HostConfig* config) {
  if (config->persisted_keys().empty()) return false;
  KeyNames names;
  for (const host::v1::StandardKeyList& list : lists) {
    for (const auto& key : list.keys()) names.emplace(list.provider(), key.key_id());
  }
  return Erase(names, config);
}

absl::StatusOr<std::vector<keys::StandardKey>> LoadPersistedKeys(const ConfigWriter& writer) {
  std::vector<keys::StandardKey> keys;
  if (!PersistsKeys(writer.mode(), writer.config())) return keys;
  for (const config::PersistedKey& kept : writer.config().persisted_keys()) {
    keys::StandardKey& key = keys.emplace_back();
    key.provider = kept.provider();
    key.key_id = kept.key_id();
    KS_ASSIGN_OR_RETURN(
        key.key, writer.OpenSecret(config::PersistedKeySecretName(kept.provider(), kept.key_id()),
                                   kept.sealed_key()));
    KS_ASSIGN_OR_RETURN(key.check_value, crypto::KeyCheckValue(key.key));
  }
  return keys;
}

}  // namespace keysphere::hostagent::agent
