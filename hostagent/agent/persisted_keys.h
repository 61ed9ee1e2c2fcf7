#ifndef KEYSPHERE_HOSTAGENT_AGENT_PERSISTED_KEYS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_PERSISTED_KEYS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostagent/agent/config_writer.h"
#include "hostagent/keys/standard_keys.h"

// Key Persistence (S57): keys of standard providers in the host's sealed configuration. Off unless
// somebody switches it on (S58), and never without a TPM 2.0.
namespace keysphere::hostagent::agent {

// Whether keys that come are kept.
bool PersistsKeys(config::Mode mode, const config::HostConfig& config);

// Adds to a change that it keeps these keys, each in place of a former one of its name.
absl::Status PersistKeys(const ConfigWriter& writer, const std::vector<keys::StandardKey>& keys,
                         config::ConfigChange* change);
// Adds that it keeps what is cached and is not kept in `config` yet.
absl::Status PersistAll(const ConfigWriter& writer, const keys::StandardKeys& cached,
                        const config::HostConfig& config, config::ConfigChange* change);
// Adds that it erases these.
void ForgetKeys(const std::vector<host::v1::StandardKeyList>& lists, config::ConfigChange* change);

// What is kept, opened.
absl::StatusOr<std::vector<keys::StandardKey>> LoadPersistedKeys(const ConfigWriter& writer);

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_PERSISTED_KEYS_H_
