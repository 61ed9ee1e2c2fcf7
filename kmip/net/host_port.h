#ifndef KEYSPHERE_KMIP_NET_HOST_PORT_H_
#define KEYSPHERE_KMIP_NET_HOST_PORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::kmip::net {

inline constexpr int kKmipPort = 5696;  // S130

// Where somebody listens: an IP address, without brackets, or a DNS name.
struct HostPort {
  std::string host;
  int port = 0;
};

// "HOST:PORT", "[IPv6]:PORT", "HOST" (then `default_port`). INVALID_ARGUMENT.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text, int default_port);
// "HOST:PORT", "[IPv6]:PORT".
std::string FormatHostPort(const HostPort& address);

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_HOST_PORT_H_
