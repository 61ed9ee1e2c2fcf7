// S163: what is refused before any byte of a message.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "common/rpc/grpc_init.h"
#include "common/rpc/testing/fixture.h"
#include "common/rpc/testing/manual_clock.h"
#include "common/status/matchers.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/health_check_service_interface.h"

namespace keysphere::rpc::testing {
namespace {

using status::HasReason;
using status::IsOk;

CallOptions Short() {
  CallOptions options;
  options.timeout = absl::Milliseconds(500);
  return options;
}

const identity::Authority& OtherAuthority() {
  static const auto* const authority =
      identity::Authority::Create(kDomain, identity::Validity::From(RealClock()->Now()))
          .value()
          .release();
  return *authority;
}

// A client of OpenSSL alone.
class RawClient {
 public:
  explicit RawClient(int port) {
    // A refused client writes into a closed socket.
    signal(SIGPIPE, SIG_IGN);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    timeval limit = {10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~RawClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    close(fd_);
  }

  // Whether a handshake of this version ends well and the server then sends HTTP/2 (its settings).
  bool Speaks(int version, const identity::Credentials* credentials) {
    if (!connected_) return false;
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context_, version);
    SSL_CTX_set_max_proto_version(context_, version);
    if (credentials != nullptr) UseCredentials(*credentials);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    const unsigned char alpn[] = {2, 'h', '2'};
    SSL_set_alpn_protos(ssl_, alpn, sizeof alpn);
    if (SSL_connect(ssl_) != 1) {
      ERR_clear_error();
      return false;
    }
    const std::string preface =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
    if (SSL_write(ssl_, preface.data(), static_cast<int>(preface.size())) <= 0) return false;
    char byte = 0;
    const bool answered = SSL_read(ssl_, &byte, 1) == 1;
    ERR_clear_error();
    return answered;
  }

  // What the server sends to a client that speaks HTTP/2 without TLS, until it closes.
  std::string SpeakPlaintext() {
    const std::string preface =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
    if (send(fd_, preface.data(), preface.size(), MSG_NOSIGNAL) < 0) return "";
    std::string answer;
    char buffer[256];
    for (ssize_t n = 0; (n = recv(fd_, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
    return answer;
  }

 private:
  void UseCredentials(const identity::Credentials& credentials) {
    BIO* bio = BIO_new_mem_buf(credentials.certificate_pem.data(), -1);
    X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(context_, certificate);
    X509_free(certificate);
    BIO_free(bio);
    bio = BIO_new_mem_buf(credentials.key_pem.view().data(),
                          static_cast<int>(credentials.key_pem.view().size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_PrivateKey(context_, key);
    EVP_PKEY_free(key);
    BIO_free(bio);
  }

  int fd_ = -1;
  bool connected_ = false;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};

TEST(TlsTest, S163_Tls13AloneIsSpoken) {
  TestServer server;
  const identity::Credentials alice = Issue(identity::Kind::kUser, "alice");
  EXPECT_TRUE(RawClient(server.server().port()).Speaks(TLS1_3_VERSION, &alice));  // the control
  const int64_t before = FailedHandshakes();
  EXPECT_FALSE(RawClient(server.server().port()).Speaks(TLS1_2_VERSION, &alice));
  EXPECT_GT(FailedHandshakes(), before);
}

TEST(TlsTest, S163_AClientWithoutOrWithAnUnknownCertificateIsRefused) {
  TestServer server;
  const identity::Credentials stranger = Issue(identity::Kind::kUser, "alice", OtherAuthority());
  EXPECT_FALSE(RawClient(server.server().port()).Speaks(TLS1_3_VERSION, nullptr));
  EXPECT_FALSE(RawClient(server.server().port()).Speaks(TLS1_3_VERSION, &stranger));
  EXPECT_EQ(server.domain().calls(), 0);
}

TEST(TlsTest, S163_PlaintextIsRefused) {
  TestServer server;
  const std::string answer = RawClient(server.server().port()).SpeakPlaintext();
  // At most an alert of TLS, never a frame of HTTP/2.
  EXPECT_TRUE(answer.empty() || answer[0] == 0x15) << answer;

  const auto channel = grpc::CreateChannel(server.target(), grpc::InsecureChannelCredentials());
  const auto stub = EchoService::NewStub(channel);
  grpc::ClientContext context;
  EchoResponse response;
  EXPECT_FALSE(stub->Echo(&context, EchoRequest(), &response).ok());
  EXPECT_EQ(server.domain().calls(), 0);
}

TEST(TlsTest, S163_AnotherPeerThanTheOneMeantHearsNothing) {
  TestServer server;  // is esx-1
  ChannelOptions options = server.Options();
  options.peer = Host("esx-2");
  const EchoClient client = NewClient(std::move(options));
  const absl::Status refused = client.CallSync(&EchoStub::Echo, Text("secret")).status();
  EXPECT_THAT(refused, HasReason(v1::REASON_CERT_UNTRUSTED));
  EXPECT_NE(std::string(refused.message()).find("spiffe://lab.example/host/esx-1"),
            std::string::npos)
      << refused;
  EXPECT_EQ(server.domain().calls(), 0);
}

TEST(TlsTest, S163_APeerOfAnUnknownAuthorityHearsNothing) {
  ServerSetup setup;
  setup.authority = &OtherAuthority();
  TestServer server(setup);
  const EchoClient client = NewClient(server.Options());
  EXPECT_FALSE(client.CallSync(&EchoStub::Echo, Text("secret"), Short()).ok());
  EXPECT_EQ(server.domain().calls(), 0);
}

TEST(TlsTest, S163_OwnCertificateIsCheckedBeforeDialling) {
  TestServer server;
  ChannelOptions foreign = server.Options();
  foreign.credentials = Issue(identity::Kind::kUser, "alice", OtherAuthority());
  foreign.credentials.ca_pem = Authority().certificate_pem();
  EXPECT_THAT(Channel::Create(std::move(foreign)), HasReason(v1::REASON_CERT_UNTRUSTED));

  identity::Authority::Request request;
  request.name = "alice";
  request.validity =
      identity::Validity{RealClock()->Now() - absl::Hours(2), RealClock()->Now() - absl::Hours(1)};
  ChannelOptions expired = server.Options();
  expired.credentials = Authority().Issue(request).value();
  EXPECT_THAT(Channel::Create(std::move(expired)), HasReason(v1::REASON_CERT_EXPIRED));
}

TEST(TlsTest, S163_AnExpiredClientIsRefusedByTheServer) {
  TestServer server;
  identity::Authority::Request request;
  request.name = "alice";
  request.validity =
      identity::Validity{RealClock()->Now() - absl::Hours(2), RealClock()->Now() - absl::Hours(1)};
  const identity::Credentials expired = Authority().Issue(request).value();
  EXPECT_FALSE(RawClient(server.server().port()).Speaks(TLS1_3_VERSION, &expired));
}

TEST(TlsTest, S163_AServersCertificateExpiresOnTheClientsClock) {
  // The server's clock stands still; the client's is 21 years on, where only a newer certificate
  // of its own still serves.
  TestServer server;
  auto* const late = new ManualClock(RealClock()->Now() + absl::Hours(24) * 365 * 21);
  const auto authority =
      identity::Authority::Create(kDomain, identity::Validity{RealClock()->Now() - absl::Hours(1),
                                                              late->Now() + absl::Hours(1)})
          .value();
  identity::Authority::Request request;
  request.name = "alice";
  request.validity =
      identity::Validity{RealClock()->Now() - absl::Hours(1), late->Now() + absl::Hours(1)};
  ServerSetup setup;
  setup.authority = authority.get();
  TestServer aged(setup);
  ChannelOptions options = aged.Options();
  options.clock = late;
  options.credentials = authority->Issue(request).value();
  const EchoClient client = NewClient(std::move(options));
  absl::Status refused;
  client.Call(&EchoStub::Echo, Text("secret"), {},
              [&](absl::StatusOr<EchoResponse> response) { refused = response.status(); });
  late->WaitUntilDue();
  late->Advance(absl::ZeroDuration());
  EXPECT_THAT(refused, HasReason(v1::REASON_CERT_EXPIRED));
  EXPECT_EQ(aged.domain().calls(), 0);
}

TEST(TlsTest, S163_AClientExpiresOnTheServersClock) {
  ServerSetup setup;
  auto* const clock = new ManualClock(RealClock()->Now());
  setup.clock = clock;
  TestServer server(setup);
  ChannelOptions options = server.Options();
  options.clock = RealClock();
  const EchoClient client = NewClient(std::move(options));
  ASSERT_THAT(client.CallSync(&EchoStub::Echo, Text("")), IsOk());
  EXPECT_EQ(server.server().refused_identities(), 0);

  clock->Advance(absl::Hours(24) * 365 * 21);

  // On the connection that stands, and on a new one.
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text("")), HasReason(v1::REASON_CERT_EXPIRED));
  const identity::Credentials alice = Issue(identity::Kind::kUser, "alice");
  EXPECT_FALSE(RawClient(server.server().port()).Speaks(TLS1_3_VERSION, &alice));
  EXPECT_EQ(server.server().refused_identities(), 1);
  EXPECT_EQ(server.domain().calls(), 1);
}

}  // namespace
}  // namespace keysphere::rpc::testing
