// The client and the server of this project over TLS.
#include "kmip/client/kmip_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include "kmip/client/loopback.h"
#include "kmip/net/socket.h"

namespace keysphere::kmip::client {
namespace {

using status::HasReason;
using status::IsOk;

// What the server does wrong, set by the test.
class Faults : public server::FaultInjector {
 public:
  bool RefusesConnection() override {
    sync::MutexLock lock(&mutex_);
    return refuse_;
  }
  MessageFault OnMessage() override {
    sync::MutexLock lock(&mutex_);
    // The first message of a connection is Discover Versions.
    if (skip_ > 0) {
      --skip_;
      return MessageFault();
    }
    return std::exchange(fault_, MessageFault());
  }
  void set_refuse(bool refuse) {
    sync::MutexLock lock(&mutex_);
    refuse_ = refuse;
  }
  void set_fault(MessageFault fault, int skip = 0) {
    sync::MutexLock lock(&mutex_);
    fault_ = fault;
    skip_ = skip;
  }

 private:
  sync::Mutex mutex_;
  bool refuse_ ABSL_GUARDED_BY(mutex_) = false;
  MessageFault fault_ ABSL_GUARDED_BY(mutex_);
  int skip_ ABSL_GUARDED_BY(mutex_) = 0;
};

class KmipClientTest : public Loopback {
 protected:
  // What is under way in the server ends before its faults go.
  ~KmipClientTest() override {
    listener_.reset();
    engine_.reset();
  }

  Faults faults_;
};

TEST_F(KmipClientTest, S129_LifeOfAKey) {
  Serve();
  const auto client = Client();
  const auto health = CheckHealth(client.get());
  ASSERT_THAT(health, IsOk());
  EXPECT_EQ(health->versions.size(), 3);
  const std::string uid = Create(client.get()).value();
  EXPECT_THAT(
      Add(client.get(), uid, {{"x-Vendor", "v"}, {"x-Product", "p"}, {"x-Product_Version", "1"}}),
      IsOk());
  EXPECT_EQ(States(client.get(), {uid}).value()[0].value(), KeyState::kPreActive);
  const auto keys = Get(client.get(), {uid, "nobody"});
  ASSERT_THAT(keys, IsOk());
  EXPECT_EQ((*keys)[0]->size(), 32);
  EXPECT_THAT((*keys)[1], HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(Activate(client.get(), uid), IsOk());
  EXPECT_EQ(States(client.get(), {uid}).value()[0].value(), KeyState::kActive);
  EXPECT_THAT(Activate(client.get(), uid), HasReason(v1::REASON_INVALID_STATE));
  // One connection carried all of it
  EXPECT_EQ(client->handshakes(), 1);
  const auto certificate = client->LastCertificate();
  ASSERT_TRUE(certificate.has_value());
  EXPECT_EQ(certificate->pem, server_credentials_.certificate_pem);
  EXPECT_GT(certificate->not_after, clock_.Now());
}

TEST_F(KmipClientTest, ManyKeysComeInBatchesInTheirOrder) {
  Serve();
  KmipClientOptions options = Options();
  options.keys_per_request = 7;
  const auto client = Client(std::move(options));
  std::vector<std::string> uids;
  for (int i = 0; i < 30; ++i) uids.push_back(Create(client.get()).value());
  const uint64_t before = listener_->counters().requests;
  const auto keys = Get(client.get(), uids);
  ASSERT_THAT(keys, IsOk());
  ASSERT_EQ(keys->size(), 30);
  const auto again = Get(client.get(), {uids[29], uids[0]});
  EXPECT_TRUE((*keys)[29]->Equals(*(*again)[0]));
  EXPECT_TRUE((*keys)[0]->Equals(*(*again)[1]));
  EXPECT_GE(listener_->counters().requests - before, 6);
  EXPECT_LE(client->handshakes(), 4);
  EXPECT_TRUE(Get(client.get(), {}).value().empty());
}

TEST_F(KmipClientTest, NobodyThere) {
  KmipClientOptions options = Options();
  const auto client = Client(std::move(options));
  EXPECT_THAT(Create(client.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
}

TEST_F(KmipClientTest, ReconnectsAfterTheServerWasAway) {
  Serve();
  server::Listener::Options fixed;
  const auto client = Client();
  const std::string uid = Create(client.get()).value();
  ASSERT_THAT(listener_->SetDown(true), IsOk());
  EXPECT_THAT(Get(client.get(), {uid}), HasReason(v1::REASON_KMS_UNREACHABLE));
  ASSERT_THAT(listener_->SetDown(false), IsOk());
  EXPECT_THAT(Get(client.get(), {uid}), IsOk());
  EXPECT_EQ(client->handshakes(), 2);
}

TEST_F(KmipClientTest, DeadlineOfAServerThatHangs) {
  server::Listener::Options options;
  options.faults = &faults_;
  Serve(options);
  const auto client = Client();
  ASSERT_THAT(CheckHealth(client.get()), IsOk());
  server::FaultInjector::MessageFault hang;
  hang.delay = absl::InfiniteDuration();
  faults_.set_fault(hang);
  EXPECT_THAT(Create(client.get(), absl::Milliseconds(50)),
              HasReason(v1::REASON_DEADLINE_EXCEEDED));
  // The next question has a connection of its own
  EXPECT_THAT(Create(client.get()), IsOk());
  EXPECT_EQ(client->handshakes(), 2);
}

TEST_F(KmipClientTest, ClosedInTheMiddleOfAnAnswer) {
  server::Listener::Options options;
  options.faults = &faults_;
  Serve(options);
  const auto client = Client();
  const std::string uid = Create(client.get()).value();
  server::FaultInjector::MessageFault drop;
  drop.drop_after_bytes = 20;
  faults_.set_fault(drop);
  EXPECT_THAT(Get(client.get(), {uid}), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(Get(client.get(), {uid}), IsOk());
  // Without any byte of an answer what reads is asked again, what creates is not
  drop.drop_after_bytes = 0;
  faults_.set_fault(drop);
  EXPECT_THAT(Get(client.get(), {uid}), IsOk());
  faults_.set_fault(drop);
  EXPECT_THAT(Create(client.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
  server::FaultInjector::MessageFault fail;
  fail.fail = true;
  faults_.set_fault(fail, 1);
  EXPECT_THAT(Create(client.get()), HasReason(v1::REASON_KMS_REFUSED));
}

// S60: by this whoever asks goes on to the next node of the KMS.
TEST_F(KmipClientTest, S60_ARequestThatFailsAsAWholeSaysThatTheServerFailed) {
  server::Listener::Options options;
  options.faults = &faults_;
  Serve(options);
  const auto server_failed = [](const absl::Status& status) {
    const status::ErrorDetail detail = status::DetailOf(status);
    const auto found = detail.metadata().find("server_failed");
    return found == detail.metadata().end() ? "unknown" : found->second;
  };
  const auto client = Client();
  server::FaultInjector::MessageFault fail;
  fail.fail = true;
  // What discovers the versions fails, and so no request was sent.
  faults_.set_fault(fail);
  const absl::Status unsent = Create(client.get()).status();
  EXPECT_THAT(unsent, HasReason(v1::REASON_KMS_REFUSED));
  EXPECT_EQ(server_failed(unsent), "true");
  EXPECT_EQ(status::DetailOf(unsent).metadata().at("sent"), "false");

  const std::string uid = Create(client.get()).value();
  faults_.set_fault(fail);
  const absl::Status created = Create(client.get()).status();
  EXPECT_THAT(created, HasReason(v1::REASON_KMS_REFUSED));
  EXPECT_EQ(server_failed(created), "true");
  EXPECT_EQ(status::DetailOf(created).metadata().count("sent"), 0);
  faults_.set_fault(fail);
  EXPECT_EQ(server_failed(Get(client.get(), {uid, uid}).status()), "true");
  faults_.set_fault(fail);
  EXPECT_EQ(server_failed(Activate(client.get(), uid)), "true");
  EXPECT_THAT(Activate(client.get(), uid), IsOk());
}

TEST_F(KmipClientTest, RefusedConnections) {
  faults_.set_refuse(true);
  server::Listener::Options options;
  options.faults = &faults_;
  Serve(options);
  const auto client = Client();
  EXPECT_THAT(Create(client.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
  faults_.set_refuse(false);
  EXPECT_THAT(Create(client.get()), IsOk());
}

TEST_F(KmipClientTest, TrustInTheServersCertificate) {
  Serve();
  const auto other = Authority();
  KmipClientOptions stranger = Options();
  stranger.trusted_pem = other->certificate_pem();
  auto client = Client(std::move(stranger));
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_UNTRUSTED));
  // It can be shown to who shall decide on it…
  ASSERT_TRUE(client->LastCertificate().has_value());
  const std::string pem = client->LastCertificate()->pem;
  EXPECT_EQ(pem, server_credentials_.certificate_pem);
  KmipClientOptions nobody = Options();
  nobody.trusted_pem.clear();
  client = Client(std::move(nobody));
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_UNTRUSTED));
  EXPECT_EQ(client->LastCertificate()->pem, pem);
  // …who then trusts that very certificate
  KmipClientOptions pinned = Options();
  pinned.trusted_pem = pem;
  client = Client(std::move(pinned));
  EXPECT_THAT(CheckHealth(client.get()), IsOk());
}

TEST_F(KmipClientTest, CertificateOfAnotherAddress) {
  server_credentials_ =
      Issue(identity::Kind::kHost, "kms-1", identity::Validity::From(clock_.Now()), "127.0.0.2");
  Serve();
  auto client = Client();
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_UNTRUSTED));
}

TEST_F(KmipClientTest, ExpiredCertificates) {
  const identity::Validity past{clock_.Now() - absl::Hours(48), clock_.Now() - absl::Hours(1)};
  server_credentials_ = Issue(identity::Kind::kHost, "kms-1", past, "127.0.0.1");
  Serve();
  auto client = Client();
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_EXPIRED));
  EXPECT_LT(client->LastCertificate()->not_after, clock_.Now());
  client_credentials_ = Issue(identity::Kind::kController, "vc", past, "127.0.0.1");
  client = Client();
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_EXPIRED));
  EXPECT_FALSE(client->LastCertificate().has_value());
}

TEST_F(KmipClientTest, ServerDoesNotTakeAStranger) {
  Serve();
  authority_ = Authority();
  identity::Credentials stranger = Issue(identity::Kind::kController, "vc");
  KmipClientOptions options = Options();
  options.certificate_pem = stranger.certificate_pem;
  options.key_pem = identity::SecretPem(stranger.key_pem.view());
  auto client = Client(std::move(options));
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(KmipClientTest, WithoutACertificateTheServersIsSeenAllTheSame) {
  Serve();
  KmipClientOptions options = Options();
  options.certificate_pem.clear();
  options.key_pem = identity::SecretPem();
  options.trusted_pem.clear();
  auto client = Client(std::move(options));
  EXPECT_THAT(CheckHealth(client.get()), HasReason(v1::REASON_CERT_UNTRUSTED));
  ASSERT_TRUE(client->LastCertificate().has_value());
  EXPECT_EQ(client->LastCertificate()->pem, server_credentials_.certificate_pem);
  // Trusted, it wants to know who asks
  options = Options();
  options.certificate_pem.clear();
  options.key_pem = identity::SecretPem();
  client = Client(std::move(options));
  const auto health = CheckHealth(client.get());
  EXPECT_THAT(health, HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_NE(health.status().message().find("wants a certificate"), absl::string_view::npos);
}

TEST_F(KmipClientTest, KeysOfAnotherClientAreInvisible) {
  Serve();
  const auto a = Client();
  const std::string uid = Create(a.get()).value();
  client_credentials_ = Issue(identity::Kind::kController, "vc-2");
  const auto b = Client();
  EXPECT_THAT(Get(b.get(), {uid}).value()[0], HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(KmipClientTest, NamesOfServersAreResolved) {
  identity::Authority::Request request;
  request.kind = identity::Kind::kKms;
  request.name = "kms-1";
  request.validity = identity::Validity::From(clock_.Now());
  request.dns_names = {"localhost"};
  server_credentials_ = authority_->Issue(request).value();
  Serve();
  KmipClientOptions options = Options();
  options.host = "localhost";
  const auto by_name = Client(std::move(options));
  EXPECT_THAT(Create(by_name.get()), IsOk());
  // The certificate must bear what was dialled
  const auto by_address = Client();
  EXPECT_THAT(Create(by_address.get()), HasReason(v1::REASON_CERT_UNTRUSTED));
  options = Options();
  options.host = "nowhere.invalid";
  const auto nowhere = Client(std::move(options));
  EXPECT_THAT(Create(nowhere.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
  // It is looked up anew each time
  EXPECT_THAT(Create(nowhere.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
}

TEST_F(KmipClientTest, Credentials) {
  engine_options_.users = server::Users::Parse("alice secret").value();
  Serve();
  KmipClientOptions options = Options();
  options.username = "alice";
  options.password = identity::SecretPem("secret");
  const auto right = Client(std::move(options));
  EXPECT_THAT(Create(right.get()), IsOk());
  options = Options();
  options.username = "alice";
  options.password = identity::SecretPem("guess");
  const auto wrong = Client(std::move(options));
  EXPECT_THAT(Create(wrong.get()), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(CheckHealth(wrong.get()), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(KmipClientTest, CallsEndWithTheirClient) {
  server::Listener::Options options;
  options.faults = &faults_;
  Serve(options);
  auto client = Client();
  ASSERT_THAT(CheckHealth(client.get()), IsOk());
  server::FaultInjector::MessageFault hang;
  hang.delay = absl::InfiniteDuration();
  faults_.set_fault(hang);
  Waiter<std::string> waiter;
  client->CreateKey(kTimeout, waiter.done());
  client.reset();
  EXPECT_THAT(waiter.Wait(), HasReason(v1::REASON_CANCELLED));
}

// A raw connection to the server; it never speaks TLS.
int Connect(int port) {
  auto socket = net::BeginConnect("127.0.0.1", port);
  const int fd = dup(socket->get());
  return fd;
}

TEST_F(KmipClientTest, IdleAndSlowClientsHurtNobody) {
  server::Listener::Options options;
  options.max_connections = 50;
  options.handshake_timeout = absl::Milliseconds(50);
  Serve(options);
  std::vector<int> idle;
  for (int i = 0; i < 60; ++i) idle.push_back(Connect(listener_->port()));
  // Those that never end their handshake are gone in time, and there is room again
  absl::StatusOr<std::string> created = absl::UnavailableError("");
  const auto client = Client();
  while (!created.ok()) created = Create(client.get());
  EXPECT_GT(listener_->counters().refused, 0);
  for (const int fd : idle) close(fd);
}

}  // namespace
}  // namespace keysphere::kmip::client
