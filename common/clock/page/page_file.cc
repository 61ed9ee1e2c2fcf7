#include "common/clock/page/page_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::clock::page {
namespace {

constexpr size_t kHeaderBytes = 4096;
static_assert(sizeof(Header) <= kHeaderBytes, "the header has a page of its own");
constexpr uint32_t kMaxEntries = 1 << 20;

size_t SizeOf(int slots, int streams, int links) {
  return kHeaderBytes + slots * (sizeof(Slot) + sizeof(SlotText)) + streams * sizeof(Stream) +
         links * sizeof(Link);
}

absl::Status FileError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const v1::Reason reason = error == ENOENT   ? v1::REASON_NOT_FOUND
                            : error == ENOSPC ? v1::REASON_STORAGE_FULL
                                              : v1::REASON_STORAGE_ERROR;
  return status::Error(reason, absl::StrCat(what, ": ", strerror(error))).Object("clock", path);
}

// Closes a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::StatusOr<void*> Map(int fd, size_t size, const std::string& path) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return FileError("cannot map the clock page", path);
  return memory;
}

}  // namespace

void MarkUsed(std::atomic<uint32_t>* used, int i) {
  const uint32_t wanted = i + 1;
  uint32_t seen = *used;
  while (seen < wanted && !used->compare_exchange_weak(seen, wanted)) {
  }
}

int64_t ToNs(absl::Time time) { return absl::ToUnixNanos(time); }

int64_t AddSaturated(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? kNever : std::numeric_limits<int64_t>::min();
}

PageFile::PageFile(void* memory, size_t size, int slots, int streams, int links)
    : memory_(memory), size_(size), slot_count_(slots), stream_count_(streams), link_count_(links) {
  char* at = static_cast<char*>(memory);
  header_ = reinterpret_cast<Header*>(at);
  slots_ = reinterpret_cast<Slot*>(at + kHeaderBytes);
  texts_ = reinterpret_cast<SlotText*>(slots_ + slots);
  streams_ = reinterpret_cast<Stream*>(texts_ + slots);
  links_ = reinterpret_cast<Link*>(streams_ + streams);
}

PageFile::~PageFile() { munmap(memory_, size_); }

absl::StatusOr<std::unique_ptr<PageFile>> PageFile::Create(const std::string& path, int slots,
                                                           int streams, int links,
                                                           absl::Time start) {
  if (slots < 1 || slots > kMaxSlots) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("slots: 1 to ", kMaxSlots, ", not ", slots));
  }
  const std::string temporary = absl::StrCat(path, ".new");
  const Descriptor fd(open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const size_t size = SizeOf(slots, streams, links);
  if (fd.get() < 0 || ftruncate(fd.get(), size) != 0) {
    return FileError("cannot create the clock page", path);
  }
  KS_ASSIGN_OR_RETURN(void* const memory, Map(fd.get(), size, path));
  auto file = absl::WrapUnique(new PageFile(memory, size, slots, streams, links));
  Header& header = file->header();
  header.version = kVersion;
  header.slots = slots;
  header.streams = streams;
  header.links = links;
  header.now_ns = ToNs(start);
  for (int i = 0; i < slots; ++i) file->slot(i).next_deadline_ns = kNever;
  header.magic = kMagic;
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return FileError("cannot create the clock page", path);
  }
  return file;
}

absl::StatusOr<std::unique_ptr<PageFile>> PageFile::Open(const std::string& path) {
  const Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat info = {};
  if (fd.get() < 0 || fstat(fd.get(), &info) != 0) {
    return FileError("cannot open the clock page", path);
  }
  const auto invalid = [&](absl::string_view why) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat("not a clock page: ", why))
        .Object("clock", path);
  };
  const size_t size = info.st_size;
  if (size < kHeaderBytes) return invalid("too short");
  KS_ASSIGN_OR_RETURN(void* const memory, Map(fd.get(), size, path));
  const Header& header = *static_cast<Header*>(memory);
  const uint32_t slots = header.slots;
  const uint32_t streams = header.streams;
  const uint32_t links = header.links;
  const bool known = header.magic == kMagic && header.version == kVersion;
  const bool sane = slots <= kMaxSlots && streams <= kMaxEntries && links <= kMaxEntries;
  if (!known || !sane || size != SizeOf(slots, streams, links)) {
    munmap(memory, size);
    return invalid(known ? "its size is wrong" : "another format or version");
  }
  return absl::WrapUnique(new PageFile(memory, size, slots, streams, links));
}

int64_t PageFile::LocalNowNs(int i) const { return AddSaturated(NowNs(), slot(i).skew_ns); }

int64_t PageFile::DeadlineNs(int i) const {
  const int64_t deadline = slot(i).next_deadline_ns;
  return deadline == kNever ? kNever : AddSaturated(deadline, -slot(i).skew_ns.load());
}

int PageFile::SlotOf(absl::string_view name) const {
  if (name.empty()) return -1;
  for (int i = 0; i < used_slots(); ++i) {
    if (text(i).name.Get() == name) return i;
  }
  return -1;
}

void PageFile::WakeSlot(int i) const {
  slot(i).wake.fetch_add(1);
  FutexWakeAll(&slot(i).wake);
}

void PageFile::NotifyMaster() const {
  header_->activity.fetch_add(1);
  if (header_->master_waits.load() != 0) FutexWakeAll(&header_->activity);
}

}  // namespace keysphere::clock::page
