#ifndef KEYSPHERE_KMIP_NET_TEST_STREAM_H_
#define KEYSPHERE_KMIP_NET_TEST_STREAM_H_

#include <poll.h>
#include <sys/epoll.h>

#include <memory>
#include <utility>

#include "common/status/status.h"
#include "kmip/net/socket.h"
#include "kmip/net/tls.h"

namespace keysphere::kmip::net {

// A TLS client that waits, and that a test can make behave badly. For one thread.
class TestStream {
 public:
  // To 127.0.0.1, handshake included. `context` outlives it.
  static absl::StatusOr<std::unique_ptr<TestStream>> Connect(int port, SSL_CTX* context,
                                                             absl::Time now) {
    KS_ASSIGN_OR_RETURN(files::Descriptor socket, BeginConnect("127.0.0.1", port));
    WaitFor(socket.get(), EPOLLOUT);
    KS_RETURN_IF_ERROR(EndConnect(socket.get()));
    KS_ASSIGN_OR_RETURN(auto stream, TlsStream::Client(context, std::move(socket), "", now));
    auto test = std::unique_ptr<TestStream>(new TestStream(std::move(stream)));
    TlsStream::Io io = test->stream_->Handshake();
    while (io == TlsStream::Io::kAgain) {
      WaitFor(test->stream_->fd(), test->stream_->events());
      io = test->stream_->Handshake();
    }
    if (io != TlsStream::Io::kDone) return test->stream_->error();
    return test;
  }

  // False: the peer takes no more for now, or has gone.
  bool TrySend(absl::Span<const uint8_t> bytes) {
    size_t written = 0;
    while (!bytes.empty()) {
      if (stream_->Write(bytes, &written) != TlsStream::Io::kDone) return false;
      bytes.remove_prefix(written);
    }
    return true;
  }
  // Waits for bytes. False: the peer has ended the connection.
  bool Receive(ttlv::Buffer* out) {
    while (true) {
      switch (stream_->Read(out, 4096)) {
        case TlsStream::Io::kDone:
          return true;
        case TlsStream::Io::kAgain:
          WaitFor(stream_->fd(), stream_->events());
          continue;
        case TlsStream::Io::kClosed:
        case TlsStream::Io::kFailed:
          return false;
      }
    }
  }

  int fd() const { return stream_->fd(); }

 private:
  explicit TestStream(std::unique_ptr<TlsStream> stream) : stream_(std::move(stream)) {}

  static void WaitFor(int fd, uint32_t events) {
    pollfd one = {fd, static_cast<int16_t>(events == EPOLLOUT ? POLLOUT : POLLIN), 0};
    poll(&one, 1, -1);
  }

  const std::unique_ptr<TlsStream> stream_;
};

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_TEST_STREAM_H_
