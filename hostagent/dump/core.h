#ifndef KEYSPHERE_HOSTAGENT_DUMP_CORE_H_
#define KEYSPHERE_HOSTAGENT_DUMP_CORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostagent/dump/dump_file.h"
#include "hostagent/dump/process_memory.h"

namespace keysphere::hostagent::dump {

// The core of a process, written in steps, as an ELF64 core file (ET_CORE with a PT_LOAD for each
// run of memory, without notes): what a debugger or readelf knows.
class Core {
 public:
  // Notes what there is. `memory` outlives it.
  static absl::StatusOr<Core> Take(const ProcessMemory& memory);

  // Writes the next part, at most about a MiB. True: all is written.
  absl::StatusOr<bool> Step(DumpWriter* writer);

 private:
  Core(const ProcessMemory& memory, std::vector<MemoryRun> runs)
      : memory_(&memory), runs_(std::move(runs)) {}

  std::string Headers() const;

  const ProcessMemory* memory_;
  std::vector<MemoryRun> runs_;
  bool headers_written_ = false;
  size_t run_ = 0;
  uint64_t offset_ = 0;  // in the run
};

}  // namespace keysphere::hostagent::dump

#endif  // KEYSPHERE_HOSTAGENT_DUMP_CORE_H_
