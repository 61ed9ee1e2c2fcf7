#include "kmip/net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::kmip::net {
namespace {

constexpr int kBacklog = 1024;

struct AddressFree {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};
using AddressPtr = std::unique_ptr<addrinfo, AddressFree>;

absl::Status Unreachable(absl::string_view action, const std::string& host, int port, int error) {
  return status::Error(v1::REASON_UNREACHABLE,
                       absl::StrCat("cannot ", action, " ", status::Quote(host), " port ", port,
                                    ": ", strerror(error)));
}

absl::StatusOr<AddressPtr> Numeric(const std::string& ip, int port) {
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(ip.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(ip), " is no IP address"));
  }
  return AddressPtr(found);
}

files::Descriptor NewSocket(const addrinfo& address) {
  return files::Descriptor(
      socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
}

void SetOption(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof(on));
}

}  // namespace

absl::StatusOr<files::Descriptor> ListenOn(const std::string& ip, int port) {
  KS_ASSIGN_OR_RETURN(const AddressPtr address, Numeric(ip, port));
  files::Descriptor fd = NewSocket(*address);
  if (!fd.valid()) return Unreachable("listen on", ip, port, errno);
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (bind(fd.get(), address->ai_addr, address->ai_addrlen) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return Unreachable("listen on", ip, port, errno);
  }
  return fd;
}

int PortOf(const files::Descriptor& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port)
                                       : ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

absl::StatusOr<files::Descriptor> Accept(const files::Descriptor& socket) {
  files::Descriptor fd(accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.valid()) {
    SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY);
    return fd;
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
    return status::Error(v1::REASON_OVERLOADED, absl::StrCat("accept: ", strerror(errno)));
  }
  // Nobody waits, or who waited has gone again.
  return files::Descriptor();
}

absl::StatusOr<files::Descriptor> BeginConnect(const std::string& ip, int port) {
  KS_ASSIGN_OR_RETURN(const AddressPtr address, Numeric(ip, port));
  files::Descriptor fd = NewSocket(*address);
  if (!fd.valid()) return Unreachable("connect to", ip, port, errno);
  SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY);
  if (connect(fd.get(), address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return Unreachable("connect to", ip, port, errno);
  }
  return fd;
}

absl::Status EndConnect(int socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  return status::Error(v1::REASON_UNREACHABLE, absl::StrCat("connect: ", strerror(error)));
}

bool IsIpAddress(const std::string& host) { return Numeric(host, 0).ok(); }

absl::StatusOr<std::string> Resolve(const std::string& host) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  char ip[NI_MAXHOST] = "";
  if (error == 0) {
    const AddressPtr addresses(found);
    getnameinfo(addresses->ai_addr, addresses->ai_addrlen, ip, sizeof(ip), nullptr, 0,
                NI_NUMERICHOST);
  }
  if (ip[0] != '\0') return std::string(ip);
  return status::Error(
      v1::REASON_UNREACHABLE,
      absl::StrCat("the name ", status::Quote(host), " has no address: ", gai_strerror(error)));
}

}  // namespace keysphere::kmip::net
