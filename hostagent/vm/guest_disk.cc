#include "hostagent/vm/guest_disk.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/crypto/xts.h"
#include "common/status/status.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr uint64_t kUnit = crypto::kXtsUnitBytes;
// So many units are read, decrypted and copied at once.
constexpr uint64_t kChunkUnits = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<GuestDisk>> GuestDisk::Open(const files::FileSystem& files,
                                                           const VmPaths& paths, const VmDisk& disk,
                                                           const crypto::SecretKey* dek) {
  KS_RETURN_IF_ERROR(CheckFlat(files, paths, disk));
  if (disk.encrypted() != (dek != nullptr)) {
    return status::Error(v1::REASON_INTERNAL, "a disk was opened with a DEK that it has not")
        .Object("disk", disk.file);
  }
  crypto::SecretKey xts_key;
  if (dek != nullptr) {
    KS_ASSIGN_OR_RETURN(xts_key, crypto::DeriveXtsKey(*dek));
  }
  absl::StatusOr<files::RandomAccessFile> file =
      files.Open(paths.In(disk.flat_file), files::OpenMode::kReadWrite);
  if (!file.ok()) return AsMissing(file.status(), disk.flat_file);
  return absl::WrapUnique(new GuestDisk(*std::move(file), disk.bytes, std::move(xts_key)));
}

absl::Status GuestDisk::CheckRange(uint64_t offset, uint64_t length) const {
  if (offset <= bytes_ && length <= bytes_ - offset) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("offset ", offset, " and length ", length,
                                    " reach beyond the disk's ", bytes_, " bytes"));
}

absl::Status GuestDisk::ReadFully(uint64_t offset, absl::Span<uint8_t> out) const {
  KS_ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(offset, out));
  if (count == out.size()) return absl::OkStatus();
  return status::Error(v1::REASON_VM_FILE_INVALID,
                       absl::StrCat("disk image ", status::Quote(BaseName(file_.path())),
                                    " ends at ", offset + count, " instead of ", bytes_, " bytes"))
      .NextStep("Restore the disk image from a backup.");
}

absl::Status GuestDisk::ReadUnits(uint64_t first_unit, absl::Span<uint8_t> units) const {
  KS_RETURN_IF_ERROR(ReadFully(first_unit * kUnit, units));
  return DecryptUnits(xts_key_, first_unit, units);
}

absl::Status GuestDisk::Read(uint64_t offset, absl::Span<uint8_t> out) const {
  KS_RETURN_IF_ERROR(CheckRange(offset, out.size()));
  if (out.empty()) return absl::OkStatus();
  if (!encrypted()) return ReadFully(offset, out);
  std::vector<uint8_t> buffer;
  while (!out.empty()) {
    const uint64_t unit = offset / kUnit;
    const uint64_t skip = offset % kUnit;
    const uint64_t length = std::min<uint64_t>(out.size(), kChunkUnits * kUnit - skip);
    buffer.resize((skip + length + kUnit - 1) / kUnit * kUnit);
    KS_RETURN_IF_ERROR(ReadUnits(unit, absl::MakeSpan(buffer)));
    std::memcpy(out.data(), buffer.data() + skip, length);
    out.remove_prefix(length);
    offset += length;
  }
  return absl::OkStatus();
}

absl::Status GuestDisk::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  KS_RETURN_IF_ERROR(CheckRange(offset, data.size()));
  if (data.empty()) return absl::OkStatus();
  dirty_ = true;
  if (!encrypted()) return file_.WriteAt(offset, data);
  std::vector<uint8_t> buffer;
  while (!data.empty()) {
    const uint64_t unit = offset / kUnit;
    const uint64_t skip = offset % kUnit;
    const uint64_t length = std::min<uint64_t>(data.size(), kChunkUnits * kUnit - skip);
    const uint64_t units = (skip + length + kUnit - 1) / kUnit;
    buffer.resize(units * kUnit);
    // Only the first and the last unit can be written in part.
    if (skip != 0) {
      KS_RETURN_IF_ERROR(ReadUnits(unit, absl::MakeSpan(buffer).subspan(0, kUnit)));
    }
    if ((skip + length) % kUnit != 0 && (units > 1 || skip == 0)) {
      KS_RETURN_IF_ERROR(
          ReadUnits(unit + units - 1, absl::MakeSpan(buffer).subspan((units - 1) * kUnit, kUnit)));
    }
    std::memcpy(buffer.data() + skip, data.data(), length);
    KS_RETURN_IF_ERROR(
        crypto::XtsEncrypt(xts_key_, unit, absl::MakeConstSpan(buffer), absl::MakeSpan(buffer)));
    KS_RETURN_IF_ERROR(file_.WriteAt(unit * kUnit, buffer));
    data.remove_prefix(length);
    offset += length;
  }
  return absl::OkStatus();
}

absl::Status GuestDisk::Flush() {
  if (!dirty_) return absl::OkStatus();
  KS_RETURN_IF_ERROR(file_.Sync());
  dirty_ = false;
  return absl::OkStatus();
}

}  // namespace keysphere::hostagent::vm
