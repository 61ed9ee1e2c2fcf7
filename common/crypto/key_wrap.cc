#include "common/crypto/key_wrap.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/modes.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using status::Error;

constexpr size_t kKekBytes = 32;
// The integrity value that wrapping puts before the key.
constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxWrappedBytes = 4096;

const EVP_CIPHER* Aes256() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-ECB", nullptr);
  return cipher;
}

// The block cipher under RFC 5649's wrapping. OpenSSL's own AES-256-WRAP-PAD runs its table-free C
// cipher instead of the processor's instructions, which makes an unwrap eight times as dear.
absl::StatusOr<internal::CipherCtx> NewContext(const SecretKey& kek, bool wrap) {
  if (kek.size() != kKekBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key encryption key has ", kKekBytes, " bytes, not ", kek.size()));
  }
  internal::CipherCtx ctx(EVP_CIPHER_CTX_new());
  if (ctx == nullptr ||
      EVP_CipherInit_ex2(ctx.get(), Aes256(), kek.bytes(SecretKeyAccess::Token()).data(), nullptr,
                         wrap ? 1 : 0, nullptr) != 1 ||
      EVP_CIPHER_CTX_set_padding(ctx.get(), 0) != 1) {
    return internal::OpensslError("AES key wrap");
  }
  return ctx;
}

// One block, in the direction of the context.
void RunBlock(const uint8_t in[16], uint8_t out[16], const void* key) {
  auto* const ctx = static_cast<EVP_CIPHER_CTX*>(const_cast<void*>(key));
  int size = 0;
  KS_CHECK(EVP_CipherUpdate(ctx, out, &size, in, 16) == 1 && size == 16);
}

absl::Status Corrupt() {
  ERR_clear_error();
  return Error(v1::REASON_CIPHERTEXT_CORRUPT,
               "a wrapped key does not unwrap: wrong key encryption key, or damaged");
}

}  // namespace

absl::StatusOr<std::string> WrapKey(const SecretKey& kek, const SecretKey& key) {
  if (key.empty()) return Error(v1::REASON_INVALID_ARGUMENT, "there is no key to wrap");
  if (key.size() > kMaxWrappedBytes - kHeaderBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key of ", key.size(), " bytes is too large to wrap"));
  }
  KS_ASSIGN_OR_RETURN(const internal::CipherCtx ctx, NewContext(kek, true));
  std::string wrapped((key.size() + 7) / 8 * 8 + kHeaderBytes, '\0');
  const size_t size =
      CRYPTO_128_wrap_pad(ctx.get(), /*icv=*/nullptr, reinterpret_cast<uint8_t*>(&wrapped[0]),
                          key.bytes(SecretKeyAccess::Token()).data(), key.size(), &RunBlock);
  if (size != wrapped.size()) {
    return internal::OpensslError("AES key wrap");
  }
  return wrapped;
}

absl::StatusOr<SecretKey> UnwrapKey(const SecretKey& kek, absl::string_view wrapped) {
  if (wrapped.size() < 2 * kHeaderBytes || wrapped.size() > kMaxWrappedBytes ||
      wrapped.size() % kHeaderBytes != 0) {
    return Corrupt();
  }
  KS_ASSIGN_OR_RETURN(const internal::CipherCtx ctx, NewContext(kek, false));
  // Of the size of what is wrapped, not of what comes out: where it does not unwrap, OpenSSL wipes
  // as many bytes, the last 8 of which would be those of another key.
  KS_ASSIGN_OR_RETURN(SecretKey padded, SecretKey::Zeroed(wrapped.size()));
  const absl::Span<uint8_t> bytes = padded.mutable_bytes(SecretKeyAccess::Token());
  const size_t size =
      CRYPTO_128_unwrap_pad(ctx.get(), /*icv=*/nullptr, bytes.data(),
                            internal::AsBytes(wrapped).data(), wrapped.size(), &RunBlock);
  if (size == 0 || size > wrapped.size() - kHeaderBytes) return Corrupt();
  return SecretKey::CopyOf(bytes.first(size));
}

}  // namespace keysphere::crypto
