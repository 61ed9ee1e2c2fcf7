#ifndef KEYSPHERE_HOSTAGENT_VM_GUEST_DISK_H_
#define KEYSPHERE_HOSTAGENT_VM_GUEST_DISK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/vm/vm_disk.h"

namespace keysphere::hostagent::vm {

// The blocks of a disk as the guest of a powered-on VM sees them. Encrypted disks are AES-256-XTS
// in units of 4,096 bytes (S137), tweak = unit number; a write of part of a unit reads, changes and
// writes the unit. Writes are in place and durable after Flush. XTS does not authenticate: a
// changed ciphertext reads as noise, as on every disk encrypted so.
class GuestDisk {
 public:
  // `dek` is null for a plain disk. VM_FILE_MISSING, VM_FILE_INVALID as CheckFlat.
  static absl::StatusOr<std::unique_ptr<GuestDisk>> Open(const files::FileSystem& files,
                                                         const VmPaths& paths, const VmDisk& disk,
                                                         const crypto::SecretKey* dek);

  uint64_t bytes() const { return bytes_; }
  bool encrypted() const { return !xts_key_.empty(); }

  // Any offset and length within the disk; INVALID_ARGUMENT beyond it.
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> out) const;
  absl::Status Write(uint64_t offset, absl::Span<const uint8_t> data);
  absl::Status Flush();

 private:
  GuestDisk(files::RandomAccessFile file, uint64_t bytes, crypto::SecretKey xts_key)
      : file_(std::move(file)), bytes_(bytes), xts_key_(std::move(xts_key)) {}

  absl::Status CheckRange(uint64_t offset, uint64_t length) const;
  absl::Status ReadFully(uint64_t offset, absl::Span<uint8_t> out) const;
  absl::Status ReadUnits(uint64_t first_unit, absl::Span<uint8_t> units) const;

  files::RandomAccessFile file_;
  const uint64_t bytes_;
  const crypto::SecretKey xts_key_;  // empty: plain
  bool dirty_ = false;
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_GUEST_DISK_H_
