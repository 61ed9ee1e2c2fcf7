#include "common/identity/authority.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::identity {
namespace {

constexpr int kSerialBytes = 16;
constexpr size_t kMaxCommonName = 64;  // X.520's limit
constexpr size_t kMaxDnsName = 253;

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

absl::Status OpensslFailed(absl::string_view what) {
  const std::string reason = ERR_reason_error_string(ERR_peek_last_error()) == nullptr
                                 ? ""
                                 : ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return status::Error(v1::REASON_INTERNAL, absl::StrCat("cannot make ", what, ": ", reason));
}

absl::StatusOr<KeyPtr> NewKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpensslFailed("a P-256 key");
  return key;
}

// OpenSSL reads these values itself: only for fixed texts, never for a caller's.
bool AddFixedExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool AddName(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  if (value == nullptr) return false;
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (name == nullptr) return false;
  GENERAL_NAME_set0_value(name, type, value);
  return sk_GENERAL_NAME_push(names, name) > 0;
}

ASN1_STRING* Ia5(absl::string_view text) {
  ASN1_STRING* value = ASN1_IA5STRING_new();
  if (value != nullptr) ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
  return value;
}

absl::Status AddSubjectNames(X509* certificate, const Identity& identity,
                             const Authority::Request& request) {
  const NamesPtr names(GENERAL_NAMES_new());
  bool added = AddName(names.get(), GEN_URI, Ia5(identity.ToUri())) &&
               AddName(names.get(), GEN_DNS, Ia5(identity.DnsName()));
  for (const std::string& dns : request.dns_names) {
    if (dns.empty() || dns.size() > kMaxDnsName ||
        dns.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
            std::string::npos) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("not a host name: ", status::Quote(dns)));
    }
    added = added && AddName(names.get(), GEN_DNS, Ia5(dns));
  }
  for (const std::string& ip : request.ip_addresses) {
    ASN1_OCTET_STRING* address = a2i_IPADDRESS(ip.c_str());
    if (address == nullptr) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("not an IP address: ", status::Quote(ip)));
    }
    added = added && AddName(names.get(), GEN_IPADD, address);
  }
  if (!added || X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1) {
    return OpensslFailed("the subject's names");
  }
  return absl::OkStatus();
}

absl::StatusOr<X509Ptr> NewCertificate(absl::string_view common_name, EVP_PKEY* key,
                                       const Validity& validity) {
  if (validity.not_after <= validity.not_before) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "the certificate ends before it begins");
  }
  X509Ptr certificate(X509_new());
  if (certificate == nullptr) return OpensslFailed("a certificate");
  unsigned char serial[kSerialBytes];
  if (RAND_bytes(serial, sizeof serial) != 1) return OpensslFailed("a serial number");
  serial[0] = (serial[0] & 0x7f) | 0x40;  // positive, and of full length
  ASN1_INTEGER* number = X509_get_serialNumber(certificate.get());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const bool made =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      ASN1_STRING_set(number, serial, sizeof serial) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(validity.not_before)) !=
          nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(validity.not_after)) !=
          nullptr &&
      X509_set_pubkey(certificate.get(), key) == 1 &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0) == 1;
  if (!made) return OpensslFailed("a certificate");
  return certificate;
}

absl::StatusOr<std::string> ToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return OpensslFailed("a PEM text");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, size);
}

absl::StatusOr<SecretPem> ToPem(EVP_PKEY* key) {
  // BIO_s_secmem: what the text passes through is wiped too.
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpensslFailed("a PEM text");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  SecretPem pem(absl::string_view(data, size));
  OPENSSL_cleanse(data, size);
  return pem;
}

}  // namespace

struct Authority::State {
  std::string trust_domain;
  X509Ptr certificate;
  KeyPtr key;
  std::string certificate_pem;
};

Authority::Authority(std::unique_ptr<State> state) : state_(std::move(state)) {}
Authority::~Authority() = default;

const std::string& Authority::trust_domain() const { return state_->trust_domain; }
const std::string& Authority::certificate_pem() const { return state_->certificate_pem; }

absl::StatusOr<std::unique_ptr<Authority>> Authority::Create(absl::string_view trust_domain,
                                                             const Validity& validity) {
  // Only to check the domain: an authority has no identity of its own.
  KS_RETURN_IF_ERROR(Identity::Create(trust_domain, Kind::kUser, "authority").status());
  auto state = std::make_unique<State>();
  state->trust_domain = std::string(trust_domain);
  KS_ASSIGN_OR_RETURN(state->key, NewKey());
  // The common name carries the domain: Load takes it from there.
  KS_ASSIGN_OR_RETURN(state->certificate, NewCertificate(trust_domain.substr(0, kMaxCommonName),
                                                         state->key.get(), validity));
  X509* certificate = state->certificate.get();
  const NamesPtr names(GENERAL_NAMES_new());
  const bool made =
      AddName(names.get(), GEN_URI, Ia5(absl::StrCat("spiffe://", trust_domain))) &&
      X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) == 1 &&
      X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
      AddFixedExtension(certificate, certificate, NID_basic_constraints,
                        "critical,CA:TRUE,pathlen:0") &&
      AddFixedExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      AddFixedExtension(certificate, certificate, NID_subject_key_identifier, "hash") &&
      X509_sign(certificate, state->key.get(), EVP_sha256()) > 0;
  if (!made) return OpensslFailed("the authority's certificate");
  KS_ASSIGN_OR_RETURN(state->certificate_pem, ToPem(certificate));
  return std::unique_ptr<Authority>(new Authority(std::move(state)));
}

absl::StatusOr<std::unique_ptr<Authority>> Authority::Load(const std::string& dir) {
  const CredentialFiles files = CredentialFiles::In(dir, "ca");
  KS_ASSIGN_OR_RETURN(Credentials credentials, Credentials::Load(files));
  auto state = std::make_unique<State>();
  state->certificate = std::move(ParseCertificates(credentials.certificate_pem)[0]);
  state->key = ParseKey(credentials.key_pem.view());
  state->certificate_pem = std::move(credentials.certificate_pem);

  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(state->certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  constexpr absl::string_view kPrefix = "spiffe://";
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_STRING* value = name->d.uniformResourceIdentifier;
    const absl::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                ASN1_STRING_length(value));
    if (uri.substr(0, kPrefix.size()) == kPrefix) {
      state->trust_domain = std::string(uri.substr(kPrefix.size()));
    }
  }
  if (X509_check_ca(state->certificate.get()) == 0 || state->trust_domain.empty()) {
    return status::Error(
        v1::REASON_CERT_UNTRUSTED,
        absl::StrCat("not the certificate of an authority: ", status::Quote(files.certificate)));
  }
  return std::unique_ptr<Authority>(new Authority(std::move(state)));
}

absl::Status Authority::Write(const std::string& dir) const {
  const CredentialFiles files = CredentialFiles::In(dir, "ca");
  KS_ASSIGN_OR_RETURN(const SecretPem key, ToPem(state_->key.get()));
  KS_RETURN_IF_ERROR(WritePemFile(files.key, key.view()));
  return WritePemFile(files.certificate, state_->certificate_pem);
}

absl::StatusOr<Credentials> Authority::Issue(const Request& request) const {
  KS_ASSIGN_OR_RETURN(const Identity identity,
                      Identity::Create(state_->trust_domain, request.kind, request.name));
  KS_ASSIGN_OR_RETURN(const KeyPtr key, NewKey());
  // The common name is for people; nothing reads it.
  KS_ASSIGN_OR_RETURN(
      const X509Ptr certificate,
      NewCertificate(identity.DnsName().substr(0, kMaxCommonName), key.get(), request.validity));
  KS_RETURN_IF_ERROR(AddSubjectNames(certificate.get(), identity, request));
  X509* issuer = state_->certificate.get();
  const bool made =
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
      AddFixedExtension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
      AddFixedExtension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature") &&
      AddFixedExtension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
      AddFixedExtension(certificate.get(), issuer, NID_subject_key_identifier, "hash") &&
      AddFixedExtension(certificate.get(), issuer, NID_authority_key_identifier, "keyid:always") &&
      X509_sign(certificate.get(), state_->key.get(), EVP_sha256()) > 0;
  if (!made) return OpensslFailed("a certificate");
  Credentials credentials;
  credentials.ca_pem = state_->certificate_pem;
  KS_ASSIGN_OR_RETURN(credentials.certificate_pem, ToPem(certificate.get()));
  KS_ASSIGN_OR_RETURN(credentials.key_pem, ToPem(key.get()));
  return credentials;
}

}  // namespace keysphere::identity
