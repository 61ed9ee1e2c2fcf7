#ifndef KEYSPHERE_HOSTAGENT_AGENT_MAKING_NOTES_H_
#define KEYSPHERE_HOSTAGENT_AGENT_MAKING_NOTES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"
#include "common/log/log.h"

namespace keysphere::hostagent::agent {

// Which VMs a host is making, in small files of its state folder: what a kill leaves of one on its
// datastore is removed at the next boot. They are for the end of a process, and not durable.
class MakingNotes {
 public:
  // `files` outlives the notes.
  MakingNotes(const files::FileSystem* files, absl::string_view state_dir);

  // Before the first file of the VM `id` is made, whose .vmx will be at `vmx_path`.
  absl::Status Add(absl::string_view id, absl::string_view vmx_path) const;
  // The VM is there, or nothing of it is.
  void Remove(absl::string_view id) const;

  // The VMs that a former boot was making: to be asked before this one makes any.
  std::vector<std::string> List() const;
  // Removes what there is of these, and their notes. One whose datastore is not here now stays.
  void CleanUp(const std::vector<std::string>& ids, log::Logger* logger) const;

 private:
  std::string PathOf(absl::string_view id) const;

  const files::FileSystem* const files_;
  const std::string folder_;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_MAKING_NOTES_H_
