#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"

namespace keysphere::files {

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.fd_;
    other.fd_ = -1;
  }
  return *this;
}

void Descriptor::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::StatusOr<size_t> RandomAccessFile::ReadAt(uint64_t offset, absl::Span<uint8_t> out) const {
  return files_->ReadFd(fd_.get(), path_, offset, out);
}

absl::Status RandomAccessFile::WriteAt(uint64_t offset, absl::Span<const uint8_t> data) {
  return files_->WriteFd(fd_.get(), path_, offset, data);
}

absl::Status RandomAccessFile::Sync() { return files_->SyncFd(fd_.get(), Operation::kSync, path_); }

absl::StatusOr<uint64_t> RandomAccessFile::Size() const {
  const Fault fault = files_->Ask(Operation::kStat, path_);
  if (fault.error != 0) return FileSystem::ErrorOf(fault.error, "stat", path_);
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return FileSystem::ErrorOf(errno, "stat", path_);
  return static_cast<uint64_t>(info.st_size);
}

absl::Status RandomAccessFile::Truncate(uint64_t size) {
  const Fault fault = files_->Ask(Operation::kTruncate, path_);
  if (fault.error != 0) return FileSystem::ErrorOf(fault.error, "set the size of", path_);
  while (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return FileSystem::ErrorOf(errno, "set the size of", path_);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> RandomAccessFile::NextData(uint64_t offset) const {
  KS_ASSIGN_OR_RETURN(const uint64_t size, Size());
  if (offset >= size) return size;
  const off_t data = lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data >= 0) return static_cast<uint64_t>(data);
  if (errno == ENXIO) return size;
  return offset;  // the file system cannot tell: all of it may be data
}

absl::StatusOr<RandomAccessFile> FileSystem::Open(absl::string_view path, OpenMode open_mode,
                                                  mode_t mode) const {
  int flags = O_NOFOLLOW | O_NONBLOCK;
  switch (open_mode) {
    case OpenMode::kRead:
      flags |= O_RDONLY;
      break;
    case OpenMode::kReadWrite:
      flags |= O_RDWR;
      break;
    case OpenMode::kCreate:
      flags |= O_RDWR | O_CREAT;
      break;
    case OpenMode::kCreateExclusive:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  KS_ASSIGN_OR_RETURN(Descriptor fd, OpenFd(path, flags, mode));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrorOf(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(path), " is no regular file"));
  }
  return RandomAccessFile(this, std::move(fd), std::string(path));
}

absl::StatusOr<uint64_t> FileSystem::CopyRange(
    const RandomAccessFile& from, uint64_t from_offset, RandomAccessFile* to, uint64_t to_offset,
    uint64_t bytes, absl::FunctionRef<absl::Status(uint64_t)> progress) const {
  KS_ASSIGN_OR_RETURN(const uint64_t from_size, from.Size());
  const uint64_t left = from_size - std::min(from_offset, from_size);
  const uint64_t total = std::min(bytes, left);
  KS_ASSIGN_OR_RETURN(uint64_t to_size, to->Size());
  constexpr uint64_t kPiece = 256 << 10;
  std::vector<uint8_t> buffer(std::min(total, kPiece));
  uint64_t done = 0;
  while (done < total) {
    // Beyond the end of `to`, a hole is made by writing nothing.
    if (to_offset + done >= to_size) {
      KS_ASSIGN_OR_RETURN(const uint64_t data, from.NextData(from_offset + done));
      const uint64_t next = std::min(data - from_offset, total);
      if (next > done) {
        done = next;
        KS_RETURN_IF_ERROR(progress(done));
        continue;
      }
    }
    const uint64_t piece = std::min(kPiece, total - done);
    KS_ASSIGN_OR_RETURN(const size_t n,
                        from.ReadAt(from_offset + done, absl::MakeSpan(buffer.data(), piece)));
    if (n == 0) break;  // cut meanwhile
    KS_RETURN_IF_ERROR(to->WriteAt(to_offset + done, absl::MakeConstSpan(buffer.data(), n)));
    done += n;
    to_size = std::max(to_size, to_offset + done);
    KS_RETURN_IF_ERROR(progress(done));
  }
  if (to_offset + done > to_size) KS_RETURN_IF_ERROR(to->Truncate(to_offset + done));
  return done;
}

absl::StatusOr<uint64_t> FileSystem::CopyRange(const RandomAccessFile& from, uint64_t from_offset,
                                               RandomAccessFile* to, uint64_t to_offset,
                                               uint64_t bytes) const {
  return CopyRange(from, from_offset, to, to_offset, bytes,
                   [](uint64_t) { return absl::OkStatus(); });
}

}  // namespace keysphere::files
