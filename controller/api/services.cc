#include "controller/api/services.h"

#include "controller/api/controller_api.h"
#include "controller/api/crypto_manager_api.h"
#include "controller/api/events_api.h"
#include "controller/api/inventory_api.h"
#include "controller/api/key_providers_api.h"
#include "controller/api/tasks_api.h"

namespace keysphere::controller::api {

struct Services::Apis {
  Apis(rpc::Gate* gate, vcenter::VCenter* vcenter)
      : key_providers(gate, vcenter),
        clusters(gate, vcenter),
        hosts(gate, vcenter),
        virtual_machines(gate, vcenter),
        tasks(gate, vcenter),
        crypto_manager(gate, vcenter),
        events(gate, vcenter),
        alarms(gate, vcenter),
        controller(gate, vcenter),
        access(gate, vcenter) {}

  KeyProvidersApi key_providers;
  ClustersApi clusters;
  HostsApi hosts;
  VirtualMachinesApi virtual_machines;
  TasksApi tasks;
  CryptoManagerApi crypto_manager;
  EventsApi events;
  AlarmsApi alarms;
  ControllerApi controller;
  AccessApi access;
};

Services::Services(rpc::Gate* gate, vcenter::VCenter* vcenter)
    : apis_(std::make_unique<Apis>(gate, vcenter)) {}

Services::~Services() = default;

std::vector<rpc::ServiceEntry> Services::Entries() {
  return {rpc::Serving<v1::KeyProviders>(&apis_->key_providers),
          rpc::Serving<v1::Clusters>(&apis_->clusters),
          rpc::Serving<v1::Hosts>(&apis_->hosts),
          rpc::Serving<v1::VirtualMachines>(&apis_->virtual_machines),
          rpc::Serving<v1::Tasks>(&apis_->tasks),
          rpc::Serving<v1::CryptoManager>(&apis_->crypto_manager),
          rpc::Serving<v1::Events>(&apis_->events),
          rpc::Serving<v1::Alarms>(&apis_->alarms),
          rpc::Serving<v1::Controller>(&apis_->controller),
          rpc::Serving<v1::Access>(&apis_->access)};
}

std::unique_ptr<rpc::RuleTable> UsersOnly() {
  auto rules = std::make_unique<rpc::RuleTable>();
  for (const char* service :
       {v1::KeyProviders::service_full_name(), v1::Clusters::service_full_name(),
        v1::Hosts::service_full_name(), v1::VirtualMachines::service_full_name(),
        v1::Tasks::service_full_name(), v1::CryptoManager::service_full_name(),
        v1::Events::service_full_name(), v1::Alarms::service_full_name(),
        v1::Controller::service_full_name(), v1::Access::service_full_name()}) {
    for (const std::string& method : rpc::MethodsOf(service)) {
      rules->Add(method, rpc::RuleTable::OnlyKinds({identity::Kind::kUser}));
    }
  }
  return rules;
}

}  // namespace keysphere::controller::api
