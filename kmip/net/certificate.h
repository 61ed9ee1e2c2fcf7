#ifndef KEYSPHERE_KMIP_NET_CERTIFICATE_H_
#define KEYSPHERE_KMIP_NET_CERTIFICATE_H_

#include <openssl/x509.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keysphere::kmip::net {

// What a certificate says.
struct CertificateFacts {
  std::string pem;
  std::string subject;  // "CN=kms-1,O=…"
  std::string common_name;
  std::string uri;     // the first URI among its alternative names
  std::string sha256;  // of the DER form, hexadecimal
  absl::Time not_before;
  absl::Time not_after;
};
CertificateFacts FactsOf(X509* certificate);
// Of the first certificate of a PEM text. CERT_UNTRUSTED: there is none, or one is malformed.
absl::StatusOr<CertificateFacts> ReadFacts(absl::string_view pem);

// Who holds a certificate: "uri …", else "cn …", else "sha256 …" (the certificate itself). An
// authority may vouch for any common name: none of them is ever taken for a URI or a digest.
std::string HolderOf(const CertificateFacts& certificate);

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_CERTIFICATE_H_
