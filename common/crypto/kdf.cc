#include "common/crypto/kdf.h"

#include <openssl/crypto.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/labels.h"
#include "common/crypto/mac.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using status::Error;

std::string BigEndian(size_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift));
  return bytes;
}

// SP 800-108 as labels.h has it. Out of HMAC rather than by OpenSSL's KBKDF, which looks its HMAC
// and its digest up by name at each call: that costs twice the derivation itself.
absl::StatusOr<SecretKey> Derive(const SecretKey& key, absl::string_view label,
                                 absl::string_view context, size_t size) {
  if (key.size() != kKeyBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key has ", kKeyBytes, " bytes, not ", key.size()));
  }
  KS_CHECK(size % kMacBytes == 0);
  KS_ASSIGN_OR_RETURN(SecretKey derived, SecretKey::Zeroed(size));
  const absl::Span<uint8_t> out = derived.mutable_bytes(SecretKeyAccess::Token());
  const std::string bits = BigEndian(8 * size);
  for (size_t done = 0; done < size; done += kMacBytes) {
    KS_RETURN_IF_ERROR(HmacSha256(
        key.bytes(SecretKeyAccess::Token()),
        {BigEndian(done / kMacBytes + 1), label, absl::string_view("\0", 1), context, bits},
        out.subspan(done, kMacBytes)));
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

absl::StatusOr<SecretKey> DeriveHostConfigJournalKey(const SecretKey& configuration_key) {
  return Derive(configuration_key, labels::kHostConfigJournal, "", kKeyBytes);
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
