#ifndef KEYSPHERE_COMMON_IDENTITY_IDENTITY_H_
#define KEYSPHERE_COMMON_IDENTITY_IDENTITY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::identity {

// What a certificate speaks for.
enum class Kind { kController, kHost, kUser, kKms };

// "controller", "host", "user" or "kms": the word in the URI.
absl::string_view KindName(Kind kind);

// Who a process or a person is: the SPIFFE URI of its certificate,
// spiffe://TRUST_DOMAIN/{controller,host,user,kms}/NAME. A plain value.
struct Identity {
  std::string trust_domain;  // 1-255 of a-z 0-9 . - _
  Kind kind = Kind::kUser;
  std::string name;  // 1-80 characters, no control characters

  // CERT_UNTRUSTED: not a URI of this form.
  static absl::StatusOr<Identity> Parse(absl::string_view uri);
  // INVALID_NAME: a field is out of its range.
  static absl::StatusOr<Identity> Create(absl::string_view trust_domain, Kind kind,
                                         absl::string_view name);

  // The URI; the name percent-encoded where it is not a-z A-Z 0-9 . - _ ~.
  std::string ToUri() const;
  // "NAME.keysphere.test", the name lowercased and with "-" for what no host name has. Two names
  // may share one: the URI is the identity, this is for clients that know only host names.
  std::string DnsName() const;

  friend bool operator==(const Identity& a, const Identity& b) {
    return a.kind == b.kind && a.trust_domain == b.trust_domain && a.name == b.name;
  }
  friend bool operator!=(const Identity& a, const Identity& b) { return !(a == b); }
  friend bool operator<(const Identity& a, const Identity& b) { return a.ToUri() < b.ToUri(); }
};

}  // namespace keysphere::identity

#endif  // KEYSPHERE_COMMON_IDENTITY_IDENTITY_H_
