#include "common/daemon/process.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace keysphere::daemon {
namespace {

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// A name has no control characters, but it may have these.
std::string Escaped(absl::string_view name) {
  return absl::StrReplaceAll(name, {{"\\", "\\\\"}, {"\"", "\\\""}});
}

}  // namespace

bool Parse(CLI::App* app, int argc, char** argv, int* exit_code) {
  try {
    app->parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    const int code = app->exit(error);
    *exit_code = code == 0 ? 0 : 2;
    return false;
  }
}

void LeaveSignalsToMain() {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int WaitForEndSignal() {
  const sigset_t signals = EndSignals();
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void PrintReady(absl::string_view name, absl::string_view address) {
  const std::string line = absl::StrCat("READY {\"name\":\"", Escaped(name), "\",\"address\":\"",
                                        address, "\",\"pid\":", getpid(), "}\n");
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

}  // namespace keysphere::daemon
