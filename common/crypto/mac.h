#ifndef KEYSPHERE_COMMON_CRYPTO_MAC_H_
#define KEYSPHERE_COMMON_CRYPTO_MAC_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace keysphere::crypto {

inline constexpr size_t kMacBytes = 32;

// HMAC-SHA-256 of the parts one after another, into `mac` (32 bytes), which may be key memory. The
// key may be public: an empty one counts as zeros (RFC 2104).
absl::Status HmacSha256(absl::Span<const uint8_t> key,
                        std::initializer_list<absl::string_view> parts, absl::Span<uint8_t> mac);

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_MAC_H_
