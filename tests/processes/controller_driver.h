#ifndef KEYSPHERE_TESTS_PROCESSES_CONTROLLER_DRIVER_H_
#define KEYSPHERE_TESTS_PROCESSES_CONTROLLER_DRIVER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "keysphere/v1/controller.grpc.pb.h"
#include "keysphere/v1/events.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "keysphere/v1/tasks.grpc.pb.h"
#include "tests/processes/lab.h"

namespace keysphere::processes {

using KeyProviderCalls = class v1::KeyProviders::Stub::async;
using ClusterCalls = class v1::Clusters::Stub::async;
using HostCalls = class v1::Hosts::Stub::async;
using MachineCalls = class v1::VirtualMachines::Stub::async;
using TaskCalls = class v1::Tasks::Stub::async;
using EventCalls = class v1::Events::Stub::async;
using AlarmCalls = class v1::Alarms::Stub::async;
using ControllerCalls = class v1::Controller::Stub::async;
using AccessCalls = class v1::Access::Stub::async;

// What "admin" does with a vCenter, a method for each step that tests take again and again.
class ControllerDriver {
 public:
  explicit ControllerDriver(ControllerProcess* controller) : controller_(controller) {}

  ControllerProcess& controller() { return *controller_; }
  Caller Admin() { return controller_->Admin(); }

  // `kdk` of 32 bytes, or empty for one of the controller's making.
  absl::StatusOr<v1::KeyProvider> CreateProvider(const std::string& name,
                                                 const std::string& kdk = "");
  absl::StatusOr<v1::KeyProvider> GetProvider(const std::string& name);
  absl::StatusOr<v1::ListKeyProvidersResponse> ListProviders();
  absl::Status DeleteProvider(const std::string& name);
  // Begins a backup as somebody who dialled `authority`.
  absl::StatusOr<v1::ExportKeyProviderResponse> Export(const std::string& name,
                                                       const std::string& password,
                                                       const std::string& authority);
  // Export and download: the bundle.
  absl::StatusOr<std::string> Backup(const std::string& name, const std::string& password = "");
  absl::StatusOr<v1::ImportKeyProviderResponse> Import(const std::string& bundle,
                                                       const std::string& password = "");
  absl::Status SetDefault(const std::string& name);

  absl::Status CreateCluster(const std::string& name);
  absl::StatusOr<v1::Host> AddHost(HostProcess& host, const std::string& cluster,
                                   bool force = false);
  absl::StatusOr<v1::Host> GetHost(const std::string& name);
  // Until the controller says that the host is so connected.
  absl::Status WaitForHost(const std::string& name, v1::ConnectionState state);
  absl::Status Remediate();

  // Tasks, to their end: their error is returned.
  absl::Status Await(const absl::StatusOr<v1::Task>& task);
  absl::Status CreateVm(const std::string& host, const std::string& vm);
  absl::Status EncryptVm(const std::string& vm, const std::string& provider = "");
  absl::Status DecryptVm(const std::string& vm);
  absl::StatusOr<v1::Vm> GetVm(const std::string& vm);
  absl::StatusOr<v1::Vm> PowerOn(const std::string& vm, absl::Duration timeout = absl::Seconds(30));
  absl::StatusOr<v1::Vm> PowerOff(const std::string& vm);

 private:
  ControllerProcess* const controller_;
};

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_CONTROLLER_DRIVER_H_
