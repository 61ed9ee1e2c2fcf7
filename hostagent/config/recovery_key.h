#ifndef KEYSPHERE_HOSTAGENT_CONFIG_RECOVERY_KEY_H_
#define KEYSPHERE_HOSTAGENT_CONFIG_RECOVERY_KEY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

namespace keysphere::hostagent::config {

// The form in which people keep a recovery key of 32 bytes, as ESXi prints it: 16 groups of 6
// digits joined by "-", each group 11 times two bytes (big-endian) of the key. A group with a
// typing error is not a multiple of 11, with few exceptions.

// 111 characters of ASCII. INVALID_ARGUMENT: the key has not 32 bytes.
absl::StatusOr<crypto::SecretKey> FormatRecoveryKey(const crypto::SecretKey& key);

// Spaces, line ends and dashes between and in groups do not matter. INVALID_ARGUMENT says which
// group is wrong; no digit of the text is in the message.
absl::StatusOr<crypto::SecretKey> ParseRecoveryKey(absl::string_view text);

}  // namespace keysphere::hostagent::config

#endif  // KEYSPHERE_HOSTAGENT_CONFIG_RECOVERY_KEY_H_
