#include "kmip/server/listener.h"

#include <sys/epoll.h>

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "kmip/net/socket.h"
#include "kmip/server/connection.h"

namespace keysphere::kmip::server {
namespace {

// How long no connection is taken after the process ran out of descriptors.
constexpr absl::Duration kPause = absl::Milliseconds(100);
constexpr int kAcceptAtOnce = 64;
// How often it is told that all connections are taken.
constexpr absl::Duration kTellFull = absl::Minutes(1);

// How many may shake hands when all connections are taken: who has not shown a certificate yet
// takes nobody's place.
size_t Spare(size_t most) { return most / 8 + 1; }

}  // namespace

// Lives on the loop.
class Listener::Core : public net::Loop::Handler,
                       public Connection::Host,
                       public std::enable_shared_from_this<Core> {
 public:
  Core(Connection::Context context, net::SslCtxPtr tls, clock::Clock* clock)
      : context_(std::move(context)), tls_(std::move(tls)), clock_(clock) {}

  void Listen(files::Descriptor socket) {
    socket_ = std::move(socket);
    watch_ = context_.loop->Watch(socket_.get(), EPOLLIN, this);
  }

  void Stop() {
    if (socket_.valid()) context_.loop->Unwatch(watch_, socket_.get());
    socket_.Close();
    CloseConnections();
  }

  void SetTls(net::SslCtxPtr tls) {
    tls_ = std::move(tls);
    CloseConnections();
  }

  void CloseConnections() {
    const auto connections = connections_;
    for (const auto& [connection, owned] : connections) owned->Close();
  }

  bool is_listening() const { return socket_.valid(); }
  Counters counters() const {
    Counters counters = context_.counters;
    counters.open = connections_.size();
    return counters;
  }
  const Options& options() const { return context_.options; }

 private:
  void OnReady(uint32_t) override {
    for (int i = 0; i < kAcceptAtOnce && socket_.valid(); ++i) {
      auto accepted = net::Accept(socket_);
      if (!accepted.ok()) return Pause();
      if (!accepted->valid()) return;
      Take(*std::move(accepted));
    }
  }

  void Take(files::Descriptor socket) {
    FaultInjector* const faults = context_.options.faults;
    if (faults != nullptr && faults->RefusesConnection()) {
      ++context_.counters.refused;
      return;
    }
    const size_t most = context_.options.max_connections;
    if (connections_.size() >= most + Spare(most) ||
        (connections_.size() >= most && LongestIdle() == nullptr)) {
      ++context_.counters.refused;
      return TellFull();
    }
    auto stream = net::TlsStream::Server(tls_.get(), std::move(socket), clock_->Now());
    if (!stream.ok()) return;
    ++context_.counters.accepted;
    auto connection = std::make_shared<Connection>(&context_, this, *std::move(stream));
    connections_[connection.get()] = connection;
    connection->Start();
  }

  bool Admit(Connection*) override {
    if (connections_.size() <= context_.options.max_connections) return true;
    TellFull();
    Connection* const idle = LongestIdle();
    if (idle == nullptr) {
      ++context_.counters.refused;
      return false;
    }
    ++context_.counters.displaced;
    idle->Close();
    return true;
  }

  void Ended(Connection* connection) override {
    const auto found = connections_.find(connection);
    if (found != connections_.end()) connections_.erase(found);
  }

  // Null: all have a request under way, or their handshake. A request that has come already counts,
  // though the loop did not get to it yet.
  Connection* LongestIdle() const {
    Connection* longest = nullptr;
    uint64_t since = UINT64_MAX;
    for (const auto& [connection, owned] : connections_) {
      const absl::optional<uint64_t> idle = connection->idle_since();
      if (!idle.has_value() || *idle >= since || connection->HasUnread()) continue;
      longest = connection;
      since = *idle;
    }
    return longest;
  }

  // A client came when all connections were taken.
  void TellFull() {
    ++full_;
    const absl::Time now = context_.wall->Now();
    if (now < tell_full_) return;
    context_.logger->Warning("kmip.connections_full",
                             {{"count", full_}, {"limit", context_.options.max_connections}});
    full_ = 0;
    tell_full_ = now + kTellFull;
  }

  void Pause() {
    context_.loop->Change(watch_, socket_.get(), 0);
    context_.wall->RunAfter(kPause, [weak = weak_from_this(), loop = context_.loop] {
      loop->Post([weak] {
        const std::shared_ptr<Core> self = weak.lock();
        if (self == nullptr || !self->socket_.valid()) return;
        self->context_.loop->Change(self->watch_, self->socket_.get(), EPOLLIN);
      });
    });
  }

  Connection::Context context_;
  net::SslCtxPtr tls_;
  clock::Clock* const clock_;
  files::Descriptor socket_;
  net::Loop::WatchId watch_ = 0;
  absl::flat_hash_map<Connection*, std::shared_ptr<Connection>> connections_;
  uint64_t full_ = 0;  // clients that came when all were taken, since that was last told
  absl::Time tell_full_ = absl::InfinitePast();
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Create(Options options,
                                                           const net::TlsFiles& files,
                                                           Engine* engine, net::Loop* loop,
                                                           clock::Clock* clock, clock::Clock* wall,
                                                           log::Logger* logger) {
  KS_ASSIGN_OR_RETURN(net::SslCtxPtr tls, net::NewServerContext(files));
  KS_ASSIGN_OR_RETURN(files::Descriptor socket, net::ListenOn(options.ip, options.port));
  const int port = net::PortOf(socket);
  options.port = port;
  Connection::Context context{std::move(options), engine, loop, wall, logger, Counters(), 0};
  auto core = std::make_shared<Core>(std::move(context), std::move(tls), clock);
  std::unique_ptr<Listener> listener(new Listener(core, loop, port));
  loop->RunAndWait([&] { core->Listen(std::move(socket)); });
  return listener;
}

Listener::Listener(std::shared_ptr<Core> core, net::Loop* loop, int port)
    : core_(std::move(core)), loop_(loop), port_(port) {}

Listener::~Listener() {
  loop_->RunAndWait([this] { core_->Stop(); });
}

absl::Status Listener::SetDown(bool down) {
  absl::Status status;
  loop_->RunAndWait([&] {
    if (down) return core_->Stop();
    if (core_->is_listening()) return;
    auto socket = net::ListenOn(core_->options().ip, core_->options().port);
    status = socket.status();
    if (socket.ok()) core_->Listen(*std::move(socket));
  });
  return status;
}

absl::Status Listener::SetTls(const net::TlsFiles& files) {
  KS_ASSIGN_OR_RETURN(net::SslCtxPtr tls, net::NewServerContext(files));
  loop_->RunAndWait([&] { core_->SetTls(std::move(tls)); });
  return absl::OkStatus();
}

Listener::Counters Listener::counters() {
  Counters counters;
  loop_->RunAndWait([&] { counters = core_->counters(); });
  return counters;
}

}  // namespace keysphere::kmip::server
