#include "hostagent/agent/datastores.h"

#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"

namespace keysphere::hostagent::agent {
namespace {

constexpr size_t kMaxPathBytes = 1024;

absl::Status BadPath(absl::string_view path) {
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("not a datastore path: ", status::Quote(path)))
      .NextStep("write it as \"[datastore] folder/name.vmx\"");
}

// Of what is there. "": nothing.
std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), &std::free);
  return real == nullptr ? "" : std::string(real.get());
}

bool IsLink(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
}

// Whether a folder on the way of `relative` is a link to somewhere else. A link in the place of the
// file itself is refused where it is opened.
bool Leaves(const std::string& datastore, absl::string_view relative) {
  for (size_t end = relative.find('/'); end != absl::string_view::npos;
       end = relative.find('/', end + 1)) {
    const std::string folder = absl::StrCat(datastore, "/", relative.substr(0, end));
    if (!IsLink(folder)) continue;
    const std::string root = RealPath(datastore);
    const std::string real = RealPath(folder);
    if (root.empty() || !absl::StartsWith(absl::StrCat(real, "/"), absl::StrCat(root, "/"))) {
      return true;
    }
  }
  return false;
}

bool IsPlainPart(absl::string_view part) {
  if (part.empty() || part == "." || part == "..") return false;
  for (const unsigned char c : part) {
    if (c < 0x20 || c == 0x7f) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> Datastores::Resolve(absl::string_view path) const {
  const size_t end = path.find(']');
  if (!absl::StartsWith(path, "[") || end == absl::string_view::npos ||
      path.size() > kMaxPathBytes) {
    return BadPath(path);
  }
  absl::string_view relative = path.substr(end + 1);
  absl::ConsumePrefix(&relative, " ");
  for (const absl::string_view part : absl::StrSplit(relative, '/')) {
    if (!IsPlainPart(part)) return BadPath(path);
  }
  const auto it = folders_.find(std::string(path.substr(1, end - 1)));
  if (it == folders_.end()) {
    return status::Error(v1::REASON_NOT_FOUND, "the host has no such datastore")
        .Object("datastore", path.substr(1, end - 1));
  }
  if (Leaves(it->second, relative)) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("datastore path ", status::Quote(path),
                                      " leads out of its datastore: a folder of it is a link"))
        .Object("file", path)
        .NextStep("Name a file of the datastore, or copy the file into it.");
  }
  return absl::StrCat(it->second, "/", relative);
}

absl::StatusOr<std::string> Datastores::Choose(absl::string_view name) const {
  const auto it = name.empty() ? folders_.begin() : folders_.find(std::string(name));
  if (it == folders_.end()) {
    return status::Error(v1::REASON_NOT_FOUND, name.empty() ? "the host has no datastore"
                                                            : "the host has no such datastore")
        .Object("datastore", name);
  }
  return it->first;
}

absl::Status Datastores::Shown(const absl::Status& status) const {
  return Edited(status, [this](const std::string& text) {
    std::string shown = text;
    for (const auto& [name, folder] : folders_) {
      absl::StrReplaceAll({{absl::StrCat(folder, "/"), Format(name, "")}}, &shown);
    }
    return shown;
  });
}

std::string Datastores::Format(absl::string_view datastore, absl::string_view relative) {
  return absl::StrCat("[", datastore, "] ", relative);
}

}  // namespace keysphere::hostagent::agent
