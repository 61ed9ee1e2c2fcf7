#ifndef KEYSPHERE_HOSTAGENT_VM_JOURNAL_H_
#define KEYSPHERE_HOSTAGENT_VM_JOURNAL_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::vm {

// Where a VM's files lie, and the names that belong to it alone.
struct VmPaths {
  std::string folder;    // without a trailing "/"
  std::string vmx_name;  // "web-1.vmx"
  std::string stem;      // "web-1"

  std::string In(absl::string_view name) const { return folder + "/" + std::string(name); }
  std::string Vmx() const { return In(vmx_name); }
  std::string JournalName() const { return stem + ".ks-journal"; }
  std::string TemporaryPrefix() const { return stem + ".ks-new."; }
  // Held while a VM is made.
  std::string Claim() const { return In(TemporaryPrefix() + "claim"); }
  // The name under which the successor of `name` is written. `tag` differs in every change, so that
  // no journal ever means the temporary file of another one.
  std::string Temporary(absl::string_view tag, absl::string_view name) const {
    return TemporaryPrefix() + std::string(tag) + "." + std::string(name);
  }
};

// A change of several files of one VM that happens whole or not at all (S148):
//
//   1. big new files (disks) are written under temporary names and synced;
//   2. the journal NAME.ks-journal is written atomically: it holds the new content of the small
//      files (.vmx, descriptors, NVRAM), which temporary files take over which names, and which
//      files go. This is the commit;
//   3. the small files are replaced, the temporary ones renamed, the rest removed, all synced;
//   4. the journal is removed.
//
// A crash before 2 leaves temporary files, which the next open removes: nothing happened. A crash
// after 2 leaves the journal, and the next open does 3 and 4 again: every part of them may be done
// any number of times. A change of the .vmx alone needs no journal: its rename is the commit.
class Transaction {
 public:
  // The new content of a small file.
  void Write(absl::string_view name, std::string content);
  // The file that was written as `temporary` becomes `name`.
  void TakeOver(absl::string_view temporary, absl::string_view name);
  void Remove(absl::string_view name);

  // The files that have new content afterwards.
  std::vector<std::string> NewFiles() const;
  // That of the small file `name`; null: it has none.
  const std::string* Content(absl::string_view name) const;

  // Steps 2 to 4. `lock` holds the .vmx and moves to its new file. After an error Recover
  // completes or undoes the change; `*committed` says whether it completes it.
  absl::Status Commit(const files::FileSystem& files, const VmPaths& paths, files::FileLock* lock,
                      bool* committed) const;
  // Of a VM that is made: needs no journal, as without its .vmx, which comes last, there is none.
  // Before that `may_appear` is asked once more.
  absl::Status CommitNew(const files::FileSystem& files, const VmPaths& paths,
                         absl::FunctionRef<absl::Status()> may_appear) const;

 private:
  friend absl::Status WriteClaim(const files::FileSystem&, files::FileLock*,
                                 const std::vector<std::string>&);
  friend absl::StatusOr<bool> RemoveClaimed(const files::FileSystem&, const VmPaths&);
  friend absl::Status Recover(const files::FileSystem&, const VmPaths&, files::FileLock*, bool);
  std::string Serialize() const;
  static absl::StatusOr<Transaction> Parse(absl::string_view text, absl::string_view file);
  absl::Status Apply(const files::FileSystem& files, const VmPaths& paths,
                     files::FileLock* lock) const;
  // The locks of the files that are still to be replaced by big ones.
  absl::StatusOr<std::vector<files::FileLock>> LockTakenOver(const files::FileSystem& files,
                                                             const VmPaths& paths) const;
  // Step 3. Without `lock` all but the .vmx.
  absl::Status ReplaceFiles(const files::FileSystem& files, const VmPaths& paths,
                            files::FileLock* lock) const;

  std::vector<std::pair<std::string, std::string>> writes_;
  std::vector<std::pair<std::string, std::string>> take_overs_;  // name, temporary
  std::vector<std::string> removals_;
};

// The claim of a VM that is made, locked by `lock`, lists from now on the files that its making
// brings under their own names. Not durable: it is for the end of a process.
absl::Status WriteClaim(const files::FileSystem& files, files::FileLock* lock,
                        const std::vector<std::string>& names);
// Removes what the claim of a former making lists, which belongs to nobody as long as there is no
// .vmx. False: it lists nothing.
absl::StatusOr<bool> RemoveClaimed(const files::FileSystem& files, const VmPaths& paths);

// Whether a journal or temporary files of this VM lie in its folder.
absl::StatusOr<bool> NeedsRecovery(const files::FileSystem& files, const VmPaths& paths);

// Completes the change that the journal holds, if there is one, and removes temporary files.
// `lock` holds the .vmx: no other process is at work. VM_FILE_INVALID for a damaged journal;
// VM_IN_USE where a disk that it replaces is in use by the VM of another .vmx, unless
// `disks_locked`: the caller has them.
absl::Status Recover(const files::FileSystem& files, const VmPaths& paths, files::FileLock* lock,
                     bool disks_locked);

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_JOURNAL_H_
