#include "tests/processes/controller_driver.h"

#include "common/status/status.h"

namespace keysphere::processes {
namespace {

constexpr int64_t kDiskBytes = 64 << 10;

}  // namespace

absl::StatusOr<v1::KeyProvider> ControllerDriver::CreateProvider(const std::string& name,
                                                                 const std::string& kdk) {
  v1::CreateKeyProviderRequest request;
  request.set_name(name);
  request.set_key_derivation_key(kdk);
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::CreateKeyProvider, request);
}

absl::StatusOr<v1::KeyProvider> ControllerDriver::GetProvider(const std::string& name) {
  v1::GetKeyProviderRequest request;
  request.set_name(name);
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::GetKeyProvider, request);
}

absl::StatusOr<v1::ListKeyProvidersResponse> ControllerDriver::ListProviders() {
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::ListKeyProviders,
                                        v1::ListKeyProvidersRequest());
}

absl::Status ControllerDriver::DeleteProvider(const std::string& name) {
  v1::DeleteKeyProviderRequest request;
  request.set_name(name);
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::DeleteKeyProvider, request).status();
}

absl::StatusOr<v1::ExportKeyProviderResponse> ControllerDriver::Export(
    const std::string& name, const std::string& password, const std::string& authority) {
  v1::ExportKeyProviderRequest request;
  request.set_name(name);
  request.set_password(password);
  return controller_->As(identity::Kind::kUser, "admin", authority)
      .Call<v1::KeyProviders>(&KeyProviderCalls::ExportKeyProvider, request);
}

absl::StatusOr<std::string> ControllerDriver::Backup(const std::string& name,
                                                     const std::string& password) {
  KS_ASSIGN_OR_RETURN(const v1::ExportKeyProviderResponse ticket,
                      Export(name, password, controller_->fqdn()));
  v1::DownloadKeyProviderRequest request;
  request.set_name(name);
  request.set_token(ticket.token());
  KS_ASSIGN_OR_RETURN(
      const std::vector<v1::DownloadKeyProviderResponse> parts,
      Admin().Read<v1::KeyProviders>(&KeyProviderCalls::DownloadKeyProvider, request));
  std::string bundle;
  for (const v1::DownloadKeyProviderResponse& part : parts) bundle += part.chunk();
  return bundle;
}

absl::StatusOr<v1::ImportKeyProviderResponse> ControllerDriver::Import(
    const std::string& bundle, const std::string& password) {
  v1::ImportKeyProviderRequest request;
  request.set_bundle(bundle);
  request.set_password(password);
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::ImportKeyProvider, request);
}

absl::Status ControllerDriver::SetDefault(const std::string& name) {
  v1::SetDefaultKeyProviderRequest request;
  request.set_name(name);
  return Admin().Call<v1::KeyProviders>(&KeyProviderCalls::SetDefaultKeyProvider, request).status();
}

absl::Status ControllerDriver::CreateCluster(const std::string& name) {
  v1::CreateClusterRequest request;
  request.set_name(name);
  return Admin().Call<v1::Clusters>(&ClusterCalls::CreateCluster, request).status();
}

absl::StatusOr<v1::Host> ControllerDriver::AddHost(HostProcess& host, const std::string& cluster,
                                                   bool force) {
  v1::AddHostRequest request;
  request.set_name(host.name());
  request.set_address(host.address());
  request.set_cluster(cluster);
  request.set_force(force);
  return Admin().Call<v1::Hosts>(&HostCalls::AddHost, request);
}

absl::StatusOr<v1::Host> ControllerDriver::GetHost(const std::string& name) {
  v1::GetHostRequest request;
  request.set_name(name);
  return Admin().Call<v1::Hosts>(&HostCalls::GetHost, request);
}

absl::Status ControllerDriver::WaitForHost(const std::string& name, v1::ConnectionState state) {
  v1::WaitForRequest request;
  request.mutable_host()->set_host(name);
  request.mutable_host()->set_connection_state(state);
  return Admin().Read<v1::Events>(&EventCalls::WaitFor, request, absl::Minutes(1)).status();
}

absl::Status ControllerDriver::Remediate() {
  return Admin().Call<v1::Controller>(&ControllerCalls::Remediate, v1::RemediateRequest()).status();
}

absl::Status ControllerDriver::Await(const absl::StatusOr<v1::Task>& task) {
  KS_RETURN_IF_ERROR(task.status());
  v1::WatchTaskRequest request;
  request.set_id(task->id());
  KS_ASSIGN_OR_RETURN(const std::vector<v1::Task> states,
                      Admin().Read<v1::Tasks>(&TaskCalls::WatchTask, request, absl::Minutes(1)));
  if (states.empty()) return absl::InternalError("a watch of a task without a word");
  const v1::Task& last = states.back();
  if (last.state() == v1::Task::STATE_SUCCEEDED) return absl::OkStatus();
  return status::Error(last.error().reason(), last.error_message());
}

absl::Status ControllerDriver::CreateVm(const std::string& host, const std::string& vm) {
  v1::CreateVmRequest request;
  request.set_host(host);
  request.set_name(vm);
  request.set_guest_os("debian12-64");
  request.add_disks()->set_capacity_bytes(kDiskBytes);
  return Await(Admin().Call<v1::VirtualMachines>(&MachineCalls::CreateVm, request));
}

absl::Status ControllerDriver::EncryptVm(const std::string& vm, const std::string& provider) {
  v1::EncryptVmRequest request;
  request.set_vm(vm);
  if (!provider.empty()) {
    request.mutable_crypto()->mutable_key()->set_provider_id(provider);
  }
  return Await(Admin().Call<v1::VirtualMachines>(&MachineCalls::EncryptVm, request));
}

absl::Status ControllerDriver::DecryptVm(const std::string& vm) {
  v1::DecryptVmRequest request;
  request.set_vm(vm);
  return Await(Admin().Call<v1::VirtualMachines>(&MachineCalls::DecryptVm, request));
}

absl::StatusOr<v1::Vm> ControllerDriver::GetVm(const std::string& vm) {
  v1::GetVmRequest request;
  request.set_vm(vm);
  return Admin().Call<v1::VirtualMachines>(&MachineCalls::GetVm, request);
}

absl::StatusOr<v1::Vm> ControllerDriver::PowerOn(const std::string& vm, absl::Duration timeout) {
  v1::PowerOnVmRequest request;
  request.set_vm(vm);
  return Admin().Call<v1::VirtualMachines>(&MachineCalls::PowerOnVm, request, timeout);
}

absl::StatusOr<v1::Vm> ControllerDriver::PowerOff(const std::string& vm) {
  v1::PowerOffVmRequest request;
  request.set_vm(vm);
  return Admin().Call<v1::VirtualMachines>(&MachineCalls::PowerOffVm, request);
}

}  // namespace keysphere::processes
