#include "common/rpc/page_links.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common/clock/page/clock_master.h"
#include "common/clock/page/page_clock.h"
#include "common/rpc/testing/fixture.h"
#include "common/status/matchers.h"

namespace keysphere::rpc::testing {
namespace {

using clock::page::ClockMaster;
using clock::page::PageClock;
using status::HasReason;
using status::IsOk;

// A controller that calls a host, each with its own mapping of the cluster's page, and the
// simulator's side of it. What gRPC may still use after a test is leaked.
class PageLinksTest : public ::testing::Test {
 protected:
  PageLinksTest() {
    ClockMaster::Options options;
    options.slots = 4;
    options.streams = 16;
    options.links = 16;
    options.start = RealClock()->Now();
    master_ = ClockMaster::Create(::testing::TempDir() + "/clock-rpc", options).value();
    host_slot_ = master_->AllocateSlot("host/esx-1").value();
    caller_slot_ = master_->AllocateSlot("controller/vcenter-a").value();
    host_clock_ = PageClock::Open(master_->FlagOf(host_slot_)).value().release();
    caller_clock_ = PageClock::Open(master_->FlagOf(caller_slot_)).value().release();
    ServerSetup setup;
    setup.clock = host_clock_;
    setup.stream_counters = new PageLinks(host_clock_);
    server_ = std::make_unique<TestServer>(setup);
    ChannelOptions channel = server_->Options();
    channel.clock = caller_clock_;
    channel.simulated_time = true;
    auto* const links = new PageLinks(caller_clock_);
    channel.link_faults = links;
    channel.stream_counters = links;
    client_ = std::make_unique<EchoClient>(NewClient(std::move(channel)));
  }

  void Cut(bool cut) {
    clock::page::LinkFault fault;
    fault.cut = cut;
    ASSERT_THAT(master_->SetLink(caller_slot_, host_slot_, fault), IsOk());
    ASSERT_THAT(master_->SetLink(host_slot_, caller_slot_, fault), IsOk());
  }
  void Begin() {
    client_->Call(&EchoStub::Echo, Text(""), {}, [this](absl::StatusOr<EchoResponse> response) {
      sync::MutexLock lock(&mutex_);
      results_.push_back(response.status());
    });
  }
  // Of a quiet cluster: all that can end has ended.
  std::vector<absl::Status> Results() {
    EXPECT_THAT(master_->WaitQuiet(), IsOk());
    sync::MutexLock lock(&mutex_);
    return results_;
  }

  std::unique_ptr<ClockMaster> master_;
  int host_slot_ = -1;
  int caller_slot_ = -1;
  PageClock* host_clock_ = nullptr;
  PageClock* caller_clock_ = nullptr;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<EchoClient> client_;
  sync::Mutex mutex_;
  std::vector<absl::Status> results_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(PageLinksTest, QuietMeansThatCallsHaveEnded) {
  for (int i = 1; i <= 50; ++i) {
    Begin();
    const std::vector<absl::Status> results = Results();
    ASSERT_EQ(results.size(), i);
    ASSERT_THAT(results.back(), IsOk());
  }
}

TEST_F(PageLinksTest, ACutLinkLetsTimeGoOnAndEndsTheCallAtItsDeadline) {
  Cut(true);
  Begin();
  EXPECT_EQ(Results().size(), 0);
  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(9)), IsOk());
  EXPECT_EQ(Results().size(), 0);
  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(1)), IsOk());
  ASSERT_EQ(Results().size(), 1);
  EXPECT_THAT(Results()[0], HasReason(v1::REASON_DEADLINE_EXCEEDED));
}

TEST_F(PageLinksTest, AHealedLinkSendsWhatWaits) {
  Cut(true);
  Begin();
  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(5)), IsOk());
  Cut(false);
  ASSERT_EQ(Results().size(), 1);
  EXPECT_THAT(Results()[0], IsOk());
}

TEST_F(PageLinksTest, ACallToADeadProcessWaitsForItsDeadline) {
  Begin();
  ASSERT_EQ(Results().size(), 1);
  server_.reset();
  delete host_clock_;
  master_->ClearSlot(host_slot_);
  Begin();
  EXPECT_EQ(Results().size(), 1);
  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(10)), IsOk());
  ASSERT_EQ(Results().size(), 2);
  EXPECT_THAT(Results()[1], HasReason(v1::REASON_DEADLINE_EXCEEDED));
}

TEST_F(PageLinksTest, FailNextAndDelayComeFromThePage) {
  clock::page::LinkFault fault;
  fault.delay = absl::Seconds(2);
  fault.fail_next = 1;
  ASSERT_THAT(master_->SetLink(caller_slot_, host_slot_, fault), IsOk());
  Begin();
  ASSERT_EQ(Results().size(), 1);
  EXPECT_THAT(Results()[0], HasReason(v1::REASON_UNREACHABLE));
  Begin();
  EXPECT_EQ(Results().size(), 1);
  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(2)), IsOk());
  ASSERT_EQ(Results().size(), 2);
  EXPECT_THAT(Results()[1], IsOk());
}

TEST_F(PageLinksTest, TimeWaitsForTheMessagesOfAStream) {
  CountRequest request;
  request.set_messages(200);
  request.set_stay(true);
  std::atomic<int> received{0};
  const Subscription watch = client_->Watch(
      &EchoStub::Count, request, {}, [&](CountResponse) { ++received; }, [](absl::Status) {});
  ASSERT_THAT(master_->AdvanceBy(absl::Minutes(5)), IsOk());
  EXPECT_EQ(received, 200);
}

}  // namespace
}  // namespace keysphere::rpc::testing
