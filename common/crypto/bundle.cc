#include "common/crypto/bundle.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include <climits>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/crypto/kdf.h"
#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using internal::OpensslError;
using internal::Ptr;
using status::Error;

constexpr int kSaltBytes = 16;
constexpr size_t kMaxNameCharacters = 80;
constexpr size_t kMaxKeyIdBytes = 256;
constexpr absl::string_view kVersion = "1";
// What the secret is for, in the one vocabulary that every PKCS#12 tool knows: the KDK is the key
// of a KBKDF over HMAC-SHA-256.
constexpr int kSecretType = NID_hmacWithSHA256;

void FreeBags(STACK_OF(PKCS12_SAFEBAG) * bags) {
  sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}
void FreeSafes(STACK_OF(PKCS7) * safes) { sk_PKCS7_pop_free(safes, PKCS7_free); }

using Bag = Ptr<PKCS12_SAFEBAG, PKCS12_SAFEBAG_free>;
using Bags = Ptr<STACK_OF(PKCS12_SAFEBAG), FreeBags>;
using Pkcs7 = Ptr<PKCS7, PKCS7_free>;
using Safes = Ptr<STACK_OF(PKCS7), FreeSafes>;
using Pkcs12 = Ptr<PKCS12, PKCS12_free>;

absl::Status Invalid(absl::string_view why) {
  ERR_clear_error();
  return Error(v1::REASON_BUNDLE_INVALID, absl::StrCat("the file ", why))
      .NextStep("Import a .p12 that was exported from a native key provider.");
}

// A password as OpenSSL takes it. nullptr and "" are different passwords.
struct Password {
  explicit Password(const SecretKey* key) {
    if (key == nullptr) return;
    const absl::Span<const uint8_t> bytes = key->bytes(SecretKeyAccess::Token());
    text = key->empty() ? "" : reinterpret_cast<const char*>(bytes.data());
    size = static_cast<int>(bytes.size());
  }
  const char* text = nullptr;
  int size = 0;
};

bool IsPlainText(absl::string_view text) {
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

// Counts UTF-8 characters: all bytes but those that continue one.
size_t Characters(absl::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

bool IsProviderName(absl::string_view name) {
  return !name.empty() && Characters(name) <= kMaxNameCharacters &&
         name.size() <= 4 * kMaxNameCharacters && IsPlainText(name);
}
bool IsKeyId(absl::string_view key_id) {
  return !key_id.empty() && key_id.size() <= kMaxKeyIdBytes && IsPlainText(key_id);
}

// ---- Writing ----

bool AddAttribute(PKCS12_SAFEBAG* bag, const char* name, int type, absl::string_view value) {
  return PKCS12_add1_attr_by_txt(bag, name, type, internal::AsBytes(value).data(),
                                 static_cast<int>(value.size())) == 1;
}

// As UTF-16, with surrogates: PKCS12_add_friendlyname_utf8 refuses characters beyond 16 bits.
absl::Status SetName(PKCS12_SAFEBAG* bag, const std::string& name) {
  uint8_t* utf16 = nullptr;
  int size = 0;
  const bool added =
      OPENSSL_utf82uni(name.data(), static_cast<int>(name.size()), &utf16, &size) != nullptr &&
      // Without the terminating zero.
      PKCS12_add1_attr_by_NID(bag, NID_friendlyName, V_ASN1_BMPSTRING, utf16, size - 2) == 1;
  OPENSSL_free(utf16);
  if (!added) return OpensslError("the friendlyName of a PKCS#12 bag");
  // OpenSSL takes what is not UTF-8 for Latin-1.
  char* const kept = PKCS12_get_friendlyname(bag);
  const bool same = kept != nullptr && name == kept;
  OPENSSL_free(kept);
  if (!same) return Error(v1::REASON_INVALID_NAME, "the provider's name is not valid UTF-8");
  return absl::OkStatus();
}

absl::StatusOr<Bag> MakeBag(const KeyBundle& bundle) {
  KS_ASSIGN_OR_RETURN(const std::string check_value, KeyCheckValue(bundle.kdk));
  const absl::Span<const uint8_t> kdk = bundle.kdk.bytes(SecretKeyAccess::Token());
  Bag bag(PKCS12_SAFEBAG_create_secret(kSecretType, V_ASN1_OCTET_STRING, kdk.data(),
                                       static_cast<int>(kdk.size())));
  if (bag == nullptr) return OpensslError("PKCS12_SAFEBAG_create_secret");
  KS_RETURN_IF_ERROR(SetName(bag.get(), bundle.provider));
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", bundle.export_time, absl::UTCTimeZone());
  namespace names = bundle_attributes;
  if (!AddAttribute(bag.get(), names::kFormatVersion, V_ASN1_UTF8STRING, kVersion) ||
      !AddAttribute(bag.get(), names::kKeyId, V_ASN1_UTF8STRING, bundle.key_id) ||
      !AddAttribute(bag.get(), names::kTpmRequired, V_ASN1_UTF8STRING,
                    bundle.tpm_required ? "true" : "false") ||
      !AddAttribute(bag.get(), names::kExportTime, V_ASN1_UTF8STRING, time) ||
      !AddAttribute(bag.get(), names::kCheckValue, V_ASN1_OCTET_STRING, check_value)) {
    return OpensslError("PKCS12_add1_attr_by_txt");
  }
  return bag;
}

absl::Status CheckBundle(const KeyBundle& bundle, const SecretKey* password, int iterations) {
  if (!IsProviderName(bundle.provider)) {
    return Error(v1::REASON_INVALID_NAME,
                 "a provider's name has 1 to 80 characters and no control characters");
  }
  if (!IsKeyId(bundle.key_id)) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 "a key id has 1 to 256 bytes and no control characters");
  }
  if (iterations < 1 || iterations > kMaxBundleIterations) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("iterations must be 1 to ", kMaxBundleIterations));
  }
  if (password != nullptr && password->empty()) {
    return Error(v1::REASON_INVALID_ARGUMENT, "the password is empty");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Encode(const Pkcs12& p12) {
  const int size = i2d_PKCS12(p12.get(), nullptr);
  if (size <= 0) return OpensslError("i2d_PKCS12");
  std::string der(static_cast<size_t>(size), '\0');
  auto* out = reinterpret_cast<uint8_t*>(&der[0]);
  if (i2d_PKCS12(p12.get(), &out) != size) return OpensslError("i2d_PKCS12");
  return der;
}

// ---- Reading ----

bool IsPbes2(const X509_ALGOR* algorithm) {
  return OBJ_obj2nid(algorithm->algorithm) == NID_pbes2 && algorithm->parameter != nullptr &&
         algorithm->parameter->type == V_ASN1_SEQUENCE;
}

// AES-256-CBC under PBKDF2 with HMAC-SHA-256, and not too many rounds of it.
absl::Status CheckEncryption(const X509_ALGOR* algorithm) {
  constexpr absl::string_view kWeak =
      "is not encrypted with AES-256-CBC and PBKDF2 with HMAC-SHA-256";
  if (algorithm == nullptr || !IsPbes2(algorithm)) return Invalid(kWeak);
  const Ptr<PBE2PARAM, PBE2PARAM_free> pbe2(static_cast<PBE2PARAM*>(
      ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter)));
  if (pbe2 == nullptr || OBJ_obj2nid(pbe2->encryption->algorithm) != NID_aes_256_cbc ||
      OBJ_obj2nid(pbe2->keyfunc->algorithm) != NID_id_pbkdf2 ||
      pbe2->keyfunc->parameter == nullptr) {
    return Invalid(kWeak);
  }
  const Ptr<PBKDF2PARAM, PBKDF2PARAM_free> kdf(static_cast<PBKDF2PARAM*>(
      ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), pbe2->keyfunc->parameter)));
  // Without prf it is HMAC-SHA-1.
  if (kdf == nullptr || kdf->prf == nullptr ||
      OBJ_obj2nid(kdf->prf->algorithm) != NID_hmacWithSHA256) {
    return Invalid(kWeak);
  }
  int64_t iterations = 0;
  if (ASN1_INTEGER_get_int64(&iterations, kdf->iter) != 1 || iterations < 1 ||
      iterations > kMaxBundleIterations) {
    return Invalid("asks for too many iterations");
  }
  return absl::OkStatus();
}

absl::Status CheckMacAlgorithm(const PKCS12* p12) {
  const ASN1_OCTET_STRING* mac = nullptr;
  const X509_ALGOR* algorithm = nullptr;
  const ASN1_OCTET_STRING* salt = nullptr;
  const ASN1_INTEGER* iterations_field = nullptr;
  PKCS12_get0_mac(&mac, &algorithm, &salt, &iterations_field, p12);
  if (mac == nullptr || algorithm == nullptr) return Invalid("has no check sum");
  if (OBJ_obj2nid(algorithm->algorithm) != NID_sha256) {
    return Invalid("has a check sum that is not made with SHA-256");
  }
  int64_t iterations = 1;
  if (iterations_field != nullptr && ASN1_INTEGER_get_int64(&iterations, iterations_field) != 1) {
    iterations = 0;
  }
  if (iterations < 1 || iterations > kMaxBundleIterations) {
    return Invalid("asks for too many iterations");
  }
  return absl::OkStatus();
}

// The file's one safe, encrypted or not.
struct Opened {
  Pkcs12 p12;
  Safes safes;
  bool encrypted = false;
  PKCS7* safe() const { return sk_PKCS7_value(safes.get(), 0); }
};

// Everything that can be refused without deriving a key.
absl::StatusOr<Opened> Parse(absl::string_view der) {
  if (der.size() > kMaxBundleBytes) return Invalid("has more than 64 KiB");
  Opened opened;
  const uint8_t* at = internal::AsBytes(der).data();
  opened.p12.reset(d2i_PKCS12(nullptr, &at, static_cast<long>(der.size())));
  if (opened.p12 == nullptr || at != internal::AsBytes(der).data() + der.size()) {
    return Invalid("is not PKCS#12, or is damaged");
  }
  if (PKCS12_mac_present(opened.p12.get()) != 1) return Invalid("has no check sum");
  KS_RETURN_IF_ERROR(CheckMacAlgorithm(opened.p12.get()));
  opened.safes.reset(PKCS12_unpack_authsafes(opened.p12.get()));
  if (opened.safes == nullptr || sk_PKCS7_num(opened.safes.get()) != 1) {
    return Invalid("is not a backup of a key provider");
  }
  const PKCS7* const safe = opened.safe();
  if (PKCS7_type_is_encrypted(safe)) {
    if (safe->d.encrypted == nullptr || safe->d.encrypted->enc_data == nullptr ||
        safe->d.encrypted->enc_data->enc_data == nullptr) {
      return Invalid("is damaged");
    }
    KS_RETURN_IF_ERROR(CheckEncryption(safe->d.encrypted->enc_data->algorithm));
    opened.encrypted = true;
  } else if (!PKCS7_type_is_data(safe) || safe->d.data == nullptr) {
    return Invalid("is not a backup of a key provider");
  }
  return opened;
}

absl::Status CheckMac(const Opened& opened, const SecretKey* password) {
  const auto wrong = [](absl::string_view why, absl::string_view next) {
    ERR_clear_error();
    return Error(v1::REASON_WRONG_PASSWORD, why).NextStep(next);
  };
  if (opened.encrypted && password == nullptr) {
    return wrong("the bundle is encrypted and no password was given", "Give its password.");
  }
  if (!opened.encrypted && password != nullptr) {
    return wrong("the bundle has no password", "Import it without one.");
  }
  const Password text(password);
  if (PKCS12_verify_mac(opened.p12.get(), text.text, text.size) == 1) return absl::OkStatus();
  if (!opened.encrypted) return Invalid("is damaged");
  return wrong("the bundle does not open with this password, or is damaged",
               "Give the password that it was exported with.");
}

absl::StatusOr<Bags> Unpack(const Opened& opened, const SecretKey* password) {
  const Password text(password);
  Bags bags(opened.encrypted ? PKCS12_unpack_p7encdata(opened.safe(), text.text, text.size)
                             : PKCS12_unpack_p7data(opened.safe()));
  if (bags == nullptr || sk_PKCS12_SAFEBAG_num(bags.get()) != 1) {
    return Invalid("is not a backup of a key provider");
  }
  return bags;
}

// The one value of the attribute with this object identifier, if it is a string of this type.
absl::optional<std::string> Attribute(const PKCS12_SAFEBAG* bag, const char* name, int type) {
  const Ptr<ASN1_OBJECT, ASN1_OBJECT_free> wanted(OBJ_txt2obj(name, 1));
  const STACK_OF(X509_ATTRIBUTE)* const attributes = PKCS12_SAFEBAG_get0_attrs(bag);
  for (int i = 0; i < sk_X509_ATTRIBUTE_num(attributes); ++i) {
    X509_ATTRIBUTE* const attribute = sk_X509_ATTRIBUTE_value(attributes, i);
    if (OBJ_cmp(X509_ATTRIBUTE_get0_object(attribute), wanted.get()) != 0) continue;
    const ASN1_TYPE* const value = X509_ATTRIBUTE_get0_type(attribute, 0);
    if (X509_ATTRIBUTE_count(attribute) != 1 || value == nullptr || value->type != type) break;
    const ASN1_STRING* const text = value->value.asn1_string;
    return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<size_t>(ASN1_STRING_length(text)));
  }
  return absl::nullopt;
}

absl::Status ReadAttributes(PKCS12_SAFEBAG* bag, KeyBundle* bundle) {
  namespace names = bundle_attributes;
  const auto text = [bag](const char* name) { return Attribute(bag, name, V_ASN1_UTF8STRING); };
  const auto version = text(names::kFormatVersion);
  if (!version.has_value()) return Invalid("is not a backup of a key provider");
  if (*version != kVersion) return Invalid("has a format that this version does not know");
  char* const name = PKCS12_get_friendlyname(bag);
  if (name != nullptr) bundle->provider = name;
  OPENSSL_free(name);
  const auto key_id = text(names::kKeyId);
  const auto tpm = text(names::kTpmRequired);
  const auto time = text(names::kExportTime);
  if (!IsProviderName(bundle->provider) || !key_id.has_value() || !IsKeyId(*key_id) ||
      !tpm.has_value() || (*tpm != "true" && *tpm != "false") || !time.has_value() ||
      !absl::ParseTime(absl::RFC3339_full, *time, &bundle->export_time, nullptr)) {
    return Invalid("lacks what tells which key it holds");
  }
  bundle->key_id = *key_id;
  bundle->tpm_required = *tpm == "true";
  return absl::OkStatus();
}

absl::Status ReadKey(const PKCS12_SAFEBAG* bag, KeyBundle* bundle) {
  const ASN1_TYPE* const secret = PKCS12_SAFEBAG_get0_bag_obj(bag);
  if (secret == nullptr || secret->type != V_ASN1_OCTET_STRING ||
      secret->value.octet_string->length != static_cast<int>(kKeyBytes)) {
    return Invalid("does not hold a 256-bit key");
  }
  uint8_t* const bytes = secret->value.octet_string->data;
  auto kdk = SecretKey::CopyOf({bytes, kKeyBytes});
  OPENSSL_cleanse(bytes, kKeyBytes);
  KS_ASSIGN_OR_RETURN(bundle->kdk, std::move(kdk));
  const auto check_value = Attribute(bag, bundle_attributes::kCheckValue, V_ASN1_OCTET_STRING);
  if (!check_value.has_value()) return Invalid("has no check value");
  KS_ASSIGN_OR_RETURN(const std::string actual, KeyCheckValue(bundle->kdk));
  if (actual != *check_value) {
    return Error(v1::REASON_CHECK_VALUE_MISMATCH,
                 "the bundle's key does not agree with its check value")
        .NextStep("Use another copy of the backup.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WriteBundle(const KeyBundle& bundle, const SecretKey* password,
                                        int iterations) {
  KS_RETURN_IF_ERROR(CheckBundle(bundle, password, iterations));
  KS_ASSIGN_OR_RETURN(Bag bag, MakeBag(bundle));
  const Bags bags(sk_PKCS12_SAFEBAG_new_null());
  if (bags == nullptr || sk_PKCS12_SAFEBAG_push(bags.get(), bag.get()) <= 0) {
    return OpensslError("sk_PKCS12_SAFEBAG_push");
  }
  (void)bag.release();
  const Password text(password);
  Pkcs7 safe(password == nullptr
                 ? PKCS12_pack_p7data(bags.get())
                 : PKCS12_pack_p7encdata(NID_aes_256_cbc, text.text, text.size, nullptr, kSaltBytes,
                                         iterations, bags.get()));
  const Safes safes(sk_PKCS7_new_null());
  if (safe == nullptr || safes == nullptr || sk_PKCS7_push(safes.get(), safe.get()) <= 0) {
    return OpensslError("PKCS12_pack_p7data");
  }
  (void)safe.release();
  const Pkcs12 p12(PKCS12_add_safes(safes.get(), 0));
  if (p12 == nullptr || PKCS12_set_mac(p12.get(), text.text, text.size, nullptr, kSaltBytes,
                                       iterations, EVP_sha256()) != 1) {
    return OpensslError("PKCS12_set_mac");
  }
  return Encode(p12);
}

absl::StatusOr<KeyBundle> ReadBundle(absl::string_view p12, const SecretKey* password) {
  KS_ASSIGN_OR_RETURN(const Opened opened, Parse(p12));
  KS_RETURN_IF_ERROR(CheckMac(opened, password));
  KS_ASSIGN_OR_RETURN(const Bags bags, Unpack(opened, password));
  PKCS12_SAFEBAG* const bag = sk_PKCS12_SAFEBAG_value(bags.get(), 0);
  // The secret's type is checked before its value: OpenSSL's union depends on it.
  if (PKCS12_SAFEBAG_get_nid(bag) != NID_secretBag ||
      OBJ_obj2nid(PKCS12_SAFEBAG_get0_bag_type(bag)) != kSecretType) {
    return Invalid("is not a backup of a key provider");
  }
  KeyBundle bundle;
  KS_RETURN_IF_ERROR(ReadAttributes(bag, &bundle));
  KS_RETURN_IF_ERROR(ReadKey(bag, &bundle));
  return bundle;
}

}  // namespace keysphere::crypto
