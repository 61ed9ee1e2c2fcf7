#ifndef KEYSPHERE_COMMON_IDENTITY_CERTIFICATE_H_
#define KEYSPHERE_COMMON_IDENTITY_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/identity/identity.h"

namespace keysphere::identity {

// What a certificate says. Read, not verified: CheckCertificate does that.
struct CertificateInfo {
  Identity identity;    // of its one URI SAN; see ReadCertificate
  std::string subject;  // RFC 2253
  std::string issuer;   // RFC 2253
  std::vector<std::string> uris;
  std::vector<std::string> dns_names;  // S3: the names by which a controller may be dialled
  std::vector<std::string> ip_addresses;
  absl::Time not_before;
  absl::Time not_after;
  std::string serial;  // hexadecimal
};

// Of the first certificate in `chain_pem`. CERT_UNTRUSTED: not PEM, or not exactly one URI SAN, or
// that is no Identity.
absl::StatusOr<CertificateInfo> ReadCertificate(absl::string_view chain_pem);
// The same of any certificate, an authority's or a KMS' too: it may have no identity.
absl::StatusOr<CertificateInfo> ReadAnyCertificate(absl::string_view chain_pem);

// The same, if it comes from `ca_pem` (by the others of the chain, if there are more) and all of
// the chain is valid at `now`. CERT_EXPIRED: not yet or no longer valid. CERT_UNTRUSTED: another
// issuer too.
absl::StatusOr<CertificateInfo> CheckCertificate(absl::string_view chain_pem,
                                                 absl::string_view ca_pem, absl::Time now);

// Whether a certificate of this validity serves at `now`; CERT_EXPIRED if not.
absl::Status CheckValidity(const CertificateInfo& info, absl::Time now);

}  // namespace keysphere::identity

#endif  // KEYSPHERE_COMMON_IDENTITY_CERTIFICATE_H_
