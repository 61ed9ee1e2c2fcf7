#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "common/status/text.h"

namespace keysphere::files {
namespace {

v1::Reason ReasonFor(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return v1::REASON_NOT_FOUND;
    case EEXIST:
      return v1::REASON_ALREADY_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return v1::REASON_STORAGE_FULL;
    case EROFS:
    case EACCES:
    case EPERM:
      return v1::REASON_STORAGE_READ_ONLY;
    case ELOOP:
    case EISDIR:
    case EINVAL:
    case ENAMETOOLONG:
      return v1::REASON_INVALID_ARGUMENT;
    default:
      return v1::REASON_STORAGE_ERROR;
  }
}

absl::string_view Meaning(int error) {
  // O_NOFOLLOW answers ELOOP, whose own text speaks of too many levels.
  if (error == ELOOP) return "it is a symbolic link";
  return strerrordesc_np(error) == nullptr ? "unknown error" : strerrordesc_np(error);
}

// Whole where that can be: who shows the error may know a better name of its folder. The end of a
// long path says more than its beginning.
std::string QuotePath(absl::string_view path) {
  constexpr size_t kMax = 600;
  const auto quote = [](absl::string_view text) {
    return absl::StrCat("\"", status::Printable(text, kMax + 3, /*escape_quotes=*/true), "\"");
  };
  if (path.size() <= kMax) return quote(path);
  size_t start = path.size() - kMax;
  while (start < path.size() && (static_cast<uint8_t>(path[start]) & 0xC0) == 0x80) ++start;
  return quote(absl::StrCat("...", path.substr(start)));
}

}  // namespace

absl::Status FileSystem::ErrorOf(int error, absl::string_view action, absl::string_view path) {
  const v1::Reason reason = ReasonFor(error);
  auto built = status::Error(
      reason, absl::StrCat("cannot ", action, " ", QuotePath(path), ": ", Meaning(error)));
  if (reason == v1::REASON_STORAGE_FULL) built.NextStep("Free space on the storage and try again.");
  if (reason == v1::REASON_STORAGE_READ_ONLY) {
    built.NextStep("Make the storage writable for this process and try again.");
  }
  return built;
}

std::string FolderOf(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

}  // namespace keysphere::files
