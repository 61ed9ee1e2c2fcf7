#include "hostagent/vm/disk_copy.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/crypto/kdf.h"
#include "common/crypto/xts.h"
#include "common/status/status.h"
#include "hostagent/vm/vm_disk.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr uint64_t kUnit = crypto::kXtsUnitBytes;
constexpr uint64_t kChunkBytes = 256 << 10;
constexpr uint64_t kMaxStepBytes = uint64_t{1} << 40;

}  // namespace

absl::Status DiskCopy::Start(const files::FileSystem& files) {
  if (!spec_.source.empty()) {
    KS_ASSIGN_OR_RETURN(source_, files.Open(spec_.source, files::OpenMode::kRead));
  }
  if (!spec_.old_dek.empty()) {
    KS_ASSIGN_OR_RETURN(old_xts_, crypto::DeriveXtsKey(spec_.old_dek));
  }
  if (!spec_.new_dek.empty()) {
    KS_ASSIGN_OR_RETURN(new_xts_, crypto::DeriveXtsKey(spec_.new_dek));
  }
  KS_ASSIGN_OR_RETURN(target_, files.Open(spec_.target, files::OpenMode::kCreateExclusive));
  KS_RETURN_IF_ERROR(target_.Truncate(spec_.target_bytes));
  started_ = true;
  return absl::OkStatus();
}

absl::Status DiskCopy::CopyChunk(uint64_t bytes) {
  // Whole units; what the source lacks of the last one are zeros.
  buffer_.assign((bytes + kUnit - 1) / kUnit * kUnit, 0);
  const auto chunk = absl::MakeSpan(buffer_);
  const uint64_t in_source = std::min<uint64_t>(chunk.size(), spec_.source_bytes - done_);
  KS_ASSIGN_OR_RETURN(const size_t count, source_.ReadAt(done_, chunk.subspan(0, in_source)));
  if (count != in_source) {
    return status::Error(
               v1::REASON_VM_FILE_INVALID,
               absl::StrCat("disk image ", status::Quote(BaseName(spec_.source)), " ends at ",
                            done_ + count, " of ", spec_.source_bytes, " bytes"))
        .NextStep("Restore the disk image from a backup.");
  }
  if (!old_xts_.empty()) {
    KS_RETURN_IF_ERROR(DecryptUnits(old_xts_, done_ / kUnit, chunk));
  }
  if (!new_xts_.empty()) {
    KS_RETURN_IF_ERROR(crypto::XtsEncrypt(new_xts_, done_ / kUnit, chunk, chunk));
  }
  return target_.WriteAt(
      done_, chunk.subspan(0, std::min<uint64_t>(chunk.size(), spec_.target_bytes - done_)));
}

absl::StatusOr<bool> DiskCopy::Step(const files::FileSystem& files, uint64_t max_bytes) {
  if (!started_) KS_RETURN_IF_ERROR(Start(files));
  const uint64_t end = std::min(spec_.source_bytes, spec_.target_bytes);
  max_bytes = std::min(std::max<uint64_t>(max_bytes, 1), kMaxStepBytes);
  uint64_t copied = 0;
  while (source_.is_open() && done_ < end && copied < max_bytes) {
    KS_ASSIGN_OR_RETURN(const uint64_t data, source_.NextData(done_));
    done_ = std::min(end, std::max(done_, data / kUnit * kUnit));
    if (done_ == end) break;
    const uint64_t bytes =
        std::min({end - done_, kChunkBytes, (max_bytes - copied + kUnit - 1) / kUnit * kUnit});
    KS_RETURN_IF_ERROR(CopyChunk(bytes));
    done_ += bytes;
    copied += bytes;
  }
  if (source_.is_open() && done_ < end) return false;
  done_ = spec_.target_bytes;
  KS_RETURN_IF_ERROR(target_.Sync());
  target_.Close();
  source_.Close();
  return true;
}

}  // namespace keysphere::hostagent::vm
