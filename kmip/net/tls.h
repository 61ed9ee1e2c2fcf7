#ifndef KEYSPHERE_KMIP_NET_TLS_H_
#define KEYSPHERE_KMIP_NET_TLS_H_

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/files/file_system.h"
#include "kmip/net/certificate.h"
#include "kmip/ttlv/buffer.h"

// TLS 1.2 and 1.3 with certificates on both sides, over sockets that do not block.
namespace keysphere::kmip::net {

struct SslCtxFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, SslCtxFree>;
struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

struct TlsFiles {
  // The own one, with its chain. Without it and its key (clients only) a server that wants one
  // refuses, but its certificate can be seen.
  std::string certificate_pem;
  absl::string_view key_pem;
  // Whom to trust: authorities, or the peer's very certificates. Empty (clients only): nobody, but
  // the peer's certificate can be seen.
  std::string trusted_pem;
};
// CERT_UNTRUSTED: not PEM, or key and certificate are no pair.
absl::StatusOr<SslCtxPtr> NewClientContext(const TlsFiles& files);
// Clients need a certificate.
absl::StatusOr<SslCtxPtr> NewServerContext(const TlsFiles& files);

// One connection. For one thread.
class TlsStream {
 public:
  // `now` is when certificates are judged. Client: `server_name` is an IP address or a DNS name
  // that the server's certificate must bear, unless it is trusted itself; empty: any.
  static absl::StatusOr<std::unique_ptr<TlsStream>> Client(SSL_CTX* context,
                                                           files::Descriptor socket,
                                                           std::string server_name, absl::Time now);
  static absl::StatusOr<std::unique_ptr<TlsStream>> Server(SSL_CTX* context,
                                                           files::Descriptor socket,
                                                           absl::Time now);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;
  ~TlsStream();

  enum class Io {
    kDone,
    kAgain,   // call again when events() come
    kClosed,  // the peer ended it
    kFailed,  // error() tells
  };
  Io Handshake();
  // Appends at most `most` bytes.
  Io Read(ttlv::Buffer* out, size_t most);
  // From `begin` on; `written` tells how many bytes went.
  Io Write(absl::Span<const uint8_t> bytes, size_t* written);
  // Bytes are decrypted already that Read would give.
  bool HasPending() const { return SSL_pending(ssl_.get()) > 0; }
  // The peer has begun to send what is not whole yet.
  bool HasBegun() const { return SSL_has_pending(ssl_.get()) == 1; }

  int fd() const { return socket_.get(); }
  // What the last kAgain waits for: EPOLLIN or EPOLLOUT.
  uint32_t events() const { return events_; }
  // CERT_UNTRUSTED, CERT_EXPIRED, NO_PERMISSION (the peer refuses our certificate), UNREACHABLE.
  const absl::Status& error() const { return error_; }
  // The peer's certificate, also when it was refused.
  const absl::optional<CertificateFacts>& peer() const { return peer_; }

 private:
  friend int VerifyPeer(X509_STORE_CTX* store, void* argument);
  TlsStream(SslPtr ssl, files::Descriptor socket, std::string server_name, absl::Time now)
      : ssl_(std::move(ssl)),
        socket_(std::move(socket)),
        server_name_(std::move(server_name)),
        now_(now) {}
  static absl::StatusOr<std::unique_ptr<TlsStream>> Make(SSL_CTX* context, files::Descriptor socket,
                                                         std::string server_name, absl::Time now);
  bool Verify(X509_STORE_CTX* store);
  Io Outcome(int result);
  void HearLastWord();

  const SslPtr ssl_;
  const files::Descriptor socket_;
  const std::string server_name_;
  const absl::Time now_;
  uint32_t events_ = 0;
  absl::Status error_;
  absl::optional<CertificateFacts> peer_;
};

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_TLS_H_
