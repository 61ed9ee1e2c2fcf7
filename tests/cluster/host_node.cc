#include "tests/cluster/host_node.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::tests {

using hostagent::agent::HostAgent;

HostNode::HostNode(executor::SimulatedExecutor* executor, Settings settings, std::string state_dir,
                   std::string datastore, uint64_t seed)
    : executor_(executor),
      settings_(std::move(settings)),
      state_dir_(std::move(state_dir)),
      datastore_(std::move(datastore)),
      random_(seed),
      hardware_(std::make_shared<hostagent::tpm::FakeTpmHardware>(settings_.tpm)),
      wire_(std::make_shared<Wire>(executor, settings_.name)) {}

HostNode::~HostNode() { Kill(); }

absl::Status HostNode::Boot() {
  KS_CHECK(agent_ == nullptr);
  tpm_ = std::make_unique<hostagent::tpm::FakeTpm>(hardware_);
  hostagent::agent::HostOptions options;
  options.name = settings_.name;
  options.version = settings_.version;
  options.clock = executor_;
  options.executor = executor_;
  options.random = &random_;
  options.tpm = tpm_.get();
  options.files = &files_;
  options.state_dir = state_dir_;
  options.datastores = {{"ds1", datastore_}};
  options.access.allowed_controllers = {"*"};
  options.access.administrators = {"root"};
  options.logger = &logger_;
  options.memory = &memory_;
  agent_ = std::make_unique<HostAgent>(std::move(options));
  auto booted = std::make_shared<absl::Status>(absl::InternalError("the host did not boot"));
  agent_->Boot([booted](const absl::Status& status) { *booted = status; });
  executor_->RunUntilIdle();
  if (booted->ok()) {
    wire_->SetAgent(agent_.get());
    executor_->RunUntilIdle();
  } else {
    Kill();
  }
  return *booted;
}

void HostNode::Kill() {
  agent_.reset();
  tpm_.reset();
  wire_->SetAgent(nullptr);
}

absl::Status HostNode::Shutdown() {
  auto stopped = std::make_shared<absl::Status>(absl::InternalError("the host did not stop"));
  agent_->Shutdown([stopped](const absl::Status& status) { *stopped = status; });
  executor_->RunUntilIdle();
  Kill();
  executor_->RunUntilIdle();
  return *stopped;
}

absl::Status HostNode::Reboot() {
  KS_RETURN_IF_ERROR(Shutdown());
  return Boot();
}

void HostNode::ReplaceTpm(hostagent::tpm::TpmVersion version) {
  settings_.tpm = version;
  hardware_ = std::make_shared<hostagent::tpm::FakeTpmHardware>(version);
}

host::v1::GetHostStatusResponse HostNode::Status() {
  const auto status = Direct(&HostAgent::GetHostStatus, host::v1::GetHostStatusRequest());
  return status.ok() ? *status : host::v1::GetHostStatusResponse();
}

host::v1::HostStats HostNode::Stats() {
  const auto stats = Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest());
  return stats.ok() ? *stats : host::v1::HostStats();
}

v1::Vm HostNode::Vm(const std::string& name) {
  host::v1::GetHostVmRequest request;
  request.set_vm(name);
  const auto vm = Direct(&HostAgent::GetHostVm, request);
  return vm.ok() ? vm->vm() : v1::Vm();
}

absl::Status HostNode::PowerOn(const std::string& vm) {
  host::v1::PowerOnHostVmRequest request;
  request.set_vm(vm);
  return Direct(&HostAgent::PowerOnHostVm, request).status();
}

absl::Status HostNode::PowerOff(const std::string& vm) {
  host::v1::PowerOffHostVmRequest request;
  request.set_vm(vm);
  return Direct(&HostAgent::PowerOffHostVm, request).status();
}

absl::StatusOr<v1::Vm> HostNode::Register(const std::string& vm) {
  host::v1::RegisterHostVmRequest request;
  request.set_vmx_path(VmxPath(vm));
  const auto registered = Direct(&HostAgent::RegisterHostVm, request);
  if (!registered.ok()) return registered.status();
  return registered->vm();
}

absl::Status HostNode::Unregister(const std::string& vm) {
  host::v1::UnregisterHostVmRequest request;
  request.set_vm(vm);
  return Direct(&HostAgent::UnregisterHostVm, request).status();
}

absl::Status HostNode::Write(const std::string& vm, const std::string& data) {
  host::v1::WriteGuestDiskRequest request;
  request.set_vm(vm);
  request.set_data(data);
  request.set_flush(true);
  return Direct(&HostAgent::WriteGuestDisk, request).status();
}

absl::StatusOr<std::string> HostNode::Read(const std::string& vm, size_t length) {
  host::v1::ReadGuestDiskRequest request;
  request.set_vm(vm);
  request.set_length(static_cast<int32_t>(length));
  const auto response = Direct(&HostAgent::ReadGuestDisk, request);
  if (!response.ok()) return response.status();
  return response->data();
}

std::string HostNode::File(const std::string& vm, const std::string& file) const {
  std::ifstream in(absl::StrCat(datastore_, "/", vm, "/", file), std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

}  // namespace keysphere::tests
