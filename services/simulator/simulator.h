#ifndef KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_H_
#define KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_H_

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/clock/page/clock_master.h"
#include "common/executor/executor.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/call_info.h"
#include "common/status/callback.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/kms_faults.pb.h"
#include "keysphere/sim/v1/simulator.pb.h"
#include "services/simulator/cluster.h"
#include "services/simulator/cluster_folder.h"

namespace keysphere::simulator {

// The service keysphere.sim.v1.Simulator: what may be done to a running cluster. Each method checks
// its request, does one thing and answers. Thread safe.
class Simulator {
 public:
  template <typename T>
  using Callback = status::Callback<T>;

  // The way to the service KmsFaults of a KMS node. Thread safe.
  class KmsLink {
   public:
    virtual ~KmsLink() = default;
    virtual void SetFault(const sim::v1::SimulatedProcess& node, sim::v1::SetFaultRequest request,
                          Callback<sim::v1::SetFaultResponse> done) = 0;
  };

  struct Deps {
    clock::Clock* clock = nullptr;               // real time
    clock::page::ClockMaster* master = nullptr;  // null: the cluster is on real time
    Cluster* cluster = nullptr;
    ClusterFolder* folder = nullptr;
    KmsLink* kms = nullptr;                       // null: there is no KMS
    executor::Executor* time_executor = nullptr;  // moves time there, which blocks
    std::string host_version;                     // of hosts added without one
    std::string host_boot_key_wait;               // of all hosts; empty: their default
    bool orderly_end = false;                     // a shutdown lets the processes end themselves
    std::function<void()> on_shutdown;            // all processes have ended
  };
  explicit Simulator(Deps deps) : deps_(std::move(deps)) {}

  void GetCluster(const rpc::CallInfo& call, const sim::v1::GetClusterRequest& request,
                  Callback<sim::v1::SimulatedCluster> done);
  void StartProcess(const rpc::CallInfo& call, const sim::v1::StartProcessRequest& request,
                    Callback<sim::v1::SimulatedProcess> done);
  void KillProcess(const rpc::CallInfo& call, const sim::v1::KillProcessRequest& request,
                   Callback<sim::v1::SimulatedProcess> done);
  void StopProcess(const rpc::CallInfo& call, const sim::v1::StopProcessRequest& request,
                   Callback<sim::v1::SimulatedProcess> done);
  void RebootProcess(const rpc::CallInfo& call, const sim::v1::RebootProcessRequest& request,
                     Callback<sim::v1::SimulatedProcess> done);
  void PauseProcess(const rpc::CallInfo& call, const sim::v1::PauseProcessRequest& request,
                    Callback<sim::v1::SimulatedProcess> done);
  void ResumeProcess(const rpc::CallInfo& call, const sim::v1::ResumeProcessRequest& request,
                     Callback<sim::v1::SimulatedProcess> done);
  void AddHostProcess(const rpc::CallInfo& call, const sim::v1::AddHostProcessRequest& request,
                      Callback<sim::v1::SimulatedProcess> done);
  void SetLinkFault(const rpc::CallInfo& call, const sim::v1::SetLinkFaultRequest& request,
                    Callback<sim::v1::SetLinkFaultResponse> done);
  void SetKmsFault(const rpc::CallInfo& call, const sim::v1::SetKmsFaultRequest& request,
                   Callback<sim::v1::SetKmsFaultResponse> done);
  void GetClock(const rpc::CallInfo& call, const sim::v1::GetClockRequest& request,
                Callback<sim::v1::ClockState> done);
  void AdvanceClock(const rpc::CallInfo& call, const sim::v1::AdvanceClockRequest& request,
                    Callback<sim::v1::ClockState> done);
  void StopClock(const rpc::CallInfo& call, const sim::v1::StopClockRequest& request,
                 Callback<sim::v1::ClockState> done);
  void SetClockRate(const rpc::CallInfo& call, const sim::v1::SetClockRateRequest& request,
                    Callback<sim::v1::ClockState> done);
  void IssueUserCertificate(const rpc::CallInfo& call,
                            const sim::v1::IssueUserCertificateRequest& request,
                            Callback<sim::v1::IssueUserCertificateResponse> done);
  void Shutdown(const rpc::CallInfo& call, const sim::v1::ShutdownRequest& request,
                Callback<sim::v1::ShutdownResponse> done);

 private:
  absl::Time Now() const;
  sim::v1::ClockState StateOfClock() const;
  absl::Status NeedSimulatedTime() const;
  absl::Status SetFault(const sim::v1::SetLinkFaultRequest& request);
  // What the node itself is to be told of it; the rest is done to its links.
  absl::StatusOr<sim::v1::SetFaultRequest> KmsFaultFor(const sim::v1::SimulatedProcess& node,
                                                       const sim::v1::SetKmsFaultRequest& request);
  // A fault ends with the process that it was set for.
  void EndKmsFault(const std::string& name);
  absl::Status SetKmsLinks(const sim::v1::SimulatedProcess& node, absl::Duration latency,
                           bool hangs);
  absl::StatusOr<sim::v1::IssueUserCertificateResponse> Issue(
      const sim::v1::IssueUserCertificateRequest& request);

  const Deps deps_;
  std::atomic<bool> stop_advance_{false};
  mutable sync::Mutex mutex_;
  // Where AdvanceClock goes while it is under way.
  absl::optional<absl::Time> advancing_to_ ABSL_GUARDED_BY(mutex_);
  // KMS nodes whose links bear a fault of SetKmsFault.
  std::set<std::string> kms_links_ ABSL_GUARDED_BY(mutex_);
  // By node, in words.
  std::map<std::string, std::string> kms_faults_ ABSL_GUARDED_BY(mutex_);
};

// Only the user that started the cluster may use its simulator.
std::unique_ptr<rpc::RuleTable> SimulatorRules();

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_H_
