#ifndef KEYSPHERE_COMMON_CRYPTO_SECRET_KEY_H_
#define KEYSPHERE_COMMON_CRYPTO_SECRET_KEY_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace keysphere::crypto {

// Needed to read the bytes of a SecretKey. `grep SecretKeyAccess` finds every place that does.
class SecretKeyAccess {
 public:
  static SecretKeyAccess Token() { return SecretKeyAccess(); }

 private:
  SecretKeyAccess() = default;
};

// Makes OpenSSL's secure heap of `bytes` (a power of two; host 1 MiB, controller and KMS 4 MiB) and
// installs wiping malloc functions for the rest of OpenSSL. First statement of main in every
// process that holds keys; tests may call it any number of times. FAILED_PRECONDITION names
// `ulimit -l` and --secure-heap where the memory could not be locked.
absl::Status InitKeyMemory(size_t bytes);

// Bytes of the secure heap, and how many of them are in use.
struct KeyMemoryStats {
  size_t capacity_bytes = 0;
  size_t used_bytes = 0;
};
KeyMemoryStats GetKeyMemoryStats();

// The one type of secret bytes: in locked memory that no dump holds, wiped on release, move-only,
// not printable, not convertible. 1 to 4,096 bytes; an empty one holds nothing.
class SecretKey {
 public:
  SecretKey() = default;
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  ~SecretKey();

  // `size` zero bytes, to be filled through mutable_bytes. RESOURCE_EXHAUSTED (KEY_MEMORY_FULL)
  // when the secure heap is 75 % full: a full one would break key generation in TLS.
  static absl::StatusOr<SecretKey> Zeroed(size_t size);
  // `size` bytes of OpenSSL's private random generator.
  static absl::StatusOr<SecretKey> Random(size_t size);
  // A copy of `bytes`. The caller wipes its own.
  static absl::StatusOr<SecretKey> CopyOf(absl::Span<const uint8_t> bytes);
  absl::StatusOr<SecretKey> Clone() const;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  absl::Span<const uint8_t> bytes(SecretKeyAccess) const { return {data_, size_}; }
  absl::Span<uint8_t> mutable_bytes(SecretKeyAccess) { return {data_, size_}; }

  // In constant time.
  bool Equals(const SecretKey& other) const;

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_SECRET_KEY_H_
