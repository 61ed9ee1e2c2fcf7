#include "tests/processes/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace keysphere::processes {
namespace {

// The client's first bytes of HTTP/2: the preface and an empty SETTINGS frame.
std::string Preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
}

// A connection; -1 if there is none. What does not answer within 10 s counts as silent.
class Socket {
 public:
  explicit Socket(const std::string& address) {
    signal(SIGPIPE, SIG_IGN);  // a refused client writes into a closed socket
    const size_t colon = address.rfind(':');
    int port = 0;
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    if (!absl::SimpleAtoi(absl::string_view(address).substr(colon + 1), &port) ||
        inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) {
      return;
    }
    to.sin_port = htons(static_cast<uint16_t>(port));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit = {10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      close(fd_);
      fd_ = -1;
    }
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
Bio Memory(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
}

void Use(const identity::Credentials& credentials, SSL_CTX* context) {
  X509* const certificate =
      PEM_read_bio_X509(Memory(credentials.certificate_pem).get(), nullptr, nullptr, nullptr);
  SSL_CTX_use_certificate(context, certificate);
  X509_free(certificate);
  EVP_PKEY* const key =
      PEM_read_bio_PrivateKey(Memory(credentials.key_pem.view()).get(), nullptr, nullptr, nullptr);
  SSL_CTX_use_PrivateKey(context, key);
  EVP_PKEY_free(key);
}

bool Speak(SSL* ssl) {
  if (SSL_connect(ssl) != 1) return false;
  const std::string preface = Preface();
  if (SSL_write(ssl, preface.data(), static_cast<int>(preface.size())) <= 0) return false;
  char byte = 0;
  return SSL_read(ssl, &byte, 1) == 1;
}

}  // namespace

bool SpeaksTls(const std::string& address, Tls version, const identity::Credentials* credentials) {
  const Socket socket(address);
  if (socket.fd() < 0) return false;
  const int number = version == Tls::k12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), number);
  SSL_CTX_set_max_proto_version(context.get(), number);
  if (credentials != nullptr) Use(*credentials, context.get());
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), socket.fd());
  const unsigned char alpn[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), alpn, sizeof alpn);
  const bool spoke = Speak(ssl.get());
  ERR_clear_error();
  return spoke;
}

std::string AnswerToPlaintext(const std::string& address) {
  const Socket socket(address);
  const std::string preface = Preface();
  if (socket.fd() < 0 || send(socket.fd(), preface.data(), preface.size(), MSG_NOSIGNAL) < 0) {
    return "";
  }
  std::string answer;
  char buffer[256];
  for (ssize_t n = 0; (n = recv(socket.fd(), buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  return answer;
}

}  // namespace keysphere::processes
