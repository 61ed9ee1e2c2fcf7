#ifndef KEYSPHERE_HOSTAGENT_AGENT_CRYPTO_MODE_H_
#define KEYSPHERE_HOSTAGENT_AGENT_CRYPTO_MODE_H_

#include <string>

#include "absl/status/statusor.h"
#include "hostagent/config/host_config.pb.h"
#include "hostagent/keys/key_cache.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::hostagent::agent {

// The host's encryption mode, a state machine over its configuration (S95-S98):
//
//   incapable --prepare--> prepared --enable(key)--> safe --disable--> pendingIncapable
//       ^                                                                    |
//       +------------------------------ reboot ------------------------------+
//
// safe --change(key)--> safe. All else is INVALID_STATE; enabling a safe host with another key is
// ALREADY_EXISTS, with its own key no change.

v1::CryptoState StateOf(const config::HostKey& key);

// Its host key: of a host that is safe, or will be incapable only after its reboot, or lost the key
// (S150). Empty ids: none.
v1::CryptoKeyId KeyIdOf(const config::HostKey& key);

// Does what a controller asks. True: `state` changed. The key must be on the host (KEY_MISMATCH,
// KEY_MISSING_ON_HOST, another of CheckKeyHere) or be brought by the request: `brought` is its
// check value then, else empty. KEY_MISMATCH too for the id of the key that the host has or lost,
// where provider and id stand for another key now.
absl::StatusOr<bool> ChangeCryptoMode(host::v1::SetCryptoModeRequest::Action action,
                                      const v1::CryptoKeyId& key, const keys::KeyCache& cache,
                                      const std::string& brought, config::HostKey* state);

// From whatever state that allows it to safe, with a new host key of `provider` called `key_id`
// (S151). False: safe already. INVALID_STATE while pendingIncapable.
absl::StatusOr<bool> EnableFor(const std::string& provider, const std::string& key_id,
                               const keys::KeyCache& cache, config::HostKey* state);

// What a boot makes of it: pendingIncapable becomes incapable (S97); safe stays if the host key can
// be derived (S51) from the KDK of then or was persisted (S57), else it is incapable and remembers
// which key it lost, or has made its own, `new_key_id`, unless it awaits the old one (S150). True:
// changed.
bool BootCryptoMode(const keys::KeyCache& cache, const std::string& new_key_id,
                    config::HostKey* state);

// The host lost a KMS's key, which its controller may bring again, and could make its own if none
// comes.
bool AwaitsHostKey(const keys::KeyCache& cache, const config::HostKey& state);

// Makes a host that is incapable safe with a new host key, `new_key_id`, from a native provider's
// key that it holds (S150). False: there is none, or it is not incapable.
bool MakeOwnHostKey(const keys::KeyCache& cache, const std::string& new_key_id,
                    config::HostKey* state);

// Why a key cannot be used here: KEY_MISMATCH, the reason why its provider is withheld,
// KEY_MISSING_ON_HOST, KEY_MISSING_ON_KMS or KMS_UNREACHABLE. OK: it can.
absl::Status CheckKeyHere(const keys::KeyCache& cache, const std::string& provider,
                          const std::string& key_id);

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_CRYPTO_MODE_H_
