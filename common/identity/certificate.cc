#include "common/identity/certificate.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <ctime>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::identity {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using StackPtr = std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;

absl::Status Untrusted(absl::string_view message) {
  return status::Error(v1::REASON_CERT_UNTRUSTED, message)
      .NextStep("Issue a certificate from this cluster's authority (keysphere pki).");
}

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm fields = {};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return absl::InfinitePast();
  return absl::FromTM(fields, absl::UTCTimeZone());
}

absl::string_view Text(const ASN1_STRING* value) {
  return absl::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                           ASN1_STRING_length(value));
}

std::string IpText(const ASN1_OCTET_STRING* value) {
  char text[INET6_ADDRSTRLEN] = {};
  // What is neither is no address.
  if (ASN1_STRING_length(value) != 4 && ASN1_STRING_length(value) != 16) return "";
  const int family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6;
  inet_ntop(family, ASN1_STRING_get0_data(value), text, sizeof text);
  return text;
}

std::string NameText(const X509_NAME* name) {
  const BioPtr text(BIO_new(BIO_s_mem()));
  KS_CHECK(text != nullptr);
  // Escaped: a name is what its issuer chose.
  X509_NAME_print_ex(text.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return std::string(data, size);
}

CertificateInfo ReadX509(X509* certificate) {
  CertificateInfo info;
  info.subject = NameText(X509_get_subject_name(certificate));
  info.issuer = NameText(X509_get_issuer_name(certificate));
  info.not_before = ToTime(X509_get0_notBefore(certificate));
  info.not_after = ToTime(X509_get0_notAfter(certificate));
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate);
  const absl::string_view serial_bytes = Text(serial);
  info.serial = absl::BytesToHexString(serial_bytes);

  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) info.uris.emplace_back(Text(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) info.dns_names.emplace_back(Text(name->d.dNSName));
    if (name->type == GEN_IPADD) info.ip_addresses.push_back(IpText(name->d.iPAddress));
  }
  return info;
}

// With its identity, which it must have.
absl::StatusOr<CertificateInfo> ReadPeer(X509* certificate) {
  CertificateInfo info = ReadX509(certificate);
  if (info.uris.size() != 1) {
    return Untrusted(absl::StrCat("the certificate has ", info.uris.size(), " URI names, not one"));
  }
  KS_ASSIGN_OR_RETURN(info.identity, Identity::Parse(info.uris[0]));
  return info;
}

absl::Status Expired(absl::string_view message) {
  return status::Error(v1::REASON_CERT_EXPIRED, message)
      .NextStep("Issue a new certificate (keysphere pki issue), or set the clock right.");
}

}  // namespace

absl::StatusOr<CertificateInfo> ReadAnyCertificate(absl::string_view chain_pem) {
  const std::vector<X509Ptr> chain = ParseCertificates(chain_pem);
  if (chain.empty()) return Untrusted("not a certificate in PEM");
  return ReadX509(chain[0].get());
}

absl::StatusOr<CertificateInfo> ReadCertificate(absl::string_view chain_pem) {
  const std::vector<X509Ptr> chain = ParseCertificates(chain_pem);
  if (chain.empty()) return Untrusted("not a certificate in PEM");
  return ReadPeer(chain[0].get());
}

absl::Status CheckValidity(const CertificateInfo& info, absl::Time now) {
  if (now > info.not_after) {
    return Expired(absl::StrCat("the certificate of ", status::Quote(info.identity.ToUri()),
                                " expired at ", absl::FormatTime(info.not_after)));
  }
  if (now < info.not_before) {
    return Expired(absl::StrCat("the certificate of ", status::Quote(info.identity.ToUri()),
                                " is valid only from ", absl::FormatTime(info.not_before)));
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateInfo> CheckCertificate(absl::string_view chain_pem,
                                                 absl::string_view ca_pem, absl::Time now) {
  const std::vector<X509Ptr> chain = ParseCertificates(chain_pem);
  if (chain.empty()) return Untrusted("not a certificate in PEM");
  const std::vector<X509Ptr> authorities = ParseCertificates(ca_pem);
  if (authorities.empty()) return Untrusted("the authority is no certificate in PEM");

  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  const StackPtr intermediates(sk_X509_new_null(),
                               [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  KS_CHECK(store != nullptr && context != nullptr && intermediates != nullptr);
  for (const X509Ptr& authority : authorities) X509_STORE_add_cert(store.get(), authority.get());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(intermediates.get(), chain[i].get());
  KS_CHECK(X509_STORE_CTX_init(context.get(), store.get(), chain[0].get(), intermediates.get()) ==
           1);
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), absl::ToTimeT(now));
  const bool verified = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (verified) return ReadPeer(chain[0].get());

  const int error = X509_STORE_CTX_get_error(context.get());
  const std::string message =
      absl::StrCat("the certificate is refused: ", X509_verify_cert_error_string(error));
  if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID) {
    return Expired(message);
  }
  return Untrusted(message);
}

}  // namespace keysphere::identity
