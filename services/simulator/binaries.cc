#include "services/simulator/binaries.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"

namespace keysphere::simulator {

absl::StatusOr<std::string> FindBinary(const std::string& given, const std::string& folder,
                                       const std::string& name) {
  std::vector<std::string> candidates = {given};
  if (given.empty()) {
    std::error_code error;
    const std::string own = std::filesystem::read_symlink("/proc/self/exe", error).string();
    const std::string beside = files::FolderOf(own);
    candidates = {absl::StrCat(beside, "/", name),
                  absl::StrCat(beside, "/../../", folder, "/", name)};
  }
  for (const std::string& candidate : candidates) {
    // A build's sandbox has links in its place.
    if (access(candidate.c_str(), X_OK) == 0) {
      std::error_code error;
      return std::filesystem::canonical(candidate, error).string();
    }
  }
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("no program ", status::Quote(candidates.front())))
      .NextStep(absl::StrCat("Name ", name, " by its flag."));
}

}  // namespace keysphere::simulator
