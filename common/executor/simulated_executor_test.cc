#include "common/executor/simulated_executor.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/executor/executor.h"
#include "gtest/gtest.h"

namespace keysphere::executor {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// Two strands of five tasks each, in the order in which they ran: "A0 B0 A1 …".
std::string Interleaving(uint64_t seed) {
  SimulatedExecutor sim(seed, kStart);
  Strand a(&sim);
  Strand b(&sim);
  std::string order;
  for (int i = 0; i < 5; ++i) {
    a.Post([&order, i] { order += "A" + std::to_string(i) + " "; });
    b.Post([&order, i] { order += "B" + std::to_string(i) + " "; });
  }
  EXPECT_EQ(order, "");  // never inside Post
  sim.RunUntilIdle();
  return order;
}

std::string Only(const std::string& order, char strand) {
  std::string result;
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    if (order[i] == strand) result += order[i + 1];
  }
  return result;
}

TEST(SimulatedExecutorTest, TheSeedChoosesTheOrderAndStrandsKeepTheirs) {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string order = Interleaving(seed);
    EXPECT_EQ(Interleaving(seed), order);
    EXPECT_EQ(Only(order, 'A'), "01234");
    EXPECT_EQ(Only(order, 'B'), "01234");
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 20u);
}

TEST(SimulatedExecutorTest, TimersRunAtTheirTimes) {
  SimulatedExecutor sim(1, kStart);
  std::vector<absl::Duration> seen;
  const auto record = [&] { seen.push_back(sim.Now() - kStart); };
  sim.RunAfter(absl::Seconds(20), record);
  sim.RunAfter(absl::Seconds(10), [&] {
    record();
    sim.RunAfter(absl::Seconds(5), record);
  });
  sim.RunAfter(absl::Seconds(31), record);

  sim.AdvanceBy(absl::Seconds(30));

  EXPECT_EQ(seen,
            (std::vector<absl::Duration>{absl::Seconds(10), absl::Seconds(15), absl::Seconds(20)}));
  EXPECT_EQ(sim.Now(), kStart + absl::Seconds(30));
  EXPECT_EQ(sim.next_deadline(), kStart + absl::Seconds(31));
}

TEST(SimulatedExecutorTest, TimeStandsStillWhileTasksAreReady) {
  SimulatedExecutor sim(1, kStart);
  sim.RunAfter(absl::Seconds(1), [] {});
  int steps = 0;
  Strand strand(&sim);
  struct Chain {
    static void Post(SimulatedExecutor* sim, Strand* strand, int* steps) {
      strand->Post([=] {
        EXPECT_EQ(sim->Now(), kStart);
        if (++*steps < 100) Post(sim, strand, steps);
      });
    }
  };
  Chain::Post(&sim, &strand, &steps);
  sim.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(steps, 100);
}

TEST(SimulatedExecutorTest, RunUntilIdleDoesNotMoveTime) {
  SimulatedExecutor sim(1, kStart);
  int runs = 0;
  sim.RunAt(kStart, [&] { ++runs; });
  sim.RunAt(kStart - absl::Hours(1), [&] { ++runs; });
  sim.RunAfter(absl::Nanoseconds(1), [&] { ++runs; });
  sim.RunUntilIdle();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(sim.Now(), kStart);
}

TEST(SimulatedExecutorTest, RunUntilStopsAtThePredicateOrTheLimit) {
  SimulatedExecutor sim(1, kStart);
  bool done = false;
  sim.RunAfter(absl::Minutes(5), [&] { sim.Post([&] { done = true; }); });

  EXPECT_FALSE(sim.RunUntil([&] { return done; }, absl::Minutes(4)));
  EXPECT_EQ(sim.Now(), kStart + absl::Minutes(4));
  EXPECT_TRUE(sim.RunUntil([&] { return done; }, absl::Minutes(4)));
  EXPECT_EQ(sim.Now(), kStart + absl::Minutes(5));
}

TEST(SimulatedExecutorTest, ACancelledTimerDoesNotRun) {
  SimulatedExecutor sim(1, kStart);
  const auto id = sim.RunAfter(absl::Seconds(1), [] { FAIL(); });
  EXPECT_TRUE(sim.Cancel(id));
  EXPECT_FALSE(sim.Cancel(id));
  sim.AdvanceBy(absl::Seconds(2));
}

TEST(SimulatedExecutorTest, WhatNeverRanIsDropped) {
  auto alive = std::make_shared<int>(0);
  {
    SimulatedExecutor sim(1, kStart);
    Strand strand(&sim);
    strand.Post([alive] {});
    sim.RunAfter(absl::Hours(1), [alive] {});
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(SimulatedExecutorDeathTest, AnEndlessLoopIsNamed) {
  struct Forever {
    static void Post(Executor* executor) {
      executor->Post([executor] { Post(executor); });
    }
  };
  SimulatedExecutor sim(1, kStart, 1000);
  Forever::Post(&sim);
  EXPECT_DEATH(sim.RunUntilIdle(), "posts itself for ever");
}

}  // namespace
}  // namespace keysphere::executor
