// A process of a simulated cluster, for page_process_test: `page_test_process PATH:SLOT MODE`.
// Writes lines to standard output and ends when its standard input does.
//   tick: "READY", then "tick SECONDS" every virtual minute, through an executor
//   hang: "READY", and a busy token that never ends
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock/page/page_clock.h"
#include "common/executor/executor.h"
#include "common/executor/real_executor.h"
#include "common/status/status.h"

namespace keysphere::clock::page {
namespace {

void WriteLine(const std::string& text) {
  const std::string line = absl::StrCat(text, "\n");
  KS_CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

void Tick(Clock* clock, executor::Strand* strand) {
  clock->RunAfter(absl::Minutes(1), [clock, strand] {
    strand->Post([clock, strand] {
      WriteLine(absl::StrCat("tick ", absl::ToUnixSeconds(clock->Now())));
      Tick(clock, strand);
    });
  });
}

int Main(const std::string& page, const std::string& mode) {
  auto clock = PageClock::Open(page);
  if (!clock.ok()) {
    std::fprintf(stderr, "%s\n", status::ToString(clock.status()).c_str());
    return 1;
  }
  executor::RealExecutor executor(clock->get());
  executor::Strand strand(&executor);
  Clock::BusyToken token;
  if (mode == "hang") token = (*clock)->Busy("hang");
  if (mode == "tick") Tick(clock->get(), &strand);
  WriteLine("READY");
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  (*clock)->StopTimers();
  return 0;
}

}  // namespace
}  // namespace keysphere::clock::page

int main(int argc, char** argv) {
  return argc == 3 ? keysphere::clock::page::Main(argv[1], argv[2]) : 2;
}
