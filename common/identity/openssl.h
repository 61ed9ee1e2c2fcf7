#ifndef KEYSPHERE_COMMON_IDENTITY_OPENSSL_H_
#define KEYSPHERE_COMMON_IDENTITY_OPENSSL_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <vector>

#include "absl/strings/string_view.h"

// OpenSSL's types of X.509 under unique_ptr.
namespace keysphere::identity {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;

inline BioPtr ReadOnlyBio(absl::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

// Never asks a terminal for a passphrase.
inline int NoPassphrase(char*, int, int, void*) { return -1; }

// The certificates of a PEM text; empty when there is none or one is malformed.
std::vector<X509Ptr> ParseCertificates(absl::string_view pem);
// Null: not a private key in PEM.
KeyPtr ParseKey(absl::string_view pem);

}  // namespace keysphere::identity

#endif  // KEYSPHERE_COMMON_IDENTITY_OPENSSL_H_
