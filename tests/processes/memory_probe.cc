#include "tests/processes/memory_probe.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace keysphere::processes {
namespace {

struct Mapping {
  std::string line;
  uint64_t begin = 0;
  uint64_t end = 0;
  bool dumped = true;
  bool empty = true;  // no page of it exists
};

std::vector<Mapping> ReadMappings(pid_t pid) {
  std::vector<Mapping> mappings;
  std::ifstream in(absl::StrCat("/proc/", pid, "/smaps"));
  std::string line;
  while (std::getline(in, line)) {
    Mapping mapping;
    char access[5] = "";
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &mapping.begin, &mapping.end,
                    access) == 3) {
      mapping.line = line;
      mappings.push_back(mapping);
      continue;
    }
    if (mappings.empty()) continue;
    if (absl::StartsWith(line, "VmFlags:")) {
      mappings.back().dumped = !absl::StrContains(line + " ", " dd ");
    }
    if (absl::StartsWith(line, "Rss:") || absl::StartsWith(line, "Swap:")) {
      if (!absl::StrContains(line, " 0 kB")) mappings.back().empty = false;
    }
  }
  return mappings;
}

std::string ReadAt(int memory, const Mapping& mapping) {
  std::string bytes(mapping.end - mapping.begin, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        pread(memory, &bytes[done], bytes.size() - done, static_cast<off_t>(mapping.begin + done));
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace

void AddHalves(const std::string& name, const std::string& key,
               std::vector<MemoryPattern>* patterns) {
  for (size_t at = 0; at + 16 <= key.size(); at += 16) {
    patterns->push_back({absl::StrCat(name, " [", at, "]"), key.substr(at, 16)});
  }
}

absl::StatusOr<std::vector<MemoryFinding>> ProbeMemory(pid_t pid,
                                                       const std::vector<MemoryPattern>& patterns) {
  const int memory = open(absl::StrCat("/proc/", pid, "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return absl::PermissionDeniedError("the process's memory cannot be read");
  std::vector<MemoryFinding> findings;
  uint64_t total = 0;
  for (const Mapping& mapping : ReadMappings(pid)) {
    if (mapping.empty) continue;
    const std::string bytes = ReadAt(memory, mapping);
    total += bytes.size();
    for (const MemoryPattern& pattern : patterns) {
      if (memmem(bytes.data(), bytes.size(), pattern.bytes.data(), pattern.bytes.size())) {
        findings.push_back({pattern.name, mapping.line, mapping.dumped});
      }
    }
  }
  close(memory);
  // Less than a daemon has: then nothing was read, and nothing found means nothing.
  if (total < (4u << 20)) return absl::InternalError(absl::StrCat("only ", total, " bytes read"));
  return findings;
}

}  // namespace keysphere::processes
