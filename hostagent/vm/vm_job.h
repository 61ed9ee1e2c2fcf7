#ifndef KEYSPHERE_HOSTAGENT_VM_VM_JOB_H_
#define KEYSPHERE_HOSTAGENT_VM_VM_JOB_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostagent/vm/disk_copy.h"
#include "hostagent/vm/journal.h"
#include "hostagent/vm/vm_folder.h"

namespace keysphere::hostagent::vm {

// A change of a VM that copies disks, done in steps so that nobody waits for a big disk. It holds
// the VM's lock; until its last step nothing has happened. Destroyed before that, it is cancelled:
// what it wrote is removed. Lives shorter than its VmFolder.
class VmJob {
 public:
  struct Progress {
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
  };

  ~VmJob();
  VmJob(const VmJob&) = delete;
  VmJob& operator=(const VmJob&) = delete;

  // Copies about `max_bytes`; true when the change is done and durable. An error ends the job: it
  // did not happen, or, where the error came after the commit, the VM's next operation completes
  // it.
  absl::StatusOr<bool> Step(uint64_t max_bytes);
  absl::Status RunToEnd();
  Progress progress() const;

 private:
  friend class VmFolder;
  VmJob(VmFolder* folder, std::unique_ptr<VmFolder::Plan> plan);

  absl::StatusOr<bool> StepOrFail(uint64_t max_bytes);
  void End();

  static constexpr size_t kCommitted = std::numeric_limits<size_t>::max();

  VmFolder* const folder_;
  std::unique_ptr<VmFolder::Plan> plan_;  // null: ended
  size_t current_ = 0;                    // the copy under way, or kCommitted
  uint64_t total_ = 0;                    // bytes of the whole, once committed
};

// What a change of a VM is made of.
struct VmFolder::Plan {
  const std::string tag = NewUuid().substr(0, 8);  // of the temporary files
  std::vector<DiskCopy> copies;
  Transaction transaction;
  std::vector<files::FileLock> disk_locks;  // of the flat files that get new blocks
  std::string config_text;  // the real .vmx of the encrypted VM that this makes; "" if unchanged
  // For a powered-on VM that a disk is added to: the disk and its DEK (empty: plain).
  std::string added_disk;
  crypto::SecretKey added_dek;
  absl::optional<Fresh> fresh;  // for a VM that is made
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VM_JOB_H_
