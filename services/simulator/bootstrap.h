#ifndef KEYSPHERE_SERVICES_SIMULATOR_BOOTSTRAP_H_
#define KEYSPHERE_SERVICES_SIMULATOR_BOOTSTRAP_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/identity/credentials.h"
#include "common/rpc/client.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/simulator.pb.h"
#include "keysphere/v1/tasks.pb.h"
#include "services/simulator/topology.h"

namespace keysphere::simulator {

// What a new cluster has when it is READY: in each vCenter a cluster "cluster-a" with its hosts;
// with encrypted VMs also a native provider in each vCenter that has hosts ("nkp-1" in the first,
// "nkp-2" in the second, …), backed up and default; and VMs "vm-1", "vm-2", … over all hosts. Where
// a standard provider is wanted, each vCenter has "skp-1" instead, over all nodes of the KMS.
//
// A client of the controllers as any other, the user administrator. Everything is under way at
// once: a vCenter is prepared as soon as it is READY, a host is added as soon as both are, its VMs
// follow it. Thread safe; lives as long as its calls.
class Bootstrap : public std::enable_shared_from_this<Bootstrap> {
 public:
  // Real time from the beginning until the last …
  struct Report {
    absl::Duration processes;  // … process was READY
    absl::Duration hosts;      // … host was in its cluster
    absl::Duration vms;        // … VM was there, and encrypted if it was to be
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Report>)>;

  struct Options {
    clock::Clock* clock = nullptr;  // real time; outlives all calls
    identity::Credentials user;     // an administrator of the controllers
    Topology topology;              //
    int vms = 0;                    //
    int encrypted = 0;              // the first of the VMs, from their beginning
    bool standard = false;  // encrypted by a standard provider, which is made also without VMs
    identity::Credentials kmip_client;  // its certificate for the KMS, and the CA
    int64_t disk_bytes = 1 << 20;       // of each VM's one disk; 0: no disk
    int window = 64;                    // VMs that are being made at a time
    absl::Time begin;                   // what the report counts from
  };

  // INVALID_ARGUMENT: VMs without hosts, more encrypted ones than there are, a disk of broken
  // blocks, or a standard provider without a KMS.
  static absl::Status Check(const Options& options);
  // As Check.
  static absl::StatusOr<std::shared_ptr<Bootstrap>> Create(Options options, Done done);
  ~Bootstrap();

  // A process is READY. When all are, have been added and filled, `done` runs, on any thread; or at
  // the first error.
  void OnReady(const sim::v1::SimulatedProcess& process);
  // It did not start.
  void OnFailed(const absl::Status& status) { Fail(status); }
  // `done` will not run any more; what is under way is of no interest.
  void Abandon();

 private:
  struct Site;  // a controller and what was done with it
  struct VmPlan {
    Site* site = nullptr;
    std::string host;
    std::string name;
    bool encrypted = false;
  };

  Bootstrap(Options options, Done done);
  absl::Status Connect(const sim::v1::SimulatedProcess& controller, Site* site);
  void CreateCluster(Site* site);
  void CreateProvider(Site* site);
  void CreateStandardProvider(Site* site);
  void KmsReady(const sim::v1::SimulatedProcess& node);
  void ExportProvider(Site* site);
  void DownloadProvider(Site* site, std::string token);
  void SetDefault(Site* site);
  void Prepared(Site* site);
  void AddHost(Site* site, const sim::v1::SimulatedProcess& host);
  void Added(Site* site, const std::string& host);
  void MakeVms();
  void MakeVm(const VmPlan& vm);
  void FollowTask(const VmPlan& vm, v1::Task task);
  void VmEnded(const VmPlan& vm, const v1::Task& task);
  void Fail(const absl::Status& status);
  // Runs `done` when nothing is left to do.
  void FinishIfDone();

  const Options options_;
  std::map<std::string, std::unique_ptr<Site>> sites_;      // by controller
  std::map<std::string, Site*> site_of_host_;               //
  std::map<std::string, std::vector<VmPlan>> vms_of_host_;  //

  sync::Mutex mutex_;
  Done done_ ABSL_GUARDED_BY(mutex_);
  int processes_left_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::string> kms_addresses_ ABSL_GUARDED_BY(mutex_);  // of those READY
  std::vector<Site*> waiting_for_kms_ ABSL_GUARDED_BY(mutex_);
  int sites_left_ ABSL_GUARDED_BY(mutex_) = 0;
  int hosts_left_ ABSL_GUARDED_BY(mutex_) = 0;
  int vms_left_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<VmPlan> to_make_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, rpc::Subscription> watches_ ABSL_GUARDED_BY(mutex_);  // of tasks
  int being_made_ ABSL_GUARDED_BY(mutex_) = 0;
  Report report_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_BOOTSTRAP_H_
