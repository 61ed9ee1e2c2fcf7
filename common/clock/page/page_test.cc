#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/clock/page/clock_master.h"
#include "common/clock/page/page_clock.h"
#include "common/executor/executor.h"
#include "common/executor/real_executor.h"
#include "common/status/matchers.h"
#include "common/sync/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::clock::page {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// Strings in the order in which several threads added them.
class Record {
 public:
  void Add(std::string text) {
    sync::MutexLock lock(&mutex_);
    entries_.push_back(std::move(text));
    changed_.SignalAll();
  }
  std::vector<std::string> entries() {
    sync::MutexLock lock(&mutex_);
    return entries_;
  }
  void WaitFor(size_t count) {
    sync::MutexLock lock(&mutex_);
    while (entries_.size() < count) changed_.Wait(&mutex_);
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::vector<std::string> entries_ ABSL_GUARDED_BY(mutex_);
};

// A page, with clocks that each map it for themselves, as processes do.
class PageTest : public ::testing::Test {
 protected:
  std::string path() const { return ::testing::TempDir() + "/clock"; }

  void MakeMaster() {
    ClockMaster::Options options;
    options.slots = 8;
    options.streams = 4;
    options.links = 4;
    options.start = kStart;
    auto master = ClockMaster::Create(path(), options);
    ASSERT_THAT(master, IsOk());
    master_ = *std::move(master);
  }

  std::unique_ptr<PageClock> Join(const std::string& name) {
    const auto slot = master_->AllocateSlot(name);
    EXPECT_THAT(slot, IsOk());
    auto clock = PageClock::Open(master_->FlagOf(*slot));
    EXPECT_THAT(clock, IsOk());
    return *std::move(clock);
  }

  // What `wait` says with a guard that is meant to end.
  template <typename F>
  absl::Status Blocked(F wait) {
    master_->SetQuietGuard(absl::Milliseconds(30));
    const absl::Status status = wait();
    master_->SetQuietGuard(absl::Seconds(30));
    return status;
  }
  absl::Status BlockedWait() {
    return Blocked([this] { return master_->WaitQuiet(); });
  }
  absl::Status BlockedAdvance(absl::Duration duration) {
    return Blocked([=] { return master_->AdvanceBy(duration); });
  }

  std::string At(Clock* clock) { return absl::FormatDuration(clock->Now() - kStart); }

  Record record_;
  std::unique_ptr<ClockMaster> master_;
};

TEST_F(PageTest, TimeStandsStillUntilItIsAdvanced) {
  MakeMaster();
  auto clock = Join("host/esx-1");
  EXPECT_EQ(clock->Now(), kStart);
  EXPECT_THAT(master_->AdvanceBy(absl::Hours(1)), IsOk());
  EXPECT_EQ(clock->Now(), kStart + absl::Hours(1));
  EXPECT_EQ(master_->Now(), kStart + absl::Hours(1));
}

TEST_F(PageTest, TimersOfAllProcessesRunInTheOrderOfTime) {
  MakeMaster();
  auto a = Join("a");
  auto b = Join("b");
  a->RunAfter(absl::Seconds(3), [&] { record_.Add("a " + At(a.get())); });
  b->RunAfter(absl::Seconds(2), [&] {
    record_.Add("b " + At(b.get()));
    // Work that goes over to the other process at the same instant.
    a->RunAt(a->Now(), [&] { record_.Add("a from b " + At(a.get())); });
  });
  b->RunAfter(absl::Seconds(6), [&] { record_.Add("too late"); });

  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(5)), IsOk());

  EXPECT_THAT(record_.entries(), ElementsAre("b 2s", "a from b 2s", "a 3s"));
}

TEST_F(PageTest, TheWorkOfATimerEndsBeforeTimeGoesOn) {
  // Given a process whose every timer leads to a chain of tasks on two threads.
  MakeMaster();
  auto clock = Join("controller/vc-1");
  {
    executor::RealExecutor executor(clock.get());
    executor::Strand strand(&executor);
    struct Loop {
      void Tick() {
        clock->RunAfter(absl::Minutes(5), [this] { Post(20); });
      }
      void Post(int left) {
        strand->Post([this, left] {
          if (left > 0) return Post(left - 1);
          record->Add(absl::FormatDuration(clock->Now() - kStart));
          Tick();
        });
      }
      Clock* clock;
      executor::Strand* strand;
      Record* record;
    } loop{clock.get(), &strand, &record_};
    loop.Tick();

    ASSERT_THAT(master_->AdvanceBy(absl::Minutes(21)), IsOk());

    EXPECT_THAT(record_.entries(), ElementsAre("5m", "10m", "15m", "20m"));
    clock->StopTimers();
  }
}

TEST_F(PageTest, TimeWaitsForABusyTokenAndTheGuardNamesIt) {
  MakeMaster();
  auto clock = Join("host/esx-1");
  Clock::BusyToken token = clock->Busy("unary call");
  clock->RunAfter(absl::Seconds(1), [&] { record_.Add("ran"); });

  const absl::Status status = BlockedAdvance(absl::Seconds(2));

  EXPECT_THAT(status, HasReason(v1::REASON_NOT_QUIESCENT));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"host/esx-1\" is busy (unary call x1)"));
  EXPECT_EQ(status::DetailOf(status).object(), "process/host/esx-1");
  EXPECT_EQ(clock->Now(), kStart);
  EXPECT_THAT(record_.entries(), ElementsAre());

  token.Release();
  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(2)), IsOk());
  EXPECT_THAT(record_.entries(), ElementsAre("ran"));
}

TEST_F(PageTest, TheTokensThatAreHeldAreNamedNotTheLastOne) {
  MakeMaster();
  auto clock = Join("a");
  const Clock::BusyToken first = clock->Busy("first");
  const Clock::BusyToken again = clock->Busy("first");
  { const Clock::BusyToken second = clock->Busy("second"); }
  EXPECT_THAT(std::string(BlockedWait().message()), HasSubstr("(first x2)"));
}

TEST_F(PageTest, TimeWaitsForAProcessThatStarts) {
  MakeMaster();
  const int slot = *master_->AllocateSlot("host/esx-1");
  master_->HoldForStart(slot);
  const absl::Status status = BlockedAdvance(absl::Seconds(1));
  EXPECT_THAT(status, HasReason(v1::REASON_NOT_QUIESCENT));
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not READY"));
  master_->EndStart(slot);
  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(1)), IsOk());
}

TEST_F(PageTest, APausedProcessIsPassedOverAndCatchesUp) {
  MakeMaster();
  auto clock = Join("host/esx-1");
  Clock::BusyToken token = clock->Busy("hang");
  // Its own thread would run the timer although the process is "paused": the token's owner sets it.
  master_->SetStopped(clock->slot(), true);

  ASSERT_THAT(master_->AdvanceBy(absl::Seconds(10)), IsOk());
  clock->RunAt(kStart + absl::Seconds(5), [&] { record_.Add("ran at " + At(clock.get())); });
  token.Release();
  master_->SetStopped(clock->slot(), false);
  ASSERT_THAT(master_->WaitQuiet(), IsOk());

  EXPECT_THAT(record_.entries(), ElementsAre("ran at 10s"));
}

TEST_F(PageTest, ADeadProcessIsForgottenOnceItsSlotIsCleared) {
  MakeMaster();
  auto clock = Join("host/esx-1");
  Clock::BusyToken token = clock->Busy("died in the middle");
  clock->RunAfter(absl::Seconds(1), [] {});
  EXPECT_THAT(BlockedAdvance(absl::Seconds(2)), HasReason(v1::REASON_NOT_QUIESCENT));

  master_->ClearSlot(clock->slot());

  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(2)), IsOk());
  // Its next start finds the slot as new.
  const std::string flag = master_->FlagOf(clock->slot());
  auto next = PageClock::Open(flag);
  ASSERT_THAT(next, IsOk());
  EXPECT_THAT(master_->WaitQuiet(), IsOk());
}

TEST_F(PageTest, ACancelledTimerDoesNotHoldTime) {
  MakeMaster();
  auto clock = Join("a");
  const auto id = clock->RunAfter(absl::Seconds(1), [&] { record_.Add("ran"); });
  EXPECT_TRUE(clock->Cancel(id));
  EXPECT_FALSE(clock->Cancel(id));
  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(2)), IsOk());
  EXPECT_THAT(record_.entries(), ElementsAre());
}

TEST_F(PageTest, TimeWaitsWhileAMessageIsInFlight) {
  MakeMaster();
  auto controller = Join("controller/vc-1");
  auto host = Join("host/esx-1");
  const uint64_t stream = controller->OpenStream();
  ASSERT_NE(stream, 0u);

  host->StreamSent(stream);
  const absl::Status status = BlockedAdvance(absl::Seconds(1));
  EXPECT_THAT(status, HasReason(v1::REASON_NOT_QUIESCENT));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"controller/vc-1\" has a stream with unhandled messages from "
                        "\"host/esx-1\""));
  controller->StreamHandled(stream);
  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(1)), IsOk());

  // A message that was lost with its stream is not waited for, nor one that comes late.
  host->StreamSent(stream);
  controller->CloseStream(stream);
  EXPECT_THAT(master_->WaitQuiet(), IsOk());
  const uint64_t next = controller->OpenStream();
  host->StreamSent(stream);
  EXPECT_THAT(master_->WaitQuiet(), IsOk());

  // The stream of a dead process goes with it; that to a paused one is not waited for.
  host->StreamSent(next);
  master_->SetStopped(controller->slot(), true);
  EXPECT_THAT(master_->WaitQuiet(), IsOk());
  master_->SetStopped(controller->slot(), false);
  EXPECT_THAT(BlockedWait(), HasReason(v1::REASON_NOT_QUIESCENT));
  master_->ClearSlot(controller->slot());
  EXPECT_THAT(master_->WaitQuiet(), IsOk());
}

TEST_F(PageTest, StreamsAreBoundedAndReused) {
  MakeMaster();
  auto clock = Join("a");
  std::vector<uint64_t> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(clock->OpenStream());
  EXPECT_EQ(clock->OpenStream(), 0u);
  clock->StreamSent(0);  // counts nothing
  EXPECT_THAT(master_->WaitQuiet(), IsOk());
  clock->CloseStream(streams[2]);
  EXPECT_NE(clock->OpenStream(), 0u);
}

TEST_F(PageTest, ASkewedProcessHasTimersInItsOwnTime) {
  MakeMaster();
  auto clock = Join("a");
  ASSERT_THAT(master_->SetSkew(clock->slot(), absl::Minutes(10)), IsOk());
  EXPECT_EQ(clock->Now(), kStart + absl::Minutes(10));
  clock->RunAt(kStart + absl::Minutes(12),
               [&] { record_.Add(absl::FormatDuration(master_->Now() - kStart)); });
  ASSERT_THAT(master_->AdvanceBy(absl::Minutes(3)), IsOk());
  EXPECT_THAT(record_.entries(), ElementsAre("2m"));
  // A clock that jumps makes timers due at once.
  clock->RunAt(kStart + absl::Hours(24), [&] { record_.Add("jumped"); });
  ASSERT_THAT(master_->SetSkew(clock->slot(), absl::Hours(24)), IsOk());
  ASSERT_THAT(master_->WaitQuiet(), IsOk());
  EXPECT_THAT(record_.entries(), ElementsAre("2m", "jumped"));
  EXPECT_THAT(master_->SetSkew(0, absl::InfiniteDuration()),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(PageTest, AtARateTimeFollowsRealTime) {
  MakeMaster();
  auto clock = Join("a");
  clock->RunAfter(absl::Minutes(1), [&] { record_.Add(At(clock.get())); });
  ASSERT_THAT(master_->SetRate(3600), IsOk());
  record_.WaitFor(1);
  ASSERT_THAT(master_->SetRate(0), IsOk());
  EXPECT_THAT(record_.entries(), ElementsAre("1m"));  // exactly: time stops at each timer
  EXPECT_THAT(master_->SetRate(-1), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(PageTest, WhatIsNoPageOrNoSlotIsRefused) {
  MakeMaster();
  auto clock = Join("a");
  EXPECT_THAT(PageClock::Open("nonsense"), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(PageClock::Open(path() + ":8"), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(PageClock::Open(path() + ":-1"), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(PageClock::Open(path() + "-none:0"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(PageClock::Open(master_->FlagOf(clock->slot())), HasReason(v1::REASON_INVALID_STATE));
  const std::string other = ::testing::TempDir() + "/other";
  std::ofstream(other) << std::string(8192, 'x');
  EXPECT_THAT(PageClock::Open(other + ":0"), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(PageTest, SlotsHaveNamesAndAnEnd) {
  MakeMaster();
  for (int i = 0; i < 8; ++i) {
    EXPECT_THAT(master_->AllocateSlot("host/" + std::to_string(i)), IsOk());
  }
  EXPECT_THAT(master_->AllocateSlot("host/8"), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(master_->AllocateSlot("host/3"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(master_->AllocateSlot(""), HasReason(v1::REASON_INVALID_NAME));
  master_->ReleaseSlot(3);
  EXPECT_THAT(master_->AllocateSlot("host/8"), status::IsOkAndHolds(3));
}

TEST_F(PageTest, TimeDoesNotGoBack) {
  MakeMaster();
  EXPECT_THAT(master_->AdvanceBy(-absl::Seconds(1)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(master_->AdvanceBy(absl::InfiniteDuration()), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(master_->AdvanceTo(kStart - absl::Hours(1)), IsOk());
  EXPECT_EQ(master_->Now(), kStart);
}

}  // namespace
}  // namespace keysphere::clock::page
