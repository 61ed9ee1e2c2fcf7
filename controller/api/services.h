#ifndef KEYSPHERE_CONTROLLER_API_SERVICES_H_
#define KEYSPHERE_CONTROLLER_API_SERVICES_H_

#include <memory>
#include <string>
#include <vector>

#include "common/rpc/authorizer.h"
#include "common/rpc/gate.h"
#include "common/rpc/server.h"
#include "controller/vcenter/vcenter.h"

namespace grpc {
class Service;
}

namespace keysphere::controller::api {

// One gRPC service over the domain: a line a method.
struct Service {
  std::unique_ptr<grpc::Service> service;
  std::string name;
};

Service MakeControllerApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeAccessApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeCryptoManagerApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeEventsApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeAlarmsApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeClustersApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeHostsApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeVirtualMachinesApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeKeyProvidersApi(rpc::Gate* gate, vcenter::VCenter* vcenter);
Service MakeTasksApi(rpc::Gate* gate, vcenter::VCenter* vcenter);

// All services of a controller, for its server. Their callers are users; what a user may is decided
// on the strand, by access::Access.
class Services {
 public:
  Services(rpc::Gate* gate, vcenter::VCenter* vcenter);
  ~Services();

  std::vector<rpc::ServiceEntry> Entries() const;

 private:
  std::vector<Service> services_;
};

// Every method of every service of keysphere.v1, for users only.
std::unique_ptr<rpc::RuleTable> UsersOnly();

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_SERVICES_H_
