#ifndef KEYSPHERE_HOSTAGENT_API_SERVICES_H_
#define KEYSPHERE_HOSTAGENT_API_SERVICES_H_

#include <memory>
#include <vector>

#include "common/rpc/authorizer.h"
#include "common/rpc/gate.h"
#include "common/rpc/server.h"
#include "hostagent/agent/host_agent.h"

namespace keysphere::hostagent::api {

// Which kinds of callers may call which method at all; the host decides the rest (S140, S157).
std::unique_ptr<rpc::RuleTable> HostRules();

// The services of keysphere.host.v1 in front of a host.
class Services {
 public:
  // Both outlive the services.
  Services(rpc::Gate* gate, agent::HostAgent* agent);
  ~Services();

  // For rpc::ServerOptions.
  std::vector<rpc::ServiceEntry> Entries();

 private:
  struct Implementations;
  const std::unique_ptr<Implementations> implementations_;
};

}  // namespace keysphere::hostagent::api

#endif  // KEYSPHERE_HOSTAGENT_API_SERVICES_H_
