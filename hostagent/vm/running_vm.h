#ifndef KEYSPHERE_HOSTAGENT_VM_RUNNING_VM_H_
#define KEYSPHERE_HOSTAGENT_VM_RUNNING_VM_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/vm/guest_disk.h"
#include "hostagent/vm/vm_config.h"
#include "hostagent/vm/vm_folder.h"

namespace keysphere::hostagent::vm {

// A powered-on VM: the locks of its .vmx and its disks, its DEKs in key memory (S133: it needs no
// KEK any more), and its disks. Destroying it powers it off: disks are flushed, DEKs wiped, the
// locks released. Lives shorter than its VmFolder.
class RunningVm {
 public:
  ~RunningVm();
  RunningVm(const RunningVm&) = delete;
  RunningVm& operator=(const RunningVm&) = delete;

  // By device ("scsi0:0") or descriptor file name; opened at the first use. NOT_FOUND.
  absl::StatusOr<GuestDisk*> Disk(absl::string_view device_or_file);
  absl::Status Flush();

  // The NVRAM (vTPM state) in clear: wipe it after use. nullopt if the VM has none.
  absl::StatusOr<absl::optional<std::string>> ReadNvram() const;
  // Replaces it durably. INVALID_STATE if the VM has no NVRAM file.
  absl::Status WriteNvram(absl::string_view nvram);

  // What a core dump of it holds: the configuration and the NVRAM in clear. Wipe it after use.
  absl::StatusOr<std::string> State() const;
  // The DEK of an encrypted VM's home; null: it is plain.
  const crypto::SecretKey* home_dek() const { return home_dek_.empty() ? nullptr : &home_dek_; }
  // That DEK as its KEK of now wraps it, and what it is bound to. Null: the VM is plain.
  const SealedConfig* sealed() const;

 private:
  friend class VmFolder;
  struct AttachedDisk {
    std::string file;
    // Of its blocks. Not held where the VM has the disk twice.
    files::FileLock lock;
    crypto::SecretKey dek;  // empty: plain
    std::unique_ptr<GuestDisk> opened;
  };
  explicit RunningVm(VmFolder* folder) : folder_(folder) {}

  VmFolder* const folder_;
  crypto::SecretKey home_dek_;   // empty: plain
  crypto::SecretKey nvram_dek_;  // empty: plain or none
  std::vector<AttachedDisk> disks_;
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_RUNNING_VM_H_
