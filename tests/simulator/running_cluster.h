#ifndef KEYSPHERE_TESTS_SIMULATOR_RUNNING_CLUSTER_H_
#define KEYSPHERE_TESTS_SIMULATOR_RUNNING_CLUSTER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock/system_clock.h"
#include "common/rpc/client.h"
#include "keysphere/sim/v1/simulator.pb.h"

namespace keysphere::tests {

// A keysphere-simulator with the real daemons, as a process of this test, and a way to speak to
// them as the user that started it. The programs are found in the test's runfiles.
class RunningCluster {
 public:
  // Starts it with `flags` (besides --dir and where the programs are) and waits until it is READY
  // or ends. `folder` is the cluster's, new.
  RunningCluster(const std::string& folder, const std::vector<std::string>& flags);
  // Kills it if it runs.
  ~RunningCluster();
  RunningCluster(const RunningCluster&) = delete;
  RunningCluster& operator=(const RunningCluster&) = delete;

  // The READY line; empty: it ended before.
  const std::string& ready() const { return ready_; }
  const std::string& folder() const { return folder_; }
  pid_t pid() const { return pid_; }

  // cluster.json as it is now. Empty when there is none.
  sim::v1::SimulatedCluster Read() const;
  sim::v1::SimulatedProcess Process(const std::string& name) const;

  // A channel to the process of this name, of a KMS node to its control; "" is the simulator
  // itself.
  std::shared_ptr<rpc::Channel> Dial(const std::string& name);
  template <typename Service>
  rpc::Client<Service> Client(const std::string& name) {
    return rpc::Client<Service>(Dial(name));
  }

  void Signal(int signal) const;
  // Waits for its end: its exit code, or 128 + the signal.
  int Wait();

 private:
  void Start(const std::vector<std::string>& flags);

  const std::string folder_;
  pid_t pid_ = 0;
  int output_ = -1;
  std::string ready_;
};

// Whether a process of this id exists and is no zombie.
bool IsAlive(pid_t pid);
// Returns when no process of this id exists (to be used where it is bound to end).
void WaitUntilGone(pid_t pid);

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_SIMULATOR_RUNNING_CLUSTER_H_
