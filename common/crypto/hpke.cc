#include "common/crypto/hpke.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <deque>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/mac.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"

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
constexpr absl::string_view kVersion = "HPKE-v1";
// The info of all sessions: what a key is, and for whom, is in the aad of its own.
constexpr absl::string_view kSessionInfo = "keysphere transport session";

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

// HKDF by its two steps (RFC 5869), each of which is one HMAC here: no output has more than 32
// bytes.

// LabeledExtract of secret input, into key memory.
absl::StatusOr<SecretKey> LabeledExtract(absl::string_view suite, absl::Span<const uint8_t> salt,
                                         absl::string_view label, absl::Span<const uint8_t> ikm) {
  KS_ASSIGN_OR_RETURN(SecretKey prk, SecretKey::Zeroed(kHashBytes));
  const absl::string_view input(reinterpret_cast<const char*>(ikm.data()), ikm.size());
  KS_RETURN_IF_ERROR(HmacSha256(salt, {kVersion, suite, label, input},
                                prk.mutable_bytes(SecretKeyAccess::Token())));
  return prk;
}

// LabeledExtract of public input without salt.
absl::StatusOr<std::string> LabeledHash(absl::string_view suite, absl::string_view label,
                                        absl::string_view ikm) {
  std::string hash(kHashBytes, '\0');
  KS_RETURN_IF_ERROR(HmacSha256({}, {kVersion, suite, label, ikm},
                                {reinterpret_cast<uint8_t*>(&hash[0]), hash.size()}));
  return hash;
}

absl::StatusOr<SecretKey> LabeledExpand(absl::string_view suite, const SecretKey& prk,
                                        absl::string_view label, absl::string_view info,
                                        size_t size) {
  KS_ASSIGN_OR_RETURN(SecretKey block, SecretKey::Zeroed(kHashBytes));
  const absl::Span<uint8_t> bytes = block.mutable_bytes(SecretKeyAccess::Token());
  KS_RETURN_IF_ERROR(
      HmacSha256(BytesOf(prk), {I2osp2(size), kVersion, suite, label, info, "\x01"}, bytes));
  if (size == kHashBytes) return block;
  return SecretKey::CopyOf(bytes.first(size));
}

// Without a public half, that is computed, which costs more than an agreement. The private half of
// what is returned lies in OpenSSL's secure heap.
absl::StatusOr<Pkey> PrivatePkey(const SecretKey& key, absl::string_view public_key = "") {
  const PkeyCtx ctx(EVP_PKEY_CTX_new_from_name(nullptr, "X25519", nullptr));
  // OpenSSL takes parameters by non-const pointer and does not write to them.
  OSSL_PARAM params[3] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY,
                                        const_cast<uint8_t*>(BytesOf(key).data()), key.size()),
      OSSL_PARAM_construct_end(),
      OSSL_PARAM_construct_end(),
  };
  if (!public_key.empty()) {
    params[1] = OSSL_PARAM_construct_octet_string(
        OSSL_PKEY_PARAM_PUB_KEY, const_cast<char*>(public_key.data()), public_key.size());
  }
  EVP_PKEY* pkey = nullptr;
  if (key.size() != kScalarBytes || ctx == nullptr || EVP_PKEY_fromdata_init(ctx.get()) != 1 ||
      EVP_PKEY_fromdata(ctx.get(), &pkey, EVP_PKEY_KEYPAIR, params) != 1) {
    return OpensslError("X25519 private key");
  }
  return Pkey(pkey);
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

std::string BigEndian(uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift));
  return bytes;
}

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t number = 0;
  for (const char c : bytes) number = number << 8 | static_cast<uint8_t>(c);
  return number;
}

}  // namespace

HpkeContext::HpkeContext(HpkeAead aead, std::string encapsulated_key, SecretKey key,
                         SecretKey base_nonce)
    : aead_(aead),
      encapsulated_key_(std::move(encapsulated_key)),
      key_(std::move(key)),
      base_nonce_(std::move(base_nonce)) {}

// ComputeNonce: the base nonce XOR the sequence number, big-endian.
absl::StatusOr<SecretKey> HpkeContext::NonceOf(uint64_t sequence) const {
  KS_ASSIGN_OR_RETURN(SecretKey nonce, base_nonce_.Clone());
  const absl::Span<uint8_t> bytes = nonce.mutable_bytes(SecretKeyAccess::Token());
  for (size_t i = 0; i < sizeof(sequence); ++i) {
    bytes[bytes.size() - 1 - i] ^= static_cast<uint8_t>(sequence >> (8 * i));
  }
  return nonce;
}

absl::StatusOr<std::string> HpkeContext::Seal(absl::string_view aad, const SecretKey& secret) {
  KS_ASSIGN_OR_RETURN(const SecretKey nonce, NonceOf(sequence_++));
  std::string sealed(secret.size() + internal::kGcmTagBytes, '\0');
  const absl::Span<uint8_t> out(reinterpret_cast<uint8_t*>(&sealed[0]), sealed.size());
  KS_RETURN_IF_ERROR(internal::GcmEncrypt(CipherOf(aead_), BytesOf(key_), BytesOf(nonce), aad,
                                          BytesOf(secret), out));
  return sealed;
}

absl::StatusOr<SecretKey> HpkeContext::OpenAt(uint64_t sequence, absl::string_view aad,
                                              absl::string_view sealed) const {
  if (sealed.size() <= internal::kGcmTagBytes) return TooShort();
  KS_ASSIGN_OR_RETURN(const SecretKey nonce, NonceOf(sequence));
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
  KS_ASSIGN_OR_RETURN(const Pkey mine, PrivatePkey(ephemeral));
  KS_ASSIGN_OR_RETURN(std::string enc, PublicOf(mine));
  KS_ASSIGN_OR_RETURN(const SecretKey dh, Agree(mine, public_key));
  KS_ASSIGN_OR_RETURN(const SecretKey shared, SharedSecret(dh, enc, public_key));
  KS_ASSIGN_OR_RETURN(Schedule schedule, KeySchedule(aead, shared, info));
  return HpkeContext(aead, std::move(enc), std::move(schedule.key), std::move(schedule.base_nonce));
}

absl::StatusOr<HpkeContext> HpkeReceiverContext(HpkeAead aead, const SecretKey& private_key,
                                                absl::string_view own_public, absl::string_view enc,
                                                absl::string_view info) {
  KS_ASSIGN_OR_RETURN(const Pkey mine, PrivatePkey(private_key, own_public));
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

}  // namespace internal

// What this process opens without another agreement: the sessions that began last.
struct TransportKey::Sessions {
  sync::Mutex mutex;
  std::deque<std::shared_ptr<const HpkeContext>> contexts ABSL_GUARDED_BY(mutex);  // newest first
};

TransportKey::TransportKey(SecretKey private_key, std::string public_key)
    : private_key_(std::move(private_key)),
      public_key_(std::move(public_key)),
      sessions_(std::make_unique<Sessions>()) {}

TransportKey::TransportKey(TransportKey&&) noexcept = default;
TransportKey& TransportKey::operator=(TransportKey&&) noexcept = default;
TransportKey::~TransportKey() = default;

absl::StatusOr<TransportKey> TransportKey::Generate() {
  // Any 32 bytes are an X25519 private key: the function itself clamps them.
  KS_ASSIGN_OR_RETURN(SecretKey private_key, SecretKey::Random(kScalarBytes));
  KS_ASSIGN_OR_RETURN(std::string public_key, internal::X25519Public(private_key));
  return TransportKey(std::move(private_key), std::move(public_key));
}

std::shared_ptr<const HpkeContext> TransportKey::FindSession(absl::string_view enc) const {
  sync::MutexLock lock(&sessions_->mutex);
  for (const auto& context : sessions_->contexts) {
    if (context->encapsulated_key() == enc) return context;
  }
  return nullptr;
}

absl::StatusOr<SecretKey> TransportKey::Open(absl::string_view sealed,
                                             absl::string_view info) const {
  if (sealed.size() <= kHpkeOverheadBytes) return TooShort();
  const absl::string_view enc = sealed.substr(0, kTransportPublicBytes);
  const uint64_t sequence = ReadBigEndian(sealed.substr(kTransportPublicBytes, kSequenceBytes));
  const absl::string_view ciphertext = sealed.substr(kTransportPublicBytes + kSequenceBytes);
  const std::shared_ptr<const HpkeContext> known = FindSession(enc);
  if (known != nullptr) return known->OpenAt(sequence, info, ciphertext);
  KS_ASSIGN_OR_RETURN(HpkeContext begun,
                      internal::HpkeReceiverContext(HpkeAead::kAes256Gcm, private_key_, public_key_,
                                                    enc, kSessionInfo));
  auto context = std::make_shared<const HpkeContext>(std::move(begun));
  KS_ASSIGN_OR_RETURN(SecretKey secret, context->OpenAt(sequence, info, ciphertext));
  // Only now: what does not open must not drive out what does.
  sync::MutexLock lock(&sessions_->mutex);
  sessions_->contexts.push_front(std::move(context));
  if (sessions_->contexts.size() > kMaxSessions) sessions_->contexts.pop_back();
  return secret;
}

absl::StatusOr<TransportSession> TransportSession::Begin(absl::string_view public_key) {
  KS_ASSIGN_OR_RETURN(const SecretKey ephemeral, SecretKey::Random(kScalarBytes));
  KS_ASSIGN_OR_RETURN(
      HpkeContext context,
      internal::HpkeSenderContext(HpkeAead::kAes256Gcm, ephemeral, public_key, kSessionInfo));
  return TransportSession(std::string(public_key), std::move(context));
}

absl::StatusOr<std::string> TransportSession::Seal(absl::string_view info,
                                                   const SecretKey& secret) {
  if (secret.empty()) return Error(v1::REASON_INVALID_ARGUMENT, "there is no key to seal");
  const std::string sequence = BigEndian(context_.sequence());
  KS_ASSIGN_OR_RETURN(const std::string sealed, context_.Seal(info, secret));
  return absl::StrCat(context_.encapsulated_key(), sequence, sealed);
}

absl::StatusOr<std::string> SealTo(absl::string_view public_key, absl::string_view info,
                                   const SecretKey& secret) {
  KS_ASSIGN_OR_RETURN(TransportSession session, TransportSession::Begin(public_key));
  return session.Seal(info, secret);
}

}  // namespace keysphere::crypto
