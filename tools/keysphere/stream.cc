#include "tools/keysphere/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ostream>

#include "common/files/file_system.h"

namespace keysphere::cli {

absl::StatusOr<Stream> Stream::Open(const std::string& path, int flags, int standard) {
  if (path == "-") return Stream(standard, path);
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return files::FileSystem::ErrorOf(errno, "open", path);
  return Stream(fd, path);
}

Stream::~Stream() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

absl::Status Stream::Write(const std::string& data) const {
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t wrote = write(fd_, data.data() + done, data.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return files::FileSystem::ErrorOf(errno, "write", path_);
    done += static_cast<size_t>(wrote);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Stream::Read(int64_t bytes) const {
  std::string data(static_cast<size_t>(bytes), '\0');
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t got = read(fd_, &data[done], data.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return files::FileSystem::ErrorOf(errno, "read", path_);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  data.resize(done);
  return data;
}

int64_t Stream::Left() const {
  struct stat info {};
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return -1;
  return std::max<int64_t>(0, info.st_size - lseek(fd_, 0, SEEK_CUR));
}

Progress::~Progress() {
  if (drawn_) session_->err() << "\r\x1b[K" << std::flush;
}

void Progress::Tell(int64_t done, int64_t total) {
  if (!session_->environment().terminal || (!drawn_ && done >= total)) return;
  session_->err() << "\r" << Printable(what_) << ' ' << done * 100 / total << " % " << std::flush;
  drawn_ = true;
}

}  // namespace keysphere::cli
