#ifndef KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_H_
#define KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/clock/page/clock_master.h"
#include "common/log/log.h"
#include "common/status/callback.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/simulator.pb.h"
#include "services/simulator/address_block.h"
#include "services/simulator/cluster_folder.h"
#include "services/simulator/spawner.h"
#include "services/simulator/topology.h"

namespace keysphere::simulator {

// The processes of a cluster: what they are, how they are, and what is done to them. Keeps
// cluster.json current. Callbacks run on the spawner's or the clock's thread, or inside the call.
// Thread safe.
class Cluster {
 public:
  using Done = status::Callback<sim::v1::SimulatedProcess>;

  struct Options {
    clock::Clock* clock = nullptr;                   // real time, for guards
    log::Logger* logger = nullptr;                   //
    ClusterFolder* folder = nullptr;                 //
    const AddressBlock* addresses = nullptr;         //
    clock::page::ClockMaster* master = nullptr;      // null: real time
    Spawner* spawner = nullptr;                      // goes before this object
    std::string controller_binary;                   //
    std::string host_binary;                         //
    std::string kms_binary;                          // empty where there is no KMS
    absl::Duration start_guard = absl::Seconds(60);  // until a process is READY, real time
    absl::Duration stop_guard = absl::Seconds(20);   // until a reboot has stopped it
  };

  Cluster(const Options& options, sim::v1::SimulatedCluster description);

  // Makes certificates, folders and entries of the processes; starts none.
  absl::Status Add(const Topology& topology);
  // A further host, by an empty name the next free one; answers the name. ALREADY_EXISTS.
  absl::StatusOr<std::string> AddHost(const HostPlan& plan);

  // INVALID_STATE: it runs. UNREACHABLE: it ended or did not get READY; its log says why.
  void Start(const std::string& name, Done done);
  // SIGKILL. INVALID_STATE: it has ended. Done when it is waited for.
  void Kill(const std::string& name, Done done);
  // SIGTERM. INVALID_STATE unless it runs; DEADLINE_EXCEEDED: it does not stop.
  void Stop(const std::string& name, Done done);
  // SIGTERM, then a start. INVALID_STATE unless it runs; DEADLINE_EXCEEDED: it does not stop.
  void Reboot(const std::string& name, Done done);
  // SIGSTOP. INVALID_STATE unless it runs.
  void Pause(const std::string& name, Done done);
  // SIGCONT. INVALID_STATE unless it is paused.
  void Resume(const std::string& name, Done done);
  // Ends all, orderly or by SIGKILL; what has not ended after the stop guard is killed. Nothing
  // starts any more. `done` runs once, when all are waited for.
  void EndAll(bool orderly, absl::AnyInvocable<void()> done);

  // NOT_FOUND: no such process.
  absl::StatusOr<sim::v1::SimulatedProcess> Get(const std::string& name);
  sim::v1::SimulatedCluster Describe();
  // The slot of a process in the page of simulated time. NOT_FOUND.
  absl::StatusOr<int> SlotOf(const std::string& name);
  // From now on every change is written to cluster.json; writes it.
  absl::Status Publish();

 private:
  enum class Phase { kEnded, kStarting, kRunning, kPausing, kPaused, kStopping };
  struct Process {
    sim::v1::SimulatedProcess shown;
    Phase phase = Phase::kEnded;
    int slot = -1;
    Spawner::Command command;
    Spawner::ChildId child = 0;
    int64_t start = 0;  // tells this start from others, for what comes late
    clock::Clock::TimerId guard = clock::Clock::kNoTimer;
    std::vector<Done> when_ready;
    std::vector<absl::AnyInvocable<void()>> when_ended;
  };

  absl::StatusOr<Process*> Find(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Done when it has ended, or with `again` when it is started again.
  void EndOrderly(const std::string& name, bool again, Done done);
  absl::Status AddKms(const std::string& name);
  absl::Status AddProcess(sim::v1::SimulatedProcess shown, const std::vector<std::string>& flags)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::string> CommonFlags(const sim::v1::SimulatedProcess& shown,
                                       const identity::CredentialFiles& files, int slot) const;
  std::string ControllerNames();
  void StartLocked(Process* process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnSpawned(const std::string& name, int64_t start, pid_t pid);
  void OnReady(const std::string& name, int64_t start);
  void OnExit(const std::string& name, int64_t start, const std::string& how);
  void OnStopped(const std::string& name, int64_t start, Done done);
  void OnStartGuard(const std::string& name, int64_t start);
  // Nobody begins to speak to a process that ends (with simulated time).
  void SetEnding(const Process& process, bool ending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetPhase(Process* process, Phase phase) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The process of this start; null: it has ended meanwhile.
  Process* Current(const std::string& name, int64_t start) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status NotIn(const Process& process, absl::string_view wanted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteFile();

  const Options options_;
  sync::Mutex mutex_;
  sim::v1::SimulatedCluster description_ ABSL_GUARDED_BY(mutex_);  // without processes
  std::map<std::string, std::unique_ptr<Process>> processes_ ABSL_GUARDED_BY(mutex_);
  std::vector<Process*> in_order_ ABSL_GUARDED_BY(mutex_);
  int controllers_ ABSL_GUARDED_BY(mutex_) = 0;
  int hosts_ ABSL_GUARDED_BY(mutex_) = 0;
  int kms_nodes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t starts_ ABSL_GUARDED_BY(mutex_) = 0;
  sync::Mutex file_mutex_;  // taken before mutex_: the last writer has the latest state
  bool published_ ABSL_GUARDED_BY(file_mutex_) = false;
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_H_
