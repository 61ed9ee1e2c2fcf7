#include "hostagent/dump/core.h"

#include <elf.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/string_view.h"
#include "common/status/status.h"

namespace keysphere::hostagent::dump {
namespace {

constexpr uint64_t kStepBytes = 1 << 20;
constexpr uint64_t kAlignment = 4096;
// More program headers than an ELF file counts in its ordinary field.
constexpr size_t kMaxRuns = PN_XNUM - 1;

template <typename T>
void AppendRaw(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

absl::StatusOr<Core> Core::Take(const ProcessMemory& memory) {
  KS_ASSIGN_OR_RETURN(std::vector<MemoryRun> runs, memory.Runs());
  if (runs.size() > kMaxRuns) runs.resize(kMaxRuns);
  return Core(memory, std::move(runs));
}

std::string Core::Headers() const {
  Elf64_Ehdr file = {};
  std::memcpy(file.e_ident, ELFMAG, SELFMAG);
  file.e_ident[EI_CLASS] = ELFCLASS64;
  file.e_ident[EI_DATA] = ELFDATA2LSB;
  file.e_ident[EI_VERSION] = EV_CURRENT;
  file.e_type = ET_CORE;
  file.e_machine = EM_X86_64;
  file.e_version = EV_CURRENT;
  file.e_phoff = sizeof file;
  file.e_ehsize = sizeof file;
  file.e_phentsize = sizeof(Elf64_Phdr);
  file.e_phnum = static_cast<Elf64_Half>(runs_.size());
  std::string out;
  AppendRaw(file, &out);
  const uint64_t end = sizeof file + runs_.size() * sizeof(Elf64_Phdr);
  uint64_t offset = (end + kAlignment - 1) / kAlignment * kAlignment;
  const uint64_t first = offset;
  for (const MemoryRun& run : runs_) {
    Elf64_Phdr segment = {};
    segment.p_type = PT_LOAD;
    segment.p_flags = run.writable ? PF_R | PF_W : PF_R;
    segment.p_offset = offset;
    segment.p_vaddr = run.address;
    segment.p_filesz = run.bytes;
    segment.p_memsz = run.bytes;
    segment.p_align = kAlignment;
    AppendRaw(segment, &out);
    offset += run.bytes;
  }
  out.resize(first, '\0');
  return out;
}

absl::StatusOr<bool> Core::Step(DumpWriter* writer) {
  if (!headers_written_) {
    headers_written_ = true;
    KS_RETURN_IF_ERROR(writer->Write(Headers()));
  }
  std::string data(kStepBytes, '\0');
  uint64_t left = kStepBytes;
  absl::Status written;
  while (left > 0 && run_ < runs_.size() && written.ok()) {
    const MemoryRun& run = runs_[run_];
    const uint64_t count = std::min(left, run.bytes - offset_);
    memory_->Read(run.address + offset_,
                  absl::MakeSpan(reinterpret_cast<uint8_t*>(&data[0]), count));
    written = writer->Write(absl::string_view(data.data(), count));
    left -= count;
    offset_ += count;
    if (offset_ < run.bytes) continue;
    offset_ = 0;
    ++run_;
  }
  OPENSSL_cleanse(&data[0], data.size());
  if (!written.ok()) return written;
  return run_ == runs_.size();
}

}  // namespace keysphere::hostagent::dump
