#include "common/rpc/link_faults.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "common/rpc/testing/fake_link_faults.h"
#include "common/rpc/testing/fixture.h"
#include "common/rpc/testing/manual_clock.h"
#include "common/status/matchers.h"

namespace keysphere::rpc::testing {
namespace {

using status::HasReason;
using status::IsOk;

// Counts by stream, as a simulation does.
class FakeStreamCounters : public StreamCounters {
 public:
  uint64_t OpenStream() override { return 7; }
  void StreamSent(uint64_t stream) override {
    Change([&] { ++open_[stream]; });
  }
  void StreamHandled(uint64_t stream) override {
    Change([&] { --open_[stream]; });
  }
  void CloseStream(uint64_t stream) override {
    Change([&] { closed_ = stream; });
  }
  // Waits until the stream was closed; what was sent and not handled before.
  int WaitUntilClosed() {
    sync::MutexLock lock(&mutex_);
    while (closed_ == 0) changed_.Wait(&mutex_);
    return open_[closed_];
  }

 private:
  template <typename Change_>
  void Change(Change_ change) {
    sync::MutexLock lock(&mutex_);
    change();
    changed_.SignalAll();
  }
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::map<uint64_t, int> open_;
  uint64_t closed_ = 0;
};

// One host and one client on simulated time. What gRPC may still use after a test is leaked.
class SimulatedTimeTest : public ::testing::Test {
 protected:
  SimulatedTimeTest() : client_(NewClient(Options())) {}

  ChannelOptions Options() {
    ChannelOptions options = server_.Options();
    options.simulated_time = true;
    options.link_faults = faults_;
    options.stream_counters = counters_;
    return options;
  }
  ServerSetup HostSetup() {
    ServerSetup setup;
    setup.clock = clock_;
    setup.stream_counters = counters_;
    return setup;
  }
  void SetFault(const LinkFault& fault) { faults_->Set("host/esx-1", fault); }
  void Cut(bool request, bool reply) {
    LinkFault fault;
    fault.cut_request = request;
    fault.cut_reply = reply;
    SetFault(fault);
  }
  void Heal() { SetFault(LinkFault()); }

  // Begins a call of 10 s.
  void Begin(const EchoRequest& request) {
    client_.Call(&EchoStub::Echo, request, {}, [this](absl::StatusOr<EchoResponse> response) {
      sync::MutexLock lock(&mutex_);
      busy_in_callback_ = clock_->busy();
      results_.push_back(std::move(response));
      changed_.SignalAll();
    });
  }
  size_t results() {
    sync::MutexLock lock(&mutex_);
    return results_.size();
  }
  absl::StatusOr<EchoResponse> WaitForResult() {
    sync::MutexLock lock(&mutex_);
    while (results_.empty()) changed_.Wait(&mutex_);
    absl::StatusOr<EchoResponse> first = std::move(results_.front());
    results_.erase(results_.begin());
    return first;
  }

  ManualClock* const clock_ = new ManualClock(RealClock()->Now());
  FakeLinkFaults* const faults_ = new FakeLinkFaults;
  FakeStreamCounters* const counters_ = new FakeStreamCounters;
  TestServer server_{HostSetup()};
  EchoClient client_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::vector<absl::StatusOr<EchoResponse>> results_ ABSL_GUARDED_BY(mutex_);
  int busy_in_callback_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(SimulatedTimeTest, TimeStandsStillFromSendingUntilTheCallbackHasRun) {
  EchoRequest hold;
  hold.set_hold(true);
  Begin(hold);
  server_.domain().WaitUntilHeld(1);
  EXPECT_GE(clock_->busy(), 1);  // the caller's: what a server does has tokens of its own
  server_.domain().Release();
  EXPECT_THAT(WaitForResult(), IsOk());
  clock_->WaitUntilQuiet();
  sync::MutexLock lock(&mutex_);
  EXPECT_GE(busy_in_callback_, 1);
}

TEST_F(SimulatedTimeTest, TheDeadlineIsOnVirtualTime) {
  const absl::Time start = clock_->Now();
  Begin(EchoRequest());
  const absl::StatusOr<EchoResponse> answered = WaitForResult();
  ASSERT_THAT(answered, IsOk());
  EXPECT_EQ(answered->deadline_us(), absl::ToUnixMicros(start + absl::Seconds(10)));

  EchoRequest hold;
  hold.set_hold(true);
  Begin(hold);
  server_.domain().WaitUntilHeld(1);
  clock_->Advance(absl::Seconds(9));
  EXPECT_EQ(results(), 0);
  clock_->Advance(absl::Seconds(1));
  EXPECT_THAT(WaitForResult(), HasReason(v1::REASON_DEADLINE_EXCEEDED));
}

TEST_F(SimulatedTimeTest, ACutLinkParksTheCallUntilItsDeadline) {
  Cut(true, true);
  Begin(Text("lost"));
  EXPECT_EQ(clock_->busy(), 0);  // time may go on
  clock_->Advance(absl::Seconds(9));
  EXPECT_EQ(results(), 0);
  clock_->Advance(absl::Seconds(1));
  EXPECT_THAT(WaitForResult(), HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_EQ(server_.domain().calls(), 0);
}

TEST_F(SimulatedTimeTest, AHealedLinkSendsWhatWaits) {
  Cut(true, true);
  Begin(Text("late"));
  clock_->Advance(absl::Seconds(5));
  Heal();
  const absl::StatusOr<EchoResponse> response = WaitForResult();
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->text(), "late");
}

TEST_F(SimulatedTimeTest, ACutWhileACallIsUnderWayKeepsItsAnswer) {
  EchoRequest hold;
  hold.set_hold(true);
  Begin(hold);
  server_.domain().WaitUntilHeld(1);
  Cut(true, true);
  clock_->WaitUntilQuiet();  // time may go on
  server_.domain().Release();
  EXPECT_EQ(results(), 0);
  Heal();
  EXPECT_THAT(WaitForResult(), IsOk());
  clock_->WaitUntilQuiet();
}

TEST_F(SimulatedTimeTest, AOneWayCutCarriesTheRequestOnly) {
  Cut(false, true);
  Begin(Text(""));
  clock_->WaitUntilQuiet();
  EXPECT_EQ(server_.domain().calls(), 1);
  EXPECT_EQ(results(), 0);
  clock_->Advance(absl::Seconds(10));
  EXPECT_THAT(WaitForResult(), HasReason(v1::REASON_DEADLINE_EXCEEDED));
}

TEST_F(SimulatedTimeTest, ADelayIsVirtualTime) {
  LinkFault slow;
  slow.delay = absl::Seconds(3);
  SetFault(slow);
  Begin(Text(""));
  EXPECT_EQ(clock_->busy(), 0);
  clock_->Advance(absl::Seconds(2));
  EXPECT_EQ(server_.domain().calls(), 0);
  clock_->Advance(absl::Seconds(1));
  EXPECT_THAT(WaitForResult(), IsOk());
}

TEST_F(SimulatedTimeTest, FailNextFailsThatManyCalls) {
  faults_->FailNext(2);
  for (int i = 0; i < 2; ++i) {
    Begin(Text(""));
    EXPECT_EQ(results(), 0);  // never inside the call
    clock_->Advance(absl::ZeroDuration());
    EXPECT_THAT(WaitForResult(), HasReason(v1::REASON_UNREACHABLE));
  }
  Begin(Text(""));
  EXPECT_THAT(WaitForResult(), IsOk());
  EXPECT_EQ(server_.domain().calls(), 1);
}

TEST_F(SimulatedTimeTest, S163_OwnCertificateExpiresOnVirtualTime) {
  Begin(Text(""));
  ASSERT_THAT(WaitForResult(), IsOk());
  clock_->Advance(absl::Hours(24) * 365 * 21);
  Begin(Text(""));
  clock_->Advance(absl::ZeroDuration());
  EXPECT_THAT(WaitForResult(), HasReason(v1::REASON_CERT_EXPIRED));
}

TEST_F(SimulatedTimeTest, StreamsCountTheirMessagesOnBothSides) {
  CountRequest request;
  request.set_messages(50);
  sync::Mutex mutex;
  sync::CondVar changed;
  bool ended = false;
  int received = 0;
  const Subscription watch = client_.Watch(
      &EchoStub::Count, request, {}, [&](CountResponse) { ++received; },
      [&](absl::Status status) {
        EXPECT_THAT(status, IsOk());
        sync::MutexLock lock(&mutex);
        ended = true;
        changed.Signal();
      });
  EXPECT_EQ(counters_->WaitUntilClosed(), 1);  // the end
  sync::MutexLock lock(&mutex);
  while (!ended) changed.Wait(&mutex);
  EXPECT_EQ(received, 50);
  clock_->WaitUntilQuiet();
}

TEST_F(SimulatedTimeTest, ACutLinkHoldsAStreamsMessages) {
  sync::Mutex mutex;
  sync::CondVar changed;
  int received = 0;
  CountRequest request;
  request.set_messages(3);
  request.set_stay(true);
  Cut(false, true);
  const Subscription watch = client_.Watch(
      &EchoStub::Count, request, {},
      [&](CountResponse) {
        sync::MutexLock lock(&mutex);
        ++received;
        changed.Signal();
      },
      [](absl::Status) {});
  clock_->WaitUntilQuiet();
  {
    sync::MutexLock lock(&mutex);
    EXPECT_EQ(received, 0);
  }
  Heal();
  sync::MutexLock lock(&mutex);
  while (received < 3) changed.Wait(&mutex);
}

}  // namespace
}  // namespace keysphere::rpc::testing
