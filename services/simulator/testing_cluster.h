#ifndef KEYSPHERE_SERVICES_SIMULATOR_TESTING_CLUSTER_H_
#define KEYSPHERE_SERVICES_SIMULATOR_TESTING_CLUSTER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/clock/system_clock.h"
#include "common/log/log.h"
#include "common/sync/mutex.h"
#include "services/simulator/cluster.h"

namespace keysphere::simulator {

// Waits for a callback.
template <typename T>
class Waiting {
 public:
  status::Callback<T> Callback() {
    return [this](absl::StatusOr<T> result) {
      sync::MutexLock lock(&mutex_);
      result_ = std::move(result);
      done_ = true;
      changed_.Signal();
    };
  }
  absl::StatusOr<T> Get() {
    sync::MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return result_;
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<T> result_ ABSL_GUARDED_BY(mutex_);
};

// A cluster whose processes are testing_daemon.
class TestingCluster {
 public:
  struct Setup {
    std::string folder;  // a new one
    bool simulated_time = false;
    absl::Duration start_guard = absl::Seconds(30);
    absl::Duration stop_guard = absl::Seconds(30);
    std::string binary = "services/simulator/testing_daemon";
  };
  explicit TestingCluster(const Setup& setup) {
    KS_CHECK(files_.MakeFolders(setup.folder).ok());
    addresses_ = AddressBlock::Take(&files_, setup.folder, 1).value();
    ClusterFolder::Options folder;
    folder.path = setup.folder + "/cluster";
    folder.now = clock_.Now();
    folder_ = ClusterFolder::Make(&files_, folder).value();
    if (setup.simulated_time) {
      clock::page::ClockMaster::Options time;
      time.slots = 16;
      time.start = absl::FromUnixSeconds(1'700'000'000);
      master_ = clock::page::ClockMaster::Create(folder_->ClockPage(), time).value();
    }
    spawner_ = Spawner::Create().value();
    Cluster::Options options;
    options.clock = &clock_;
    options.logger = &logger_;
    options.folder = folder_.get();
    options.addresses = addresses_.get();
    options.master = master_.get();
    options.spawner = spawner_.get();
    options.controller_binary = setup.binary;
    options.host_binary = setup.binary;
    options.kms_binary = setup.binary;
    options.start_guard = setup.start_guard;
    options.stop_guard = setup.stop_guard;
    cluster_ = std::make_unique<Cluster>(options, sim::v1::SimulatedCluster());
  }
  ~TestingCluster() {
    clock_.StopTimers();
    spawner_.reset();
  }

  // Adds a host of this name (which says how testing_daemon behaves).
  void AddHost(const std::string& name) {
    HostPlan plan;
    plan.name = name;
    KS_CHECK(cluster_->AddHost(plan).ok());
  }
  using Operation = void (Cluster::*)(const std::string&, Cluster::Done);
  absl::StatusOr<sim::v1::SimulatedProcess> Do(Operation operation, const std::string& name) {
    Waiting<sim::v1::SimulatedProcess> waiting;
    (cluster_.get()->*operation)(name, waiting.Callback());
    return waiting.Get();
  }

  Cluster& cluster() { return *cluster_; }
  ClusterFolder& folder() { return *folder_; }
  clock::page::ClockMaster* master() { return master_.get(); }
  clock::Clock& clock() { return clock_; }
  const files::FileSystem& files() const { return files_; }

 private:
  clock::SystemClock clock_;
  log::NullLogger logger_;
  const files::FileSystem files_;
  std::unique_ptr<AddressBlock> addresses_;
  std::unique_ptr<ClusterFolder> folder_;
  std::unique_ptr<clock::page::ClockMaster> master_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Spawner> spawner_;
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_TESTING_CLUSTER_H_
