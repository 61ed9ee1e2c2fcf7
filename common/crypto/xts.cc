#include "common/crypto/xts.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using status::Error;

constexpr size_t kXtsKeySize = 64;
constexpr size_t kTweakBytes = 16;

const EVP_CIPHER* Aes256Xts() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-XTS", nullptr);
  return cipher;
}

void SetTweak(uint64_t unit, uint8_t (&tweak)[kTweakBytes]) {
  for (int i = 0; i < 8; ++i) tweak[i] = static_cast<uint8_t>(unit >> (8 * i));
}

absl::Status CheckKey(const SecretKey& key) {
  if (key.size() != kXtsKeySize) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a disk key has ", kXtsKeySize, " bytes, not ", key.size()));
  }
  const absl::Span<const uint8_t> bytes = key.bytes(SecretKeyAccess::Token());
  if (CRYPTO_memcmp(bytes.data(), bytes.data() + kXtsKeySize / 2, kXtsKeySize / 2) == 0) {
    return Error(v1::REASON_INVALID_ARGUMENT, "the halves of a disk key are equal");
  }
  return absl::OkStatus();
}

absl::Status CheckInput(size_t unit_bytes, uint64_t first_unit, size_t in, size_t out) {
  if (in != out || in % unit_bytes != 0) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("disk data of ", in, " bytes into ", out, ": both must be the same ",
                              "multiple of ", unit_bytes));
  }
  if (in / unit_bytes > std::numeric_limits<uint64_t>::max() - first_unit) {
    return Error(v1::REASON_INVALID_ARGUMENT, "a disk's unit number is above 64 bits");
  }
  return absl::OkStatus();
}

}  // namespace

namespace internal {

absl::Status XtsCrypt(const SecretKey& xts_key, bool encrypt, size_t unit_bytes,
                      uint64_t first_unit, absl::Span<const uint8_t> in, absl::Span<uint8_t> out) {
  KS_RETURN_IF_ERROR(CheckKey(xts_key));
  KS_RETURN_IF_ERROR(CheckInput(unit_bytes, first_unit, in.size(), out.size()));
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  uint8_t tweak[kTweakBytes] = {};
  if (ctx == nullptr ||
      EVP_CipherInit_ex2(ctx.get(), Aes256Xts(), xts_key.bytes(SecretKeyAccess::Token()).data(),
                         tweak, encrypt ? 1 : 0, nullptr) != 1) {
    return OpensslError("AES-XTS");
  }
  const int unit_size = static_cast<int>(unit_bytes);
  for (size_t at = 0; at < in.size(); at += unit_bytes) {
    SetTweak(first_unit + at / unit_bytes, tweak);
    int size = 0;
    if (EVP_CipherInit_ex2(ctx.get(), nullptr, nullptr, tweak, -1, nullptr) != 1 ||
        EVP_CipherUpdate(ctx.get(), out.data() + at, &size, in.data() + at, unit_size) != 1 ||
        size != unit_size) {
      return OpensslError("AES-XTS");
    }
  }
  return absl::OkStatus();
}

}  // namespace internal

absl::Status XtsEncrypt(const SecretKey& xts_key, uint64_t first_unit, absl::Span<const uint8_t> in,
                        absl::Span<uint8_t> out) {
  return internal::XtsCrypt(xts_key, true, kXtsUnitBytes, first_unit, in, out);
}

absl::Status XtsDecrypt(const SecretKey& xts_key, uint64_t first_unit, absl::Span<const uint8_t> in,
                        absl::Span<uint8_t> out) {
  return internal::XtsCrypt(xts_key, false, kXtsUnitBytes, first_unit, in, out);
}

}  // namespace keysphere::crypto
