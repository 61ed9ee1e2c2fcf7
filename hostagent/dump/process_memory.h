#ifndef KEYSPHERE_HOSTAGENT_DUMP_PROCESS_MEMORY_H_
#define KEYSPHERE_HOSTAGENT_DUMP_PROCESS_MEMORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace keysphere::hostagent::dump {

// A run of memory: whole pages.
struct MemoryRun {
  uint64_t address = 0;
  uint64_t bytes = 0;
  bool writable = false;
};

// The memory of a process that a core dump would hold.
class ProcessMemory {
 public:
  virtual ~ProcessMemory() = default;

  // By address, without overlaps. Never a mapping that is kept out of dumps (VM_DONTDUMP, "dd" in
  // smaps): that is where keys lie (S147).
  virtual absl::StatusOr<std::vector<MemoryRun>> Runs() const = 0;
  // Memory that is gone by now reads as zeros.
  virtual void Read(uint64_t address, absl::Span<uint8_t> out) const = 0;
};

// This process, also where it is not dumpable (PR_SET_DUMPABLE 0) and not root's. As the kernel's
// own dumps by default: no unchanged pages of files; of the rest only pages that are in memory.
class OwnMemory : public ProcessMemory {
 public:
  absl::StatusOr<std::vector<MemoryRun>> Runs() const override;
  void Read(uint64_t address, absl::Span<uint8_t> out) const override;
};

}  // namespace keysphere::hostagent::dump

#endif  // KEYSPHERE_HOSTAGENT_DUMP_PROCESS_MEMORY_H_
