#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/testing/fixture.h"
#include "common/rpc/testing/manual_clock.h"
#include "common/status/matchers.h"

namespace keysphere::rpc::testing {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Results that come on other threads.
template <typename T>
class Inbox {
 public:
  void Add(T item) {
    sync::MutexLock lock(&mutex_);
    items_.push_back(std::move(item));
    changed_.SignalAll();
  }
  std::vector<T> WaitFor(size_t count) {
    sync::MutexLock lock(&mutex_);
    while (items_.size() < count) changed_.Wait(&mutex_);
    return items_;
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::vector<T> items_;
};

TEST(RpcTest, S163_ACallCarriesItsCallersIdentity) {
  TestServer server;
  const EchoClient client = NewClient(server.Options("alice"));

  const absl::StatusOr<EchoResponse> response = client.CallSync(&EchoStub::Echo, Text("hello"));

  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->text(), "hello");
  EXPECT_EQ(response->caller(), "spiffe://lab.example/user/alice");
  EXPECT_GT(response->deadline_us(), absl::ToUnixMicros(RealClock()->Now()));
}

TEST(RpcTest, S3_TheServerSeesWhatTheClientDialled) {
  TestServer server;
  EXPECT_EQ(NewClient(server.Options()).CallSync(&EchoStub::Echo, Text(""))->authority(),
            server.server().address());
  ChannelOptions named = server.Options();
  named.authority = "vcenter-a.keysphere.test";
  EXPECT_EQ(NewClient(std::move(named)).CallSync(&EchoStub::Echo, Text(""))->authority(),
            "vcenter-a.keysphere.test");
}

TEST(RpcTest, S154_AnErrorKeepsItsDetail) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  EchoRequest request;
  request.set_fail(true);

  const absl::Status error = client.CallSync(&EchoStub::Echo, request).status();

  EXPECT_THAT(error, HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  const v1::ErrorDetail detail = status::DetailOf(error);
  EXPECT_EQ(detail.object(), "vm/web-1");
  EXPECT_EQ(detail.next_step(), "Remediate the host.");
  EXPECT_THAT(detail.others(), ElementsAre(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(detail.metadata().at("provider"), "nkp-a");
  EXPECT_EQ(error.message(), "the key is not here");
}

TEST(RpcTest, S128_CallersWithoutARightAreRefused) {
  TestServer server;
  const EchoClient user = NewClient(server.Options());
  EXPECT_THAT(user.CallSync(&EchoStub::Guarded, Text("")), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_EQ(server.domain().calls(), 0);

  ChannelOptions options = server.Options();
  options.credentials = Issue(identity::Kind::kController, "vcenter-a");
  EXPECT_THAT(NewClient(std::move(options)).CallSync(&EchoStub::Guarded, Text("")), IsOk());
}

TEST(RpcTest, S128_AMethodWithoutARuleIsRefusedAndFoundByAWalk) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  EXPECT_THAT(client.CallSync(&EchoStub::Forgotten, Text("")), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_EQ(server.domain().calls(), 0);
  EXPECT_THAT(server.server().methods(), ElementsAre("/keysphere.rpc.testing.EchoService/Echo",
                                                     "/keysphere.rpc.testing.EchoService/Guarded",
                                                     "/keysphere.rpc.testing.EchoService/Forgotten",
                                                     "/keysphere.rpc.testing.EchoService/Count"));
}

TEST(RpcTest, A64MegabyteMessageIsRefusedAndTheServerGoesOn) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text(std::string(64 << 20, 'x'))),
              HasReason(v1::REASON_TOO_LARGE));
  EXPECT_EQ(server.domain().calls(), 0);
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text(std::string(3 << 20, 'x'))), IsOk());
}

TEST(RpcTest, AnUnansweredCallEndsAtItsDeadline) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  EchoRequest request;
  request.set_hold(true);
  CallOptions options;
  options.timeout = absl::Milliseconds(200);
  const absl::Status late = client.CallSync(&EchoStub::Echo, request, options).status();
  EXPECT_THAT(late, HasReason(v1::REASON_DEADLINE_EXCEEDED));
  // Who it is, and what to do, is said.
  EXPECT_EQ(status::DetailOf(late).object(), absl::StrCat("host/", server.Options().peer.name));
  EXPECT_THAT(status::DetailOf(late).next_step(), testing::HasSubstr("See whether it runs"));
  // The late answer finds nobody, and does no harm.
  server.domain().Release();
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text("next")), IsOk());
}

TEST(RpcTest, NobodyListens) {
  ChannelOptions options;
  {
    TestServer gone;
    options = gone.Options();
  }
  const EchoClient client = NewClient(std::move(options));
  CallOptions impatient;
  impatient.wait_for_ready = false;
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text(""), impatient),
              HasReason(v1::REASON_UNREACHABLE));
  CallOptions patient;
  patient.timeout = absl::Milliseconds(300);
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text(""), patient),
              HasReason(v1::REASON_DEADLINE_EXCEEDED));
}

TEST(RpcTest, ARestartedServerIsFoundSoon) {
  // Below the ports that the kernel hands out: one of those could be taken meanwhile, even by the
  // client's own attempt to connect.
  ServerSetup same;
  same.address = absl::StrCat("127.91.", getpid() / 250 % 250, ".", getpid() % 250 + 1, ":8989");
  auto server = std::make_unique<TestServer>(same);
  const EchoClient client = NewClient(server->Options());
  ASSERT_THAT(client.CallSync(&EchoStub::Echo, Text("1")), IsOk());
  for (int i = 0; i < 3; ++i) {
    server.reset();
    server = std::make_unique<TestServer>(same);
    CallOptions options;
    options.timeout = absl::Seconds(5);
    absl::StatusOr<EchoResponse> response = client.CallSync(&EchoStub::Echo, Text("2"), options);
    // A call that was sent into the dying connection may be lost; the next is not.
    if (!response.ok()) response = client.CallSync(&EchoStub::Echo, Text("2"), options);
    ASSERT_THAT(response, IsOk());
  }
}

TEST(RpcTest, AServerTakesManyConnections) {
  TestServer server;
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(NewClient(server.Options()).CallSync(&EchoStub::Echo, Text("")), IsOk()) << i;
  }
}

TEST(RpcTest, AnAddressServesOneServer) {
  TestServer first;
  RuleTable rules;
  Gate::Options gate_options;
  gate_options.clock = RealClock();
  gate_options.authorizer = &rules;
  Gate gate(gate_options);
  ServerOptions options;
  options.address = first.server().address();
  options.credentials = Issue(identity::Kind::kHost, "esx-2");
  options.gate = &gate;
  EXPECT_THAT(Server::Create(std::move(options)), HasReason(v1::REASON_INVALID_STATE));
}

TEST(RpcTest, DrainLetsCallsEndAndRefusesNewOnes) {
  auto server = std::make_unique<TestServer>();
  const EchoClient client = NewClient(server->Options());
  Inbox<absl::StatusOr<EchoResponse>> inbox;
  EchoRequest hold;
  hold.set_hold(true);
  client.Call(&EchoStub::Echo, hold, {},
              [&](absl::StatusOr<EchoResponse> response) { inbox.Add(std::move(response)); });
  server->domain().WaitUntilHeld(1);

  std::thread drain([&] { server->server().Drain(absl::Seconds(20)); });
  // Refused while it drains: by the gate, or because the server closed the connection to new calls.
  CallOptions options;
  options.timeout = absl::Milliseconds(500);
  absl::StatusOr<EchoResponse> refused = EchoResponse();
  while (refused.ok()) refused = client.CallSync(&EchoStub::Echo, Text(""), options);
  EXPECT_NE(status::ReasonOf(refused.status()), v1::REASON_INTERNAL);
  server->domain().Release();
  drain.join();
  EXPECT_THAT(inbox.WaitFor(1)[0], IsOk());
}

TEST(RpcTest, DrainCancelsWhatDoesNotEnd) {
  auto server = std::make_unique<TestServer>();
  const EchoClient client = NewClient(server->Options());
  Inbox<absl::StatusOr<EchoResponse>> inbox;
  EchoRequest hold;
  hold.set_hold(true);
  client.Call(&EchoStub::Echo, hold, {},
              [&](absl::StatusOr<EchoResponse> response) { inbox.Add(std::move(response)); });
  server->domain().WaitUntilHeld(1);
  server->server().Drain(absl::Milliseconds(50));  // returns although nothing was answered
  EXPECT_FALSE(inbox.WaitFor(1)[0].ok());
}

TEST(RpcTest, AStreamBringsItsMessagesInOrder) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  Inbox<int> numbers;
  Inbox<absl::Status> end;
  CountRequest request;
  request.set_messages(500);
  const Subscription watch = client.Watch(
      &EchoStub::Count, request, {}, [&](CountResponse message) { numbers.Add(message.number()); },
      [&](absl::Status status) { end.Add(std::move(status)); });
  EXPECT_THAT(end.WaitFor(1)[0], IsOk());
  const std::vector<int> got = numbers.WaitFor(500);
  EXPECT_EQ(got.size(), 500);
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
  server.domain().WaitUntilStreamsGone(1);
}

TEST(RpcTest, AnOpenStreamEndsWhenItsReaderGoesOrTheServerDrains) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  Inbox<int> numbers;
  Inbox<absl::Status> end;
  CountRequest request;
  request.set_messages(1);
  request.set_stay(true);
  const auto watch = [&] {
    return client.Watch(
        &EchoStub::Count, request, {},
        [&](CountResponse message) { numbers.Add(message.number()); },
        [&](absl::Status status) { end.Add(std::move(status)); });
  };
  {
    const Subscription first = watch();
    numbers.WaitFor(1);
  }
  EXPECT_THAT(end.WaitFor(1)[0], HasReason(v1::REASON_CANCELLED));
  server.domain().WaitUntilStreamsGone(1);

  const Subscription second = watch();
  numbers.WaitFor(2);
  server.server().Drain(absl::Seconds(20));
  EXPECT_THAT(end.WaitFor(2)[1], HasReason(v1::REASON_SHUTTING_DOWN));
}

TEST(RpcTest, ASlowReaderIsToldToResume) {
  ServerSetup setup;
  setup.queue_limit = 10;
  TestServer server(setup);
  const EchoClient client = NewClient(server.Options());
  Inbox<absl::Status> end;
  CountRequest request;
  request.set_messages(1000);
  request.set_message_bytes(100'000);
  request.set_stay(true);
  int received = 0;
  const Subscription watch = client.Watch(
      &EchoStub::Count, request, {}, [&](CountResponse) { ++received; },
      [&](absl::Status status) { end.Add(std::move(status)); });
  EXPECT_THAT(end.WaitFor(1)[0], HasReason(v1::REASON_RESUME_FROM));
  EXPECT_LT(received, 1000);
}

TEST(RpcTest, AWriterIsToldWhenAllHasBeenSent) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  Inbox<int> numbers;
  CountRequest request;
  request.set_stay(true);
  const auto watch = [&] {
    return client.Watch(
        &EchoStub::Count, request, {},
        [&](CountResponse message) { numbers.Add(message.number()); }, [](absl::Status) {});
  };
  // Nothing to send; then some messages.
  const Subscription idle = watch();
  EXPECT_THAT(server.domain().WaitUntilSentIsTold(1), ElementsAre(true));
  request.set_messages(200);
  const Subscription busy = watch();
  EXPECT_THAT(server.domain().WaitUntilSentIsTold(2), ElementsAre(true, true));
  EXPECT_EQ(numbers.WaitFor(200).size(), 200u);
}

TEST(RpcTest, AWriterIsToldWhenWhatItWroteWillNotBeSent) {
  // A reader that stands still at its first message. It may outlive the test.
  struct Reader {
    sync::Mutex mutex;
    sync::CondVar changed;
    int messages ABSL_GUARDED_BY(mutex) = 0;
    bool go_on ABSL_GUARDED_BY(mutex) = false;
  };
  const auto reader = std::make_shared<Reader>();
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  CountRequest request;
  request.set_stay(true);
  request.set_messages(500);
  request.set_message_bytes(100'000);  // far more than the connection takes at once
  Subscription watch = client.Watch(
      &EchoStub::Count, request, {},
      [reader](CountResponse) {
        sync::MutexLock lock(&reader->mutex);
        ++reader->messages;
        reader->changed.SignalAll();
        while (!reader->go_on) reader->changed.Wait(&reader->mutex);
      },
      [](absl::Status) {});
  {
    sync::MutexLock lock(&reader->mutex);
    while (reader->messages == 0) reader->changed.Wait(&reader->mutex);
  }

  watch.Cancel();

  EXPECT_THAT(server.domain().WaitUntilSentIsTold(1), ElementsAre(false));
  server.domain().WaitUntilStreamsGone(1);
  sync::MutexLock lock(&reader->mutex);
  EXPECT_EQ(reader->messages, 1);
  reader->go_on = true;
  reader->changed.SignalAll();
}

TEST(RpcTest, EndCallsEndsAllThatIsUnderWayAndNothingElse) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  Inbox<absl::StatusOr<EchoResponse>> answers;
  EchoRequest hold;
  hold.set_hold(true);
  for (int i = 0; i < 2; ++i) {
    client.Call(&EchoStub::Echo, hold, {},
                [&](absl::StatusOr<EchoResponse> response) { answers.Add(std::move(response)); });
  }
  Inbox<int> numbers;
  Inbox<absl::Status> end;
  CountRequest count;
  count.set_messages(1);
  count.set_stay(true);
  const Subscription watch = client.Watch(
      &EchoStub::Count, count, {}, [&](CountResponse message) { numbers.Add(message.number()); },
      [&](absl::Status status) { end.Add(std::move(status)); });
  server.domain().WaitUntilHeld(2);
  numbers.WaitFor(1);

  client.channel()->EndCalls(
      status::Error(v1::REASON_HOST_NOT_RESPONDING, "given up").Object("host", "esx-1"));

  for (const auto& answer : answers.WaitFor(2)) {
    EXPECT_THAT(answer, HasReason(v1::REASON_HOST_NOT_RESPONDING));
    EXPECT_EQ(status::DetailOf(answer.status()).object(), "host/esx-1");
  }
  EXPECT_THAT(end.WaitFor(1)[0], HasReason(v1::REASON_HOST_NOT_RESPONDING));
  server.domain().WaitUntilStreamsGone(1);
  // The late answers find nobody; the channel serves on.
  server.domain().Release();
  EXPECT_THAT(client.CallSync(&EchoStub::Echo, Text("next")), IsOk());
  EXPECT_EQ(answers.WaitFor(2).size(), 2u);
}

TEST(RpcTest, AStreamIsAuthorisedToo) {
  TestServer server;
  ChannelOptions options = server.Options();
  options.credentials = Issue(identity::Kind::kUser, "alice");
  const EchoClient client = NewClient(std::move(options));
  server.server().Drain(absl::ZeroDuration());
  Inbox<absl::Status> end;
  CallOptions call;
  call.timeout = absl::Milliseconds(300);
  const Subscription watch = client.Watch(
      &EchoStub::Count, CountRequest(), call, [](CountResponse) {},
      [&](absl::Status status) { end.Add(std::move(status)); });
  EXPECT_FALSE(end.WaitFor(1)[0].ok());
}

}  // namespace
}  // namespace keysphere::rpc::testing
