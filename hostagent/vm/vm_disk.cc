#include "hostagent/vm/vm_disk.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/xts.h"
#include "common/status/status.h"

namespace keysphere::hostagent::vm {
namespace {

bool AllZero(absl::Span<const uint8_t> bytes) {
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

absl::Status ReadDescriptor(const files::FileSystem& files, const VmPaths& paths, VmDisk* disk) {
  const std::string path = paths.In(disk->file);
  const absl::StatusOr<files::FileInfo> info = files.Stat(path);
  if (!info.ok()) return AsMissing(info.status(), disk->file);
  disk->descriptor_info = *info;
  const absl::StatusOr<std::string> text = files.ReadFile(path, Vmdk::kMaxFileBytes);
  if (!text.ok()) {
    if (status::ReasonOf(text.status()) != v1::REASON_TOO_LARGE) {
      return AsMissing(text.status(), disk->file);
    }
    return status::Error(v1::REASON_UNSUPPORTED,
                         absl::StrCat("disk ", status::Quote(disk->file),
                                      " is no text descriptor of a flat disk"))
        .Object("disk", disk->file)
        .NextStep("Convert the disk to one flat extent (createType vmfs or monolithicFlat).");
  }
  KS_ASSIGN_OR_RETURN(disk->descriptor, Vmdk::Parse(*text, disk->file));
  disk->bytes = disk->descriptor.Sectors() * kSectorBytes;
  const std::string* const keys = disk->descriptor.Find(Vmdk::kEncryptionKeys);
  if (keys != nullptr) {
    KS_ASSIGN_OR_RETURN(KeySafe safe, ParseKeySafe(*keys, disk->file));
    disk->key_safe = std::move(safe);
  }
  if (disk->descriptor.IsSnapshot()) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("disk ", status::Quote(disk->file), " is a snapshot's"))
        .Object("disk", disk->file)
        .NextStep("Consolidate the VM's snapshots.");
  }
  KS_ASSIGN_OR_RETURN(const VmdkExtent extent, disk->descriptor.FlatExtent(disk->file));
  disk->flat_file = extent.file;
  return absl::OkStatus();
}

}  // namespace

uint64_t VmDisk::FlatBytes() const {
  if (!encrypted()) return bytes;
  return (bytes + crypto::kXtsUnitBytes - 1) / crypto::kXtsUnitBytes * crypto::kXtsUnitBytes;
}

absl::Status AsMissing(const absl::Status& status, absl::string_view file) {
  if (status::ReasonOf(status) != v1::REASON_NOT_FOUND) return status;
  return status::Error(v1::REASON_VM_FILE_MISSING,
                       absl::StrCat(status::Quote(file), " is not in the VM's folder"))
      .Object("file", file)
      .With("file", file)
      .NextStep("Restore the file from a backup, or check that the datastore is mounted.");
}

VmDisk LoadDisk(const files::FileSystem& files, const VmPaths& paths, const ConfigDisk& disk) {
  VmDisk loaded;
  loaded.device = disk.device;
  loaded.file = disk.file;
  loaded.problem = ReadDescriptor(files, paths, &loaded);
  if (loaded.problem.ok() && disk.encrypted && !loaded.encrypted()) {
    loaded.problem = status::Error(v1::REASON_VM_FILE_INVALID,
                                   absl::StrCat("disk ", status::Quote(disk.file),
                                                " is encrypted, but its descriptor has no key"))
                         .Object("disk", disk.file)
                         .With("file", disk.file)
                         .NextStep("Restore the disk's descriptor from a backup.");
  }
  return loaded;
}

absl::Status CheckFlat(const files::FileSystem& files, const VmPaths& paths, const VmDisk& disk) {
  KS_RETURN_IF_ERROR(disk.problem);
  const absl::StatusOr<files::FileInfo> info = files.Stat(paths.In(disk.flat_file));
  if (!info.ok()) return AsMissing(info.status(), disk.flat_file);
  if (!info->is_regular || info->size < disk.FlatBytes()) {
    return status::Error(
               v1::REASON_VM_FILE_INVALID,
               absl::StrCat("disk image ", status::Quote(disk.flat_file), " has ", info->size,
                            " bytes; its descriptor needs ", disk.FlatBytes()))
        .Object("disk", disk.file)
        .With("file", disk.flat_file)
        .With("bytes", absl::StrCat(info->size))
        .With("needed_bytes", absl::StrCat(disk.FlatBytes()))
        .NextStep("Restore the disk image from a backup.");
  }
  return absl::OkStatus();
}

absl::StatusOr<files::FileLock> LockFlat(const files::FileSystem& files, const VmPaths& paths,
                                         const VmDisk& disk) {
  KS_RETURN_IF_ERROR(CheckFlat(files, paths, disk));
  absl::StatusOr<files::FileLock> lock = files.Lock(paths.In(disk.flat_file));
  if (status::ReasonOf(lock.status()) == v1::REASON_VM_IN_USE) {
    return status::Error(v1::REASON_VM_IN_USE, absl::StrCat("disk ", status::Quote(disk.file),
                                                            " is in use by another VM"))
        .Object("disk", disk.file)
        .With("file", disk.flat_file)
        .NextStep("Power off the VM that uses the disk, or give each VM a disk of its own.");
  }
  if (!lock.ok()) return AsMissing(lock.status(), disk.flat_file);
  // Until now another VM may have written the disk anew, under another key.
  const absl::StatusOr<files::FileInfo> info = files.Stat(paths.In(disk.file));
  if (!info.ok()) return AsMissing(info.status(), disk.file);
  if (SameFile(*info, disk.descriptor_info)) return lock;
  return status::Error(v1::REASON_CONFLICT, absl::StrCat("disk ", status::Quote(disk.file),
                                                         " was changed by another VM just now"))
      .Object("disk", disk.file)
      .NextStep("Try again.");
}

std::string DiskBinding(absl::string_view guid, const VmDisk& disk) {
  return DekBinding(guid, "disk",
                    absl::StrCat(disk.file, "\n", disk.descriptor.Get(Vmdk::kUuid), "\n",
                                 disk.flat_file, "\n", disk.bytes));
}

absl::Status DecryptUnits(const crypto::SecretKey& xts_key, uint64_t first_unit,
                          absl::Span<uint8_t> units) {
  const size_t count = units.size() / crypto::kXtsUnitBytes;
  for (size_t begin = 0; begin < count;) {
    const auto is_hole = [&units](size_t unit) {
      return AllZero(units.subspan(unit * crypto::kXtsUnitBytes, crypto::kXtsUnitBytes));
    };
    if (is_hole(begin)) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < count && !is_hole(end)) ++end;
    const auto run =
        units.subspan(begin * crypto::kXtsUnitBytes, (end - begin) * crypto::kXtsUnitBytes);
    KS_RETURN_IF_ERROR(crypto::XtsDecrypt(xts_key, first_unit + begin, run, run));
    begin = end;
  }
  return absl::OkStatus();
}

}  // namespace keysphere::hostagent::vm
