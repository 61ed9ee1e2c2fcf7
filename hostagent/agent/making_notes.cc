#include "hostagent/agent/making_notes.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/vm/vm_folder.h"

namespace keysphere::hostagent::agent {
namespace {

constexpr size_t kMaxPathBytes = 8 << 10;

}  // namespace

MakingNotes::MakingNotes(const files::FileSystem* files, absl::string_view state_dir)
    : files_(files), folder_(absl::StrCat(state_dir, "/making")) {}

std::string MakingNotes::PathOf(absl::string_view id) const {
  return absl::StrCat(folder_, "/", id);
}

absl::Status MakingNotes::Add(absl::string_view id, absl::string_view vmx_path) const {
  KS_RETURN_IF_ERROR(files_->MakeFolders(folder_));
  return files_->WriteFileAtomically(PathOf(id), vmx_path, 0600, files::Durability::kNotDurable);
}

void MakingNotes::Remove(absl::string_view id) const {
  files_->Remove(PathOf(id), files::Durability::kNotDurable).IgnoreError();
}

std::vector<std::string> MakingNotes::List() const {
  std::vector<std::string> ids;
  const absl::StatusOr<std::vector<std::string>> names = files_->List(folder_);
  if (!names.ok()) return ids;  // there never was one
  files_->RemoveStaleTemporaries(folder_).status().IgnoreError();
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, ".")) ids.push_back(name);
  }
  return ids;
}

void MakingNotes::CleanUp(const std::vector<std::string>& ids, log::Logger* logger) const {
  for (const std::string& id : ids) {
    const absl::StatusOr<std::string> path = files_->ReadFile(PathOf(id), kMaxPathBytes);
    // A loss of power may leave a note without its content.
    if (path.ok() && absl::StartsWith(*path, "/") && absl::EndsWith(*path, ".vmx")) {
      const absl::StatusOr<bool> datastore =
          files_->Exists(files::FolderOf(files::FolderOf(*path)));
      if (!datastore.ok() || !*datastore) continue;
      const absl::Status removed = vm::VmFolder::RemoveUnfinished(*files_, *path);
      if (!removed.ok()) {
        logger->Warning("host.unfinished_vm_not_removed", {{"vmx", *path}, {"error", removed}});
        continue;
      }
    }
    Remove(id);
  }
}

}  // namespace keysphere::hostagent::agent
