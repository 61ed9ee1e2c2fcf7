#include "common/files/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::files {
namespace {

constexpr char kTemporaryPrefix[] = ".keysphere-tmp-";

std::string Join(absl::string_view folder, absl::string_view name) {
  return absl::StrCat(folder, absl::EndsWith(folder, "/") ? "" : "/", name);
}

// An exclusive lock of the whole file; false: somebody else has it.
absl::StatusOr<bool> TryLock(int fd, absl::string_view path) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) return FileSystem::ErrorOf(errno, "lock", path);
  }
  return true;
}

absl::Status InUse(absl::string_view path) {
  return status::Error(v1::REASON_VM_IN_USE,
                       absl::StrCat("another process holds the lock of ", status::Quote(path)))
      .NextStep("Power the VM off on the host that runs it.");
}

}  // namespace

// The fault hook and the work of all calls.

FileSystem::FileSystem(FaultHook* faults, FatalHandler fatal)
    : faults_(faults), fatal_(std::move(fatal)) {}

void FileSystem::AbortWith(absl::string_view message) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  std::abort();
}

Fault FileSystem::Ask(Operation operation, absl::string_view path) const {
  return faults_ == nullptr ? Fault() : faults_->Before(operation, path);
}

absl::StatusOr<Descriptor> FileSystem::OpenFd(absl::string_view path, int flags,
                                              mode_t mode) const {
  const Fault fault = Ask(Operation::kOpen, path);
  if (fault.error != 0) return ErrorOf(fault.error, "open", path);
  const std::string name(path);
  if (name.find('\0') != std::string::npos) return ErrorOf(EINVAL, "open", path);
  int fd;
  do {
    fd = open(name.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrorOf(errno, "open", path);
  return Descriptor(fd);
}

absl::Status FileSystem::SyncFd(int fd, Operation operation, absl::string_view path) const {
  const Fault fault = Ask(operation, path);
  int error = fault.error;
  if (error == 0) {
    int result;
    do {
      result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return absl::OkStatus();
    error = errno;
    // Some file systems have no sync of folders: their names are as durable as they get.
    if (operation == Operation::kSyncFolder && error == EINVAL) return absl::OkStatus();
  }
  const absl::Status failed = ErrorOf(error, "sync", path);
  EndAfterFailedSync(failed.message());
  return failed;
}

// After a failed sync the kernel may drop the pages and call the next sync a success, so that what
// was told to be durable would not be. Only a new start, which reads what is there, helps.
void FileSystem::EndAfterFailedSync(absl::string_view message) const {
  fatal_(absl::StrCat("keysphere: ", message, "; the process ends"));
}

absl::StatusOr<size_t> FileSystem::ReadFd(int fd, absl::string_view path, uint64_t offset,
                                          absl::Span<uint8_t> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const Fault fault = Ask(Operation::kRead, path);
    if (fault.error != 0) return ErrorOf(fault.error, "read", path);
    const size_t bytes = std::min(out.size() - done, std::max<size_t>(fault.at_most, 1));
    const ssize_t n = pread(fd, out.data() + done, bytes, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrorOf(errno, "read", path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::Status FileSystem::WriteFd(int fd, absl::string_view path, uint64_t offset,
                                 absl::Span<const uint8_t> data) const {
  size_t done = 0;
  while (done < data.size()) {
    const Fault fault = Ask(Operation::kWrite, path);
    if (fault.error != 0) return ErrorOf(fault.error, "write", path);
    const size_t bytes = std::min(data.size() - done, std::max<size_t>(fault.at_most, 1));
    const ssize_t n = pwrite(fd, data.data() + done, bytes, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrorOf(errno, "write", path);
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

// Whole files.

absl::StatusOr<std::string> FileSystem::ReadFile(absl::string_view path, size_t max_bytes,
                                                 Links links) const {
  // O_NONBLOCK: the open of a pipe that somebody put there must not wait for a writer.
  const int flags = links == Links::kRefuse ? O_NOFOLLOW | O_NONBLOCK : 0;
  KS_ASSIGN_OR_RETURN(const Descriptor fd, OpenFd(path, O_RDONLY | flags, 0));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrorOf(errno, "stat", path);
  if (S_ISDIR(info.st_mode)) return ErrorOf(EISDIR, "read", path);
  if (links == Links::kRefuse && !S_ISREG(info.st_mode)) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(path), " is no regular file"));
  }
  // By read, not pread: with kFollow it may be a pipe ("/dev/stdin").
  std::string content;
  while (true) {
    const Fault fault = Ask(Operation::kRead, path);
    if (fault.error != 0) return ErrorOf(fault.error, "read", path);
    const size_t before = content.size();
    // One byte more than allowed tells that the file is too long.
    const size_t room = std::min(max_bytes - before, SIZE_MAX - 1) + 1;
    const size_t known = static_cast<size_t>(std::max<off_t>(info.st_size, 4096));
    const size_t bytes = std::min({room, known + 1, std::max<size_t>(fault.at_most, 1)});
    content.resize(before + bytes);
    const ssize_t n = read(fd.get(), &content[before], bytes);
    const int error = errno;
    content.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && error == EINTR) continue;
    if (n < 0) return ErrorOf(error, "read", path);
    if (n == 0) return content;
    if (content.size() > max_bytes) {
      return status::Error(
          v1::REASON_TOO_LARGE,
          absl::StrCat(status::Quote(path), " has more than ", max_bytes, " bytes"));
    }
  }
}

absl::StatusOr<FileSystem::Temporary> FileSystem::NewTemporary(absl::string_view folder) const {
  while (true) {
    std::string path = Join(folder, absl::StrCat(kTemporaryPrefix, "XXXXXX"));
    const Fault fault = Ask(Operation::kOpen, path);
    if (fault.error != 0) return ErrorOf(fault.error, "open", path);
    Descriptor fd(mkostemp(&path[0], O_CLOEXEC));
    if (!fd.valid()) return ErrorOf(errno, "make a file in", folder);
    // The lock tells RemoveStaleTemporaries that this write is going on. If that was quicker, the
    // file is locked by it or gone already: take another one.
    KS_ASSIGN_OR_RETURN(const bool locked, TryLock(fd.get(), path));
    struct stat info;
    if (locked && fstat(fd.get(), &info) == 0 && info.st_nlink > 0) {
      return Temporary{std::move(fd), std::move(path)};
    }
  }
}

absl::Status FileSystem::FillTemporary(const Temporary& temporary, absl::string_view content,
                                       mode_t mode, Durability durability) const {
  KS_RETURN_IF_ERROR(WriteFd(
      temporary.fd.get(), temporary.path, 0,
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(content.data()), content.size())));
  if (fchmod(temporary.fd.get(), mode) != 0) {
    return ErrorOf(errno, "set the mode of", temporary.path);
  }
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  return SyncFd(temporary.fd.get(), Operation::kSync, temporary.path);
}

absl::StatusOr<Descriptor> FileSystem::WriteAndRename(absl::string_view path,
                                                      absl::string_view content, mode_t mode,
                                                      Durability durability) const {
  KS_ASSIGN_OR_RETURN(Temporary temporary, NewTemporary(FolderOf(path)));
  absl::Status written = FillTemporary(temporary, content, mode, durability);
  if (written.ok()) written = RenameOnly(temporary.path, path);
  if (!written.ok()) {
    unlink(temporary.path.c_str());
    return written;
  }
  return std::move(temporary.fd);
}

absl::Status FileSystem::WriteFileAtomically(absl::string_view path, absl::string_view content,
                                             mode_t mode, Durability durability) const {
  KS_ASSIGN_OR_RETURN(Descriptor fd, WriteAndRename(path, content, mode, durability));
  fd.Close();
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  return SyncFolder(FolderOf(path));
}

absl::Status FileSystem::ReplaceLocked(FileLock* lock, absl::string_view content, mode_t mode,
                                       Durability durability) const {
  KS_CHECK(lock->held());
  KS_ASSIGN_OR_RETURN(lock->fd_, WriteAndRename(lock->path_, content, mode, durability));
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  return SyncFolder(FolderOf(lock->path_));
}

absl::StatusOr<int> FileSystem::RemoveStaleTemporaries(absl::string_view folder) const {
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(folder));
  int removed = 0;
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, kTemporaryPrefix)) continue;
    const std::string path = Join(folder, name);
    auto fd = OpenFd(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    if (absl::IsNotFound(fd.status())) continue;  // renamed meanwhile
    if (!fd.ok()) return fd.status();
    KS_ASSIGN_OR_RETURN(const bool locked, TryLock(fd->get(), path));
    if (!locked) continue;
    const absl::Status gone = Remove(path, Durability::kNotDurable);
    if (absl::IsNotFound(gone)) continue;
    KS_RETURN_IF_ERROR(gone);
    ++removed;
  }
  return removed;
}

absl::StatusOr<FileLock> FileSystem::Lock(absl::string_view path) const {
  while (true) {
    KS_ASSIGN_OR_RETURN(Descriptor fd, OpenFd(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0));
    const Fault fault = Ask(Operation::kLock, path);
    if (fault.error == EAGAIN) return InUse(path);
    if (fault.error != 0) return ErrorOf(fault.error, "lock", path);
    KS_ASSIGN_OR_RETURN(const bool locked, TryLock(fd.get(), path));
    if (!locked) return InUse(path);
    // The file may have been replaced between the open and the lock: then the lock is on a file
    // without a name and protects nothing.
    struct stat mine, named;
    if (fstat(fd.get(), &mine) != 0) return ErrorOf(errno, "stat", path);
    if (lstat(std::string(path).c_str(), &named) != 0) return ErrorOf(errno, "stat", path);
    if (mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
      return FileLock(std::move(fd), std::string(path));
    }
  }
}

// Names and folders.

absl::Status FileSystem::RenameOnly(absl::string_view from, absl::string_view to) const {
  const Fault fault = Ask(Operation::kRename, from);
  if (fault.error != 0) return ErrorOf(fault.error, "rename", from);
  if (rename(std::string(from).c_str(), std::string(to).c_str()) != 0) {
    return ErrorOf(errno, "rename", from);
  }
  return absl::OkStatus();
}

absl::Status FileSystem::Rename(absl::string_view from, absl::string_view to,
                                Durability durability) const {
  KS_RETURN_IF_ERROR(RenameOnly(from, to));
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  KS_RETURN_IF_ERROR(SyncFolder(FolderOf(to)));
  if (FolderOf(from) == FolderOf(to)) return absl::OkStatus();
  return SyncFolder(FolderOf(from));
}

absl::Status FileSystem::Remove(absl::string_view path, Durability durability) const {
  const Fault fault = Ask(Operation::kRemove, path);
  if (fault.error != 0) return ErrorOf(fault.error, "remove", path);
  if (unlink(std::string(path).c_str()) != 0) return ErrorOf(errno, "remove", path);
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  return SyncFolder(FolderOf(path));
}

absl::Status FileSystem::RemoveFolder(absl::string_view path, Durability durability) const {
  const Fault fault = Ask(Operation::kRemove, path);
  if (fault.error != 0) return ErrorOf(fault.error, "remove", path);
  if (rmdir(std::string(path).c_str()) != 0) return ErrorOf(errno, "remove", path);
  if (durability == Durability::kNotDurable) return absl::OkStatus();
  return SyncFolder(FolderOf(path));
}

absl::Status FileSystem::MakeFolders(absl::string_view path, mode_t mode) const {
  const std::string name(path);
  struct stat info;
  if (stat(name.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode) ? absl::OkStatus() : ErrorOf(ENOTDIR, "make the folder", path);
  }
  if (errno != ENOENT) return ErrorOf(errno, "make the folder", path);
  const std::string above = FolderOf(path);
  if (above == path) return ErrorOf(ENOENT, "make the folder", path);
  KS_RETURN_IF_ERROR(MakeFolders(above, mode));
  const Fault fault = Ask(Operation::kMakeFolder, path);
  if (fault.error != 0) return ErrorOf(fault.error, "make the folder", path);
  if (mkdir(name.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrorOf(errno, "make the folder", path);
  }
  return SyncFolder(above);
}

absl::StatusOr<std::vector<std::string>> FileSystem::List(absl::string_view folder) const {
  const Fault fault = Ask(Operation::kList, folder);
  if (fault.error != 0) return ErrorOf(fault.error, "list", folder);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(std::string(folder).c_str()), &closedir);
  if (dir == nullptr) return ErrorOf(errno, "list", folder);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const absl::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrorOf(errno, "list", folder);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<FileInfo> FileSystem::Stat(absl::string_view path) const {
  const Fault fault = Ask(Operation::kStat, path);
  if (fault.error != 0) return ErrorOf(fault.error, "stat", path);
  struct stat info;
  if (lstat(std::string(path).c_str(), &info) != 0) return ErrorOf(errno, "stat", path);
  FileInfo result;
  result.size = static_cast<uint64_t>(info.st_size);
  result.inode = info.st_ino;
  result.modified_ns = info.st_mtim.tv_sec * int64_t{1000000000} + info.st_mtim.tv_nsec;
  result.allocated_bytes = static_cast<uint64_t>(info.st_blocks) * 512;
  result.is_folder = S_ISDIR(info.st_mode);
  result.is_regular = S_ISREG(info.st_mode);
  return result;
}

absl::StatusOr<bool> FileSystem::Exists(absl::string_view path) const {
  const absl::Status found = Stat(path).status();
  if (absl::IsNotFound(found)) return false;
  KS_RETURN_IF_ERROR(found);
  return true;
}

absl::Status FileSystem::SyncFolder(absl::string_view folder) const {
  KS_ASSIGN_OR_RETURN(const Descriptor fd, OpenFd(folder, O_RDONLY | O_DIRECTORY, 0));
  return SyncFd(fd.get(), Operation::kSyncFolder, folder);
}

}  // namespace keysphere::files
