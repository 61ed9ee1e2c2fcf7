#include "common/executor/real_executor.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
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

TEST(RealExecutorTest, DispatchedTasksRunInTheCallingThread) {
  // Given two strands, of which one hands a quick task to the other and gets one back.
  CountingClock clock;
  RealExecutor executor(&clock);
  Strand host(&executor);
  Strand vm(&executor);
  std::vector<std::string> ran;
  const std::thread::id caller = std::this_thread::get_id();
  // When the calling thread, which is none of the executor's, dispatches.
  host.Dispatch([&] {
    EXPECT_TRUE(host.IsCurrent());
    vm.Dispatch([&] {
      EXPECT_TRUE(vm.IsCurrent());
      EXPECT_FALSE(host.IsCurrent());  // never inside another task
      host.Dispatch([&] { ran.push_back(std::this_thread::get_id() == caller ? "end" : "away"); });
      ran.push_back("vm");
    });
    ran.push_back("host");
    EXPECT_EQ(clock.busy(), 1);
  });
  // Then all of it is done when the call returns.
  EXPECT_EQ(ran, std::vector<std::string>({"host", "vm", "end"}));
  EXPECT_EQ(clock.busy(), 0);
}

TEST(RealExecutorTest, DispatchedTasksKeepTheOrderOfTheirStrand) {
  constexpr int kTasks = 2000;
  CountingClock clock;
  std::vector<int> seen;
  std::vector<int> wanted;
  {
    RealExecutor executor(&clock);
    Strand strand(&executor);
    for (int i = 0; i < kTasks; ++i) {
      wanted.push_back(i);
      if (i % 3 == 0) {
        strand.Post([&seen, i] { seen.push_back(i); });
      } else {
        strand.Dispatch([&seen, i] { seen.push_back(i); });
      }
    }
  }
  EXPECT_EQ(seen, wanted);
}

TEST(RealExecutorTest, DispatchedTasksThatGoOnForEverDoNotKeepTheirThread) {
  CountingClock clock;
  std::atomic<int> runs{0};
  std::atomic<bool> enough{false};
  {
    RealExecutor executor(&clock);
    Strand strand(&executor);
    std::function<void()> again = [&] {
      ++runs;
      if (!enough) strand.Dispatch(again);
    };
    strand.Dispatch(again);
    // It returned: what is left is for the executor's threads.
    enough = true;
  }
  EXPECT_GE(runs.load(), 2);
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
