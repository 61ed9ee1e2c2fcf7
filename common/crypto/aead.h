#ifndef KEYSPHERE_COMMON_CRYPTO_AEAD_H_
#define KEYSPHERE_COMMON_CRYPTO_AEAD_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

// AES-256-GCM (S137). Sealed data is a 12-byte random nonce, the ciphertext and a 16-byte tag. Keys
// have 32 bytes (S37), else INVALID_ARGUMENT. Opening gives CIPHERTEXT_CORRUPT where key, aad or
// data are not those of the sealing. One call takes up to 1 GiB.
namespace keysphere::crypto {

// What sealing adds to the size.
inline constexpr size_t kGcmOverheadBytes = 28;

absl::StatusOr<std::string> GcmSeal(const SecretKey& key, absl::string_view aad,
                                    absl::string_view plaintext);
absl::StatusOr<std::string> GcmOpen(const SecretKey& key, absl::string_view aad,
                                    absl::string_view sealed);

// The same for key bytes, which never leave locked memory on the way.
absl::StatusOr<std::string> GcmSealSecret(const SecretKey& key, absl::string_view aad,
                                          const SecretKey& secret);
absl::StatusOr<SecretKey> GcmOpenSecret(const SecretKey& key, absl::string_view aad,
                                        absl::string_view sealed);

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_AEAD_H_
