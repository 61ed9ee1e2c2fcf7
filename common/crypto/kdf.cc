#include "common/crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/labels.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using status::Error;

EVP_KDF* Kbkdf() {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_KBKDF, nullptr);
  return kdf;
}

// OpenSSL takes parameters by non-const pointer and does not write to them.
OSSL_PARAM Octets(const char* name, absl::string_view text) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(text.data()), text.size());
}

absl::StatusOr<SecretKey> Derive(const SecretKey& key, absl::string_view label,
                                 absl::string_view context, size_t size) {
  if (key.size() != kKeyBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key has ", kKeyBytes, " bytes, not ", key.size()));
  }
  KS_ASSIGN_OR_RETURN(SecretKey derived, SecretKey::Zeroed(size));
  const absl::Span<const uint8_t> bytes = key.bytes(SecretKeyAccess::Token());
  char mode[] = "counter";
  char mac[] = "HMAC";
  char digest[] = "SHA256";
  OSSL_PARAM params[7] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode, sizeof(mode) - 1),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, mac, sizeof(mac) - 1),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, sizeof(digest) - 1),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(bytes.data()),
                                        bytes.size()),
      Octets(OSSL_KDF_PARAM_SALT, label),
      OSSL_PARAM_construct_end(),
      OSSL_PARAM_construct_end(),
  };
  if (!context.empty()) params[5] = Octets(OSSL_KDF_PARAM_INFO, context);
  const internal::KdfCtx ctx(EVP_KDF_CTX_new(Kbkdf()));
  const absl::Span<uint8_t> out = derived.mutable_bytes(SecretKeyAccess::Token());
  if (ctx == nullptr || EVP_KDF_derive(ctx.get(), out.data(), out.size(), params) != 1) {
    return internal::OpensslError("KBKDF");
  }
  return derived;
}

absl::StatusOr<SecretKey> DeriveForKeyId(const SecretKey& kdk, absl::string_view label,
                                         absl::string_view key_id) {
  if (key_id.empty()) return Error(v1::REASON_INVALID_ARGUMENT, "a key id is empty");
  return Derive(kdk, label, labels::KeyIdContext(key_id), kKeyBytes);
}

}  // namespace

absl::StatusOr<SecretKey> DeriveVmKek(const SecretKey& kdk, absl::string_view key_id) {
  return DeriveForKeyId(kdk, labels::kVmKek, key_id);
}

absl::StatusOr<SecretKey> DeriveHostKey(const SecretKey& kdk, absl::string_view key_id) {
  return DeriveForKeyId(kdk, labels::kHostKey, key_id);
}

absl::StatusOr<SecretKey> DeriveXtsKey(const SecretKey& dek) {
  KS_ASSIGN_OR_RETURN(SecretKey key, Derive(dek, labels::kDiskXts, "", kXtsKeyBytes));
  const absl::Span<const uint8_t> bytes = key.bytes(SecretKeyAccess::Token());
  if (CRYPTO_memcmp(bytes.data(), bytes.data() + kKeyBytes, kKeyBytes) == 0) {
    return Error(v1::REASON_INTERNAL, "the halves of a disk key are equal");
  }
  return key;
}

absl::StatusOr<SecretKey> DeriveHostConfigBodyKey(const SecretKey& configuration_key) {
  return Derive(configuration_key, labels::kHostConfigBody, "", kKeyBytes);
}

absl::StatusOr<SecretKey> DeriveHostConfigSecretsKey(const SecretKey& configuration_key) {
  return Derive(configuration_key, labels::kHostConfigSecrets, "", kKeyBytes);
}

absl::StatusOr<std::string> KeyCheckValue(const SecretKey& key) {
  KS_ASSIGN_OR_RETURN(const SecretKey derived, Derive(key, labels::kCheckValue, "", kKeyBytes));
  const absl::Span<const uint8_t> bytes = derived.bytes(SecretKeyAccess::Token());
  return std::string(reinterpret_cast<const char*>(bytes.data()), kCheckValueBytes);
}

}  // namespace keysphere::crypto
