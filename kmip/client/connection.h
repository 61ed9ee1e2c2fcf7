#ifndef KEYSPHERE_KMIP_CLIENT_CONNECTION_H_
#define KEYSPHERE_KMIP_CLIENT_CONNECTION_H_

#include <memory>
#include <vector>

#include "kmip/client/exchange.h"
#include "kmip/client/key_server.h"
#include "kmip/net/loop.h"
#include "kmip/net/tls.h"

namespace keysphere::kmip::client {

class Pool;

// A connection to the server: connect, handshake, Discover Versions (S129: once), then one exchange
// at a time. Lives on the loop and in its pool.
class ClientConnection : public net::Loop::Handler,
                         public std::enable_shared_from_this<ClientConnection> {
 public:
  explicit ClientConnection(Pool* pool) : pool_(pool) {}
  ~ClientConnection() override;

  // Ends with OnIdle or OnEnded of the pool, never inside this call.
  void Start();
  // OnAnswer follows, or OnEnded. The exchange lives until then.
  void Send(const Exchange* exchange);
  // Nothing follows.
  void Close();

  // It has stood through an exchange of a call or more.
  bool is_used() const { return used_; }
  const std::vector<Version>& versions() const { return versions_; }

 private:
  enum class State { kConnecting, kHandshake, kDiscovering, kIdle, kExchange, kClosed };

  void OnReady(uint32_t events) override;
  void Connected();
  void ContinueHandshake();
  void ContinueExchange();
  // Whole or not at all.
  absl::Status WriteSome(bool* wait);
  absl::Status ReadSome(bool* wait);
  // The answer if it is there as a whole.
  absl::Status TakeAnswer(bool* taken);
  absl::Status OnMessage(const messages::Response& response);
  void Wait(uint32_t events);
  void End(const absl::Status& why);

  Pool* const pool_;
  State state_ = State::kConnecting;
  files::Descriptor socket_;  // until the stream has it
  std::unique_ptr<net::TlsStream> stream_;
  net::Loop::WatchId watch_ = 0;
  int fd_ = -1;
  uint32_t waits_for_ = 0;
  Exchange discover_;
  const Exchange* exchange_ = nullptr;
  size_t sent_ = 0;
  ttlv::Buffer in_;
  std::vector<Version> versions_;
  bool used_ = false;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_CONNECTION_H_
