#ifndef KEYSPHERE_COMMON_CRYPTO_DIGEST_H_
#define KEYSPHERE_COMMON_CRYPTO_DIGEST_H_

#include <string>

#include "absl/strings/string_view.h"

namespace keysphere::crypto {

// SHA-256: 32 bytes, or 64 lower-case hexadecimal digits. Not for secrets.
std::string Sha256(absl::string_view data);
std::string Sha256Hex(absl::string_view data);

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_DIGEST_H_
