#include "common/random/random.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::random {
namespace {

using ::testing::MatchesRegex;

TEST(RandomTest, TheSameSeedGivesTheSameSequenceEverywhere) {
  // The first values of SplitMix64 from the seed 1234567.
  SeededRandom random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
}

TEST(RandomTest, AUuidIsOfVersion4) {
  SeededRandom seeded(1);
  SystemRandom system;
  std::set<std::string> seen;
  for (int i = 0; i < 500; ++i) {
    for (const std::string& uuid : {seeded.Uuid(), system.Uuid()}) {
      EXPECT_THAT(uuid, MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                     "[0-9a-f]{12}"));
      seen.insert(uuid);
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(RandomTest, BoundsAreKept) {
  SeededRandom random(7);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(random.Below(5));
    const absl::Duration delay = random.Jitter(absl::Seconds(10), 0.2);
    EXPECT_GE(delay, absl::Seconds(8));
    EXPECT_LE(delay, absl::Seconds(12));
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(random.Between(absl::Seconds(1), absl::Seconds(1)), absl::Seconds(1));
}

TEST(RandomTest, PartsGetSeedsOfTheirOwn) {
  EXPECT_EQ(SeededRandom::DeriveSeed(1, "esx-1"), SeededRandom::DeriveSeed(1, "esx-1"));
  EXPECT_NE(SeededRandom::DeriveSeed(1, "esx-1"), SeededRandom::DeriveSeed(1, "esx-2"));
  EXPECT_NE(SeededRandom::DeriveSeed(1, "esx-1"), SeededRandom::DeriveSeed(2, "esx-1"));
}

}  // namespace
}  // namespace keysphere::random
