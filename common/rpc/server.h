#ifndef KEYSPHERE_COMMON_RPC_SERVER_H_
#define KEYSPHERE_COMMON_RPC_SERVER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/identity/credentials.h"
#include "common/rpc/gate.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace keysphere::rpc {

// A service with its full name; Serving(&api) with the generated class makes one:
//   rpc::Serving<v1::Hosts>(&hosts_api)
struct ServiceEntry {
  grpc::Service* service;  // outlives the server
  std::string name;
};
template <typename Service>
ServiceEntry Serving(grpc::Service* implementation) {
  return ServiceEntry{implementation, Service::service_full_name()};
}

struct ServerOptions {
  std::string address;  // "127.3.0.1:8989"; port 0: any free one
  identity::Credentials credentials;
  std::vector<ServiceEntry> services;
  Gate* gate = nullptr;  // outlives the server; the services use the same
};

// A gRPC server of one process: mutual TLS 1.3 alone (S163), callers of our trust domain only,
// health checking (grpc.health.v1, each service by its name and the whole server as ""),
// reflection. It takes its address alone: a second server there fails.
class Server {
 public:
  // CERT_EXPIRED, CERT_UNTRUSTED: the own certificate; INVALID_STATE: the address is taken.
  static absl::StatusOr<std::unique_ptr<Server>> Create(ServerOptions options);
  // Drains with no grace if nobody has.
  ~Server();

  // "IP:PORT" with the real port.
  const std::string& address() const { return address_; }
  int port() const { return port_; }

  // Health checking's answer; serving from the start.
  void SetServing(bool serving);

  // Refuses new calls, ends the streams, lets the calls under way end within `grace` of wall time,
  // then cancels them. Returns when all have ended. Idempotent.
  void Drain(absl::Duration grace);

  // All methods of all services, as CallInfo::method; without health and reflection.
  const std::vector<std::string>& methods() const { return methods_; }

  // Clients whose certificate is good but whose identity is not welcome (another trust domain, no
  // SPIFFE URI, expired on the Clock). What TLS itself refuses: FailedHandshakes().
  int64_t refused_identities() const { return refused_->load(std::memory_order_relaxed); }

 private:
  Server(Gate* gate, std::shared_ptr<std::atomic<int64_t>> refused);

  Gate* const gate_;
  const std::shared_ptr<std::atomic<int64_t>> refused_;
  std::unique_ptr<grpc::Service> reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  int port_ = 0;
  std::vector<std::string> methods_;
  std::atomic<bool> drained_{false};
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_SERVER_H_
