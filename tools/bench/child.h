#ifndef KEYSPHERE_TOOLS_BENCH_CHILD_H_
#define KEYSPHERE_TOOLS_BENCH_CHILD_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace keysphere::bench {

// A program under measurement. Killed when this goes, and when the benchmark dies.
class Child {
 public:
  // Starts `argv` (argv[0] is a path). Its standard error goes to the file `log`.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& argv,
                                                      const std::string& log);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The JSON behind READY: what the program prints once it serves. Blocks.
  absl::StatusOr<std::string> WaitReady();
  // The value of "address" in it.
  absl::StatusOr<std::string> WaitAddress();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // What it ran so far, all threads that live, on any CPU. Nanoseconds.
  int64_t CpuNanoseconds() const;

 private:
  Child(pid_t pid, int out, std::string log) : pid_(pid), out_(out), log_(std::move(log)) {}

  const pid_t pid_;
  const int out_;  // the reading end of its standard output
  const std::string log_;
};

}  // namespace keysphere::bench

#endif  // KEYSPHERE_TOOLS_BENCH_CHILD_H_
