#include "common/store/memory_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/status/matchers.h"

namespace keysphere::store {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;

class ManualExecutor : public executor::Executor {
 public:
  void Post(executor::Task task) override { tasks.push_back(std::move(task)); }
  void RunBackwards() {
    std::reverse(tasks.begin(), tasks.end());
    for (executor::Task& task : tasks) task();
    tasks.clear();
  }
  std::vector<executor::Task> tasks;
};

TEST(MemoryStoreTest, NothingHappensInsideCommit) {
  ManualExecutor executor;
  MemoryStore store(&executor);
  bool answered = false;
  store.Commit(Transaction().Put("a", "1"), [&](absl::StatusOr<Revision>) { answered = true; });
  EXPECT_FALSE(answered);
  EXPECT_FALSE(store.Get("a").value().has_value());
  executor.RunBackwards();
  EXPECT_TRUE(answered);
  EXPECT_TRUE(store.Get("a").value().has_value());
}

TEST(MemoryStoreTest, CommitsKeepTheirOrderWhateverTheExecutorDoes) {
  ManualExecutor executor;
  MemoryStore store(&executor);
  std::vector<Revision> revisions;
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    store.Commit(Transaction().Put("a", std::to_string(i)),
                 [&, i](absl::StatusOr<Revision> revision) {
                   order.push_back(i);
                   revisions.push_back(revision.value());
                 });
  }
  executor.RunBackwards();
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
  EXPECT_THAT(revisions, ElementsAre(1, 2, 3));
  EXPECT_EQ(store.Get("a").value()->value, "2");
}

TEST(MemoryStoreTest, ToldFailuresChangeNothing) {
  ManualExecutor executor;
  MemoryStore store(&executor);
  store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"), 2);
  std::vector<absl::Status> answers;
  for (int i = 0; i < 3; ++i) {
    store.Commit(Transaction().Put(std::to_string(i), "x"),
                 [&](absl::StatusOr<Revision> revision) { answers.push_back(revision.status()); });
  }
  executor.RunBackwards();
  EXPECT_THAT(answers, ElementsAre(HasReason(v1::REASON_STORAGE_FULL),
                                   HasReason(v1::REASON_STORAGE_FULL), IsOk()));
  EXPECT_FALSE(store.Get("0").value().has_value());
  EXPECT_TRUE(store.Get("2").value().has_value());
  EXPECT_EQ(store.LastRevision().value(), 1);
}

TEST(MemoryStoreTest, WaitingCommitsOutliveTheStore) {
  ManualExecutor executor;
  bool answered = false;
  {
    MemoryStore store(&executor);
    store.Commit(Transaction().Put("a", "1"),
                 [&](absl::StatusOr<Revision> revision) { answered = revision.ok(); });
  }
  executor.RunBackwards();
  EXPECT_TRUE(answered);
}

}  // namespace
}  // namespace keysphere::store
