#include "controller/schedule/periodic.h"

#include <vector>

#include "common/executor/simulated_executor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::schedule {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PeriodicTest : public ::testing::Test {
 protected:
  void Start() {
    strand_.Post([this] { periodic_.Start(); });
    sim_.RunUntilIdle();
  }
  void SetInterval(int minutes) {
    interval_ = absl::Minutes(minutes);
    strand_.Post([this] { periodic_.Retime(); });
    sim_.RunUntilIdle();
  }

  const absl::Time begin_ = absl::FromUnixSeconds(1'700'000'000);
  executor::SimulatedExecutor sim_{1, begin_};
  executor::Strand strand_{&sim_};
  absl::Duration interval_ = absl::Minutes(5);
  std::vector<int64_t> runs_;  // minutes from the start
  Periodic periodic_{&strand_, &sim_, [this] { return interval_; },
                     [this] { runs_.push_back(absl::ToInt64Minutes(sim_.Now() - begin_)); }};
};

TEST_F(PeriodicTest, S70_TheFirstRunIsOneIntervalAfterTheStart) {
  sim_.AdvanceBy(absl::Minutes(10));
  EXPECT_THAT(runs_, IsEmpty());
  Start();
  EXPECT_EQ(periodic_.next(), sim_.Now() + interval_);
  sim_.AdvanceBy(absl::Minutes(11));
  EXPECT_THAT(runs_, ElementsAre(15, 20));
}

TEST_F(PeriodicTest, S70_AnotherIntervalCountsFromTheLastRun) {
  Start();
  sim_.AdvanceBy(absl::Minutes(7));
  SetInterval(10);
  sim_.AdvanceBy(absl::Minutes(10));
  EXPECT_THAT(runs_, ElementsAre(5, 15));
  // 17: one of every minute would have been due at 16.
  SetInterval(1);
  sim_.AdvanceBy(absl::Minutes(1));
  EXPECT_THAT(runs_, ElementsAre(5, 15, 17, 18));
}

TEST_F(PeriodicTest, NothingRunsAfterAStop) {
  Start();
  strand_.Post([this] { periodic_.Stop(); });
  sim_.AdvanceBy(absl::Minutes(20));
  SetInterval(1);
  sim_.AdvanceBy(absl::Minutes(20));
  EXPECT_THAT(runs_, IsEmpty());
}

}  // namespace
}  // namespace keysphere::controller::schedule
