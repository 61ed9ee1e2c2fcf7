#include "controller/kms/certificates.h"

#include <openssl/ec.h>

#include <memory>

#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::controller::kms {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, identity::OpensslFree<X509_REQ_free>>;

absl::Status Invalid(absl::string_view what) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, what)
      .NextStep("Give a certificate in PEM and the private key that was made for it.");
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);  // NOLINT: OpenSSL's type
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

absl::Status CheckPair(absl::string_view certificate_pem, const crypto::SecretKey& key_pem) {
  const auto chain = identity::ParseCertificates(certificate_pem);
  if (chain.empty()) return Invalid("the client certificate is not PEM");
  const auto bytes = key_pem.bytes(crypto::SecretKeyAccess::Token());
  const identity::KeyPtr key = identity::ParseKey(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (key == nullptr) return Invalid("the client's private key is not PEM");
  if (X509_check_private_key(chain[0].get(), key.get()) != 1) {
    return Invalid("the private key is not the client certificate's");
  }
  return absl::OkStatus();
}

absl::StatusOr<NewRequest> MakeRequest(const std::string& common_name) {
  const identity::KeyPtr key(EVP_EC_gen("P-256"));
  const RequestPtr request(X509_REQ_new());
  const identity::BioPtr csr(BIO_new(BIO_s_mem()));
  // In secure memory: it is the key.
  const identity::BioPtr pem(BIO_new(BIO_s_secmem()));
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
