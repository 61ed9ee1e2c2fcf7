#ifndef KEYSPHERE_KMIP_SERVER_LISTENER_H_
#define KEYSPHERE_KMIP_SERVER_LISTENER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/log/log.h"
#include "kmip/net/host_port.h"
#include "kmip/net/loop.h"
#include "kmip/net/tls.h"
#include "kmip/server/engine.h"
#include "kmip/server/fault_injector.h"

namespace keysphere::kmip::server {

// The sockets of a key server: TLS 1.2 and 1.3 with client certificates, one request at a time for
// each connection, thousands of connections on one thread. Thread safe.
class Listener {
 public:
  struct Options {
    std::string ip;
    int port = net::kKmipPort;  // 0: any free one
    // Who comes when there are so many takes the place of the one that has been idle longest. While
    // all have a request under way, connections beyond these are closed at once.
    size_t max_connections = 2048;
    // Of wall time. A connection may be idle for ever, but what it has begun it must end.
    absl::Duration handshake_timeout = absl::Seconds(10);
    absl::Duration message_timeout = absl::Seconds(10);  // from the first byte to the last
    absl::Duration write_timeout = absl::Seconds(10);    // a client that does not read its answer
    ttlv::Limits limits;
    FaultInjector* faults = nullptr;
  };
  struct Counters {
    size_t open = 0;
    uint64_t accepted = 0;
    uint64_t refused = 0;    // too many, handshake failed, or out of time
    uint64_t displaced = 0;  // idle, closed to make room
    uint64_t requests = 0;
  };

  // All outlive the listener; the engine's answers may come later. `clock` tells when certificates
  // are judged, `wall` bears the time-outs. CERT_UNTRUSTED: the files; UNREACHABLE: the address.
  static absl::StatusOr<std::unique_ptr<Listener>> Create(Options options,
                                                          const net::TlsFiles& files,
                                                          Engine* engine, net::Loop* loop,
                                                          clock::Clock* clock, clock::Clock* wall,
                                                          log::Logger* logger);
  // Closes all connections.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return port_; }
  // Down: nobody listens, and all connections end. Returns when that is so.
  absl::Status SetDown(bool down);
  // Presents another certificate, and trusts other clients, from now on; closes all connections.
  // CERT_UNTRUSTED: nothing has changed.
  absl::Status SetTls(const net::TlsFiles& files);
  Counters counters();

 private:
  class Core;
  Listener(std::shared_ptr<Core> core, net::Loop* loop, int port);

  const std::shared_ptr<Core> core_;
  net::Loop* const loop_;
  const int port_;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_LISTENER_H_
