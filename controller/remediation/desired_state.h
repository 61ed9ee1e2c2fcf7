#ifndef KEYSPHERE_CONTROLLER_REMEDIATION_DESIRED_STATE_H_
#define KEYSPHERE_CONTROLLER_REMEDIATION_DESIRED_STATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/keyset/keyset.h"
#include "controller/providers/providers.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/v1/errors.pb.h"
#include "keysphere/v1/types.pb.h"

// Which keys a host should hold: pure functions, without hosts, time or a store.
namespace keysphere::controller::remediation {

// What decides whether a host may hold a provider's key (S33).
struct HostFacts {
  std::string name;
  std::string cluster;  // empty: standalone
  std::string version;  // "8.0.3"
  v1::TpmVersion tpm_version = v1::TPM_VERSION_NONE;
};

// OK, or why the host is not entitled to the provider: of NOT_BACKED_UP (S158), NOT_IN_CLUSTER
// (S23), VERSION_UNSUPPORTED (S22) and TPM_REQUIRED (S25) the first, with the others in the detail.
absl::Status Entitlement(const HostFacts& host, const providers::Provider& provider);

host::v1::KeyEntry EntryOf(const providers::Provider& provider);

// What a host should hold of a vCenter's providers.
struct DesiredState {
  std::vector<host::v1::KeyEntry> entries;           // of native providers, by name
  std::vector<std::string> standard;                 // standard providers, by name
  std::vector<host::v1::WithheldProvider> withheld;  // of either kind, and why
  std::string cluster;

  // As the host computes it over what it holds, and `cached` of standard providers.
  std::string Digest(const keyset::CachedKeysDigest& cached = keyset::CachedKeysDigest()) const;
};
DesiredState Desire(const HostFacts& host,
                    const std::vector<const providers::Provider*>& providers);

}  // namespace keysphere::controller::remediation

#endif  // KEYSPHERE_CONTROLLER_REMEDIATION_DESIRED_STATE_H_
