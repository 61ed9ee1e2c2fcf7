#include "controller/kms/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::kms {
namespace {

template <auto Free>
struct Freeing {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freeing<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freeing<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Freeing<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freeing<X509_REQ_free>>;

int NoPassphrase(char*, int, int, void*) { return -1; }

absl::Status Untrusted(absl::string_view what) {
  return status::Error(v1::REASON_CERT_UNTRUSTED, what);
}

X509Ptr Parse(absl::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (bio == nullptr) return nullptr;
  return X509Ptr(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);  // NOLINT: OpenSSL's type
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view pem) {
  const X509Ptr certificate = Parse(pem);
  if (certificate == nullptr) return Untrusted("there is no certificate in PEM");
  CertificateFacts facts;
  const BioPtr subject(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(subject.get(), X509_get_subject_name(certificate.get()), 0, XN_FLAG_RFC2253);
  facts.subject = Text(subject.get());
  unsigned char digest[SHA256_DIGEST_LENGTH];
  unsigned int size = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest, &size) != 1) {
    return Untrusted("the certificate has no digest");
  }
  facts.sha256 =
      absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
  facts.not_before = TimeOf(X509_get0_notBefore(certificate.get()));
  facts.not_after = TimeOf(X509_get0_notAfter(certificate.get()));
  return facts;
}

absl::Status CheckPair(absl::string_view certificate_pem, const crypto::SecretKey& key_pem) {
  const X509Ptr certificate = Parse(certificate_pem);
  if (certificate == nullptr) return Untrusted("the client certificate is not PEM");
  const auto bytes = key_pem.bytes(crypto::SecretKeyAccess::Token());
  const BioPtr bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) return Untrusted("the client's private key is not PEM");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Untrusted("the private key is not the client certificate's");
  }
  return absl::OkStatus();
}

absl::StatusOr<NewRequest> MakeRequest(const std::string& common_name) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const RequestPtr request(X509_REQ_new());
  const BioPtr csr(BIO_new(BIO_s_mem()));
  // In secure memory: it is the key.
  const BioPtr pem(BIO_new(BIO_s_secmem()));
  if (key == nullptr || request == nullptr || csr == nullptr || pem == nullptr) {
    return status::Error(v1::REASON_INTERNAL, "no key could be made");
  }
  X509_NAME* const name = X509_REQ_get_subject_name(request.get());
  const bool made =
      X509_REQ_set_version(request.get(), 0) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0) == 1 &&
      X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0 &&
      PEM_write_bio_X509_REQ(csr.get(), request.get()) == 1 &&
      PEM_write_bio_PKCS8PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
          1;
  if (!made) return status::Error(v1::REASON_INTERNAL, "no certificate request could be made");
  NewRequest result;
  char* data = nullptr;
  const long size = BIO_get_mem_data(pem.get(), &data);  // NOLINT: OpenSSL's type
  KS_ASSIGN_OR_RETURN(result.key_pem,
                      crypto::SecretKey::CopyOf(absl::MakeConstSpan(
                          reinterpret_cast<const uint8_t*>(data), static_cast<size_t>(size))));
  result.csr_pem = Text(csr.get());
  return result;
}

}  // namespace keysphere::controller::kms
