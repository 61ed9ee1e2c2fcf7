#ifndef KEYSPHERE_COMMON_FILES_FAULT_HOOK_H_
#define KEYSPHERE_COMMON_FILES_FAULT_HOOK_H_

#include <cstddef>
#include <limits>

#include "absl/strings/string_view.h"

namespace keysphere::files {

// What is about to be done to a file: one system call each.
enum class Operation {
  kOpen,
  kRead,
  kWrite,
  kSync,        // of a file
  kSyncFolder,  // makes names durable
  kRename,
  kRemove,
  kMakeFolder,
  kList,
  kStat,
  kTruncate,
  kLock,
};

// What a hook makes of it.
struct Fault {
  // An errno with which the operation fails instead of being done; 0: it is done.
  int error = 0;
  // Reads and writes move no more bytes than this (a short read or write); 0 counts as 1.
  size_t at_most = std::numeric_limits<size_t>::max();
};

// Sees every operation before it is done, from any thread: injects ENOSPC, EROFS, EIO and short
// writes, and is the place of crash points (a hook may end the process, or call back into a test).
class FaultHook {
 public:
  virtual ~FaultHook() = default;
  // `path` is the file; for kRename the old name; for the temporary file of an atomic write its
  // own, temporary name.
  virtual Fault Before(Operation operation, absl::string_view path) = 0;
};

}  // namespace keysphere::files

#endif  // KEYSPHERE_COMMON_FILES_FAULT_HOOK_H_
