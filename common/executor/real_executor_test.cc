#include "common/executor/real_executor.h"

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "common/clock/system_clock.h"
#include "common/executor/executor.h"
#include "gtest/gtest.h"

namespace keysphere::executor {
namespace {

// Counts the busy tokens that live.
class CountingClock : public clock::Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch(); }
  TimerId RunAt(absl::Time, absl::AnyInvocable<void()>) override { return kNoTimer; }
  bool Cancel(TimerId) override { return false; }
  int busy() const { return busy_.load(); }

 protected:
  void BeginBusy(const char*) override { ++busy_; }
  void EndBusy(const char*) override { --busy_; }

 private:
  std::atomic<int> busy_{0};
};

TEST(RealExecutorTest, AStrandRunsItsTasksInOrderAndOneAtATime) {
  // Given strands that share two threads; what a strand's tasks touch has no mutex.
  constexpr int kStrands = 4;
  constexpr int kTasks = 500;
  CountingClock clock;
  std::vector<std::vector<int>> seen(kStrands);
  {
    RealExecutor executor(&clock);
    for (int s = 0; s < kStrands; ++s) {
      Strand strand(&executor);  // destroyed while its tasks are queued
      for (int i = 0; i < kTasks; ++i) {
        strand.Post([&seen, s, i] { seen[s].push_back(i); });
      }
    }
    // When the executor is destroyed, it drains.
  }
  for (const std::vector<int>& order : seen) {
    ASSERT_EQ(order.size(), kTasks);
    for (int i = 0; i < kTasks; ++i) EXPECT_EQ(order[i], i);
  }
  EXPECT_EQ(clock.busy(), 0);
}

TEST(RealExecutorTest, TasksThatTasksPostRunBeforeTheEnd) {
  CountingClock clock;
  std::atomic<int> left{50};
  {
    RealExecutor executor(&clock);
    auto strand = std::make_shared<Strand>(&executor);
    auto step = std::make_shared<std::function<void()>>();
    *step = [&left, strand, weak = std::weak_ptr<std::function<void()>>(step)] {
      if (--left == 0) return;
      strand->Post([step = weak.lock()] { (*step)(); });
    };
    strand->Post([step] { (*step)(); });
  }
  EXPECT_EQ(left.load(), 0);
}

TEST(RealExecutorTest, TasksThatPostForEverDoNotKeepItAlive) {
  struct Forever {
    static void Post(Executor* executor) {
      executor->Post([executor] { Post(executor); });
    }
  };
  CountingClock clock;
  {
    RealExecutor executor(&clock);
    Forever::Post(&executor);
  }
  EXPECT_EQ(clock.busy(), 0);
}

TEST(RealExecutorTest, AQueuedTaskHoldsABusyToken) {
  CountingClock clock;
  sync::Mutex mutex;
  sync::CondVar changed;
  bool go = false;
  int busy_inside = 0;
  {
    RealExecutor executor(&clock, 1);
    mutex.Lock();
    executor.Post([&] {
      sync::MutexLock lock(&mutex);
      while (!go) changed.Wait(&mutex);
      busy_inside = clock.busy();
    });
    executor.Post([] {});
    EXPECT_EQ(clock.busy(), 2);
    go = true;
    changed.SignalAll();
    mutex.Unlock();
  }
  EXPECT_EQ(busy_inside, 2);
  EXPECT_EQ(clock.busy(), 0);
}

TEST(RealExecutorTest, AStrandKnowsWhetherItRuns) {
  CountingClock clock;
  bool inside = false;
  bool other_inside = true;
  {
    RealExecutor executor(&clock);
    Strand strand(&executor);
    Strand other(&executor);
    EXPECT_FALSE(strand.IsCurrent());
    sync::Mutex mutex;
    sync::CondVar changed;
    bool done = false;
    strand.Post([&] {
      inside = strand.IsCurrent();
      other_inside = other.IsCurrent();
      sync::MutexLock lock(&mutex);
      done = true;
      changed.SignalAll();
    });
    sync::MutexLock lock(&mutex);
    while (!done) changed.Wait(&mutex);
  }
  EXPECT_TRUE(inside);
  EXPECT_FALSE(other_inside);
}

}  // namespace
}  // namespace keysphere::executor
