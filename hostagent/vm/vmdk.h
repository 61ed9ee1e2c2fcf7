#ifndef KEYSPHERE_HOSTAGENT_VM_VMDK_H_
#define KEYSPHERE_HOSTAGENT_VM_VMDK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::hostagent::vm {

constexpr uint64_t kSectorBytes = 512;
// 62 TB, vSphere's largest virtual disk, in sectors.
constexpr uint64_t kMaxDiskSectors = (62ull << 40) / kSectorBytes;

// One line `RW 20480 FLAT "web-1-flat.vmdk" 0` of a descriptor.
struct VmdkExtent {
  std::string access;  // RW, RDONLY, NOACCESS
  uint64_t sectors = 0;
  std::string type;  // FLAT, VMFS, SPARSE, …
  std::string file;  // a plain file name in the VM's folder; empty for ZERO
  uint64_t offset_sectors = 0;
};

// A .vmdk text descriptor. Like Vmx, it keeps what nobody edits byte for byte. An encrypted disk's
// descriptor carries its wrapped DEK as `encryptionKeys="vmware:key/list/…"` (key_safe.h).
class Vmdk {
 public:
  static constexpr size_t kMaxFileBytes = 64 << 10;
  static constexpr size_t kMaxExtents = 64;
  static constexpr char kEncryptionKeys[] = "encryptionKeys";
  static constexpr char kUuid[] = "ddb.uuid";

  // A new descriptor of one flat extent. `cid` is the content id, `uuid` VMware's spaced form.
  static Vmdk New(absl::string_view flat_file, uint64_t sectors, uint32_t cid,
                  absl::string_view uuid);

  // VM_FILE_INVALID with file and line for what is malformed, an extent file with a "/" or a name
  // of "." or "..", and over the limits; UNSUPPORTED for a binary (sparse) .vmdk.
  static absl::StatusOr<Vmdk> Parse(absl::string_view text, absl::string_view file);
  std::string Serialize() const;

  const std::vector<VmdkExtent>& extents() const { return extents_; }
  const std::string* Find(absl::string_view name) const;
  std::string Get(absl::string_view name) const;
  void Set(absl::string_view name, absl::string_view value);
  bool Erase(absl::string_view name);

  uint64_t Sectors() const;
  bool IsSnapshot() const;  // has a parent disk
  // The one flat extent, at offset 0, of a disk that we can open; UNSUPPORTED for another layout.
  absl::StatusOr<VmdkExtent> FlatExtent(absl::string_view file) const;

 private:
  struct Line {
    std::string raw;
    std::string name;  // empty: comment, blank or extent
    std::string value;
  };
  std::vector<Line> lines_;
  std::vector<VmdkExtent> extents_;
};

// True for a name that stays in its folder: not empty, at most 255 bytes, no "/", no NUL or control
// character, not "." or "..".
bool IsPlainFileName(absl::string_view name);

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VMDK_H_
