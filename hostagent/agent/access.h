#ifndef KEYSPHERE_HOSTAGENT_AGENT_ACCESS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_ACCESS_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/identity/identity.h"
#include "hostagent/config/host_config.pb.h"

namespace keysphere::hostagent::agent {

// Who may do what on a host. It obeys its current controller, named by certificate and attachment
// epoch (S140), and users with the host role; nobody else.
enum class Right {
  kAttach,    // controllers that the host allows
  kManage,    // its controller
  kEncrypt,   // its controller; a user with the host role hears CONTROLLER_UNAVAILABLE (S157)
  kOperate,   // its controller and users with the host role
  kRecovery,  // users with the host role
};

// Fixed when the host starts.
struct AccessPolicy {
  // Names of controllers that may attach; "*": all of the trust domain.
  std::set<std::string> allowed_controllers;
  // Names of users that have the host role.
  std::set<std::string> administrators;
};

// For rights that no epoch goes with (GetHostStatus).
constexpr int64_t kAnyEpoch = -1;

// NO_PERMISSION, STALE_EPOCH or CONTROLLER_UNAVAILABLE.
absl::Status CheckAccess(const AccessPolicy& policy, const config::Attachment& attachment,
                         const identity::Identity& caller, Right right, int64_t epoch);

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_ACCESS_H_
