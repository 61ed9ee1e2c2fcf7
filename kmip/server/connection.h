#ifndef KEYSPHERE_KMIP_SERVER_CONNECTION_H_
#define KEYSPHERE_KMIP_SERVER_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/optional.h"
#include "kmip/net/loop.h"
#include "kmip/net/tls.h"
#include "kmip/server/listener.h"

namespace keysphere::kmip::server {

// A client's connection: handshake, then request after request. Everything runs on the loop.
class Connection : public net::Loop::Handler, public std::enable_shared_from_this<Connection> {
 public:
  // What it stands on; outlives it.
  struct Context {
    Listener::Options options;
    Engine* engine;
    net::Loop* loop;
    clock::Clock* wall;
    log::Logger* logger;
    Listener::Counters counters;
    uint64_t times_idle = 0;  // how often one of them has become idle
  };
  // Whose connections they are.
  class Host {
   public:
    virtual ~Host() = default;
    // Its handshake is over. False: there is no room for it.
    virtual bool Admit(Connection* connection) = 0;
    // It is over; told once.
    virtual void Ended(Connection* connection) = 0;
  };
  // Both outlive it.
  Connection(Context* context, Host* host, std::unique_ptr<net::TlsStream> stream);
  ~Connection() override;

  void Start();
  void Close();
  // A number that grows with the time at which it became idle. None: its handshake or a request is
  // under way, were it but the first byte of one.
  absl::optional<uint64_t> idle_since() const;
  // Bytes have come that nobody has read yet.
  bool HasUnread() const;

 private:
  enum class State { kHandshake, kReading, kHandling, kWriting, kClosed };

  void OnReady(uint32_t events) override;
  void ContinueHandshake();
  void ContinueReading();
  // Handles the message if it is there as a whole. False: more bytes are needed.
  bool TakeMessage();
  void Answered(ttlv::Buffer answer, FaultInjector::MessageFault fault);
  void ContinueWriting();
  // Waits for a request.
  void BecomeIdle();
  // Waits for the events; `timeout`: no longer than that since the state began.
  void Wait(uint32_t events);
  void SetTimer(absl::Duration timeout);
  void CancelTimer();
  void Refuse(const absl::Status& why);

  Context* const context_;
  Host* const host_;
  const std::unique_ptr<net::TlsStream> stream_;
  State state_ = State::kHandshake;
  net::Loop::WatchId watch_ = 0;
  uint32_t waits_for_ = 0;
  clock::Clock::TimerId timer_ = clock::Clock::kNoTimer;
  uint64_t timer_number_ = 0;  // of the timer that counts
  uint64_t idle_since_ = 0;
  std::string owner_;
  ttlv::Buffer in_;
  ttlv::Buffer out_;
  size_t sent_ = 0;
  absl::optional<size_t> drop_after_;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_CONNECTION_H_
