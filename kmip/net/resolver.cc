#include "kmip/net/resolver.h"

#include <utility>

#include "kmip/net/socket.h"

namespace keysphere::kmip::net {

void Resolver::Resolve(std::string host,
                       absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  Join();
  thread_ = std::thread([loop = loop_, host = std::move(host), done = std::move(done)]() mutable {
    absl::StatusOr<std::string> ip = net::Resolve(host);
    loop->Post([ip = std::move(ip), done = std::move(done)]() mutable { done(std::move(ip)); });
  });
}

void Resolver::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace keysphere::kmip::net
