#ifndef KEYSPHERE_COMMON_FILES_FILE_SYSTEM_H_
#define KEYSPHERE_COMMON_FILES_FILE_SYSTEM_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/files/fault_hook.h"

namespace keysphere::files {

class FileSystem;

// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

// A regular file that is read and written at offsets. Whole requests: short reads and writes of the
// system are continued. One thread may use it at a time for writing; reads may run beside it.
class RandomAccessFile {
 public:
  RandomAccessFile() = default;
  RandomAccessFile(RandomAccessFile&&) = default;
  RandomAccessFile& operator=(RandomAccessFile&&) = default;

  // Fills `out` from `offset`; the count is smaller than out.size() only at the end of the file.
  absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<uint8_t> out) const;
  // Beyond the end the file grows, with a hole where nothing was written. After an error any part
  // may have been written.
  absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> data);
  // What was written is durable. A failure ends the process: the kernel may have thrown the data
  // away and would report success the next time.
  absl::Status Sync();
  absl::StatusOr<uint64_t> Size() const;
  // Cuts the file, or grows it by a hole (sparse: no blocks are taken).
  absl::Status Truncate(uint64_t size);
  // The first offset >= `offset` that may hold data; the file's size if all the rest is a hole.
  absl::StatusOr<uint64_t> NextData(uint64_t offset) const;

  const std::string& path() const { return path_; }
  bool is_open() const { return fd_.valid(); }
  void Close() { fd_.Close(); }

 private:
  friend class FileSystem;
  RandomAccessFile(const FileSystem* files, Descriptor fd, std::string path)
      : files_(files), fd_(std::move(fd)), path_(std::move(path)) {}

  const FileSystem* files_ = nullptr;
  Descriptor fd_;
  std::string path_;
};

// An exclusive lock on a file, held by this object (an open file description lock: it ends with the
// object and with the process, however that ends). Replace the file with
// FileSystem::ReplaceLocked: a plain atomic write would leave the lock on the old, unnamed file.
class FileLock {
 public:
  FileLock() = default;
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = default;

  bool held() const { return fd_.valid(); }
  const std::string& path() const { return path_; }
  void Release() { fd_.Close(); }

 private:
  friend class FileSystem;
  FileLock(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Descriptor fd_;
  std::string path_;
};

struct FileInfo {
  uint64_t size = 0;             // bytes
  uint64_t allocated_bytes = 0;  // less than size in a sparse file
  bool is_folder = false;
  bool is_regular = false;
  // Together with the size they tell whether a file is still the one that was read.
  uint64_t inode = 0;
  int64_t modified_ns = 0;
};

enum class OpenMode {
  kRead,             // exists
  kReadWrite,        // exists
  kCreate,           // read and write; made if it is not there
  kCreateExclusive,  // read and write; ALREADY_EXISTS if it is there
};

// Whether the last part of a path may be a symbolic link. kRefuse wherever others choose what lies
// in the folder (datastores, state): a link would lead reads and writes out of it.
enum class Links { kRefuse, kFollow };

// Whether the change must survive a power loss when the call returns.
enum class Durability { kDurable, kNotDurable };

// The files of the machine. Errors: NOT_FOUND (the file or a folder of its path is not there),
// ALREADY_EXISTS, STORAGE_FULL (ENOSPC, EDQUOT), STORAGE_READ_ONLY (EROFS, EACCES, EPERM),
// STORAGE_ERROR (EIO and the rest), INVALID_ARGUMENT (a symbolic link, a folder where a file is
// due, a name too long), TOO_LARGE; each names the path. Every descriptor is closed on exec.
// Thread safe. Outlives the files that it opened.
class FileSystem {
 public:
  // Called when a sync failed; must not return in a daemon (in a test it may: the operation then
  // returns STORAGE_ERROR).
  using FatalHandler = std::function<void(absl::string_view message)>;

  // `faults` may be null. The default handler prints the message and aborts.
  explicit FileSystem(FaultHook* faults = nullptr, FatalHandler fatal = AbortWith);
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  // The whole file. TOO_LARGE if it is longer than `max_bytes`.
  absl::StatusOr<std::string> ReadFile(absl::string_view path, size_t max_bytes,
                                       Links links = Links::kRefuse) const;

  // Writes a new file in the same folder and renames it to `path`: readers see the old content or
  // the new one, and so does a start after a crash. A crash may leave a temporary file; see
  // RemoveStaleTemporaries. `mode` is set exactly, whatever the umask.
  absl::Status WriteFileAtomically(absl::string_view path, absl::string_view content, mode_t mode,
                                   Durability durability = Durability::kDurable) const;
  // The same for a file that `lock` holds: the lock is on the new file before it has its name, so
  // that nobody else can take it in between.
  absl::Status ReplaceLocked(FileLock* lock, absl::string_view content, mode_t mode,
                             Durability durability = Durability::kDurable) const;

  // NOT_FOUND if it is not there.
  absl::Status Remove(absl::string_view path, Durability durability = Durability::kDurable) const;
  // An empty folder.
  absl::Status RemoveFolder(absl::string_view path,
                            Durability durability = Durability::kDurable) const;
  // Replaces `to` if it is there.
  absl::Status Rename(absl::string_view from, absl::string_view to,
                      Durability durability = Durability::kDurable) const;
  // The folder and those above it that are missing, durably. OK if it is there already.
  absl::Status MakeFolders(absl::string_view path, mode_t mode = 0700) const;
  // Names of files and folders, sorted, without "." and "..".
  absl::StatusOr<std::vector<std::string>> List(absl::string_view folder) const;
  // Of the path itself: a symbolic link is neither folder nor regular.
  absl::StatusOr<FileInfo> Stat(absl::string_view path) const;
  absl::StatusOr<bool> Exists(absl::string_view path) const;
  // Makes the names in it durable.
  absl::Status SyncFolder(absl::string_view folder) const;

  // Regular files only. `mode` is used when the file is made (less the umask).
  absl::StatusOr<RandomAccessFile> Open(absl::string_view path, OpenMode open_mode,
                                        mode_t mode = 0600) const;
  // Copies `bytes` bytes (to the end of `from` if it is shorter); holes stay holes where `to` ends
  // before them. Returns the bytes copied. `progress` gets the count now and then; an error that it
  // returns stops the copy and is returned.
  absl::StatusOr<uint64_t> CopyRange(const RandomAccessFile& from, uint64_t from_offset,
                                     RandomAccessFile* to, uint64_t to_offset, uint64_t bytes,
                                     absl::FunctionRef<absl::Status(uint64_t)> progress) const;
  absl::StatusOr<uint64_t> CopyRange(const RandomAccessFile& from, uint64_t from_offset,
                                     RandomAccessFile* to, uint64_t to_offset,
                                     uint64_t bytes) const;

  // Takes the exclusive lock of an existing regular file. VM_IN_USE if anybody (this process
  // included) holds it.
  absl::StatusOr<FileLock> Lock(absl::string_view path) const;

  // Removes what atomic writes left in `folder` when their process was killed; not those of writes
  // that are going on. Returns how many.
  absl::StatusOr<int> RemoveStaleTemporaries(absl::string_view folder) const;

  // What a failed sync does, for those who sync by other means (the database).
  void EndAfterFailedSync(absl::string_view message) const;

  // The status of a failed system call: for those who make their own calls on files.
  static absl::Status ErrorOf(int error, absl::string_view action, absl::string_view path);

 private:
  friend class RandomAccessFile;
  struct Temporary {
    Descriptor fd;
    std::string path;
  };

  static void AbortWith(absl::string_view message);

  Fault Ask(Operation operation, absl::string_view path) const;
  absl::StatusOr<Descriptor> OpenFd(absl::string_view path, int flags, mode_t mode) const;
  absl::Status SyncFd(int fd, Operation operation, absl::string_view path) const;
  absl::StatusOr<Temporary> NewTemporary(absl::string_view folder) const;
  absl::Status FillTemporary(const Temporary& temporary, absl::string_view content, mode_t mode,
                             Durability durability) const;
  absl::StatusOr<Descriptor> WriteAndRename(absl::string_view path, absl::string_view content,
                                            mode_t mode, Durability durability) const;
  absl::Status RenameOnly(absl::string_view from, absl::string_view to) const;
  absl::StatusOr<size_t> ReadFd(int fd, absl::string_view path, uint64_t offset,
                                absl::Span<uint8_t> out) const;
  absl::Status WriteFd(int fd, absl::string_view path, uint64_t offset,
                       absl::Span<const uint8_t> data) const;

  FaultHook* const faults_;
  const FatalHandler fatal_;
};

// "/a/b/c" -> "/a/b", "/c" -> "/", "c" -> ".".
std::string FolderOf(absl::string_view path);

}  // namespace keysphere::files

#endif  // KEYSPHERE_COMMON_FILES_FILE_SYSTEM_H_
