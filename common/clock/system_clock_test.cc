#include "common/clock/system_clock.h"

#include <memory>
#include <vector>

#include "common/clock/timer_queue.h"
#include "common/sync/mutex.h"
#include "gtest/gtest.h"

namespace keysphere::clock {
namespace {

TEST(TimerQueueTest, TimersComeByTimeAndThenByTheOrderOfAdd) {
  TimerQueue queue;
  const absl::Time t = absl::UnixEpoch();
  std::vector<int> order;
  queue.Add(t + absl::Seconds(2), [&] { order.push_back(3); });
  queue.Add(t + absl::Seconds(1), [&] { order.push_back(1); });
  queue.Add(t + absl::Seconds(1), [&] { order.push_back(2); });
  EXPECT_EQ(queue.next_deadline(), t + absl::Seconds(1));
  EXPECT_FALSE(queue.HasDue(t));
  EXPECT_TRUE(queue.HasDue(t + absl::Seconds(1)));

  while (!queue.empty()) queue.PopFirst()();

  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(queue.next_deadline(), absl::InfiniteFuture());
}

TEST(TimerQueueTest, ARemovedTimerIsGone) {
  TimerQueue queue;
  const Clock::TimerId id = queue.Add(absl::UnixEpoch(), [] {});
  TimerQueue::Callback callback;
  EXPECT_FALSE(queue.Remove(id + 1, &callback));
  EXPECT_TRUE(queue.Remove(id, &callback));
  EXPECT_FALSE(queue.Remove(id, &callback));
  EXPECT_FALSE(queue.HasDue(absl::InfiniteFuture()));
}

// Waits for the callbacks of timers.
class Recorder {
 public:
  void Add(int value) {
    sync::MutexLock lock(&mutex_);
    values_.push_back(value);
    changed_.SignalAll();
  }
  std::vector<int> WaitFor(size_t count) {
    sync::MutexLock lock(&mutex_);
    while (values_.size() < count) changed_.Wait(&mutex_);
    return values_;
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::vector<int> values_ ABSL_GUARDED_BY(mutex_);
};

TEST(SystemClockTest, TimersRunInTheOrderOfTheirTimes) {
  Recorder recorder;
  SystemClock clock;
  const absl::Time now = clock.Now();
  clock.RunAt(now + absl::Milliseconds(20), [&] { recorder.Add(2); });
  clock.RunAt(now + absl::Milliseconds(10), [&] { recorder.Add(1); });
  EXPECT_EQ(recorder.WaitFor(2), (std::vector<int>{1, 2}));
  EXPECT_GE(clock.Now(), now + absl::Milliseconds(20));
}

TEST(SystemClockTest, ATimerOfThePastRunsAtOnce) {
  Recorder recorder;
  SystemClock clock;
  clock.RunAt(absl::InfinitePast(), [&] { recorder.Add(1); });
  recorder.WaitFor(1);
}

TEST(SystemClockTest, ACancelledTimerDoesNotRun) {
  Recorder recorder;
  SystemClock clock;
  const absl::Time when = clock.Now() + absl::Milliseconds(20);
  const Clock::TimerId id = clock.RunAt(when, [&] { recorder.Add(1); });
  EXPECT_TRUE(clock.Cancel(id));
  EXPECT_FALSE(clock.Cancel(id));
  EXPECT_FALSE(clock.Cancel(Clock::kNoTimer));
  clock.RunAt(when, [&] { recorder.Add(2); });
  EXPECT_EQ(recorder.WaitFor(1), (std::vector<int>{2}));
}

TEST(SystemClockTest, ATimerMaySetAndCancelTimers) {
  Recorder recorder;
  SystemClock clock;
  const Clock::TimerId far = clock.RunAfter(absl::Hours(1), [&] { recorder.Add(9); });
  clock.RunAfter(absl::ZeroDuration(), [&] {
    recorder.Add(clock.Cancel(far) ? 1 : 0);
    clock.RunAfter(absl::Milliseconds(1), [&] { recorder.Add(2); });
  });
  EXPECT_EQ(recorder.WaitFor(2), (std::vector<int>{1, 2}));
}

TEST(SystemClockTest, PendingTimersAreDroppedWithTheClock) {
  auto alive = std::make_shared<int>(0);
  {
    SystemClock clock;
    clock.RunAt(absl::InfiniteFuture(), [alive] {});
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace keysphere::clock
