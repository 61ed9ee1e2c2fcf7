#ifndef KEYSPHERE_COMMON_CRYPTO_OPENSSL_H_
#define KEYSPHERE_COMMON_CRYPTO_OPENSSL_H_

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// What the files of this folder share; nobody else includes it. A context holds the raw key in
// ordinary memory: it lives for one call, and only fetched algorithms are kept.
namespace keysphere::crypto::internal {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
template <typename T, void (*Free)(T*)>
using Ptr = std::unique_ptr<T, Deleter<T, Free>>;

using CipherCtx = Ptr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using KdfCtx = Ptr<EVP_KDF_CTX, EVP_KDF_CTX_free>;
using Pkey = Ptr<EVP_PKEY, EVP_PKEY_free>;
using PkeyCtx = Ptr<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

// An OpenSSL call failed that cannot fail on our input. Takes OpenSSL's error queue away.
absl::Status OpensslError(absl::string_view call);

// AES-GCM with a 12-byte nonce and a 16-byte tag behind the ciphertext. `out` has in.size() + 16
// bytes when sealing, in.size() - 16 when opening.
absl::Status GcmEncrypt(const EVP_CIPHER* cipher, absl::Span<const uint8_t> key,
                        absl::Span<const uint8_t> nonce, absl::string_view aad,
                        absl::Span<const uint8_t> in, absl::Span<uint8_t> out);
// CIPHERTEXT_CORRUPT, and `out` wiped, where the tag does not fit.
absl::Status GcmDecrypt(const EVP_CIPHER* cipher, absl::Span<const uint8_t> key,
                        absl::Span<const uint8_t> nonce, absl::string_view aad,
                        absl::Span<const uint8_t> in, absl::Span<uint8_t> out);

constexpr size_t kGcmNonceBytes = 12;
constexpr size_t kGcmTagBytes = 16;

const EVP_CIPHER* Aes256Gcm();
const EVP_CIPHER* Aes128Gcm();

inline absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace keysphere::crypto::internal

#endif  // KEYSPHERE_COMMON_CRYPTO_OPENSSL_H_
