#ifndef KEYSPHERE_COMMON_CRYPTO_KDF_H_
#define KEYSPHERE_COMMON_CRYPTO_KDF_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

// Key derivation: SP 800-108 KBKDF, counter mode, HMAC-SHA-256 (S136). The labels and the encoding
// stand in labels.h. Source keys have 32 bytes (S37); INVALID_ARGUMENT for another length or an
// empty key id.
namespace keysphere::crypto {

// AES-256 and nothing else (S37).
inline constexpr size_t kKeyBytes = 32;
inline constexpr size_t kXtsKeyBytes = 64;
inline constexpr size_t kCheckValueBytes = 8;

// The key encryption key of a VM under a native provider: equal wherever kdk and key_id are (S36).
absl::StatusOr<SecretKey> DeriveVmKek(const SecretKey& kdk, absl::string_view key_id);

// The host key under a native provider (S139).
absl::StatusOr<SecretKey> DeriveHostKey(const SecretKey& kdk, absl::string_view key_id);

// The 64 bytes, with unequal halves, that AES-256-XTS needs for a disk.
absl::StatusOr<SecretKey> DeriveXtsKey(const SecretKey& dek);

// The keys under which a host's configuration lies on disk (S138): that of the file, that of its
// journal, and that of the secrets in both, so that they can be read without a secret in ordinary
// memory.
absl::StatusOr<SecretKey> DeriveHostConfigBodyKey(const SecretKey& configuration_key);
absl::StatusOr<SecretKey> DeriveHostConfigJournalKey(const SecretKey& configuration_key);
absl::StatusOr<SecretKey> DeriveHostConfigSecretsKey(const SecretKey& configuration_key);

// 8 bytes that tell two keys apart and reveal nothing about them (S141). Not secret.
absl::StatusOr<std::string> KeyCheckValue(const SecretKey& key);

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_KDF_H_
