#ifndef KEYSPHERE_HOSTAGENT_VM_VM_CONFIG_H_
#define KEYSPHERE_HOSTAGENT_VM_VM_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "hostagent/vm/key_safe.h"
#include "hostagent/vm/vmx.h"

namespace keysphere::hostagent::vm {

// Names in a .vmx that we read or write.
constexpr char kDisplayName[] = "displayName";
constexpr char kGuestOs[] = "guestOS";
constexpr char kNvram[] = "nvram";
constexpr char kVtpmPresent[] = "vtpm.present";
constexpr char kMigrateEncryption[] = "migrate.encryptionMode";
constexpr char kKeySafe[] = "encryption.keySafe";
constexpr char kNvramKeySafe[] = "encryption.nvramKeySafe";
constexpr char kEncryptionData[] = "encryption.data";
constexpr char kCryptedVmGuid[] = "cryptedVM.guid";

// A VM's real configuration must leave room for base64 in the .vmx that carries it.
constexpr size_t kMaxSealedConfigBytes = 256 << 10;
constexpr size_t kMaxNvramBytes = 4 << 20;

// Behind a device's name, in the sealed .vmx: its disk is encrypted. Whoever removes the key from
// the disk's descriptor, in clear, must not make us write plain blocks.
constexpr char kDiskEncrypted[] = ".keysphere.encrypted";

// "scsi0:0" and the descriptor's file name.
struct ConfigDisk {
  std::string device;
  std::string file;
  bool encrypted = false;  // must be
};

// What a plain .vmx says (the one on disk, or the one inside encryption.data).
struct VmConfig {
  Vmx vmx;
  std::string name;      // displayName; the file's stem if it has none; valid UTF-8
  std::string guest_os;  // valid UTF-8
  std::string uuid;      // 8-4-4-4-12 lower-case digits of vc.uuid or uuid.bios; "" if neither
  bool vtpm = false;
  bool migrate_encryption_required = false;  // S113
  bool suspended = false;
  std::string nvram;              // file name; "" if none
  std::vector<ConfigDisk> disks;  // sorted by device

  // VM_FILE_INVALID where a disk or the NVRAM lies outside the VM's folder, a disk is no .vmdk, or
  // nothing is said at all.
  static absl::StatusOr<VmConfig> Read(Vmx vmx, absl::string_view file);
};

// What an encrypted .vmx says to everybody.
struct SealedConfig {
  std::string name;
  std::string guid;  // binds everything sealed to this VM
  KeySafe home;
  absl::optional<KeySafe> nvram;
  std::string data;  // AES-256-GCM of the real .vmx under the home DEK

  // nullopt for a plain .vmx. VM_FILE_INVALID where parts are missing or damaged.
  static absl::StatusOr<absl::optional<SealedConfig>> Read(const Vmx& vmx, absl::string_view file);
};

// The .vmx of an encrypted VM: of `inner` only what ESXi leaves in clear (.encoding,
// config.version, virtualHW.version, displayName) and the encryption.* entries; all the rest, byte
// for byte, is inside encryption.data.
absl::StatusOr<Vmx> SealConfig(const Vmx& inner, absl::string_view guid, const KeySafe& home,
                               const absl::optional<KeySafe>& nvram,
                               const crypto::SecretKey& home_dek);
// CIPHERTEXT_CORRUPT where the data is damaged or another VM's.
absl::StatusOr<std::string> OpenConfig(const SealedConfig& sealed,
                                       const crypto::SecretKey& home_dek, absl::string_view file);

// The NVRAM file of an encrypted VM: 6 bytes "KSNV1\n", then AES-256-GCM under the NVRAM's DEK.
absl::StatusOr<std::string> SealNvram(absl::string_view nvram, absl::string_view guid,
                                      const crypto::SecretKey& dek);
absl::StatusOr<std::string> OpenNvram(absl::string_view sealed, absl::string_view guid,
                                      const crypto::SecretKey& dek, absl::string_view file);
// `nvram` and behind it a new vTPM's state: fresh seeds of its hierarchies.
absl::StatusOr<std::string> WithNewVtpm(absl::string_view nvram);

// The .vmx of a new VM.
Vmx NewVmx(absl::string_view name, absl::string_view guest_os, absl::string_view uuid,
           absl::string_view nvram);

// A random version 4 uuid as 8-4-4-4-12, and VMware's form of one ("56 4d … -xx …").
std::string NewUuid();
std::string VmwareUuid(absl::string_view uuid);

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VM_CONFIG_H_
