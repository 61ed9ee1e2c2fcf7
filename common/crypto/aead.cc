#include "common/crypto/aead.h"

#include <openssl/rand.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using internal::kGcmNonceBytes;
using status::Error;

constexpr size_t kGcmKeyBytes = 32;
// OpenSSL takes sizes as int.
constexpr size_t kMaxBytes = size_t{1} << 30;

absl::Status CheckInput(const SecretKey& key, absl::string_view aad, size_t size) {
  if (key.size() != kGcmKeyBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key has ", kGcmKeyBytes, " bytes, not ", key.size()));
  }
  if (size > kMaxBytes || aad.size() > kMaxBytes) {
    return Error(v1::REASON_TOO_LARGE, "more than 1 GiB in one AES-GCM call");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Seal(const SecretKey& key, absl::string_view aad,
                                 absl::Span<const uint8_t> in) {
  KS_RETURN_IF_ERROR(CheckInput(key, aad, in.size()));
  std::string sealed(in.size() + kGcmOverheadBytes, '\0');
  const absl::Span<uint8_t> out(reinterpret_cast<uint8_t*>(&sealed[0]), sealed.size());
  if (RAND_bytes(out.data(), kGcmNonceBytes) != 1) return internal::OpensslError("RAND_bytes");
  KS_RETURN_IF_ERROR(
      internal::GcmEncrypt(internal::Aes256Gcm(), key.bytes(SecretKeyAccess::Token()),
                           out.first(kGcmNonceBytes), aad, in, out.subspan(kGcmNonceBytes)));
  return sealed;
}

absl::Status Open(const SecretKey& key, absl::string_view aad, absl::string_view sealed,
                  absl::Span<uint8_t> out) {
  const absl::Span<const uint8_t> in = internal::AsBytes(sealed);
  return internal::GcmDecrypt(internal::Aes256Gcm(), key.bytes(SecretKeyAccess::Token()),
                              in.first(kGcmNonceBytes), aad, in.subspan(kGcmNonceBytes), out);
}

absl::Status CheckSealed(const SecretKey& key, absl::string_view aad, absl::string_view sealed) {
  if (sealed.size() < kGcmOverheadBytes) {
    return Error(v1::REASON_CIPHERTEXT_CORRUPT, "a ciphertext is too short");
  }
  return CheckInput(key, aad, sealed.size());
}

}  // namespace

absl::StatusOr<std::string> GcmSeal(const SecretKey& key, absl::string_view aad,
                                    absl::string_view plaintext) {
  return Seal(key, aad, internal::AsBytes(plaintext));
}

absl::StatusOr<std::string> GcmOpen(const SecretKey& key, absl::string_view aad,
                                    absl::string_view sealed) {
  KS_RETURN_IF_ERROR(CheckSealed(key, aad, sealed));
  std::string plaintext(sealed.size() - kGcmOverheadBytes, '\0');
  KS_RETURN_IF_ERROR(
      Open(key, aad, sealed, {reinterpret_cast<uint8_t*>(&plaintext[0]), plaintext.size()}));
  return plaintext;
}

absl::StatusOr<std::string> GcmSealSecret(const SecretKey& key, absl::string_view aad,
                                          const SecretKey& secret) {
  return Seal(key, aad, secret.bytes(SecretKeyAccess::Token()));
}

absl::StatusOr<SecretKey> GcmOpenSecret(const SecretKey& key, absl::string_view aad,
                                        absl::string_view sealed) {
  KS_RETURN_IF_ERROR(CheckSealed(key, aad, sealed));
  SecretKey secret;
  if (sealed.size() > kGcmOverheadBytes) {
    KS_ASSIGN_OR_RETURN(secret, SecretKey::Zeroed(sealed.size() - kGcmOverheadBytes));
  }
  KS_RETURN_IF_ERROR(Open(key, aad, sealed, secret.mutable_bytes(SecretKeyAccess::Token())));
  return secret;
}

}  // namespace keysphere::crypto
