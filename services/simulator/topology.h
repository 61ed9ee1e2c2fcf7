#ifndef KEYSPHERE_SERVICES_SIMULATOR_TOPOLOGY_H_
#define KEYSPHERE_SERVICES_SIMULATOR_TOPOLOGY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::simulator {

// More processes than a machine's process ids carry.
inline constexpr int kMaxControllers = 64;
inline constexpr int kMaxHosts = 2500;
// As many as a standard provider may name.
inline constexpr int kMaxKmsNodes = 16;

// A host to start, and the controller that it is attached to in the beginning.
struct HostPlan {
  std::string name;
  std::string controller;
  bool tpm = false;           // a TPM 2.0; else none
  std::string version;        // ESXi's, "8.0.3"
  std::string boot_key_wait;  // as the host's flag; empty: its default (S149)
};

// The processes of a new cluster. A plain value.
struct Topology {
  std::vector<std::string> controllers;
  std::vector<HostPlan> hosts;
  std::vector<std::string> kms;  // nodes of one key server
};

// What the flags of `up` say.
struct TopologyRequest {
  int controllers = 1;
  int hosts = 3;                       // all of the first controller
  int tpm = 0;                         // the first of the hosts have a TPM 2.0
  std::string spread;                  // "vcenter-a=3,vcenter-b=1"; counts instead of the above
  std::string host_version = "8.0.3";  // of all hosts
  int kms = 0;                         // nodes of the key server
  std::string boot_key_wait;           // of all hosts, as "90s"; empty: their default
};

// INVALID_ARGUMENT unless it is one to four numbers, as "8.0.3".
absl::Status CheckVersion(absl::string_view version);

// Controllers vcenter-a, vcenter-b, …; hosts esx-1, esx-2, …; KMS nodes kms-1, …. INVALID_ARGUMENT
// names the field.
absl::StatusOr<Topology> MakeTopology(const TopologyRequest& request);

// 0: "vcenter-a", 25: "vcenter-z", 26: "vcenter-aa".
std::string ControllerName(int index);
// 0: "esx-1".
std::string HostName(int index);
// 0: "kms-1".
std::string KmsName(int index);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_TOPOLOGY_H_
