#ifndef KEYSPHERE_HOSTAGENT_AGENT_LOCK_REASONS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_LOCK_REASONS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hostagent/agent/host_context.h"
#include "hostagent/vm/key_safe.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::hostagent::agent {

// What a failed unwrap, or a failed opening of a VM's files, means.
enum class Failure {
  kNone,
  kKeyMissing,  // the host does not hold the provider's key
  kWrongKey,    // it holds another key under the provider's name (S69, S141)
  kFiles,       // the files: missing, malformed, in use, the machine
};
Failure Classify(const absl::Status& failure);

// Why a key that a VM names cannot be used on this host now, each cause of S154 as a status of its
// own. `wrong_key`: the unwrap with the key that is held failed.
std::vector<absl::Status> CausesOfMissingKey(const HostContext& host, const vm::KeyId& key,
                                             bool wrong_key);

// The refusal of an operation whose unwrap failed: the first cause of S154 with the others, and the
// disk where it is about one (S110). A failure of files is handed on as it is.
absl::Status RefusalOf(const HostContext& host, const absl::Status& unwrap_failure);

// Why a VM is locked and what unlocks it (S89, S154). `wrong_key` as above, of the last judgement.
v1::LockExplanation ExplainLock(const HostContext& host, const vm::KeyId& key, bool wrong_key);

// Why a VM whose files cannot be used is shown as locked.
v1::LockExplanation ExplainFiles(const HostContext& host, const absl::Status& problem);

// What an operation on a locked VM hears (S72).
absl::Status LockedRefusal(const HostContext& host, const v1::Vm& vm, bool wrong_key);

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_LOCK_REASONS_H_
