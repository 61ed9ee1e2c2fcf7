#include "common/crypto/key_wrap.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using status::Error;

constexpr size_t kKekBytes = 32;
// The integrity value that wrapping puts before the key.
constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxWrappedBytes = 4096 + kHeaderBytes;

const EVP_CIPHER* WrapPad() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-WRAP-PAD", nullptr);
  return cipher;
}

absl::StatusOr<internal::CipherCtx> NewContext(const SecretKey& kek, bool wrap) {
  if (kek.size() != kKekBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key encryption key has ", kKekBytes, " bytes, not ", kek.size()));
  }
  internal::CipherCtx ctx(EVP_CIPHER_CTX_new());
  if (ctx == nullptr) return internal::OpensslError("AES key wrap");
  EVP_CIPHER_CTX_set_flags(ctx.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  if (EVP_CipherInit_ex2(ctx.get(), WrapPad(), kek.bytes(SecretKeyAccess::Token()).data(), nullptr,
                         wrap ? 1 : 0, nullptr) != 1) {
    return internal::OpensslError("AES key wrap");
  }
  return ctx;
}

absl::Status Corrupt() {
  ERR_clear_error();
  return Error(v1::REASON_CIPHERTEXT_CORRUPT,
               "a wrapped key does not unwrap: wrong key encryption key, or damaged");
}

}  // namespace

absl::StatusOr<std::string> WrapKey(const SecretKey& kek, const SecretKey& key) {
  if (key.empty()) return Error(v1::REASON_INVALID_ARGUMENT, "there is no key to wrap");
  KS_ASSIGN_OR_RETURN(const internal::CipherCtx ctx, NewContext(kek, true));
  std::string wrapped((key.size() + 7) / 8 * 8 + kHeaderBytes, '\0');
  int size = 0;
  if (EVP_CipherUpdate(ctx.get(), reinterpret_cast<uint8_t*>(&wrapped[0]), &size,
                       key.bytes(SecretKeyAccess::Token()).data(),
                       static_cast<int>(key.size())) != 1 ||
      static_cast<size_t>(size) != wrapped.size()) {
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
  KS_ASSIGN_OR_RETURN(SecretKey padded, SecretKey::Zeroed(wrapped.size() - kHeaderBytes));
  const absl::Span<uint8_t> bytes = padded.mutable_bytes(SecretKeyAccess::Token());
  int size = 0;
  if (EVP_CipherUpdate(ctx.get(), bytes.data(), &size, internal::AsBytes(wrapped).data(),
                       static_cast<int>(wrapped.size())) != 1 ||
      size <= 0 || static_cast<size_t>(size) > bytes.size()) {
    return Corrupt();
  }
  if (static_cast<size_t>(size) == bytes.size()) return padded;
  return SecretKey::CopyOf(bytes.first(static_cast<size_t>(size)));
}

}  // namespace keysphere::crypto
