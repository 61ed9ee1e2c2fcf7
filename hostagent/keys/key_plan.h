#ifndef KEYSPHERE_HOSTAGENT_KEYS_KEY_PLAN_H_
#define KEYSPHERE_HOSTAGENT_KEYS_KEY_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "keysphere/host/v1/host_management.pb.h"

namespace keysphere::hostagent::keys {

// What decides which native keys a host may hold at all, by its own judgement (S22, S25).
struct HostFacts {
  bool has_tpm_2 = false;
  bool supports_native = true;  // 7.0 U2 or newer
};

// One change of what the host holds.
struct KeyStep {
  enum class Kind {
    kStore,    // a key that was sent: open it and hold it, in place of the provider's former one
    kRelabel,  // the same key under another key id or constraint (S122)
    kRemove,
  };
  Kind kind = Kind::kStore;
  host::v1::KeyEntry entry;  // as it is held afterwards; kRemove: as it was
  int sealed_index = -1;     // kStore: in ApplyKeysRequest.keys
  bool replaces = false;     // kStore: another key of that name goes (a tick's swap, S141)
};

struct KeyPlan {
  std::vector<KeyStep> steps;
  // Wanted, but the host holds another key under that name and this is no tick (S141).
  std::vector<host::v1::KeyEntry> collisions;
  // What the host refuses by itself (S25).
  std::vector<host::v1::WithheldProvider> refused;
  // All that the message names: what it says nothing of stays known from before (adds only).
  std::vector<std::string> named;
};

// Decides what ApplyKeys does to a host that holds `current` (one entry a provider). Adds never
// take anything away (S132); a tick leaves exactly what is wanted. INVALID_ARGUMENT, UNSUPPORTED:
// the request is malformed, nothing must be done.
absl::StatusOr<KeyPlan> PlanKeys(const std::vector<host::v1::KeyEntry>& current,
                                 const host::v1::ApplyKeysRequest& request, const HostFacts& facts);

// Whether a host of ESXi `version` ("8.0.3": major.minor.update) may hold native keys: 7.0 U2 or
// newer (S22). False where it is not a version.
bool SupportsNativeKeys(const std::string& version);

}  // namespace keysphere::hostagent::keys

#endif  // KEYSPHERE_HOSTAGENT_KEYS_KEY_PLAN_H_
