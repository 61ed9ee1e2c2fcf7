#include "services/simulator/child_process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace keysphere::simulator {
namespace {

struct Birth {
  const ChildSetup* setup;
  pid_t parent;
  int error;  // of the child, written before it ends
};

constexpr int kNotStarted = 127;

void DefaultSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child, in memory that it shares with the waiting parent.
int RunChild(void* argument) {
  auto* const birth = static_cast<Birth*>(argument);
  const ChildSetup& setup = *birth->setup;
  // Asked before getppid: a parent that ends after the question takes the child along.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || setpgid(0, 0) != 0 ||
      dup2(setup.input, STDIN_FILENO) < 0 || dup2(setup.output, STDOUT_FILENO) < 0 ||
      dup2(setup.errors, STDERR_FILENO) < 0) {
    birth->error = errno;
    _exit(kNotStarted);
  }
  if (getppid() != birth->parent) _exit(kNotStarted);
  syscall(SYS_close_range, 3U, ~0U, 0U);
  DefaultSignals();
  execve(setup.argv[0], setup.argv, environ);
  birth->error = errno;
  _exit(kNotStarted);
}

}  // namespace

int StartChildProcess(const ChildSetup& setup, char* stack, size_t stack_bytes, pid_t* pid,
                      files::Descriptor* pidfd) {
  Birth birth = {&setup, getpid(), 0};
  // A handler that ran in the child would do so in the parent's memory.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int fd = -1;
  const int child = clone(RunChild, stack + stack_bytes,
                          CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &birth, &fd);
  const int error = child < 0 ? errno : birth.error;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return error;
  *pidfd = files::Descriptor(fd);
  *pid = child;
  if (error == 0) return 0;
  siginfo_t info;
  waitid(P_PIDFD, fd, &info, WEXITED);
  return error;
}

}  // namespace keysphere::simulator
