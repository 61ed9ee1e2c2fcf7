#include "controller/changes/changes.h"

#include <string>
#include <vector>

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/changes/write_behind.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::changes {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Domain;
using ::testing::ElementsAre;

Change Put(const std::string& key, const std::string& value,
           absl::AnyInvocable<void(store::Revision)> apply) {
  Change change;
  change.transaction.Put(key, value);
  change.apply = std::move(apply);
  return change;
}

TEST(ChangesTest, EachIsCheckedAgainstTheOutcomeOfTheOneBefore) {
  Domain domain;
  Changes changes(&domain.store, &domain.strand);
  std::vector<std::string> log;
  int count = 0;
  for (int i = 0; i < 3; ++i) {
    changes.Run(
        [&, i]() -> absl::StatusOr<Change> {
          if (count == 2) return status::Error(v1::REASON_TOO_LARGE, "two are enough");
          return Put("n" + std::to_string(i), "x", [&](store::Revision) { ++count; });
        },
        [&](absl::StatusOr<store::Revision> result) {
          log.push_back(result.ok() ? "ok" : "refused");
        });
  }
  EXPECT_EQ(count, 0);  // memory waits for the commit
  domain.sim.RunUntilIdle();
  EXPECT_THAT(log, ElementsAre("ok", "ok", "refused"));
  EXPECT_EQ(domain.store.LastRevision().value(), 2);
}

TEST(ChangesTest, AFailedCommitChangesNothingInMemoryAndTheNextGoesOn) {
  Domain domain;
  Changes changes(&domain.store, &domain.strand);
  domain.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"));
  int applied = 0;
  absl::StatusOr<store::Revision> first = 0;
  absl::StatusOr<store::Revision> second = absl::UnknownError("");
  changes.Run([&]() { return Put("a", "1", [&](store::Revision) { ++applied; }); },
              [&](absl::StatusOr<store::Revision> result) { first = result; });
  changes.Run([&]() { return Put("a", "2", [&](store::Revision) { ++applied; }); },
              [&](absl::StatusOr<store::Revision> result) { second = result; });
  domain.sim.RunUntilIdle();
  EXPECT_THAT(first, HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_THAT(second, IsOk());
  EXPECT_EQ(applied, 1);
}

TEST(WriteBehindTest, BatchesAndKeepsTheLastValue) {
  Domain domain;
  WriteBehind writes(&domain.store, &domain.strand, &domain.sim);
  for (int i = 0; i < 200; ++i) writes.Put("k" + std::to_string(i % 100), std::to_string(i));
  writes.Delete("k7");
  bool durable = false;
  writes.WhenDurable([&] { durable = true; });
  EXPECT_FALSE(durable);
  domain.sim.RunUntilIdle();
  EXPECT_TRUE(durable);
  EXPECT_EQ(domain.store.Get("k42").value()->value, "142");
  EXPECT_FALSE(domain.store.Get("k7").value().has_value());
  EXPECT_LE(domain.store.LastRevision().value(), 4);
}

TEST(WriteBehindTest, AFailedCommitIsToldAndTriedAgain) {
  Domain domain;
  WriteBehind writes(&domain.store, &domain.strand, &domain.sim);
  domain.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"), 2);
  writes.Put("a", "1");
  absl::Status told;
  writes.Flushed([&](absl::Status status) { told = std::move(status); });
  bool durable = false;
  writes.WhenDurable([&] { durable = true; });
  domain.sim.RunUntilIdle();
  EXPECT_THAT(told, HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_FALSE(durable);
  domain.sim.AdvanceBy(absl::Seconds(3));
  EXPECT_TRUE(durable);
  EXPECT_EQ(domain.store.Get("a").value()->value, "1");
}

}  // namespace
}  // namespace keysphere::controller::changes
