#ifndef KEYSPHERE_COMMON_IDENTITY_AUTHORITY_H_
#define KEYSPHERE_COMMON_IDENTITY_AUTHORITY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/identity/credentials.h"
#include "common/identity/identity.h"

namespace keysphere::identity {

// When a certificate serves.
struct Validity {
  absl::Time not_before;
  absl::Time not_after;

  // 20 years, and a day back for clocks that differ.
  static Validity From(absl::Time now) {
    return Validity{now - absl::Hours(24), now + absl::Hours(24) * 365 * 20};
  }
};

// The certificate authority of one cluster: ECDSA P-256, one trust domain. Immutable; thread safe.
class Authority {
 public:
  // A new one.
  static absl::StatusOr<std::unique_ptr<Authority>> Create(absl::string_view trust_domain,
                                                           const Validity& validity);
  // From DIR/ca.crt and DIR/ca.key.
  static absl::StatusOr<std::unique_ptr<Authority>> Load(const std::string& dir);
  // Into DIR/ca.crt and DIR/ca.key, 0600.
  absl::Status Write(const std::string& dir) const;
  ~Authority();

  struct Request {
    Kind kind = Kind::kUser;
    std::string name;
    Validity validity;
    std::vector<std::string> ip_addresses;  // "127.3.0.1", "::1"
    std::vector<std::string> dns_names;     // besides Identity::DnsName()
  };
  // A new key pair and its certificate: one URI SAN, the DNS and IP SANs, for client and server.
  // INVALID_NAME, INVALID_ARGUMENT: a field is out of its range.
  absl::StatusOr<Credentials> Issue(const Request& request) const;

  const std::string& trust_domain() const;
  const std::string& certificate_pem() const;

 private:
  struct State;
  explicit Authority(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace keysphere::identity

#endif  // KEYSPHERE_COMMON_IDENTITY_AUTHORITY_H_
