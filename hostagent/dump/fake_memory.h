#ifndef KEYSPHERE_HOSTAGENT_DUMP_FAKE_MEMORY_H_
#define KEYSPHERE_HOSTAGENT_DUMP_FAKE_MEMORY_H_

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/dump/process_memory.h"

namespace keysphere::hostagent::dump {

// Memory that a test makes up: address -> content.
class FakeMemory : public ProcessMemory {
 public:
  explicit FakeMemory(std::map<uint64_t, std::string> runs) : runs_(std::move(runs)) {}

  absl::StatusOr<std::vector<MemoryRun>> Runs() const override {
    std::vector<MemoryRun> runs;
    for (const auto& [address, content] : runs_) runs.push_back({address, content.size(), true});
    return runs;
  }
  void Read(uint64_t address, absl::Span<uint8_t> out) const override {
    const auto run = std::prev(runs_.upper_bound(address));
    std::memcpy(out.data(), run->second.data() + (address - run->first), out.size());
  }

 private:
  const std::map<uint64_t, std::string> runs_;
};

}  // namespace keysphere::hostagent::dump

#endif  // KEYSPHERE_HOSTAGENT_DUMP_FAKE_MEMORY_H_
