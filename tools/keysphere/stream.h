#ifndef KEYSPHERE_TOOLS_KEYSPHERE_STREAM_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_STREAM_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {

// Bytes that the user gives or gets: a file, or stdin or stdout for "-". It goes with its
// descriptor.
class Stream {
 public:
  // `flags` as open(2) has them; a file that it makes is its user's alone. `standard`: what "-" is.
  static absl::StatusOr<Stream> Open(const std::string& path, int flags, int standard);
  Stream(Stream&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(other.path_) {}
  Stream& operator=(Stream&&) = delete;
  ~Stream();

  absl::Status Write(const std::string& data) const;
  // `bytes` of it, fewer only at its end.
  absl::StatusOr<std::string> Read(int64_t bytes) const;
  // How much is left to read of a regular file; -1: of a pipe nobody knows.
  int64_t Left() const;

 private:
  Stream(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

// How far long work is, on a terminal.
class Progress {
 public:
  Progress(Session* session, std::string what) : session_(session), what_(std::move(what)) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // In whatever unit. Nothing is drawn of what is done in one step.
  void Tell(int64_t done, int64_t total);

 private:
  Session* const session_;
  const std::string what_;
  bool drawn_ = false;
};

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_STREAM_H_
