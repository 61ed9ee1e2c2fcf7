#ifndef KEYSPHERE_HOSTAGENT_TPM_IN_CHILD_H_
#define KEYSPHERE_HOSTAGENT_TPM_IN_CHILD_H_

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "gtest/gtest.h"

namespace keysphere::hostagent::tpm {

enum class ChildEnd {
  kOrderly,  // by returning: destructors ran
  kKilled,   // by SIGKILL at the end of `work`: what a power loss is for a host
};

// Runs `work` in a forked process: libtpms holds one TPM a process. True: no expectation in it
// failed and it ended as it should. Fork before this process has threads.
inline bool InChild(ChildEnd end, const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    if (::testing::Test::HasFailure()) _exit(1);
    if (end == ChildEnd::kKilled) kill(getpid(), SIGKILL);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  return end == ChildEnd::kKilled ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                                  : WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_IN_CHILD_H_
