#include "common/clock/page/link_faults.h"

#include <atomic>
#include <memory>
#include <string>

#include "common/clock/page/clock_master.h"
#include "common/clock/page/page_clock.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::clock::page {
namespace {

using status::HasReason;
using status::IsOk;

class LinkFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ClockMaster::Options options;
    options.slots = 4;
    options.streams = 1;
    options.links = 2;
    auto master = ClockMaster::Create(::testing::TempDir() + "/clock", options);
    ASSERT_THAT(master, IsOk());
    master_ = *std::move(master);
    controller_ = Join("controller/vc-1");
    host_ = Join("host/esx-1");
  }

  std::unique_ptr<PageClock> Join(const std::string& name) {
    const auto slot = master_->AllocateSlot(name);
    EXPECT_THAT(slot, IsOk());
    auto clock = PageClock::Open(master_->FlagOf(*slot));
    EXPECT_THAT(clock, IsOk());
    return *std::move(clock);
  }

  LinkState ToHost() const { return controller_->links().Lookup(host_->slot()); }
  LinkState ToController() const { return host_->links().Lookup(controller_->slot()); }

  std::unique_ptr<ClockMaster> master_;
  std::unique_ptr<PageClock> controller_;
  std::unique_ptr<PageClock> host_;
};

TEST_F(LinkFaultsTest, PeersAreFoundByName) {
  EXPECT_EQ(controller_->links().SlotOf("host/esx-1"), host_->slot());
  EXPECT_EQ(controller_->links().SlotOf("host/esx-2"), -1);
  EXPECT_FALSE(controller_->links().Lookup(-1).blocked());
  EXPECT_FALSE(controller_->links().TakeFailure(-1));
}

TEST_F(LinkFaultsTest, ACutHoldsInOneDirection) {
  EXPECT_FALSE(ToHost().blocked());
  ASSERT_THAT(master_->SetLink(controller_->slot(), host_->slot(), {true, {}, 0}), IsOk());
  EXPECT_TRUE(ToHost().out.cut);
  EXPECT_FALSE(ToHost().back.cut);
  EXPECT_TRUE(ToController().back.cut);
  EXPECT_FALSE(ToController().out.cut);
  EXPECT_TRUE(ToHost().blocked());
  EXPECT_TRUE(ToController().blocked());  // the answer would not arrive

  ASSERT_THAT(master_->SetLink(controller_->slot(), host_->slot(), {}), IsOk());
  EXPECT_FALSE(ToHost().blocked());
}

TEST_F(LinkFaultsTest, FaultsOfSeveralEntriesAddUp) {
  ASSERT_THAT(master_->SetLink(kAnySlot, host_->slot(), {false, absl::Milliseconds(30), 1}),
              IsOk());
  ASSERT_THAT(
      master_->SetLink(controller_->slot(), host_->slot(), {false, absl::Milliseconds(20), 1}),
      IsOk());
  EXPECT_EQ(ToHost().out.delay, absl::Milliseconds(50));
  EXPECT_EQ(ToHost().back.delay, absl::ZeroDuration());
  EXPECT_EQ(ToHost().out.fail_next, 2u);
  EXPECT_TRUE(controller_->links().TakeFailure(host_->slot()));
  EXPECT_TRUE(controller_->links().TakeFailure(host_->slot()));
  EXPECT_FALSE(controller_->links().TakeFailure(host_->slot()));
  master_->ClearLinks();
  EXPECT_EQ(ToHost().out.delay, absl::ZeroDuration());
}

TEST_F(LinkFaultsTest, TheTableIsBounded) {
  EXPECT_THAT(master_->SetLink(0, 1, {true, {}, 0}), IsOk());
  EXPECT_THAT(master_->SetLink(1, 0, {true, {}, 0}), IsOk());
  EXPECT_THAT(master_->SetLink(2, 0, {true, {}, 0}), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(master_->SetLink(1, 0, {}), IsOk());
  EXPECT_THAT(master_->SetLink(3, 0, {}), IsOk());  // clears what is not there
  EXPECT_THAT(master_->SetLink(2, 0, {true, {}, 0}), IsOk());
  EXPECT_THAT(master_->SetLink(4, 0, {true, {}, 0}), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(LinkFaultsTest, APeerThatIsPausedDeadOrStartingBlocks) {
  master_->SetStopped(host_->slot(), true);
  EXPECT_TRUE(ToHost().stopped);
  EXPECT_TRUE(ToHost().blocked());
  master_->SetStopped(host_->slot(), false);
  EXPECT_FALSE(ToHost().blocked());

  const std::string flag = master_->FlagOf(host_->slot());
  const int slot = host_->slot();
  host_.reset();
  EXPECT_FALSE(controller_->links().Lookup(slot).live);
  master_->HoldForStart(slot);
  host_ = *PageClock::Open(flag);
  EXPECT_FALSE(ToHost().live);  // not READY
  master_->EndStart(slot);
  EXPECT_TRUE(ToHost().live);
}

TEST_F(LinkFaultsTest, APeerThatWasToldToEndBlocksUntilItsNextStartIsReady) {
  const int slot = host_->slot();
  master_->SetEnding(slot, true);
  EXPECT_TRUE(ToHost().blocked());  // also while its process still lives
  master_->SetEnding(slot, false);  // it would not
  EXPECT_FALSE(ToHost().blocked());
  master_->SetEnding(slot, true);
  host_.reset();
  master_->ClearSlot(slot);
  master_->HoldForStart(slot);
  host_ = *PageClock::Open(master_->FlagOf(slot));
  EXPECT_TRUE(ToHost().blocked());
  master_->EndStart(slot);
  EXPECT_FALSE(ToHost().blocked());
}

TEST_F(LinkFaultsTest, WhoWatchesHearsOfChangesBeforeTimeGoesOn) {
  std::atomic<int> cuts{0};
  std::atomic<int> changes{0};
  controller_->OnLinksChanged([&] {
    ++changes;
    if (ToHost().out.cut) ++cuts;
  });
  ASSERT_THAT(master_->SetLink(controller_->slot(), host_->slot(), {true, {}, 0}), IsOk());
  ASSERT_THAT(master_->WaitQuiet(), IsOk());
  EXPECT_EQ(cuts.load(), 1);

  const int before = changes;
  master_->SetStopped(host_->slot(), true);
  ASSERT_THAT(master_->WaitQuiet(), IsOk());
  EXPECT_EQ(changes.load(), before + 1);

  controller_->OnLinksChanged(nullptr);
  master_->ClearLinks();
  ASSERT_THAT(master_->WaitQuiet(), IsOk());
  EXPECT_EQ(changes.load(), before + 1);
}

}  // namespace
}  // namespace keysphere::clock::page
