#include "tools/keysphere/registry.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files/file_system.h"
#include "common/status/status.h"

namespace keysphere::cli {
namespace {

constexpr size_t kMaxNoteBytes = 8192;

// Whether nobody but this user can have written into the folder: in /tmp anybody may make one of
// that name.
bool IsOwn(const std::string& folder) {
  struct stat info {};
  return lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
         (info.st_mode & 022) == 0;
}

}  // namespace

std::string StartOfProcess(pid_t pid) {
  const files::FileSystem disk;
  const absl::StatusOr<std::string> stat =
      disk.ReadFile(absl::StrCat("/proc/", pid, "/stat"), kMaxNoteBytes);
  if (!stat.ok()) return "";
  // The name in parentheses may hold anything; after it comes field 3 (the state).
  const size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos) return "";
  const std::vector<std::string> fields =
      absl::StrSplit(stat->substr(name_end + 1), ' ', absl::SkipEmpty());
  // Field 22. A zombie has ended.
  if (fields.size() < 20 || fields[0] == "Z") return "";
  return fields[19];
}

Registry Registry::ForUser(const std::function<std::string(const std::string&)>& variable) {
  const std::string runtime = variable("XDG_RUNTIME_DIR");
  if (!runtime.empty()) return Registry(absl::StrCat(runtime, "/keysphere"));
  return Registry(absl::StrCat("/tmp/keysphere-", geteuid()));
}

absl::Status Registry::Note(const std::string& cluster_dir, pid_t pid) const {
  const files::FileSystem disk;
  KS_RETURN_IF_ERROR(disk.MakeFolders(folder_));
  if (!IsOwn(folder_)) {
    return status::Error(v1::REASON_STORAGE_READ_ONLY,
                         absl::StrCat(folder_, " belongs to somebody else, or others may write it"))
        .NextStep("Name the cluster by --dir or KEYSPHERE_DIR, or set XDG_RUNTIME_DIR.");
  }
  return disk.WriteFileAtomically(absl::StrCat(folder_, "/", pid, ".cluster"),
                                  absl::StrCat(StartOfProcess(pid), "\n", cluster_dir, "\n"), 0600,
                                  files::Durability::kNotDurable);
}

void Registry::Forget(pid_t pid) const {
  // It may never have been noted.
  files::FileSystem().Remove(absl::StrCat(folder_, "/", pid, ".cluster")).IgnoreError();
}

absl::StatusOr<std::string> Registry::Newest() const {
  const files::FileSystem disk;
  std::vector<std::string> names;
  if (IsOwn(folder_)) {
    absl::StatusOr<std::vector<std::string>> listed = disk.List(folder_);
    if (listed.ok()) names = *std::move(listed);
  }
  std::string newest;
  int64_t newest_time = -1;
  for (const std::string& name : names) {
    const std::vector<std::string> parts = absl::StrSplit(name, '.');
    pid_t pid = 0;
    if (parts.size() != 2 || parts[1] != "cluster" || !absl::SimpleAtoi(parts[0], &pid)) continue;
    const std::string path = absl::StrCat(folder_, "/", name);
    const absl::StatusOr<std::string> note = disk.ReadFile(path, kMaxNoteBytes);
    const absl::StatusOr<files::FileInfo> info = disk.Stat(path);
    if (!note.ok() || !info.ok()) continue;
    const std::vector<std::string> lines = absl::StrSplit(*note, '\n');
    const std::string start = StartOfProcess(pid);
    if (lines.size() < 2 || start.empty() || start != lines[0]) {
      Forget(pid);
    } else if (info->modified_ns > newest_time) {
      newest = lines[1];
      newest_time = info->modified_ns;
    }
  }
  if (newest.empty()) {
    return status::Error(v1::REASON_NOT_FOUND, "no cluster of yours runs here")
        .NextStep("Start one with `keysphere up --detach`, or name its folder by --dir.");
  }
  return newest;
}

}  // namespace keysphere::cli
