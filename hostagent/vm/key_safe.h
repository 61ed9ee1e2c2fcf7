#ifndef KEYSPHERE_HOSTAGENT_VM_KEY_SAFE_H_
#define KEYSPHERE_HOSTAGENT_VM_KEY_SAFE_H_

#include <cstddef>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

namespace keysphere::hostagent::vm {

// Names a KEK, as config.keyId does (S81): providerId.id and keyId.
struct KeyId {
  std::string provider;
  std::string key_id;
};
inline bool operator==(const KeyId& a, const KeyId& b) {
  return a.provider == b.provider && a.key_id == b.key_id;
}
inline bool operator!=(const KeyId& a, const KeyId& b) { return !(a == b); }

// The KEK of a key id: derived from a KDK or taken from the host's cache. The error of a host that
// does not have it (KEY_MISSING_ON_HOST, KEYS_PENDING, …) is handed on. Called synchronously.
using KekLookup = absl::FunctionRef<absl::StatusOr<crypto::SecretKey>(const KeyId&)>;

// A DEK wrapped by a KEK, with the KEK's name (S34). As text it is VMware's locator (S131):
//
//   vmware:key/list/(pair/(fqid/<VMWARE-NULL>/PROVIDER/KEYID,HMAC-SHA-256,BASE64))
//
// PROVIDER and KEYID are percent-encoded (all but letters, digits, "-", "." and "_"). BASE64 is
// the 84-byte `blob`:
//
//   4 bytes   "KS1" and the number of the format, 1
//   40 bytes  the 32-byte DEK, wrapped with AES-256-KWP by the KEK (S137)
//   32 bytes  HMAC-SHA-256(M, binding ‖ provider ‖ key id ‖ wrapped DEK), each with its length,
//             where M = HMAC-SHA-256(DEK, "keysphere key safe mac"): only who knows the DEK can
//             make it. The binding names the VM and the object, so that a key safe that was
//             moved to another VM or disk does not open.
//   8 bytes   the first of SHA-256 over provider, key id and the bytes before: tells a damaged
//             file (VM_FILE_INVALID) from a wrong KEK (CIPHERTEXT_CORRUPT). No secret in it.
struct KeySafe {
  KeyId key;
  std::string blob;
};

constexpr size_t kKeySafeBlobBytes = 84;
constexpr size_t kMaxLocatorBytes = 2048;
constexpr size_t kMaxProviderBytes = 320;  // 80 characters of UTF-8
constexpr size_t kMaxKeyIdBytes = 256;

// Wraps `dek` (32 bytes). `binding` as DekBinding() makes it.
absl::StatusOr<KeySafe> SealDek(const crypto::SecretKey& kek, const KeyId& key,
                                const crypto::SecretKey& dek, absl::string_view binding);

// The real unwrap (S135). CIPHERTEXT_CORRUPT, with metadata "provider", "key_id" and "file", where
// the KEK is not the one that sealed it or the binding is another.
absl::StatusOr<crypto::SecretKey> OpenDek(const crypto::SecretKey& kek, const KeySafe& safe,
                                          absl::string_view binding, absl::string_view file);

std::string FormatKeySafe(const KeySafe& safe);

// Strict: exactly one pair with VMware's null fqid, HMAC-SHA-256 and a blob whose check sum holds.
// VM_FILE_INVALID naming `file`; UNSUPPORTED for a VM that a password (Workstation) encrypts.
absl::StatusOr<KeySafe> ParseKeySafe(absl::string_view locator, absl::string_view file);

// What a key safe or a GCM ciphertext is bound to. `kind` is "home", "nvram" or "disk"; `object`
// tells disks apart.
std::string DekBinding(absl::string_view vm_guid, absl::string_view kind,
                       absl::string_view object = "");

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_KEY_SAFE_H_
