#ifndef KEYSPHERE_TESTS_PROCESSES_MEMORY_PROBE_H_
#define KEYSPHERE_TESTS_PROCESSES_MEMORY_PROBE_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace keysphere::processes {

// Where bytes stand in the memory of another process.
struct MemoryFinding {
  std::string pattern;  // the name that the caller gave
  std::string mapping;  // the line of /proc/PID/smaps
  bool dumped = false;  // false: the mapping has the flag `dd`, so that no core dump holds it
};

struct MemoryPattern {
  std::string name;
  std::string bytes;
};

// Both 16-byte halves of a key: what remains of a freed key has lost its beginning.
void AddHalves(const std::string& name, const std::string& key,
               std::vector<MemoryPattern>* patterns);

// Reads all private memory of the process, which should be idle. Needs the right to trace it, which
// root has.
absl::StatusOr<std::vector<MemoryFinding>> ProbeMemory(pid_t pid,
                                                       const std::vector<MemoryPattern>& patterns);

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_MEMORY_PROBE_H_
