#include "kmip/net/host_port.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::kmip::net {

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text, int default_port) {
  HostPort result;
  result.port = default_port;
  const absl::string_view whole = text;
  const auto invalid = [&] {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(whole), " is not HOST:PORT"));
  };
  if (!text.empty() && text[0] == '[') {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return invalid();
    result.host = std::string(text.substr(1, end - 1));
    text.remove_prefix(end + 1);
  } else {
    const size_t colon = text.find(':');
    // Several colons without brackets: an IPv6 address without a port.
    const bool is_v6 =
        colon != absl::string_view::npos && text.find(':', colon + 1) != absl::string_view::npos;
    const size_t end = is_v6 ? text.size() : std::min(colon, text.size());
    result.host = std::string(text.substr(0, end));
    text.remove_prefix(end);
  }
  if (!text.empty() && (text[0] != ':' || !absl::SimpleAtoi(text.substr(1), &result.port))) {
    return invalid();
  }
  if (result.host.empty() || result.port < 0 || result.port > 65535) return invalid();
  return result;
}

std::string FormatHostPort(const HostPort& address) {
  const bool is_v6 = absl::StrContains(address.host, ":");
  return is_v6 ? absl::StrCat("[", address.host, "]:", address.port)
               : absl::StrCat(address.host, ":", address.port);
}

}  // namespace keysphere::kmip::net
