#include "common/crypto/hpke.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

// Names in this file are those of RFC 9180.
namespace keysphere::crypto {
namespace {

using internal::HpkeAead;
using internal::OpensslError;
using internal::Pkey;
using internal::PkeyCtx;
using status::Error;

constexpr size_t kScalarBytes = 32;
constexpr size_t kHashBytes = 32;

absl::Span<const uint8_t> BytesOf(const SecretKey& key) {
  return key.bytes(SecretKeyAccess::Token());
}

// A 16-bit number, big-endian.
std::string I2osp2(size_t number) {
  return {static_cast<char>(number >> 8), static_cast<char>(number)};
}

std::string KemSuite() { return "KEM" + I2osp2(0x0020); }
std::string HpkeSuite(HpkeAead aead) {
  return absl::StrCat("HPKE", I2osp2(0x0020), I2osp2(0x0001), I2osp2(static_cast<size_t>(aead)));
}
size_t KeyBytes(HpkeAead aead) { return aead == HpkeAead::kAes256Gcm ? 32 : 16; }
const EVP_CIPHER* CipherOf(HpkeAead aead) {
  return aead == HpkeAead::kAes256Gcm ? internal::Aes256Gcm() : internal::Aes128Gcm();
}

EVP_KDF* Hkdf() {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr);
  return kdf;
}

// One step of HKDF-SHA256. `other` is the salt of an extraction, the info of an expansion.
absl::Status RunHkdf(int mode, absl::Span<const uint8_t> key, absl::string_view other,
                     absl::Span<uint8_t> out) {
  char digest[] = "SHA256";
  const bool extract = mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
  // OpenSSL takes parameters by non-const pointer and does not write to them.
  OSSL_PARAM params[5] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, sizeof(digest) - 1),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(key.data()),
                                        key.size()),
      OSSL_PARAM_construct_end(),
      OSSL_PARAM_construct_end(),
  };
  if (!other.empty()) {
    params[3] =
        OSSL_PARAM_construct_octet_string(extract ? OSSL_KDF_PARAM_SALT : OSSL_KDF_PARAM_INFO,
                                          const_cast<char*>(other.data()), other.size());
  }
  const internal::KdfCtx ctx(EVP_KDF_CTX_new(Hkdf()));
  if (ctx == nullptr || EVP_KDF_derive(ctx.get(), out.data(), out.size(), params) != 1) {
    return OpensslError("HKDF");
  }
  return absl::OkStatus();
}

// LabeledExtract of secret input, into key memory.
absl::StatusOr<SecretKey> LabeledExtract(absl::string_view suite, absl::Span<const uint8_t> salt,
                                         absl::string_view label, absl::Span<const uint8_t> ikm) {
  const std::string prefix = absl::StrCat("HPKE-v1", suite, label);
  KS_ASSIGN_OR_RETURN(SecretKey labeled, SecretKey::Zeroed(prefix.size() + ikm.size()));
  const absl::Span<uint8_t> bytes = labeled.mutable_bytes(SecretKeyAccess::Token());
  std::memcpy(bytes.data(), prefix.data(), prefix.size());
  if (!ikm.empty()) std::memcpy(bytes.data() + prefix.size(), ikm.data(), ikm.size());
  KS_ASSIGN_OR_RETURN(SecretKey prk, SecretKey::Zeroed(kHashBytes));
  const absl::string_view salt_text(reinterpret_cast<const char*>(salt.data()), salt.size());
  KS_RETURN_IF_ERROR(RunHkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, bytes, salt_text,
                             prk.mutable_bytes(SecretKeyAccess::Token())));
  return prk;
}

// LabeledExtract of public input without salt, which may be long.
absl::StatusOr<std::string> LabeledHash(absl::string_view suite, absl::string_view label,
                                        absl::string_view ikm) {
  const std::string labeled = absl::StrCat("HPKE-v1", suite, label, ikm);
  std::string hash(kHashBytes, '\0');
  KS_RETURN_IF_ERROR(RunHkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, internal::AsBytes(labeled), "",
                             {reinterpret_cast<uint8_t*>(&hash[0]), hash.size()}));
  return hash;
}

absl::StatusOr<SecretKey> LabeledExpand(absl::string_view suite, const SecretKey& prk,
                                        absl::string_view label, absl::string_view info,
                                        size_t size) {
  const std::string labeled = absl::StrCat(I2osp2(size), "HPKE-v1", suite, label, info);
  KS_ASSIGN_OR_RETURN(SecretKey okm, SecretKey::Zeroed(size));
  KS_RETURN_IF_ERROR(RunHkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, BytesOf(prk), labeled,
                             okm.mutable_bytes(SecretKeyAccess::Token())));
  return okm;
}

absl::StatusOr<Pkey> PrivatePkey(const SecretKey& key) {
  Pkey pkey(
      EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, BytesOf(key).data(), key.size()));
  if (key.size() != kScalarBytes || pkey == nullptr) return OpensslError("X25519 private key");
  return pkey;
}

absl::StatusOr<std::string> PublicOf(const Pkey& pkey) {
  std::string public_key(kTransportPublicBytes, '\0');
  size_t size = public_key.size();
  if (EVP_PKEY_get_raw_public_key(pkey.get(), reinterpret_cast<uint8_t*>(&public_key[0]), &size) !=
          1 ||
      size != kTransportPublicBytes) {
    return OpensslError("X25519 public key");
  }
  return public_key;
}

absl::Status BadPublicKey() {
  ERR_clear_error();
  return Error(v1::REASON_INVALID_ARGUMENT, "a transport key's public half is not an X25519 key");
}

// DH; fails for the points of small order.
absl::StatusOr<SecretKey> Agree(const Pkey& mine, absl::string_view public_key) {
  if (public_key.size() != kTransportPublicBytes) return BadPublicKey();
  const Pkey theirs(EVP_PKEY_new_raw_public_key_ex(
      nullptr, "X25519", nullptr, internal::AsBytes(public_key).data(), public_key.size()));
  KS_ASSIGN_OR_RETURN(SecretKey shared, SecretKey::Zeroed(kScalarBytes));
  const PkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(nullptr, mine.get(), nullptr));
  size_t size = shared.size();
  if (theirs == nullptr || ctx == nullptr || EVP_PKEY_derive_init(ctx.get()) != 1 ||
      EVP_PKEY_derive_set_peer(ctx.get(), theirs.get()) != 1 ||
      EVP_PKEY_derive(ctx.get(), shared.mutable_bytes(SecretKeyAccess::Token()).data(), &size) !=
          1 ||
      size != kScalarBytes) {
    return BadPublicKey();
  }
  return shared;
}

// ExtractAndExpand of DHKEM.
absl::StatusOr<SecretKey> SharedSecret(const SecretKey& dh, absl::string_view enc,
                                       absl::string_view recipient) {
  KS_ASSIGN_OR_RETURN(const SecretKey prk, LabeledExtract(KemSuite(), {}, "eae_prk", BytesOf(dh)));
  return LabeledExpand(KemSuite(), prk, "shared_secret", absl::StrCat(enc, recipient), kHashBytes);
}

struct Schedule {
  SecretKey key;
  SecretKey base_nonce;
};

// KeySchedule of the base mode: no psk.
absl::StatusOr<Schedule> KeySchedule(HpkeAead aead, const SecretKey& shared_secret,
                                     absl::string_view info) {
  const std::string suite = HpkeSuite(aead);
  KS_ASSIGN_OR_RETURN(const std::string psk_id_hash, LabeledHash(suite, "psk_id_hash", ""));
  KS_ASSIGN_OR_RETURN(const std::string info_hash, LabeledHash(suite, "info_hash", info));
  const std::string context = std::string(1, '\0') + psk_id_hash + info_hash;
  KS_ASSIGN_OR_RETURN(const SecretKey secret,
                      LabeledExtract(suite, BytesOf(shared_secret), "secret", {}));
  Schedule schedule;
  KS_ASSIGN_OR_RETURN(schedule.key, LabeledExpand(suite, secret, "key", context, KeyBytes(aead)));
  KS_ASSIGN_OR_RETURN(schedule.base_nonce, LabeledExpand(suite, secret, "base_nonce", context,
                                                         internal::kGcmNonceBytes));
  return schedule;
}

absl::Status TooShort() {
  return Error(v1::REASON_CIPHERTEXT_CORRUPT, "a sealed key is too short");
}

}  // namespace

HpkeContext::HpkeContext(HpkeAead aead, std::string encapsulated_key, SecretKey key,
                         SecretKey base_nonce)
    : aead_(aead),
      encapsulated_key_(std::move(encapsulated_key)),
      key_(std::move(key)),
      base_nonce_(std::move(base_nonce)) {}

// ComputeNonce: the base nonce XOR the sequence number, big-endian.
absl::StatusOr<SecretKey> HpkeContext::NextNonce() {
  KS_ASSIGN_OR_RETURN(SecretKey nonce, SecretKey::Zeroed(base_nonce_.size()));
  const absl::Span<uint8_t> bytes = nonce.mutable_bytes(SecretKeyAccess::Token());
  const absl::Span<const uint8_t> base = BytesOf(base_nonce_);
  std::memcpy(bytes.data(), base.data(), base.size());
  for (size_t i = 0; i < sizeof(sequence_); ++i) {
    bytes[bytes.size() - 1 - i] ^= static_cast<uint8_t>(sequence_ >> (8 * i));
  }
  ++sequence_;
  return nonce;
}

absl::StatusOr<std::string> HpkeContext::Seal(absl::string_view aad, const SecretKey& secret) {
  KS_ASSIGN_OR_RETURN(const SecretKey nonce, NextNonce());
  std::string sealed(secret.size() + internal::kGcmTagBytes, '\0');
  const absl::Span<uint8_t> out(reinterpret_cast<uint8_t*>(&sealed[0]), sealed.size());
  KS_RETURN_IF_ERROR(internal::GcmEncrypt(CipherOf(aead_), BytesOf(key_), BytesOf(nonce), aad,
                                          BytesOf(secret), out));
  return sealed;
}

absl::StatusOr<SecretKey> HpkeContext::Open(absl::string_view aad, absl::string_view sealed) {
  if (sealed.size() <= internal::kGcmTagBytes) return TooShort();
  KS_ASSIGN_OR_RETURN(const SecretKey nonce, NextNonce());
  KS_ASSIGN_OR_RETURN(SecretKey secret, SecretKey::Zeroed(sealed.size() - internal::kGcmTagBytes));
  KS_RETURN_IF_ERROR(internal::GcmDecrypt(CipherOf(aead_), BytesOf(key_), BytesOf(nonce), aad,
                                          internal::AsBytes(sealed),
                                          secret.mutable_bytes(SecretKeyAccess::Token())));
  return secret;
}

namespace internal {

absl::StatusOr<std::string> X25519Public(const SecretKey& private_key) {
  KS_ASSIGN_OR_RETURN(const Pkey pkey, PrivatePkey(private_key));
  return PublicOf(pkey);
}

absl::StatusOr<HpkeContext> HpkeSenderContext(HpkeAead aead, const SecretKey& ephemeral,
                                              absl::string_view public_key,
                                              absl::string_view info) {
  // Once: a private key's Pkey computes the public half, which costs as much as the agreement.
  KS_ASSIGN_OR_RETURN(const Pkey mine, PrivatePkey(ephemeral));
  KS_ASSIGN_OR_RETURN(std::string enc, PublicOf(mine));
  KS_ASSIGN_OR_RETURN(const SecretKey dh, Agree(mine, public_key));
  KS_ASSIGN_OR_RETURN(const SecretKey shared, SharedSecret(dh, enc, public_key));
  KS_ASSIGN_OR_RETURN(Schedule schedule, KeySchedule(aead, shared, info));
  return HpkeContext(aead, std::move(enc), std::move(schedule.key), std::move(schedule.base_nonce));
}

absl::StatusOr<HpkeContext> HpkeReceiverContext(HpkeAead aead, const SecretKey& private_key,
                                                absl::string_view enc, absl::string_view info) {
  KS_ASSIGN_OR_RETURN(const Pkey mine, PrivatePkey(private_key));
  KS_ASSIGN_OR_RETURN(const std::string own_public, PublicOf(mine));
  auto dh = Agree(mine, enc);
  if (!dh.ok()) {
    if (!absl::IsInvalidArgument(dh.status())) return dh.status();
    return Error(v1::REASON_CIPHERTEXT_CORRUPT, "a sealed key is damaged");
  }
  KS_ASSIGN_OR_RETURN(const SecretKey shared, SharedSecret(*dh, enc, own_public));
  KS_ASSIGN_OR_RETURN(Schedule schedule, KeySchedule(aead, shared, info));
  return HpkeContext(aead, std::string(enc), std::move(schedule.key),
                     std::move(schedule.base_nonce));
}

absl::StatusOr<std::string> HpkeSeal(HpkeAead aead, const SecretKey& ephemeral,
                                     absl::string_view public_key, absl::string_view info,
                                     absl::string_view aad, const SecretKey& secret) {
  KS_ASSIGN_OR_RETURN(HpkeContext context, HpkeSenderContext(aead, ephemeral, public_key, info));
  KS_ASSIGN_OR_RETURN(const std::string ciphertext, context.Seal(aad, secret));
  return context.encapsulated_key() + ciphertext;
}

absl::StatusOr<SecretKey> HpkeOpen(HpkeAead aead, const SecretKey& private_key,
                                   absl::string_view sealed, absl::string_view info,
                                   absl::string_view aad) {
  if (sealed.size() <= kHpkeOverheadBytes) return TooShort();
  KS_ASSIGN_OR_RETURN(
      HpkeContext context,
      HpkeReceiverContext(aead, private_key, sealed.substr(0, kTransportPublicBytes), info));
  return context.Open(aad, sealed.substr(kTransportPublicBytes));
}

}  // namespace internal

TransportKey::TransportKey(SecretKey private_key, std::string public_key)
    : private_key_(std::move(private_key)), public_key_(std::move(public_key)) {}

absl::StatusOr<TransportKey> TransportKey::Generate() {
  // Any 32 bytes are an X25519 private key: the function itself clamps them.
  KS_ASSIGN_OR_RETURN(SecretKey private_key, SecretKey::Random(kScalarBytes));
  KS_ASSIGN_OR_RETURN(std::string public_key, internal::X25519Public(private_key));
  return TransportKey(std::move(private_key), std::move(public_key));
}

absl::StatusOr<SecretKey> TransportKey::Open(absl::string_view sealed,
                                             absl::string_view info) const {
  return internal::HpkeOpen(HpkeAead::kAes256Gcm, private_key_, sealed, info, "");
}

absl::StatusOr<HpkeContext> TransportKey::Opening(absl::string_view encapsulated_key,
                                                  absl::string_view info) const {
  return internal::HpkeReceiverContext(HpkeAead::kAes256Gcm, private_key_, encapsulated_key, info);
}

absl::StatusOr<HpkeContext> SealingTo(absl::string_view public_key, absl::string_view info) {
  KS_ASSIGN_OR_RETURN(const SecretKey ephemeral, SecretKey::Random(kScalarBytes));
  return internal::HpkeSenderContext(HpkeAead::kAes256Gcm, ephemeral, public_key, info);
}

absl::StatusOr<std::string> SealTo(absl::string_view public_key, absl::string_view info,
                                   const SecretKey& secret) {
  if (secret.empty()) return Error(v1::REASON_INVALID_ARGUMENT, "there is no key to seal");
  KS_ASSIGN_OR_RETURN(const SecretKey ephemeral, SecretKey::Random(kScalarBytes));
  return internal::HpkeSeal(HpkeAead::kAes256Gcm, ephemeral, public_key, info, "", secret);
}

}  // namespace keysphere::crypto
