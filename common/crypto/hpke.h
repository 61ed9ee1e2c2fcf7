#ifndef KEYSPHERE_COMMON_CRYPTO_HPKE_H_
#define KEYSPHERE_COMMON_CRYPTO_HPKE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

// Keys between processes: RFC 9180 (HPKE), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-256-GCM. `info` says what a key is and who may open it: labels::TransportInfo. An agreement
// costs as much as fifty sealings, so a sender agrees once with each transport key and keeps its
// TransportSession.
//
// What a session seals is: encapsulated key (32 bytes) | number in the session (8 bytes,
// big-endian) | ciphertext | tag (16 bytes), with the key's `info` as aad. Each opens by itself, in
// any order and more than once: who must not take a key twice tells by what it is.
namespace keysphere::crypto {

namespace internal {

// For the RFC's test vectors: the other AEAD, given ephemeral keys, and aad.
enum class HpkeAead { kAes128Gcm = 1, kAes256Gcm = 2 };

}  // namespace internal

inline constexpr size_t kTransportPublicBytes = 32;
inline constexpr size_t kSequenceBytes = 8;
// What sealing in a session adds to the size.
inline constexpr size_t kHpkeOverheadBytes = kTransportPublicBytes + kSequenceBytes + 16;

// A context of RFC 9180, on which both ends' classes below stand: all Seal, or all OpenAt. Its keys
// lie in locked memory; there is no live cipher context.
class HpkeContext {
 public:
  HpkeContext(HpkeContext&&) noexcept = default;
  HpkeContext& operator=(HpkeContext&&) noexcept = default;

  // What the receiver makes its context of. 32 bytes.
  const std::string& encapsulated_key() const { return encapsulated_key_; }

  // Ciphertext | tag (16 bytes).
  absl::StatusOr<std::string> Seal(absl::string_view aad, const SecretKey& secret);
  // The number of the next Seal, from 0.
  uint64_t sequence() const { return sequence_; }
  // CIPHERTEXT_CORRUPT where it is not what was sealed as number `sequence`, with this aad.
  absl::StatusOr<SecretKey> OpenAt(uint64_t sequence, absl::string_view aad,
                                   absl::string_view sealed) const;

  HpkeContext(internal::HpkeAead aead, std::string encapsulated_key, SecretKey key,
              SecretKey base_nonce);

 private:
  absl::StatusOr<SecretKey> NonceOf(uint64_t sequence) const;

  internal::HpkeAead aead_;
  std::string encapsulated_key_;
  SecretKey key_;
  SecretKey base_nonce_;
  // Each number seals once: a second time would give the AEAD's key away. Move-only for that.
  uint64_t sequence_ = 0;
};

// The key pair that a process receives keys with. The private half stays in locked memory.
class TransportKey {
 public:
  static absl::StatusOr<TransportKey> Generate();

  TransportKey(TransportKey&&) noexcept;
  TransportKey& operator=(TransportKey&&) noexcept;
  ~TransportKey();

  // 32 bytes, to be published on an authenticated channel.
  const std::string& public_key() const { return public_key_; }

  // What a TransportSession or SealTo sealed. CIPHERTEXT_CORRUPT where it was made for another key
  // or info, or is damaged. Thread safe.
  absl::StatusOr<SecretKey> Open(absl::string_view sealed, absl::string_view info) const;

 private:
  // Senders whose agreement is kept: a host has one controller, two while it changes hands.
  static constexpr size_t kMaxSessions = 4;
  struct Sessions;

  TransportKey(SecretKey private_key, std::string public_key);
  std::shared_ptr<const HpkeContext> FindSession(absl::string_view enc) const;

  SecretKey private_key_;
  std::string public_key_;
  std::unique_ptr<Sessions> sessions_;
};

// A sender's agreement with one transport key. Not thread safe.
class TransportSession {
 public:
  // INVALID_ARGUMENT where public_key is none.
  static absl::StatusOr<TransportSession> Begin(absl::string_view public_key);

  const std::string& public_key() const { return public_key_; }
  // Only the owner of public_key can open the result.
  absl::StatusOr<std::string> Seal(absl::string_view info, const SecretKey& secret);

 private:
  TransportSession(std::string public_key, HpkeContext context)
      : public_key_(std::move(public_key)), context_(std::move(context)) {}

  std::string public_key_;
  HpkeContext context_;
};

// One key in a session of its own. INVALID_ARGUMENT where public_key is none.
absl::StatusOr<std::string> SealTo(absl::string_view public_key, absl::string_view info,
                                   const SecretKey& secret);

namespace internal {

absl::StatusOr<HpkeContext> HpkeSenderContext(HpkeAead aead, const SecretKey& ephemeral,
                                              absl::string_view public_key, absl::string_view info);
absl::StatusOr<HpkeContext> HpkeReceiverContext(HpkeAead aead, const SecretKey& private_key,
                                                absl::string_view own_public, absl::string_view enc,
                                                absl::string_view info);
absl::StatusOr<std::string> X25519Public(const SecretKey& private_key);

}  // namespace internal
}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_HPKE_H_
