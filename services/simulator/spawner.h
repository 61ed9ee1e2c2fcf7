#ifndef KEYSPHERE_SERVICES_SIMULATOR_SPAWNER_H_
#define KEYSPHERE_SERVICES_SIMULATOR_SPAWNER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files/file_system.h"
#include "common/sync/mutex.h"

namespace keysphere::simulator {

// Starts, signals and watches child processes, all on one thread that lives as long as this object:
// the kernel kills the children when that *thread* ends, so they die with the simulator however it
// dies. Children are known by process file descriptors: a process id that was given to somebody
// else is never signalled. Thread safe.
class Spawner {
 public:
  using ChildId = uint64_t;

  struct Command {
    std::vector<std::string> argv;  // the first: the program's path
    std::string log_file;           // its stderr is appended there
  };
  // All run on the spawner's thread, so they must be short and must not destroy the spawner.
  struct Events {
    absl::AnyInvocable<void(pid_t)> on_spawned;
    // It has printed "READY …".
    absl::AnyInvocable<void()> on_ready;
    // It has ended and is waited for: "exit 3", "signal 9", or why it could not be started. The
    // last event.
    absl::AnyInvocable<void(std::string)> on_exit;
  };

  static absl::StatusOr<std::unique_ptr<Spawner>> Create();
  // Kills the children that are left and waits for them; their events no longer run.
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  ChildId Spawn(Command command, Events events);
  // Without effect on a child that has ended.
  void Signal(ChildId child, int signal);
  // SIGSTOP; `stopped` runs when all its threads stand still. Not called if the child ends instead.
  void Stop(ChildId child, absl::AnyInvocable<void()> stopped);

 private:
  struct Child {
    pid_t pid = 0;
    files::Descriptor pidfd;
    files::Descriptor output;
    std::string line;  // of its output, so far
    bool ready = false;
    Events events;
  };

  Spawner(files::Descriptor poll, files::Descriptor wake);
  void Post(absl::AnyInvocable<void()> task);
  void Run();
  void RunTasks();
  void StartChild(ChildId id, const Command& command, Events events);
  absl::Status Launch(const Command& command, Child* child);
  absl::Status Watch(int fd, uint64_t key);
  void ReadOutput(Child* child);
  // Waits for a child that has ended, and tells.
  void Reap(ChildId id);
  void KillAll();

  const files::Descriptor poll_;
  const files::Descriptor wake_;
  std::map<ChildId, Child> children_;  // only the thread's
  std::vector<char> stack_;            // of a child between its birth and its exec
  sync::Mutex mutex_;
  std::vector<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  ChildId last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_SPAWNER_H_
