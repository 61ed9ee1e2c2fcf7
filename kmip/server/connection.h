#ifndef KEYSPHERE_KMIP_SERVER_CONNECTION_H_
#define KEYSPHERE_KMIP_SERVER_CONNECTION_H_

#include <functional>
#include <memory>
#include <string>

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
  };
  // `ended` is called once when it is over.
  Connection(Context* context, std::unique_ptr<net::TlsStream> stream,
             std::function<void(Connection*)> ended);
  ~Connection() override;

  void Start();
  void Close();

 private:
  enum class State { kHandshake, kReading, kHandling, kWriting, kClosed };

  void OnReady(uint32_t events) override;
  void ContinueHandshake();
  void ContinueReading();
  // Handles the message if it is there as a whole. False: more bytes are needed.
  bool TakeMessage();
  void Answered(ttlv::Buffer answer, FaultInjector::MessageFault fault);
  void ContinueWriting();
  // Waits for the events; `timeout`: no longer than that since the state began.
  void Wait(uint32_t events);
  void SetTimer(absl::Duration timeout);
  void CancelTimer();
  void Refuse(const absl::Status& why);

  Context* const context_;
  const std::unique_ptr<net::TlsStream> stream_;
  const std::function<void(Connection*)> ended_;
  State state_ = State::kHandshake;
  net::Loop::WatchId watch_ = 0;
  uint32_t waits_for_ = 0;
  clock::Clock::TimerId timer_ = clock::Clock::kNoTimer;
  uint64_t timer_number_ = 0;  // of the timer that counts
  std::string owner_;
  ttlv::Buffer in_;
  ttlv::Buffer out_;
  size_t sent_ = 0;
  absl::optional<size_t> drop_after_;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_CONNECTION_H_
