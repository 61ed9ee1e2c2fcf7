#ifndef KEYSPHERE_TESTS_CLUSTER_HOST_NODE_H_
#define KEYSPHERE_TESTS_CLUSTER_HOST_NODE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/executor/simulated_executor.h"
#include "common/files/file_system.h"
#include "common/log/capturing_logger.h"
#include "common/random/random.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/dump/fake_memory.h"
#include "hostagent/tpm/fake_tpm.h"
#include "tests/cluster/wire.h"

namespace keysphere::tests {

// One ESXi host of a simulated cluster: a real HostAgent over real files, with a TPM that outlives
// its agent. Its methods run the executor until the host has answered.
class HostNode {
 public:
  struct Settings {
    std::string name;
    std::string version = "8.0.3";
    hostagent::tpm::TpmVersion tpm = hostagent::tpm::TpmVersion::k20;
  };

  HostNode(executor::SimulatedExecutor* executor, Settings settings, std::string state_dir,
           std::string datastore, uint64_t seed);
  ~HostNode();

  absl::Status Boot();
  void Kill();              // power loss
  absl::Status Shutdown();  // orderly
  absl::Status Reboot();    // Shutdown and Boot
  bool up() const { return agent_ != nullptr; }

  const std::string& name() const { return settings_.name; }
  Settings& settings() { return settings_; }  // counts from the next Boot
  hostagent::agent::HostAgent& agent() { return *agent_; }
  hostagent::tpm::FakeTpmHardware& hardware() { return *hardware_; }
  // Another mainboard.
  void ReplaceTpm(hostagent::tpm::TpmVersion version);
  Wire& wire() { return *wire_; }
  const std::string& state_dir() const { return state_dir_; }
  const std::string& datastore() const { return datastore_; }
  const log::CapturingLogger& logger() const { return logger_; }

  // As `caller`.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(
      const identity::Identity& caller,
      void (hostagent::agent::HostAgent::*method)(const identity::Identity&, const Request&,
                                                  hostagent::agent::Callback<Response>),
      const Request& request) {
    auto result = std::make_shared<absl::optional<absl::StatusOr<Response>>>();
    (agent_.get()->*method)(caller, request, [result](absl::StatusOr<Response> answer) {
      *result = std::move(answer);
    });
    executor_->RunUntilIdle();
    if (!result->has_value()) return absl::InternalError("the host did not answer");
    return **std::move(result);
  }
  // As the user "root", who has the host role, straight at the host.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Direct(
      void (hostagent::agent::HostAgent::*method)(const identity::Identity&, const Request&,
                                                  hostagent::agent::Callback<Response>),
      const Request& request) {
    return Call({"keysphere.test", identity::Kind::kUser, "root"}, method, request);
  }

  host::v1::GetHostStatusResponse Status();
  host::v1::HostStats Stats();
  bool Safe() { return Status().crypto_state() == v1::CRYPTO_STATE_SAFE; }
  // Empty name: the host does not have it.
  v1::Vm Vm(const std::string& name);
  absl::Status PowerOn(const std::string& vm);
  absl::Status PowerOff(const std::string& vm);
  absl::StatusOr<v1::Vm> Register(const std::string& vm);
  absl::Status Unregister(const std::string& vm);
  // Guest I/O at offset 0 of the first disk, flushed.
  absl::Status Write(const std::string& vm, const std::string& data);
  absl::StatusOr<std::string> Read(const std::string& vm, size_t length);

  // The VM's files on the datastore, as anybody can read them. Empty: not there.
  std::string Vmx(const std::string& vm) const { return File(vm, vm + ".vmx"); }
  std::string File(const std::string& vm, const std::string& file) const;
  static std::string VmxPath(const std::string& vm) { return "[ds1] " + vm + "/" + vm + ".vmx"; }

 private:
  executor::SimulatedExecutor* const executor_;
  Settings settings_;
  const std::string state_dir_;
  const std::string datastore_;
  const files::FileSystem files_;
  random::SeededRandom random_;
  log::CapturingLogger logger_;
  // All hosts share one process: what a core dump of each holds is made up.
  const hostagent::dump::FakeMemory memory_{{{0x10000, std::string(64 << 10, 'm')}}};
  std::shared_ptr<hostagent::tpm::FakeTpmHardware> hardware_;
  std::unique_ptr<hostagent::tpm::Tpm> tpm_;
  std::unique_ptr<hostagent::agent::HostAgent> agent_;
  const std::shared_ptr<Wire> wire_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_HOST_NODE_H_
