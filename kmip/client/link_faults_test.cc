// The client on simulated time, with a way to the server that is cut, slow or whole again.
#include "common/rpc/testing/fake_link_faults.h"
#include "common/rpc/testing/manual_clock.h"
#include "kmip/client/loopback.h"

namespace keysphere::kmip::client {
namespace {

using status::HasReason;
using status::IsOk;

constexpr char kLink[] = "kms/kms-1";
constexpr absl::Duration kDeadline = absl::Seconds(60);

bool IsUnsent(const absl::Status& status) {
  const v1::ErrorDetail detail = status::DetailOf(status);
  const auto sent = detail.metadata().find("sent");
  return sent != detail.metadata().end() && sent->second == "false";
}

class LinkFaultsTest : public Loopback {
 protected:
  LinkFaultsTest() {
    client_clock_ = &manual_;
    Serve();
    KmipClientOptions options = Options();
    options.wall = &clock_;
    options.link_faults = &faults_;
    options.link_name = kLink;
    options.max_calls = 3;
    client_ = Client(std::move(options));
  }
  ~LinkFaultsTest() override { client_.reset(); }

  void Set(bool cut_request, bool cut_reply, absl::Duration delay = absl::ZeroDuration()) {
    rpc::LinkFault fault;
    fault.cut_request = cut_request;
    fault.cut_reply = cut_reply;
    fault.delay = delay;
    faults_.Set(kLink, fault);
  }

  rpc::testing::ManualClock manual_{clock_.Now()};
  rpc::testing::FakeLinkFaults faults_;
  std::unique_ptr<KmipClient> client_;
};

TEST_F(LinkFaultsTest, WholeLink) {
  EXPECT_THAT(Create(client_.get()), IsOk());
  manual_.WaitUntilQuiet();
  EXPECT_EQ(manual_.timers(), 0);
}

TEST_F(LinkFaultsTest, CutLinkParksTheCallUntilItHeals) {
  Set(true, false);
  Waiter<std::string> waiter;
  client_->CreateKey(kDeadline, waiter.done());
  // Time may go on: nothing is under way
  manual_.WaitUntilQuiet();
  manual_.Advance(kDeadline - absl::Seconds(1));
  manual_.WaitUntilQuiet();
  EXPECT_FALSE(waiter.has_result());
  EXPECT_EQ(listener_->counters().requests, 0);
  Set(false, false);
  EXPECT_THAT(waiter.Wait(), IsOk());
}

TEST_F(LinkFaultsTest, DeadlineOfAParkedCall) {
  Set(true, false);
  Waiter<std::string> waiter;
  client_->CreateKey(kDeadline, waiter.done());
  manual_.WaitUntilQuiet();
  manual_.Advance(kDeadline);
  const absl::Status late = waiter.Wait().status();
  EXPECT_THAT(late, HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_TRUE(IsUnsent(late));  // the server cannot have made a key
  Set(false, false);
  EXPECT_THAT(Create(client_.get()), IsOk());
}

TEST_F(LinkFaultsTest, AnswerIsHeldBackWhileItsWayIsCut) {
  Set(false, true);
  Waiter<std::string> waiter;
  client_->CreateKey(kDeadline, waiter.done());
  manual_.WaitUntilQuiet();
  // The server has done it, the caller does not know
  while (listener_->counters().requests < 2) {
  }
  EXPECT_FALSE(waiter.has_result());
  Set(false, false);
  EXPECT_THAT(waiter.Wait(), IsOk());
  // And with a deadline in between
  Set(false, true);
  Waiter<std::string> late;
  client_->CreateKey(kDeadline, late.done());
  manual_.WaitUntilQuiet();
  manual_.Advance(kDeadline);
  const absl::Status unanswered = late.Wait().status();
  EXPECT_THAT(unanswered, HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_FALSE(IsUnsent(unanswered));  // there may be a key that nobody knows
}

TEST_F(LinkFaultsTest, DeadlineOfAFailureThatIsHeldBack) {
  listener_.reset();
  Set(false, true);
  Waiter<std::string> waiter;
  client_->CreateKey(kDeadline, waiter.done());
  manual_.WaitUntilQuiet();
  EXPECT_FALSE(waiter.has_result());
  manual_.Advance(kDeadline);
  EXPECT_THAT(waiter.Wait(), HasReason(v1::REASON_DEADLINE_EXCEEDED));
  // And with the client's end in between
  Waiter<std::string> left;
  client_->CreateKey(kDeadline, left.done());
  manual_.WaitUntilQuiet();
  client_.reset();
  EXPECT_THAT(left.Wait(), HasReason(v1::REASON_CANCELLED));
}

TEST_F(LinkFaultsTest, DelayedLink) {
  Set(false, false, absl::Seconds(5));
  Waiter<std::string> waiter;
  client_->CreateKey(kDeadline, waiter.done());
  manual_.WaitUntilQuiet();
  manual_.Advance(absl::Seconds(4));
  manual_.WaitUntilQuiet();
  EXPECT_FALSE(waiter.has_result());
  EXPECT_EQ(listener_->counters().requests, 0);
  manual_.Advance(absl::Seconds(1));
  EXPECT_THAT(waiter.Wait(), IsOk());
}

TEST_F(LinkFaultsTest, FailedCall) {
  faults_.FailNext(1);
  EXPECT_THAT(Create(client_.get()), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(Create(client_.get()), IsOk());
}

TEST_F(LinkFaultsTest, CallsThatWaitHaveALimit) {
  Set(true, false);
  Waiter<std::string> waiting[3];
  for (auto& one : waiting) client_->CreateKey(kDeadline, one.done());
  EXPECT_THAT(Create(client_.get()), HasReason(v1::REASON_OVERLOADED));
  Set(false, false);
  for (auto& one : waiting) EXPECT_THAT(one.Wait(), IsOk());
  EXPECT_THAT(Create(client_.get()), IsOk());
}

}  // namespace
}  // namespace keysphere::kmip::client
