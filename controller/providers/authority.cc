#include "controller/providers/authority.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status/status.h"

namespace keysphere::controller::providers {
namespace {

// Without port and brackets. A bare IPv6 address has more than one colon.
absl::string_view HostOf(absl::string_view authority) {
  if (absl::ConsumePrefix(&authority, "[")) return authority.substr(0, authority.find(']'));
  const size_t colon = authority.find(':');
  if (colon == absl::string_view::npos || authority.rfind(':') != colon) return authority;
  return authority.substr(0, colon);
}

bool IsIpLiteral(const std::string& host) {
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address) == 1;
}

absl::Status Refused(absl::string_view why, const std::vector<std::string>& dns_names) {
  return status::Error(v1::REASON_FQDN_REQUIRED, why)
      .NextStep(absl::StrCat("Dial the vCenter by its fully qualified name",
                             dns_names.empty() ? "" : ", ", dns_names.empty() ? "" : dns_names[0],
                             "."));
}

}  // namespace

absl::Status CheckAuthority(absl::string_view authority,
                            const std::vector<std::string>& dns_names) {
  const std::string host(absl::StripSuffix(HostOf(authority), "."));
  if (IsIpLiteral(host)) {
    return Refused(absl::StrCat("backups need a name, and the vCenter was dialled by its address ",
                                status::Quote(host)),
                   dns_names);
  }
  if (!absl::StrContains(host, '.')) {
    return Refused(absl::StrCat("backups need a fully qualified name, and the vCenter was dialled "
                                "as ",
                                status::Quote(host)),
                   dns_names);
  }
  for (const std::string& name : dns_names) {
    if (absl::EqualsIgnoreCase(host, name)) return absl::OkStatus();
  }
  return Refused(absl::StrCat(status::Quote(host), " is not a name of this vCenter"), dns_names);
}

}  // namespace keysphere::controller::providers
