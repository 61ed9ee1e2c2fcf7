#ifndef KEYSPHERE_HOSTAGENT_VM_VM_DISK_H_
#define KEYSPHERE_HOSTAGENT_VM_VM_DISK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/vm/journal.h"
#include "hostagent/vm/key_safe.h"
#include "hostagent/vm/vm_config.h"
#include "hostagent/vm/vmdk.h"

namespace keysphere::hostagent::vm {

// A disk of a VM, as its descriptor says, and whether it can be used.
struct VmDisk {
  std::string device;  // "scsi0:0"
  std::string file;    // descriptor
  std::string flat_file;
  uint64_t bytes = 0;  // that the guest sees
  absl::optional<KeySafe> key_safe;
  Vmdk descriptor;
  files::FileInfo descriptor_info;  // of the descriptor that was read
  // Why the disk cannot be used: VM_FILE_MISSING, VM_FILE_INVALID, UNSUPPORTED (or INVALID_STATE
  // for a snapshot's delta disk); the other fields may then be empty.
  absl::Status problem;

  bool encrypted() const { return key_safe.has_value(); }
  // Bytes of the flat file: an encrypted one ends with a whole XTS unit.
  uint64_t FlatBytes() const;
};

// "/a/b" -> "b". Errors name no folder of this machine.
inline absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// Whether a file is still the one that was read.
inline bool SameFile(const files::FileInfo& a, const files::FileInfo& b) {
  return a.inode == b.inode && a.modified_ns == b.modified_ns && a.size == b.size;
}

// Never fails: what is wrong is in `problem`, so that the VM can be listed. STORAGE_ERROR and the
// like too.
VmDisk LoadDisk(const files::FileSystem& files, const VmPaths& paths, const ConfigDisk& disk);

// VM_FILE_MISSING, or VM_FILE_INVALID with both sizes, unless the flat file has what the descriptor
// promises. `problem` first.
absl::Status CheckFlat(const files::FileSystem& files, const VmPaths& paths, const VmDisk& disk);

// Takes the disk for whoever runs its VM or writes its blocks anew: the lock of its flat file,
// which no other .vmx that names the disk gets meanwhile. Checks it as CheckFlat does. VM_IN_USE:
// another VM has it; CONFLICT: another one changed it since its descriptor was read.
absl::StatusOr<files::FileLock> LockFlat(const files::FileSystem& files, const VmPaths& paths,
                                         const VmDisk& disk);

// What the DEK of a disk is bound to: descriptor, uuid, flat file and size.
std::string DiskBinding(absl::string_view guid, const VmDisk& disk);

// NOT_FOUND as VM_FILE_MISSING, naming the file; everything else as it is.
absl::Status AsMissing(const absl::Status& status, absl::string_view file);

// Decrypts whole units in place. A unit whose ciphertext is all zero is a hole: it was never
// written since the disk was thin when it was encrypted, and reads as zeros.
absl::Status DecryptUnits(const crypto::SecretKey& xts_key, uint64_t first_unit,
                          absl::Span<uint8_t> units);

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VM_DISK_H_
