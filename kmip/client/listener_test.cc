// What clients may do to a listener of ours.
#include "kmip/server/listener.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/files/file_system.h"
#include "common/log/capturing_logger.h"
#include "common/rpc/testing/manual_clock.h"
#include "kmip/client/loopback.h"
#include "kmip/net/test_stream.h"

namespace keysphere::kmip::client {
namespace {

using net::TestStream;
using rpc::testing::ManualClock;
using status::IsOk;
using ttlv::Tag;
using ttlv::Writer;

constexpr absl::Duration kLimit = absl::Seconds(10);

class ListenerTest : public Loopback {
 protected:
  // Its connections have timers, and it logs: both end before what they stand on.
  ~ListenerTest() override { listener_.reset(); }

  std::unique_ptr<TestStream> Connect() {
    return TestStream::Connect(listener_->port(), context_.get(), clock_.Now()).value();
  }

  // A request for all that a Query tells.
  static ttlv::Buffer Query() {
    ttlv::Buffer buffer;
    Writer writer(&buffer);
    const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
    messages::WriteRequestHeader(messages::kVersion11, absl::nullopt,
                                 messages::ErrorContinuation::kContinue, 1, &writer);
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, messages::Operation::kQuery);
    const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
    writer.Enumeration(Tag::kQueryFunction, messages::QueryFunction::kOperations);
    return buffer;
  }

  // With a connection that has been answered once, so that its handshake is over.
  std::unique_ptr<TestStream> ConnectAndAsk() {
    auto stream = Connect();
    EXPECT_TRUE(stream->TrySend(Query().span()));
    ttlv::Buffer answer;
    EXPECT_TRUE(stream->Receive(&answer));
    return stream;
  }

  // Nothing but time goes on: what is told of the listener has happened.
  void ExpectGoneAtTheLimit(TestStream* stream, absl::Duration waited) {
    manual_.Advance(kLimit - waited - absl::Milliseconds(1));
    EXPECT_EQ(listener_->counters().open, 1);
    EXPECT_EQ(listener_->counters().refused, 0);
    manual_.Advance(absl::Milliseconds(2));
    EXPECT_EQ(listener_->counters().open, 0);
    EXPECT_EQ(listener_->counters().refused, 1);
    ttlv::Buffer rest;
    while (stream->Receive(&rest)) rest.Clear();
  }

  // Whether a connection is served.
  static bool Asks(TestStream* stream) {
    ttlv::Buffer answer;
    return stream->TrySend(Query().span()) && stream->Receive(&answer);
  }
  static bool IsClosed(TestStream* stream) {
    ttlv::Buffer rest;
    while (stream->Receive(&rest)) {
    }
    return true;
  }
  // As many connections as there may be.
  void ServeAtMost(size_t connections, server::FaultInjector* faults = nullptr) {
    wall_ = &manual_;
    log_ = &log_lines_;
    server::Listener::Options options;
    options.max_connections = connections;
    options.faults = faults;
    Serve(options);
  }
  // How many were told of in each line of the log.
  std::vector<std::string> FullLines() {
    std::vector<std::string> counts;
    for (const auto& entry : log_lines_.entries()) {
      if (entry.event == "kmip.connections_full") counts.push_back(entry.fields.at("count"));
    }
    return counts;
  }

  log::CapturingLogger log_lines_;
  const net::SslCtxPtr context_ = net::NewClientContext(FilesOf(client_credentials_)).value();
  ManualClock manual_{clock_.Now()};
};

TEST_F(ListenerTest, SlowLorisInTheHandshake) {
  wall_ = &manual_;
  Serve();
  const auto socket = net::BeginConnect("127.0.0.1", listener_->port());
  ASSERT_THAT(socket, IsOk());
  manual_.WaitForTimer();
  manual_.Advance(kLimit - absl::Milliseconds(1));
  EXPECT_EQ(listener_->counters().open, 1);
  manual_.Advance(absl::Milliseconds(2));
  EXPECT_EQ(listener_->counters().open, 0);
  EXPECT_EQ(listener_->counters().refused, 1);
}

TEST_F(ListenerTest, SlowLorisInAMessage) {
  wall_ = &manual_;
  Serve();
  const auto stream = ConnectAndAsk();
  // Idle it may be for ever
  EXPECT_EQ(manual_.timers(), 0);
  const ttlv::Buffer request = Query();
  ASSERT_TRUE(stream->TrySend(request.span().subspan(0, 4)));
  manual_.WaitForTimer();
  // Further bytes do not put the end off
  manual_.Advance(absl::Seconds(6));
  ASSERT_TRUE(stream->TrySend(request.span().subspan(4, 10)));
  ExpectGoneAtTheLimit(stream.get(), absl::Seconds(6));
}

TEST_F(ListenerTest, SlowLorisBelowTls) {
  wall_ = &manual_;
  Serve();
  const auto stream = ConnectAndAsk();
  EXPECT_EQ(manual_.timers(), 0);
  // The head of a record that is longer than what comes of it
  const uint8_t record[] = {0x17, 0x03, 0x03, 0x01, 0x00, 0x55, 0x55};
  ASSERT_EQ(send(stream->fd(), record, sizeof(record), 0), sizeof(record));
  manual_.WaitForTimer();
  ExpectGoneAtTheLimit(stream.get(), absl::ZeroDuration());
}

TEST_F(ListenerTest, ClientThatNeverReadsIsDropped) {
  wall_ = &manual_;
  Serve();
  const auto stream = ConnectAndAsk();
  const ttlv::Buffer request = Query();
  const auto client = Client();
  // Until the answers fill what the sockets hold, and the server waits. A timer alone may be that
  // of half a request: then more can be sent. While another client is answered, a slow server does
  // what it still has to do for this one.
  do {
    while (stream->TrySend(request.span()) || manual_.timers() == 0) {
    }
    ASSERT_THAT(Create(client.get()), IsOk());
  } while (stream->TrySend(request.span()));
  const uint64_t answered = listener_->counters().requests;
  // Others are served meanwhile
  EXPECT_THAT(Create(client.get()), IsOk());
  EXPECT_GE(listener_->counters().requests, answered + 1);
  EXPECT_EQ(listener_->counters().open, 2);
  manual_.Advance(kLimit + absl::Milliseconds(1));
  EXPECT_EQ(listener_->counters().open, 1);
  EXPECT_EQ(listener_->counters().refused, 1);
}

TEST_F(ListenerTest, ThousandIdleConnectionsWhileOneWorks) {
  constexpr int kIdle = 1000;
  rlimit descriptors = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  ASSERT_GT(descriptors.rlim_max, 3 * kIdle);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  wall_ = &manual_;
  Serve();
  std::vector<std::unique_ptr<TestStream>> idle;
  for (int i = 0; i < kIdle; ++i) idle.push_back(Connect());
  const auto client = Client();
  for (int i = 0; i < 20; ++i) {
    const auto uid = Create(client.get());
    ASSERT_THAT(uid, IsOk());
    EXPECT_THAT(Get(client.get(), {*uid}).value()[0], IsOk());
  }
  manual_.Advance(absl::Hours(1));
  EXPECT_EQ(listener_->counters().open, kIdle + 1);
  // And each of them is served when it speaks
  ASSERT_TRUE(idle.back()->TrySend(Query().span()));
  ttlv::Buffer answer;
  EXPECT_TRUE(idle.back()->Receive(&answer));
}

TEST_F(ListenerTest, AFullListenerClosesWhoHasBeenIdleLongest) {
  ServeAtMost(3);
  const auto a = ConnectAndAsk();
  const auto b = ConnectAndAsk();
  const auto c = ConnectAndAsk();
  ASSERT_TRUE(Asks(a.get()));
  EXPECT_THAT(FullLines(), ::testing::IsEmpty());
  // When another one comes
  const auto d = ConnectAndAsk();
  // Then b goes, who has said nothing since c came.
  EXPECT_TRUE(IsClosed(b.get()));
  EXPECT_TRUE(Asks(c.get()));
  EXPECT_TRUE(Asks(a.get()));
  EXPECT_TRUE(Asks(d.get()));
  EXPECT_EQ(listener_->counters().open, 3);
  EXPECT_EQ(listener_->counters().displaced, 1);
  EXPECT_EQ(listener_->counters().refused, 0);
  EXPECT_THAT(FullLines(), ::testing::ElementsAre("1"));
  // Its administrator is told of it once a minute.
  const auto e = ConnectAndAsk();
  EXPECT_TRUE(IsClosed(c.get()));
  EXPECT_THAT(FullLines(), ::testing::SizeIs(1));
  manual_.Advance(absl::Minutes(1));
  const auto f = ConnectAndAsk();
  EXPECT_TRUE(IsClosed(a.get()));
  EXPECT_THAT(FullLines(), ::testing::ElementsAre("1", "2"));
}

// One client that holds all connections keeps nobody out.
TEST_F(ListenerTest, EveryoneGetsInWhereOneHoldsAllConnections) {
  constexpr size_t kMost = 20;
  ServeAtMost(kMost);
  std::vector<std::unique_ptr<TestStream>> held;
  for (size_t i = 0; i < kMost; ++i) held.push_back(Connect());
  for (int i = 0; i < 5; ++i) {
    const auto client = Client();
    EXPECT_THAT(Create(client.get()), IsOk());
  }
  EXPECT_EQ(listener_->counters().refused, 0);
}

class SlowFaults : public server::FaultInjector {
 public:
  MessageFault OnMessage() override {
    MessageFault fault;
    fault.delay = slow ? absl::Seconds(5) : absl::ZeroDuration();
    return fault;
  }
  std::atomic<bool> slow{false};
};

TEST_F(ListenerTest, AFullListenerNeverClosesWhereARequestIsUnderWay) {
  SlowFaults faults;
  ServeAtMost(2, &faults);
  const auto slow = ConnectAndAsk();
  const auto half = ConnectAndAsk();
  // Given one request that is not answered yet, and one that has only begun
  faults.slow = true;
  ASSERT_TRUE(slow->TrySend(Query().span()));
  while (listener_->counters().requests < 3) {
  }
  ASSERT_TRUE(half->TrySend(Query().span().subspan(0, 4)));
  while (manual_.timers() < 2) {
  }
  // Then nobody else gets in
  const auto stranger = net::BeginConnect("127.0.0.1", listener_->port());
  ASSERT_THAT(stranger, IsOk());
  while (listener_->counters().refused < 1) {
  }
  EXPECT_EQ(listener_->counters().open, 2);
  EXPECT_EQ(listener_->counters().displaced, 0);
  EXPECT_THAT(FullLines(), ::testing::ElementsAre("1"));
  // And both are served.
  faults.slow = false;
  const ttlv::Buffer query = Query();
  ASSERT_TRUE(half->TrySend(query.span().subspan(4)));
  ttlv::Buffer answer;
  EXPECT_TRUE(half->Receive(&answer));
  manual_.Advance(absl::Seconds(5));
  EXPECT_TRUE(slow->Receive(&answer));
}

// Who has no certificate to show takes nobody's place.
TEST_F(ListenerTest, StrangersDoNotDisplaceClients) {
  ServeAtMost(2);
  const auto a = ConnectAndAsk();
  const auto b = ConnectAndAsk();
  std::vector<files::Descriptor> strangers;
  for (int i = 0; i < 10; ++i) {
    auto socket = net::BeginConnect("127.0.0.1", listener_->port());
    ASSERT_THAT(socket, IsOk());
    strangers.push_back(*std::move(socket));
  }
  // One of them is let in to shake hands, the others are not.
  while (listener_->counters().refused < 9) {
  }
  EXPECT_EQ(listener_->counters().open, 3);
  EXPECT_TRUE(Asks(a.get()));
  EXPECT_TRUE(Asks(b.get()));
  EXPECT_EQ(listener_->counters().displaced, 0);
}

}  // namespace
}  // namespace keysphere::kmip::client
