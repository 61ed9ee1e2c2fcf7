#ifndef KEYSPHERE_HOSTAGENT_AGENT_HOST_FIXTURE_H_
#define KEYSPHERE_HOSTAGENT_AGENT_HOST_FIXTURE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "common/executor/simulated_executor.h"
#include "common/files/file_system.h"
#include "common/log/capturing_logger.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/dump/fake_memory.h"
#include "hostagent/tpm/fake_tpm.h"

// A host in the test's process, on virtual time, and a controller that the test plays.
namespace keysphere::hostagent::agent {

// A native key provider of a controller.
struct TestProvider {
  std::string name;
  std::string key_id;
  std::shared_ptr<const crypto::SecretKey> kdk;
  bool tpm_required = false;

  static TestProvider Make(const std::string& name, bool tpm_required = false);
  host::v1::KeyEntry Entry() const;
};

// A standard key provider, and what its KMS has.
struct TestStandardProvider {
  std::string name;
  // By key id.
  std::map<std::string, std::shared_ptr<const crypto::SecretKey>> keys;

  explicit TestStandardProvider(std::string provider) : name(std::move(provider)) {}
  // Makes a key. Its id.
  std::string NewKey();
  std::string CheckValue(const std::string& key_id) const;
  v1::CryptoKeyId Id(const std::string& key_id) const;
  // Its state as told to a host, with nothing wrong.
  host::v1::StandardProviderState State() const;
};

identity::Identity ControllerId(const std::string& name);
identity::Identity UserId(const std::string& name);

class TestHost {
 public:
  struct Settings {
    std::string name = "esx-1";
    std::string version = "8.0.3";
    tpm::TpmVersion tpm = tpm::TpmVersion::k20;
    std::string datastore;  // folder; empty: one of its own
  };

  TestHost(executor::SimulatedExecutor* executor, Settings settings);
  ~TestHost();

  // Boots. The hardware and the folders stay from one start to the next.
  absl::Status Start();
  void Kill();          // power loss
  absl::Status Stop();  // orderly
  void Reboot();

  HostAgent& agent() { return *agent_; }
  tpm::FakeTpmHardware& hardware() { return *hardware_; }
  const files::FileSystem& files() const { return files_; }
  const std::string& datastore() const { return settings_.datastore; }
  const std::string& state_dir() const { return state_dir_; }
  const log::CapturingLogger& logger() const { return logger_; }
  Settings& settings() { return settings_; }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (HostAgent::*method)(const identity::Identity&, const Request&,
                                                          Callback<Response>),
                                const identity::Identity& caller, const Request& request) {
    absl::optional<absl::StatusOr<Response>> result;
    (agent_.get()->*method)(caller, request, [&result](absl::StatusOr<Response> answer) {
      result = std::move(answer);
    });
    executor_->RunUntilIdle();
    if (!result.has_value()) return absl::InternalError("no answer");
    return *std::move(result);
  }

  // As the controller that is attached, with its epoch.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Manage(void (HostAgent::*method)(const identity::Identity&,
                                                            const Request&, Callback<Response>),
                                  Request request) {
    request.set_epoch(epoch_);
    return Call(method, ControllerId(controller_), request);
  }
  // As the user "root", who has the host role.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Direct(void (HostAgent::*method)(const identity::Identity&,
                                                            const Request&, Callback<Response>),
                                  const Request& request) {
    return Call(method, UserId("root"), request);
  }

  absl::StatusOr<host::v1::AttachResponse> Attach(const std::string& controller,
                                                  const std::string& cluster = "cluster-a",
                                                  bool force = false);
  // Keys of these providers, sent and nothing else.
  absl::StatusOr<host::v1::ApplyKeysResponse> Add(const std::vector<TestProvider>& providers,
                                                  bool first_sync = false);
  // A tick after which the host holds these alone.
  absl::StatusOr<host::v1::ApplyKeysResponse> Tick(
      const std::vector<TestProvider>& providers,
      const std::vector<host::v1::WithheldProvider>& withheld = {});
  host::v1::ApplyKeysRequest KeysRequest(const std::vector<TestProvider>& providers);
  absl::Status MakeSafe(const TestProvider& provider);

  // Keys on their way to the present boot.
  host::v1::SealedStandardKeys Seal(const TestStandardProvider& provider,
                                    const std::vector<std::string>& key_ids);
  // These keys, sent and nothing else.
  absl::StatusOr<host::v1::ApplyKeysResponse> AddStandard(const TestStandardProvider& provider,
                                                          const std::vector<std::string>& key_ids,
                                                          bool first_sync = false);
  // A tick in which these providers are all that the controller has of either kind.
  absl::StatusOr<host::v1::ApplyKeysResponse> TickStandard(
      const std::vector<host::v1::StandardProviderState>& standard,
      const std::vector<TestProvider>& native = {});
  // Prepares it and enables it with a key of the KMS, which is sent with it.
  absl::Status MakeSafe(const TestStandardProvider& provider, const std::string& key_id);

  host::v1::GetHostStatusResponse Status();
  // One disk of 64 KiB; named `name`.
  absl::StatusOr<host::v1::HostVm> Create(const std::string& name);
  absl::StatusOr<host::v1::HostVm> CreateEncrypted(const std::string& name,
                                                   const TestProvider& provider);
  absl::StatusOr<host::v1::HostVm> Encrypt(const std::string& name, const TestProvider& provider);
  absl::StatusOr<host::v1::HostVm> Encrypt(const std::string& name, const v1::CryptoKeyId& key);
  absl::StatusOr<host::v1::HostVm> CreateEncrypted(const std::string& name,
                                                   const v1::CryptoKeyId& key);
  absl::StatusOr<host::v1::HostVm> Register(const std::string& name);
  absl::Status Unregister(const std::string& name);
  absl::StatusOr<host::v1::HostVm> PowerOn(const std::string& name, bool may_enable_host = false);
  absl::StatusOr<host::v1::HostVm> PowerOff(const std::string& name);
  absl::StatusOr<host::v1::HostVm> Unlock(const std::string& name);
  absl::StatusOr<host::v1::UnlockAllHostVmsResponse> UnlockAll();
  v1::Vm Vm(const std::string& name);
  absl::Status Write(const std::string& name, const std::string& data);
  absl::StatusOr<std::string> Read(const std::string& name, int length);

  int64_t epoch() const { return epoch_; }
  int64_t& generation() { return generation_; }

 private:
  executor::SimulatedExecutor* const executor_;
  Settings settings_;
  std::string root_;
  std::string state_dir_;
  files::FileSystem files_;
  random::SeededRandom random_;
  log::CapturingLogger logger_;
  const dump::FakeMemory memory_{{{0x10000, std::string(2 << 20, 'm')}}};
  std::shared_ptr<tpm::FakeTpmHardware> hardware_;
  std::unique_ptr<tpm::Tpm> tpm_;
  std::unique_ptr<HostAgent> agent_;
  std::string controller_;
  int64_t epoch_ = 0;
  int64_t generation_ = 0;
};

// A test with one host, "esx-1", with a TPM 2.0, booted and attached to "vcenter-a" in a cluster.
class HostTest : public ::testing::Test {
 protected:
  HostTest();

  TestHost& host() { return *host_; }
  // The host holds `provider` and is safe with it.
  void UseProvider(const TestProvider& provider);

  executor::SimulatedExecutor executor_;
  std::unique_ptr<TestHost> host_;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_HOST_FIXTURE_H_
