#ifndef KEYSPHERE_COMMON_CRYPTO_LABELS_H_
#define KEYSPHERE_COMMON_CRYPTO_LABELS_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

// Everything that goes into a key derivation beside the key (S136): whoever keeps to this header
// derives the same keys. All derivations are SP 800-108 KBKDF in counter mode with HMAC-SHA-256,
// 32-bit counter before the fixed data:
//
//   block(i) = HMAC-SHA-256(key, [i]_32be | label | 0x00 | context | [bits of the output]_32be)
//
// Labels are ASCII without a zero byte, and no two are equal, so no two purposes share a key.
// Changing any of these makes existing VMs unreadable.
namespace keysphere::crypto::labels {

// KDK -> KEK of a VM (32 bytes); context: the VM key's id.
inline constexpr char kVmKek[] = "keysphere vm kek";
// KDK -> key of a host (32 bytes, S139); context: the host key's id.
inline constexpr char kHostKey[] = "keysphere host key";
// DEK -> key of AES-256-XTS (64 bytes); no context.
inline constexpr char kDiskXts[] = "keysphere disk xts";
// Key -> check value: the first 8 of 32 bytes; no context.
inline constexpr char kCheckValue[] = "keysphere kcv";
// Configuration key of a host -> key of its configuration file, of that file's journal, and of the
// secrets in both (32 bytes each, S138); no context.
inline constexpr char kHostConfigBody[] = "keysphere host config body";
inline constexpr char kHostConfigJournal[] = "keysphere host config journal";
inline constexpr char kHostConfigSecrets[] = "keysphere host config secrets";

// The context of a key id: its bytes as they are (never empty).
inline absl::string_view KeyIdContext(absl::string_view key_id) { return key_id; }

// `info` of a key that travels sealed to a host's transport key (HPKE): who may open it, and what
// it is. Each part is preceded by its length in 32 bits, big-endian, so no two lists of parts
// encode alike; epoch is in decimal.
inline std::string TransportInfo(absl::string_view host, absl::string_view boot_id, uint64_t epoch,
                                 absl::string_view provider, absl::string_view key_id) {
  std::string info = "keysphere transport 1";
  const std::string epoch_text = absl::StrCat(epoch);
  for (const absl::string_view part :
       {host, boot_id, absl::string_view(epoch_text), provider, key_id}) {
    const uint32_t size = static_cast<uint32_t>(part.size());
    for (int shift = 24; shift >= 0; shift -= 8) info.push_back(static_cast<char>(size >> shift));
    info.append(part.data(), part.size());
  }
  return info;
}

}  // namespace keysphere::crypto::labels

#endif  // KEYSPHERE_COMMON_CRYPTO_LABELS_H_
