#include "hostagent/vm/vm_config.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "common/crypto/aead.h"
#include "common/status/status.h"
#include "common/status/utf8.h"
#include "hostagent/vm/vmdk.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr absl::string_view kNvramMagic = "KSNV1\n";
constexpr absl::string_view kVtpmMagic = "KSVTPM1\n";
constexpr size_t kVtpmSeedBytes = 4 * 32;  // endorsement, storage, platform, null
constexpr size_t kMaxGuidBytes = 64;

absl::Status Invalid(absl::string_view file, absl::string_view what) {
  return status::Error(v1::REASON_VM_FILE_INVALID, absl::StrCat(status::Quote(file), ": ", what))
      .With("file", file)
      .NextStep("Restore the file from a backup.");
}

// Files of other encodings (.encoding = "windows-1252") must not break messages: what is no UTF-8
// becomes "?".
std::string ValidUtf8(absl::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const status::CodePoint c = status::FirstCodePoint(text);
    absl::StrAppend(&valid, c.valid ? text.substr(0, c.bytes) : "?");
    text.remove_prefix(c.bytes);
  }
  return valid;
}

// The 32 digits of VMware's "56 4d 8c 2a …-…" as 8-4-4-4-12; "" for anything else.
std::string CanonicalUuid(absl::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (absl::ascii_isxdigit(c)) {
      digits += absl::ascii_tolower(c);
    } else if (c != ' ' && c != '-' && c != '{' && c != '}') {
      return "";
    }
  }
  if (digits.size() != 32) return "";
  for (const size_t at : {20, 16, 12, 8}) digits.insert(at, "-");
  return digits;
}

// "scsi0:0.fileName" -> "scsi0:0"; "" for other names.
std::string DiskDevice(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  absl::string_view rest = lower;
  if (!absl::ConsumeSuffix(&rest, ".filename")) return "";
  const std::string device(rest);
  bool bus = false;
  for (const char* const kind : {"scsi", "sata", "ide", "nvme"}) {
    bus = bus || absl::ConsumePrefix(&rest, kind);
  }
  const size_t colon = rest.find(':');
  uint32_t controller = 0;
  uint32_t unit = 0;
  if (!bus || colon == absl::string_view::npos ||
      !absl::SimpleAtoi(rest.substr(0, colon), &controller) ||
      !absl::SimpleAtoi(rest.substr(colon + 1), &unit)) {
    return "";
  }
  return device;
}

// A device that may hold a guest's data: no CD, no floppy, not switched off.
bool IsDisk(const Vmx& vmx, const std::string& device, const std::string& file) {
  const std::string type = absl::AsciiStrToLower(vmx.Get(device + ".deviceType"));
  // A drive without a medium names no file.
  return vmx.GetBool(device + ".present", !file.empty()) && !absl::StrContains(type, "cdrom") &&
         !absl::StrContains(type, "floppy");
}

}  // namespace

absl::StatusOr<VmConfig> VmConfig::Read(Vmx vmx, absl::string_view file) {
  if (vmx.Names().empty()) return Invalid(file, "no entry is in it");
  VmConfig config;
  const absl::string_view stem = file.substr(0, file.rfind('.'));
  config.name = ValidUtf8(vmx.Get(kDisplayName, stem));
  config.guest_os = ValidUtf8(vmx.Get(kGuestOs));
  config.uuid = CanonicalUuid(vmx.Get("vc.uuid"));
  if (config.uuid.empty()) config.uuid = CanonicalUuid(vmx.Get("uuid.bios"));
  config.vtpm = vmx.GetBool(kVtpmPresent, false);
  config.migrate_encryption_required =
      absl::EqualsIgnoreCase(vmx.Get(kMigrateEncryption), "required");
  config.suspended = !vmx.Get("checkpoint.vmState").empty();
  config.nvram = vmx.Get(kNvram);
  if (!config.nvram.empty() && !IsPlainFileName(config.nvram)) {
    return Invalid(file, absl::StrCat("nvram ", status::Quote(config.nvram),
                                      " is no file name in the VM's folder"));
  }
  for (const std::string& name : vmx.Names()) {
    const std::string device = DiskDevice(name);
    if (device.empty()) continue;
    const std::string disk = vmx.Get(name);
    if (!IsDisk(vmx, device, disk)) continue;
    // Whatever is passed over here would stay in clear when the VM is encrypted.
    if (!absl::EndsWithIgnoreCase(disk, ".vmdk")) {
      return Invalid(file, absl::StrCat("disk ", device, " = ", status::Quote(disk),
                                        " is no .vmdk descriptor"));
    }
    if (!IsPlainFileName(disk)) {
      return Invalid(file, absl::StrCat("disk ", device, " = ", status::Quote(disk),
                                        " is no file name in the VM's folder"));
    }
    config.disks.push_back({device, disk, vmx.GetBool(device + kDiskEncrypted, false)});
  }
  // By bus, then number: scsi0:2 before scsi0:10.
  std::sort(config.disks.begin(), config.disks.end(), [](const auto& a, const auto& b) {
    return a.device.size() != b.device.size() ? a.device.size() < b.device.size()
                                              : a.device < b.device;
  });
  for (size_t i = 0; i < config.disks.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (config.disks[i].file == config.disks[k].file) {
        return Invalid(
            file, absl::StrCat("disk ", status::Quote(config.disks[i].file), " is named twice"));
      }
    }
  }
  config.vmx = std::move(vmx);
  return config;
}

absl::StatusOr<absl::optional<SealedConfig>> SealedConfig::Read(const Vmx& vmx,
                                                                absl::string_view file) {
  const std::string* const key_safe = vmx.Find(kKeySafe);
  const std::string* const data = vmx.Find(kEncryptionData);
  if (key_safe == nullptr && data == nullptr) return absl::optional<SealedConfig>();
  if (key_safe == nullptr) return Invalid(file, "encryption.data without encryption.keySafe");
  if (data == nullptr) return Invalid(file, "encryption.keySafe without encryption.data");
  SealedConfig sealed;
  KS_ASSIGN_OR_RETURN(sealed.home, ParseKeySafe(*key_safe, file));
  const std::string* const nvram = vmx.Find(kNvramKeySafe);
  if (nvram != nullptr) {
    KS_ASSIGN_OR_RETURN(KeySafe safe, ParseKeySafe(*nvram, file));
    sealed.nvram = std::move(safe);
  }
  if (!absl::Base64Unescape(*data, &sealed.data) || sealed.data.empty()) {
    return Invalid(file, "encryption.data is no base64");
  }
  sealed.guid = vmx.Get(kCryptedVmGuid);
  if (sealed.guid.empty() || sealed.guid.size() > kMaxGuidBytes) {
    return Invalid(file, "cryptedVM.guid is missing or malformed");
  }
  sealed.name = ValidUtf8(vmx.Get(kDisplayName, file.substr(0, file.rfind('.'))));
  return absl::optional<SealedConfig>(std::move(sealed));
}

absl::StatusOr<Vmx> SealConfig(const Vmx& inner, absl::string_view guid, const KeySafe& home,
                               const absl::optional<KeySafe>& nvram,
                               const crypto::SecretKey& home_dek) {
  const std::string text = inner.Serialize();
  if (text.size() > kMaxSealedConfigBytes) {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("a .vmx of ", text.size(), " bytes; at most ",
                                      kMaxSealedConfigBytes, " can be encrypted"));
  }
  KS_ASSIGN_OR_RETURN(const std::string data,
                      crypto::GcmSeal(home_dek, DekBinding(guid, "home"), text));
  Vmx outer;
  for (const char* const name :
       {".encoding", "config.version", "virtualHW.version", kDisplayName}) {
    const std::string* const value = inner.Find(name);
    if (value != nullptr) outer.Set(name, *value);
  }
  outer.Set(kCryptedVmGuid, guid);
  outer.Set(kKeySafe, FormatKeySafe(home));
  if (nvram.has_value()) outer.Set(kNvramKeySafe, FormatKeySafe(*nvram));
  outer.Set(kEncryptionData, absl::Base64Escape(data));
  return outer;
}

absl::StatusOr<std::string> OpenConfig(const SealedConfig& sealed,
                                       const crypto::SecretKey& home_dek, absl::string_view file) {
  absl::StatusOr<std::string> text =
      crypto::GcmOpen(home_dek, DekBinding(sealed.guid, "home"), sealed.data);
  if (text.ok()) return text;
  return status::Error(v1::REASON_CIPHERTEXT_CORRUPT,
                       absl::StrCat(status::Quote(file), ": encryption.data is damaged"))
      .Object("vm", sealed.name)
      .With("file", file)
      .NextStep("Restore the file from a backup.");
}

absl::StatusOr<std::string> SealNvram(absl::string_view nvram, absl::string_view guid,
                                      const crypto::SecretKey& dek) {
  KS_ASSIGN_OR_RETURN(const std::string sealed,
                      crypto::GcmSeal(dek, DekBinding(guid, "nvram"), nvram));
  return absl::StrCat(kNvramMagic, sealed);
}

absl::StatusOr<std::string> OpenNvram(absl::string_view sealed, absl::string_view guid,
                                      const crypto::SecretKey& dek, absl::string_view file) {
  if (!absl::ConsumePrefix(&sealed, kNvramMagic)) return Invalid(file, "not an encrypted NVRAM");
  absl::StatusOr<std::string> nvram = crypto::GcmOpen(dek, DekBinding(guid, "nvram"), sealed);
  if (nvram.ok()) return nvram;
  return status::Error(v1::REASON_CIPHERTEXT_CORRUPT,
                       absl::StrCat(status::Quote(file), ": the NVRAM is damaged"))
      .With("file", file)
      .NextStep("Restore the file from a backup.");
}

absl::StatusOr<std::string> WithNewVtpm(absl::string_view nvram) {
  std::string with = absl::StrCat(nvram, kVtpmMagic, std::string(kVtpmSeedBytes, '\0'));
  auto* const seeds = reinterpret_cast<unsigned char*>(&with[with.size() - kVtpmSeedBytes]);
  if (RAND_priv_bytes(seeds, kVtpmSeedBytes) != 1) {
    return status::Error(v1::REASON_INTERNAL, "no random bytes");
  }
  return with;
}

Vmx NewVmx(absl::string_view name, absl::string_view guest_os, absl::string_view uuid,
           absl::string_view nvram) {
  Vmx vmx;
  vmx.Set(".encoding", "UTF-8");
  vmx.Set("config.version", "8");
  vmx.Set("virtualHW.version", "19");
  vmx.Set(kDisplayName, name);
  vmx.Set(kGuestOs, guest_os);
  vmx.Set("firmware", "efi");
  vmx.Set(kNvram, nvram);
  vmx.Set("uuid.bios", VmwareUuid(uuid));
  vmx.Set("vc.uuid", VmwareUuid(uuid));
  vmx.Set("numvcpus", "1");
  vmx.Set("memSize", "1024");
  vmx.Set("scsi0.present", "TRUE");
  vmx.Set("scsi0.virtualDev", "pvscsi");
  return vmx;
}

std::string NewUuid() {
  std::string bytes(16, '\0');
  KS_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&bytes[0]), 16) == 1);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  return CanonicalUuid(absl::BytesToHexString(bytes));
}

std::string VmwareUuid(absl::string_view uuid) {
  std::string digits;
  for (const char c : uuid) {
    if (absl::ascii_isxdigit(c)) digits += absl::ascii_tolower(c);
  }
  std::string spaced;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    if (i > 0) spaced += i == 16 ? '-' : ' ';
    spaced += digits.substr(i, 2);
  }
  return spaced;
}

}  // namespace keysphere::hostagent::vm
