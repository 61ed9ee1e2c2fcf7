#ifndef KEYSPHERE_COMMON_CRYPTO_XTS_H_
#define KEYSPHERE_COMMON_CRYPTO_XTS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/crypto/secret_key.h"

// AES-256-XTS (IEEE 1619) for disks (S137): data units of 4,096 bytes, each under its number on the
// disk as tweak (128 bits, little-endian). It keeps secret and does not authenticate: damaged data
// decrypt to other data.
namespace keysphere::crypto {

inline constexpr size_t kXtsUnitBytes = 4096;

// `in` holds whole units, the first of which has the number `first_unit`; `out` is as long and may
// be the same memory. xts_key has 64 bytes with unequal halves (DeriveXtsKey). INVALID_ARGUMENT
// otherwise.
absl::Status XtsEncrypt(const SecretKey& xts_key, uint64_t first_unit, absl::Span<const uint8_t> in,
                        absl::Span<uint8_t> out);
absl::Status XtsDecrypt(const SecretKey& xts_key, uint64_t first_unit, absl::Span<const uint8_t> in,
                        absl::Span<uint8_t> out);

namespace internal {

// With another unit size, for the standard's test vectors.
absl::Status XtsCrypt(const SecretKey& xts_key, bool encrypt, size_t unit_bytes,
                      uint64_t first_unit, absl::Span<const uint8_t> in, absl::Span<uint8_t> out);

}  // namespace internal
}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_XTS_H_
