#ifndef KEYSPHERE_COMMON_CRYPTO_HPKE_H_
#define KEYSPHERE_COMMON_CRYPTO_HPKE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

// Keys between processes: RFC 9180 (HPKE), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-256-GCM. `info` says what the key is and who may open it: labels::TransportInfo. One key goes
// by SealTo (single shot, without aad): encapsulated key (32 bytes) | ciphertext | tag (16 bytes).
// Many go by one HpkeContext: the encapsulated key once, then each in its turn.
namespace keysphere::crypto {

namespace internal {

// For the RFC's test vectors: the other AEAD, given ephemeral keys, and aad.
enum class HpkeAead { kAes128Gcm = 1, kAes256Gcm = 2 };

}  // namespace internal

inline constexpr size_t kTransportPublicBytes = 32;
// What sealing adds to the size.
inline constexpr size_t kHpkeOverheadBytes = 48;

// One direction's context of RFC 9180: either all Seal or all Open, in the same order on both ends.
class HpkeContext {
 public:
  HpkeContext(HpkeContext&&) noexcept = default;
  HpkeContext& operator=(HpkeContext&&) noexcept = default;

  // What the receiver makes its context of. 32 bytes.
  const std::string& encapsulated_key() const { return encapsulated_key_; }

  // Ciphertext | tag (16 bytes).
  absl::StatusOr<std::string> Seal(absl::string_view aad, const SecretKey& secret);
  // CIPHERTEXT_CORRUPT where it is not the next that was sealed, with this aad.
  absl::StatusOr<SecretKey> Open(absl::string_view aad, absl::string_view sealed);

  // For internal use: by SealingTo and TransportKey.
  HpkeContext(internal::HpkeAead aead, std::string encapsulated_key, SecretKey key,
              SecretKey base_nonce);

 private:
  absl::StatusOr<SecretKey> NextNonce();

  internal::HpkeAead aead_;
  std::string encapsulated_key_;
  SecretKey key_;
  SecretKey base_nonce_;
  uint64_t sequence_ = 0;
};

// The key pair that a process receives keys with. The private half stays in locked memory.
class TransportKey {
 public:
  static absl::StatusOr<TransportKey> Generate();

  TransportKey(TransportKey&&) noexcept = default;
  TransportKey& operator=(TransportKey&&) noexcept = default;

  // 32 bytes, to be published on an authenticated channel.
  const std::string& public_key() const { return public_key_; }

  // CIPHERTEXT_CORRUPT where `sealed` was made for another key or info, or is damaged.
  absl::StatusOr<SecretKey> Open(absl::string_view sealed, absl::string_view info) const;
  // The receiver's end of a SealingTo. CIPHERTEXT_CORRUPT where the encapsulated key is none.
  absl::StatusOr<HpkeContext> Opening(absl::string_view encapsulated_key,
                                      absl::string_view info) const;

 private:
  TransportKey(SecretKey private_key, std::string public_key);

  SecretKey private_key_;
  std::string public_key_;
};

// Only the owner of public_key can open the result. INVALID_ARGUMENT where public_key is none.
absl::StatusOr<std::string> SealTo(absl::string_view public_key, absl::string_view info,
                                   const SecretKey& secret);
// The sender's end of a context for many keys.
absl::StatusOr<HpkeContext> SealingTo(absl::string_view public_key, absl::string_view info);

namespace internal {

absl::StatusOr<HpkeContext> HpkeSenderContext(HpkeAead aead, const SecretKey& ephemeral,
                                              absl::string_view public_key, absl::string_view info);
absl::StatusOr<HpkeContext> HpkeReceiverContext(HpkeAead aead, const SecretKey& private_key,
                                                absl::string_view encapsulated_key,
                                                absl::string_view info);
absl::StatusOr<std::string> HpkeSeal(HpkeAead aead, const SecretKey& ephemeral,
                                     absl::string_view public_key, absl::string_view info,
                                     absl::string_view aad, const SecretKey& secret);
absl::StatusOr<SecretKey> HpkeOpen(HpkeAead aead, const SecretKey& private_key,
                                   absl::string_view sealed, absl::string_view info,
                                   absl::string_view aad);
absl::StatusOr<std::string> X25519Public(const SecretKey& private_key);

}  // namespace internal
}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_HPKE_H_
