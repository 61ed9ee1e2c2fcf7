// What clients may do to a listener of ours.
#include "kmip/server/listener.h"

#include <sys/resource.h>
#include <sys/socket.h>

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
  // Until the answers fill what the sockets hold, and the server waits. A timer alone may be that
  // of half a request: then more can be sent.
  do {
    while (stream->TrySend(request.span()) || manual_.timers() == 0) {
    }
  } while (stream->TrySend(request.span()));
  const uint64_t answered = listener_->counters().requests;
  // Others are served meanwhile
  const auto client = Client();
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

}  // namespace
}  // namespace keysphere::kmip::client
