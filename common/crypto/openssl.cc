#include "common/crypto/openssl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::crypto::internal {

using status::Error;

absl::Status OpensslError(absl::string_view call) {
  // The queue's texts may quote data: only the reason's number leaves.
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  return Error(v1::REASON_INTERNAL,
               absl::StrCat(call, " failed in OpenSSL (reason ", ERR_GET_REASON(code), ")"));
}

const EVP_CIPHER* Aes256Gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

const EVP_CIPHER* Aes128Gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return cipher;
}

absl::Status GcmEncrypt(const EVP_CIPHER* cipher, absl::Span<const uint8_t> key,
                        absl::Span<const uint8_t> nonce, absl::string_view aad,
                        absl::Span<const uint8_t> in, absl::Span<uint8_t> out) {
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  int size = 0;
  if (ctx == nullptr || nonce.size() != kGcmNonceBytes || out.size() != in.size() + kGcmTagBytes ||
      EVP_EncryptInit_ex2(ctx.get(), cipher, key.data(), nonce.data(), nullptr) != 1 ||
      (!aad.empty() && EVP_EncryptUpdate(ctx.get(), nullptr, &size, AsBytes(aad).data(),
                                         static_cast<int>(aad.size())) != 1) ||
      (!in.empty() && EVP_EncryptUpdate(ctx.get(), out.data(), &size, in.data(),
                                        static_cast<int>(in.size())) != 1) ||
      EVP_EncryptFinal_ex(ctx.get(), out.data() + in.size(), &size) != 1 ||
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kGcmTagBytes, out.data() + in.size()) !=
          1) {
    return OpensslError("AES-GCM encryption");
  }
  return absl::OkStatus();
}

absl::Status GcmDecrypt(const EVP_CIPHER* cipher, absl::Span<const uint8_t> key,
                        absl::Span<const uint8_t> nonce, absl::string_view aad,
                        absl::Span<const uint8_t> in, absl::Span<uint8_t> out) {
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  const size_t size = out.size();
  int written = 0;
  if (ctx == nullptr || nonce.size() != kGcmNonceBytes || in.size() != size + kGcmTagBytes ||
      EVP_DecryptInit_ex2(ctx.get(), cipher, key.data(), nonce.data(), nullptr) != 1 ||
      (!aad.empty() && EVP_DecryptUpdate(ctx.get(), nullptr, &written, AsBytes(aad).data(),
                                         static_cast<int>(aad.size())) != 1) ||
      (size != 0 && EVP_DecryptUpdate(ctx.get(), out.data(), &written, in.data(),
                                      static_cast<int>(size)) != 1) ||
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, kGcmTagBytes,
                          const_cast<uint8_t*>(in.data() + size)) != 1) {
    OPENSSL_cleanse(out.data(), size);
    return OpensslError("AES-GCM decryption");
  }
  uint8_t nothing[kGcmTagBytes];
  if (EVP_DecryptFinal_ex(ctx.get(), nothing, &written) != 1) {
    OPENSSL_cleanse(out.data(), size);
    ERR_clear_error();
    return Error(v1::REASON_CIPHERTEXT_CORRUPT,
                 "a ciphertext does not authenticate: wrong key, wrong context or damaged data");
  }
  return absl::OkStatus();
}

}  // namespace keysphere::crypto::internal
