#ifndef KEYSPHERE_HOSTAGENT_VM_DISK_COPY_H_
#define KEYSPHERE_HOSTAGENT_VM_DISK_COPY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::vm {

// Copies a disk image in steps, decrypting with one DEK and encrypting with another. Holes of a
// thin disk stay holes: an encrypted disk shows which blocks were never written, as a thin disk on
// VMFS does; written zeros are encrypted like all other data.
class DiskCopy {
 public:
  struct Spec {
    std::string source;         // path
    uint64_t source_bytes = 0;  // at least so many are there
    crypto::SecretKey old_dek;  // empty: the source is plain
    std::string target;         // path of a file to be made
    uint64_t target_bytes = 0;  // its size in the end
    crypto::SecretKey new_dek;  // empty: the target is plain
  };
  explicit DiskCopy(Spec spec) : spec_(std::move(spec)) {}

  // Copies up to `max_bytes` (rounded up to a unit); true when the whole target is there and
  // durable.
  absl::StatusOr<bool> Step(const files::FileSystem& files, uint64_t max_bytes);

  uint64_t done_bytes() const { return done_; }
  uint64_t total_bytes() const { return spec_.target_bytes; }
  const std::string& target() const { return spec_.target; }

 private:
  absl::Status Start(const files::FileSystem& files);
  absl::Status CopyChunk(uint64_t bytes);

  Spec spec_;
  bool started_ = false;
  files::RandomAccessFile source_;
  files::RandomAccessFile target_;
  crypto::SecretKey old_xts_;
  crypto::SecretKey new_xts_;
  uint64_t done_ = 0;
  std::vector<uint8_t> buffer_;
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_DISK_COPY_H_
