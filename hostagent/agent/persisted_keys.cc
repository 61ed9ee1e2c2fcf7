#include "hostagent/agent/persisted_keys.h"

#include <set>
#include <string>
#include <utility>

#include "common/crypto/kdf.h"
#include "common/status/status.h"

namespace keysphere::hostagent::agent {

bool PersistsKeys(config::Mode mode, const config::HostConfig& config) {
  return mode == config::MODE_TPM && config.key_persistence();
}

absl::Status PersistKeys(const ConfigWriter& writer, const std::vector<keys::StandardKey>& keys,
                         config::ConfigChange* change) {
  for (const keys::StandardKey& key : keys) {
    KS_ASSIGN_OR_RETURN(
        std::string sealed,
        writer.SealSecret(config::PersistedKeySecretName(key.provider, key.key_id), key.key));
    config::PersistedKey* const kept = change->add_put_persisted_keys();
    kept->set_provider(key.provider);
    kept->set_key_id(key.key_id);
    kept->set_sealed_key(std::move(sealed));
  }
  return absl::OkStatus();
}

absl::Status PersistAll(const ConfigWriter& writer, const keys::StandardKeys& cached,
                        const config::HostConfig& config, config::ConfigChange* change) {
  std::set<std::pair<std::string, std::string>> kept;
  for (const config::PersistedKey& key : config.persisted_keys()) {
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
  return PersistKeys(writer, missing, change);
}

void ForgetKeys(const std::vector<host::v1::StandardKeyList>& lists, config::ConfigChange* change) {
  for (const host::v1::StandardKeyList& list : lists) {
    for (const auto& key : list.keys()) {
      config::PersistedKey* const gone = change->add_removed_persisted_keys();
      gone->set_provider(list.provider());
      gone->set_key_id(key.key_id());
    }
  }
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
