#ifndef KEYSPHERE_TESTS_PROCESSES_CHILD_H_
#define KEYSPHERE_TESTS_PROCESSES_CHILD_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keysphere::processes {

// What to run: a program of this workspace ("hostagent/keysphere-hostagent"), its flags, and where
// its stderr goes (appended).
struct Command {
  std::string program;
  std::vector<std::string> args;
  std::string stderr_file;
};

// A daemon that the test started; killed when it goes. Not thread safe, but Kill and pid may be
// used from another thread while nothing else is.
class Child {
 public:
  // Returns when it has printed READY; an error, with the end of its stderr, if it ended before or
  // said nothing for a minute.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const Command& command);
  ~Child() { Kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // "IP:PORT", of the READY line.
  const std::string& address() const { return address_; }

  // Whether it has not ended by itself.
  bool Running();
  // SIGKILL: the loss of power. Idempotent.
  void Kill();
  // SIGTERM; its exit code, or -1 if a signal ended it. Waits for the end.
  int Terminate();
  // SIGSTOP, until it stands still; and on.
  void Pause();
  void Resume();

 private:
  Child() = default;
  absl::Status WaitForReady(const Command& command);
  // The exit code, once it has ended; -1 for a signal.
  int Reap();

  pid_t pid_ = 0;  // 0: ended
  int stdout_ = -1;
  std::string address_;
};

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_CHILD_H_
