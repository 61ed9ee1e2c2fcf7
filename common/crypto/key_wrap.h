#ifndef KEYSPHERE_COMMON_CRYPTO_KEY_WRAP_H_
#define KEYSPHERE_COMMON_CRYPTO_KEY_WRAP_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

namespace keysphere::crypto {

// AES-256 key wrap with padding (RFC 5649, S137). A key of n bytes becomes n rounded up to 8, plus
// 8 bytes. The same input gives the same output. INVALID_ARGUMENT for a kek that has not 32 bytes
// and for a key of more than 4,088.
absl::StatusOr<std::string> WrapKey(const SecretKey& kek, const SecretKey& key);

// CIPHERTEXT_CORRUPT with another kek than it was wrapped with, or when `wrapped` is damaged.
absl::StatusOr<SecretKey> UnwrapKey(const SecretKey& kek, absl::string_view wrapped);

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_KEY_WRAP_H_
