#include "hostagent/agent/process_stats.h"

#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace keysphere::hostagent::agent {
namespace {

// The number behind "NAME:" in a file of lines "NAME:  123 kB"; 0 where it is not there.
int64_t ReadField(const char* path, absl::string_view name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, name) || !absl::ConsumePrefix(&rest, ":")) continue;
    const std::vector<std::string> words =
        absl::StrSplit(rest, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t value = 0;
    if (!words.empty() && absl::SimpleAtoi(words[0], &value)) return value;
    return 0;
  }
  return 0;
}

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  stats.threads = static_cast<int32_t>(ReadField("/proc/self/status", "Threads"));
  stats.anonymous_bytes = ReadField("/proc/self/smaps_rollup", "Anonymous") * 1024;
  return stats;
}

}  // namespace keysphere::hostagent::agent
