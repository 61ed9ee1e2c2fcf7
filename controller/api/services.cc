#include "controller/api/services.h"

#include <grpcpp/impl/service_type.h>

namespace keysphere::controller::api {
namespace {

using Maker = Service (*)(rpc::Gate*, vcenter::VCenter*);
constexpr Maker kMakers[] = {
    &MakeControllerApi,   &MakeAccessApi,   &MakeCryptoManagerApi, &MakeEventsApi,
    &MakeAlarmsApi,       &MakeClustersApi, &MakeHostsApi,         &MakeVirtualMachinesApi,
    &MakeKeyProvidersApi, &MakeTasksApi,
};

constexpr const char* kServices[] = {
    "keysphere.v1.Controller", "keysphere.v1.Access",          "keysphere.v1.CryptoManager",
    "keysphere.v1.Events",     "keysphere.v1.Alarms",          "keysphere.v1.Clusters",
    "keysphere.v1.Hosts",      "keysphere.v1.VirtualMachines", "keysphere.v1.KeyProviders",
    "keysphere.v1.Tasks",
};

}  // namespace

Services::Services(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  for (const Maker make : kMakers) services_.push_back(make(gate, vcenter));
}

Services::~Services() = default;

std::vector<rpc::ServiceEntry> Services::Entries() const {
  std::vector<rpc::ServiceEntry> entries;
  for (const Service& service : services_) {
    entries.push_back(rpc::ServiceEntry{service.service.get(), service.name});
  }
  return entries;
}

std::unique_ptr<rpc::RuleTable> UsersOnly() {
  auto rules = std::make_unique<rpc::RuleTable>();
  for (const char* service : kServices) {
    for (const std::string& method : rpc::MethodsOf(service)) {
      rules->Add(method, rpc::RuleTable::OnlyKinds({identity::Kind::kUser}));
    }
  }
  return rules;
}

}  // namespace keysphere::controller::api
