#include "kmip/net/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::kmip::net {
namespace {

absl::Time TimeOf(const ASN1_TIME* time) {
  tm fields = {};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return absl::InfinitePast();
  return absl::FromTM(fields, absl::UTCTimeZone());
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string FirstUri(X509* certificate) {
  std::string uri;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; uri.empty() && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* const text = name->d.uniformResourceIdentifier;
    uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
               static_cast<size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return uri;
}

}  // namespace

CertificateFacts FactsOf(X509* certificate) {
  CertificateFacts facts;
  const identity::BioPtr pem(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(pem.get(), certificate) == 1) facts.pem = Text(pem.get());
  const identity::BioPtr subject(BIO_new(BIO_s_mem()));
  if (X509_NAME_print_ex(subject.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >=
      0) {
    facts.subject = Text(subject.get());
  }
  char name[256] = "";
  if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                                sizeof(name)) > 0) {
    facts.common_name = name;
  }
  facts.uri = FirstUri(certificate);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) == 1) {
    facts.sha256 =
        absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
  }
  facts.not_before = TimeOf(X509_get0_notBefore(certificate));
  facts.not_after = TimeOf(X509_get0_notAfter(certificate));
  ERR_clear_error();
  return facts;
}

absl::StatusOr<CertificateFacts> ReadFacts(absl::string_view pem) {
  const auto chain = identity::ParseCertificates(pem);
  if (chain.empty()) return status::Error(v1::REASON_CERT_UNTRUSTED, "not a certificate in PEM");
  return FactsOf(chain[0].get());
}

std::string HolderOf(const CertificateFacts& certificate) {
  if (!certificate.uri.empty()) return absl::StrCat("uri ", certificate.uri);
  if (!certificate.common_name.empty()) return absl::StrCat("cn ", certificate.common_name);
  return absl::StrCat("sha256 ", certificate.sha256);
}

}  // namespace keysphere::kmip::net
