#ifndef KEYSPHERE_KMIP_CLIENT_HOSTILE_SERVER_H_
#define KEYSPHERE_KMIP_CLIENT_HOSTILE_SERVER_H_

#include <sys/epoll.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "kmip/messages/message.h"
#include "kmip/net/loop.h"
#include "kmip/net/socket.h"
#include "kmip/net/tls.h"
#include "kmip/ttlv/item.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::client {

// A key server over TLS that answers what a test wants, right or wrong.
class HostileServer {
 public:
  struct Answer {
    ttlv::Buffer bytes;
    bool then_close = false;
  };
  // Runs on the loop; Discover Versions is a request like others.
  using Script = std::function<Answer(const messages::Request&)>;

  // Listens on 127.0.0.1. `loop` outlives it.
  static std::unique_ptr<HostileServer> Start(const net::TlsFiles& files, net::Loop* loop,
                                              absl::Time now, Script script) {
    auto server = std::unique_ptr<HostileServer>(new HostileServer(loop, now, std::move(script)));
    server->tls_ = net::NewServerContext(files).value();
    server->socket_ = net::ListenOn("127.0.0.1", 0).value();
    server->acceptor_.server = server.get();
    loop->RunAndWait([self = server.get()] {
      self->watch_ = self->loop_->Watch(self->socket_.get(), EPOLLIN, &self->acceptor_);
    });
    return server;
  }
  ~HostileServer() {
    loop_->RunAndWait([this] {
      loop_->Unwatch(watch_, socket_.get());
      peers_.clear();
    });
  }
  HostileServer(const HostileServer&) = delete;
  HostileServer& operator=(const HostileServer&) = delete;

  int port() const { return net::PortOf(socket_); }

 private:
  // A connection; reads whole requests and writes answers.
  class Peer : public net::Loop::Handler {
   public:
    Peer(HostileServer* server, std::unique_ptr<net::TlsStream> stream)
        : server_(server), stream_(std::move(stream)) {
      watch_ = server_->loop_->Watch(stream_->fd(), EPOLLIN, this);
    }
    ~Peer() override { server_->loop_->Unwatch(watch_, stream_->fd()); }

   private:
    void OnReady(uint32_t) override {
      // Whether it lives on; nothing of it is used after its end.
      if (!GoOn()) server_->peers_.erase(this);
    }

    bool GoOn() {
      using Io = net::TlsStream::Io;
      Io io = Io::kDone;
      if (!greeted_) {
        io = stream_->Handshake();
        greeted_ = io == Io::kDone;
      }
      while (io == Io::kDone) {
        if (sent_ < out_.bytes.size()) {
          size_t written = 0;
          io = stream_->Write(out_.bytes.span().subspan(sent_), &written);
          sent_ += written;
          continue;
        }
        if (out_.then_close) return false;
        if (!TakeRequest()) io = stream_->Read(&in_, 4096);
      }
      if (io != Io::kAgain) return false;
      server_->loop_->Change(watch_, stream_->fd(), stream_->events());
      return true;
    }

    bool TakeRequest() {
      if (in_.size() < ttlv::kHeaderBytes) return false;
      const size_t size =
          ttlv::MessageBytes(in_.span(), ttlv::Tag::kRequestMessage, ttlv::Limits()).value();
      if (in_.size() < size) return false;
      const auto message = ttlv::Parse(in_.span().subspan(0, size)).value();
      out_ = server_->script_(messages::ReadRequest(message).value());
      sent_ = 0;
      in_.Consume(size);
      return true;
    }

    HostileServer* const server_;
    const std::unique_ptr<net::TlsStream> stream_;
    net::Loop::WatchId watch_ = 0;
    bool greeted_ = false;
    ttlv::Buffer in_;
    Answer out_;
    size_t sent_ = 0;
  };

  struct Acceptor : net::Loop::Handler {
    HostileServer* server = nullptr;
    void OnReady(uint32_t) override {
      auto socket = net::Accept(server->socket_);
      if (!socket.ok() || !socket->valid()) return;
      auto stream = net::TlsStream::Server(server->tls_.get(), *std::move(socket), server->now_);
      if (!stream.ok()) return;
      auto peer = std::make_unique<Peer>(server, *std::move(stream));
      Peer* const key = peer.get();
      server->peers_[key] = std::move(peer);
    }
  };

  HostileServer(net::Loop* loop, absl::Time now, Script script)
      : loop_(loop), now_(now), script_(std::move(script)) {}

  net::Loop* const loop_;
  const absl::Time now_;
  const Script script_;
  net::SslCtxPtr tls_;
  files::Descriptor socket_;
  net::Loop::WatchId watch_ = 0;
  Acceptor acceptor_;
  std::map<Peer*, std::unique_ptr<Peer>> peers_;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_HOSTILE_SERVER_H_
