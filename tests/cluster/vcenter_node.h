#ifndef KEYSPHERE_TESTS_CLUSTER_VCENTER_NODE_H_
#define KEYSPHERE_TESTS_CLUSTER_VCENTER_NODE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/executor/simulated_executor.h"
#include "common/random/random.h"
#include "common/store/memory_store.h"
#include "controller/vcenter/vcenter.h"
#include "tests/cluster/fake_kms.h"
#include "tests/cluster/host_node.h"
#include "tests/cluster/life.h"

namespace keysphere::tests {

// One vCenter of a simulated cluster, over a store that outlives it. Its methods ask as `user`,
// under the vCenter's own name, and run the executor until the answer is there and nothing is left
// to do at that instant.
class VCenterNode : public controller::hosts::HostLinkFactory,
                    public controller::kms::KeyServerFactory {
 public:
  struct Settings {
    std::string name;
    std::string version = "8.0.3";
    controller::encryption::Edition edition = controller::encryption::Edition::kEnterprisePlus;
  };
  using FindHost = std::function<HostNode*(const std::string&)>;
  using FindKeyServer = std::function<FakeKms::Node*(const std::string& address)>;
  using VCenter = controller::vcenter::VCenter;
  using Caller = controller::access::Caller;

  VCenterNode(executor::SimulatedExecutor* executor, Settings settings, FindHost find_host,
              FindKeyServer find_key_server, uint64_t seed);
  ~VCenterNode() override;

  absl::Status Start();
  void Stop();   // orderly
  void Crash();  // kill -9
  bool running() const { return vcenter_ != nullptr; }
  VCenter& vcenter() { return *vcenter_; }
  const std::string& name() const { return settings_.name; }
  Settings& settings() { return settings_; }  // counts from the next Start
  store::MemoryStore& store() { return store_; }
  std::string Fqdn() const { return settings_.name + ".keysphere.test"; }

  // Who asks from now on, and what it dialled.
  Caller caller;

  // Runs `body` on the vCenter's strand.
  void OnStrand(std::function<void(VCenter&)> body);

  // One request to a part, answered as the API does, e.g. Call(&VCenter::providers,
  // &Providers::GetKeyProvider, request). The wait is at most a minute of virtual time.
  template <typename Part, typename Request, typename Response>
  absl::StatusOr<Response> Call(Part& (VCenter::*part)(),
                                void (Part::*method)(const Caller&, const Request&,
                                                     status::Callback<Response>),
                                const Request& request) {
    auto result = std::make_shared<absl::optional<absl::StatusOr<Response>>>();
    if (vcenter_ == nullptr) return absl::UnavailableError("the controller is down");
    vcenter_->strand()->Post([this, part, method, request, who = caller, result] {
      ((*vcenter_.*part)().*method)(
          who, request,
          vcenter_->AfterItsEvents<Response>(
              [result](absl::StatusOr<Response> answer) { *result = std::move(answer); }));
    });
    executor_->RunUntil([&result] { return result->has_value(); }, absl::Minutes(1));
    executor_->RunUntilIdle();
    if (!result->has_value()) return absl::InternalError("the controller did not answer");
    return **std::move(result);
  }
  // What the API asks before it lets a caller in.
  absl::Status Authorize(const std::string& user, const std::string& method);
  absl::Status SetRole(const std::string& role, const std::vector<std::string>& privileges);
  absl::Status GiveRole(const std::string& user, const std::string& role);

  // Providers.
  absl::StatusOr<v1::KeyProvider> CreateNkp(const std::string& name, bool tpm_required = false);
  // A standard one, with all nodes of the KMS.
  absl::StatusOr<v1::KeyProvider> CreateSkp(const std::string& name, const FakeKms& kms);
  // Export and download; the bundle (of few iterations).
  absl::StatusOr<std::string> BackUp(const std::string& name, const std::string& password = "");
  // Created and backed up.
  absl::Status CreateUsableNkp(const std::string& name, bool tpm_required = false);
  absl::StatusOr<v1::ImportKeyProviderResponse> Import(const std::string& bundle,
                                                       const std::string& password = "");
  absl::StatusOr<v1::KeyProvider> Provider(const std::string& name);
  // Empty: none any more. With a cluster, that cluster's.
  absl::Status SetDefault(const std::string& provider, const std::string& cluster = "");
  absl::Status DeleteProvider(const std::string& name);

  // Inventory.
  absl::Status CreateCluster(const std::string& name);
  absl::StatusOr<v1::Host> AddHost(const std::string& host, const std::string& cluster,
                                   bool force = false);
  absl::StatusOr<v1::Host> MoveHost(const std::string& host, const std::string& cluster);
  absl::Status RemoveHost(const std::string& host);
  v1::Host Host(const std::string& name);
  bool Holds(const std::string& host, const std::string& provider);
  // How many keys of a standard provider the host caches, as far as this vCenter knows.
  int64_t Cached(const std::string& host, const std::string& provider);

  // One VM, with one disk of 64 KiB, on `host`.
  absl::Status CreateVm(const std::string& host, const std::string& vm);
  // Encrypted from the beginning; no provider named: the default.
  absl::Status CreateEncryptedVm(const std::string& host, const std::string& vm,
                                 const std::string& provider = "");
  absl::Status EncryptVm(const std::string& vm, const std::string& provider = "");
  absl::Status DecryptVm(const std::string& vm);
  // No provider named: the default.
  absl::Status RekeyVm(const std::string& vm, const std::string& provider = "", bool deep = false,
                       bool skip_hard_disks = false);
  // Encrypts the home with it, with the default.
  absl::Status AddVtpm(const std::string& vm, bool encrypt = true);
  absl::StatusOr<v1::Vm> Register(const std::string& host, const std::string& vm);
  absl::Status Unregister(const std::string& vm);
  absl::StatusOr<v1::Vm> Reload(const std::string& vm);
  absl::Status PowerOn(const std::string& vm);
  absl::Status PowerOff(const std::string& vm);
  absl::Status Reset(const std::string& vm);
  absl::StatusOr<v1::Vm> Unlock(const std::string& vm);
  // Empty name: not there.
  v1::Vm Vm(const std::string& vm);
  bool Locked(const std::string& vm) { return Vm(vm).lock_state() == v1::LOCK_STATE_LOCKED; }
  v1::LockExplanation Explain(const std::string& vm);

  // Remediation, encryption mode, options.
  absl::StatusOr<v1::RemediateResponse> Remediate(const std::string& host = "");
  absl::StatusOr<v1::ConfigureCryptoKeyResponse> ConfigureCryptoKey(
      const std::string& host, const std::string& provider = "");
  absl::Status SetOption(const std::string& name, const std::string& value);

  // Events whose type begins so, oldest first, of `object` ("": all).
  std::vector<v1::Event> Events(const std::string& type_prefix, const std::string& object = "");
  std::vector<v1::Alarm> Alarms(const std::string& object = "");
  bool Shows(const std::string& alarm, const std::string& object);

  // Waits for a task's end.
  absl::Status Await(const absl::StatusOr<v1::Task>& task);

  // HostLinkFactory: the address does not matter.
  absl::StatusOr<std::unique_ptr<controller::hosts::HostLink>> Connect(
      absl::string_view name, absl::string_view address) override;
  // KeyServerFactory: a way to a node of a FakeKms.
  absl::StatusOr<std::unique_ptr<kmip::client::KeyServer>> Connect(
      const controller::kms::KmsConfig& config, const v1::KmsServer& server) override;

 private:
  void Destroy();

  executor::SimulatedExecutor* const executor_;
  Settings settings_;
  const FindHost find_host_;
  const FindKeyServer find_key_server_;
  store::MemoryStore store_;
  random::SeededRandom random_;
  // Of one run. They stay: what the run left behind may still name them.
  struct Run {
    explicit Run(VCenterNode* node);
    Life life;
    LivingExecutor executor;
    LivingClock clock;
    LivingStore store;
  };
  std::vector<std::unique_ptr<Run>> runs_;
  std::unique_ptr<VCenter> vcenter_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_VCENTER_NODE_H_
