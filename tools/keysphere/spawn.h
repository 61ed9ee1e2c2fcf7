#ifndef KEYSPHERE_TOOLS_KEYSPHERE_SPAWN_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_SPAWN_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace keysphere::cli {

// A program of ours: beside this one, or where the build put it. NOT_FOUND.
absl::StatusOr<std::string> FindProgram(const std::string& folder, const std::string& name);

// A simulator that this process has started. While the object lives, SIGINT, SIGTERM and SIGHUP to
// this process end the simulator instead.
class SimulatorProcess {
 public:
  // Starts it; this process must have no other thread. `detached`: it survives this process and its
  // terminal.
  static absl::StatusOr<std::unique_ptr<SimulatorProcess>> Start(
      const std::vector<std::string>& command, bool detached);
  ~SimulatorProcess();
  SimulatorProcess(const SimulatorProcess&) = delete;
  SimulatorProcess& operator=(const SimulatorProcess&) = delete;

  // What follows READY in its line. If it ends before: UNREACHABLE with what it said, or a usage
  // error if it refuses its flags.
  absl::StatusOr<std::string> WaitForReady();
  // Until it has ended. OK: orderly.
  absl::Status WaitForEnd();
  pid_t pid() const { return pid_; }

 private:
  SimulatorProcess() = default;
  // What a detached one wrote to stderr.
  std::string Said() const;
  absl::Status EndedWith(int wait_status) const;
  void TakeSignal() const;

  pid_t pid_ = -1;
  int pid_fd_ = -1;
  int signal_fd_ = -1;
  int output_ = -1;  // its stdout
  int errors_ = -1;  // its stderr, if it is detached
  bool ended_ = false;
};

// Sends SIGTERM through a descriptor of the process, so that no other one can be hit, and waits
// until it is gone. False: it still runs after `timeout`.
class ProcessEnd {
 public:
  // Takes hold of the process; nothing if it is gone already.
  explicit ProcessEnd(pid_t pid);
  ~ProcessEnd();
  ProcessEnd(const ProcessEnd&) = delete;
  ProcessEnd& operator=(const ProcessEnd&) = delete;

  void Terminate() const;
  bool Wait(absl::Duration timeout) const;

 private:
  int pid_fd_;
};

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_SPAWN_H_
