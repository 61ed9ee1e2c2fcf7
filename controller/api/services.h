#ifndef KEYSPHERE_CONTROLLER_API_SERVICES_H_
#define KEYSPHERE_CONTROLLER_API_SERVICES_H_

#include <memory>
#include <vector>

#include "common/rpc/authorizer.h"
#include "common/rpc/gate.h"
#include "common/rpc/server.h"
#include "controller/vcenter/vcenter.h"

namespace keysphere::controller::api {

// All services of a controller, for its server. Their callers are users; what a user may is decided
// on the strand, by access::Access.
class Services {
 public:
  Services(rpc::Gate* gate, vcenter::VCenter* vcenter);
  ~Services();

  std::vector<rpc::ServiceEntry> Entries();

 private:
  struct Apis;
  const std::unique_ptr<Apis> apis_;
};

// Every method of every service of keysphere.v1, for users only.
std::unique_ptr<rpc::RuleTable> UsersOnly();

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_SERVICES_H_
