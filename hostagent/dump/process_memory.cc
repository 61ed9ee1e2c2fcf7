#include "hostagent/dump/process_memory.h"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::dump {
namespace {

struct Mapping {
  MemoryRun run;
  bool wanted = false;
};

// "7f00-7f01 rw-p 00000000 00:00 0": wanted is what is readable and either writable or no file's.
absl::optional<Mapping> ParseMapping(const std::string& line) {
  Mapping mapping;
  uint64_t end = 0;
  uint64_t inode = 0;
  char access[5] = "";
  if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64,
                  &mapping.run.address, &end, access, &inode) != 4) {
    return absl::nullopt;
  }
  mapping.run.bytes = end - mapping.run.address;
  mapping.run.writable = access[1] == 'w';
  mapping.wanted = access[0] == 'r' && (mapping.run.writable || inode == 0);
  return mapping;
}

absl::StatusOr<std::vector<MemoryRun>> Mappings() {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) return files::FileSystem::ErrorOf(errno, "open", "/proc/self/smaps");
  std::vector<MemoryRun> runs;
  Mapping last;
  for (std::string line; std::getline(smaps, line);) {
    if (absl::StartsWith(line, "VmFlags:")) {
      const std::string flags = absl::StrCat(line, " ");
      const bool kept_out = absl::StrContains(flags, " dd ") || absl::StrContains(flags, " io ") ||
                            absl::StrContains(flags, " pf ");
      if (last.wanted && !kept_out) runs.push_back(last.run);
    } else if (const auto mapping = ParseMapping(line)) {
      last = *mapping;
    }
  }
  return runs;
}

// The parts of a mapping that are in memory.
void AddResident(const MemoryRun& mapping, uint64_t page, std::vector<MemoryRun>* runs) {
  constexpr uint64_t kPagesAtOnce = 65536;
  std::vector<unsigned char> resident(kPagesAtOnce);
  const uint64_t end = mapping.address + mapping.bytes;
  for (uint64_t at = mapping.address; at < end; at += kPagesAtOnce * page) {
    const uint64_t bytes = std::min(kPagesAtOnce * page, end - at);
    if (mincore(reinterpret_cast<void*>(at), bytes, resident.data()) != 0) return;  // gone
    for (uint64_t i = 0; i < bytes / page; ++i) {
      if ((resident[i] & 1) == 0) continue;
      const uint64_t address = at + i * page;
      MemoryRun* const before = runs->empty() ? nullptr : &runs->back();
      if (before != nullptr && before->address + before->bytes == address &&
          before->writable == mapping.writable) {
        before->bytes += page;
      } else {
        runs->push_back({address, page, mapping.writable});
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<MemoryRun>> OwnMemory::Runs() const {
  const absl::StatusOr<std::vector<MemoryRun>> mappings = Mappings();
  if (!mappings.ok()) return mappings.status();
  std::vector<MemoryRun> runs;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (const MemoryRun& mapping : *mappings) AddResident(mapping, page, &runs);
  return runs;
}

void OwnMemory::Read(uint64_t address, absl::Span<uint8_t> out) const {
  // Not /proc/self/mem, which is root's where the process is not dumpable; and not a plain copy,
  // which would crash where the memory is gone.
  size_t done = 0;
  while (done < out.size()) {
    iovec local = {out.data() + done, out.size() - done};
    iovec remote = {reinterpret_cast<void*>(address + done), out.size() - done};
    const ssize_t count = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (count > 0) {
      done += static_cast<size_t>(count);
      continue;
    }
    const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const size_t gap = std::min<size_t>(out.size() - done, page - (address + done) % page);
    std::memset(out.data() + done, 0, gap);
    done += gap;
  }
}

}  // namespace keysphere::hostagent::dump
