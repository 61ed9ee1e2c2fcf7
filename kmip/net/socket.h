#ifndef KEYSPHERE_KMIP_NET_SOCKET_H_
#define KEYSPHERE_KMIP_NET_SOCKET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"

// TCP sockets that do not block.
namespace keysphere::kmip::net {

// Listens on an IP address; port 0: any free one. UNREACHABLE: the address is not ours or taken.
absl::StatusOr<files::Descriptor> ListenOn(const std::string& ip, int port);
// The port of a listening socket.
int PortOf(const files::Descriptor& socket);
// The next connection; an invalid descriptor: there is none now. RESOURCE_EXHAUSTED: out of file
// descriptors.
absl::StatusOr<files::Descriptor> Accept(const files::Descriptor& socket);
// Begins to connect to an IP address; the socket is writable when it is decided.
absl::StatusOr<files::Descriptor> BeginConnect(const std::string& ip, int port);
// How that ended; UNREACHABLE.
absl::Status EndConnect(int socket);

bool IsIpAddress(const std::string& host);
// The first address of a DNS name. Blocks. UNREACHABLE: it has none.
absl::StatusOr<std::string> Resolve(const std::string& host);

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_SOCKET_H_
