// Whether commits wait for each other, told by a clock that only the test moves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/store/sqlite_store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {
namespace {

// Whatever is timed takes as long as the test says; timers run when the test says.
class TestWall : public clock::Clock {
 public:
  explicit TestWall(absl::Duration step) : step_(step) {}

  absl::Time Now() override {
    sync::MutexLock lock(&mutex_);
    now_ += step_;
    return now_;
  }
  TimerId RunAt(absl::Time /*when*/, absl::AnyInvocable<void()> callback) override {
    sync::MutexLock lock(&mutex_);
    timer_ = std::move(callback);
    changed_.SignalAll();
    return ++set_;
  }
  bool Cancel(TimerId /*id*/) override {
    sync::MutexLock lock(&mutex_);
    return std::exchange(timer_, nullptr) != nullptr;
  }

  // Waits until somebody waits.
  void WaitForTimer() {
    sync::MutexLock lock(&mutex_);
    while (timer_ == nullptr) changed_.Wait(&mutex_);
  }
  void Fire() {
    absl::AnyInvocable<void()> timer;
    {
      sync::MutexLock lock(&mutex_);
      timer = std::exchange(timer_, nullptr);
    }
    timer();
  }
  TimerId timers_set() {
    sync::MutexLock lock(&mutex_);
    return set_;
  }

 private:
  const absl::Duration step_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void()> timer_ ABSL_GUARDED_BY(mutex_);
  TimerId set_ ABSL_GUARDED_BY(mutex_) = 0;
};

class GroupCommitTest : public ::testing::Test {
 protected:
  GroupCommitTest() {
    folder_ = ::testing::TempDir() + "/groupXXXXXX";
    KS_CHECK(mkdtemp(&folder_[0]) != nullptr);
  }
  ~GroupCommitTest() override {
    store_.reset();
    EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0);
  }

  // With commits that take so long.
  void Open(absl::Duration commit) {
    wall_ = std::make_unique<TestWall>(commit);
    SqliteStore::Options options;
    options.wall = wall_.get();
    store_ = SqliteStore::Open(&files_, folder_ + "/db", options).value();
  }

  void Commit() {
    sync::MutexLock lock(&mutex_);
    const std::string key = absl::StrCat("key-", ++begun_);
    store_->Commit(Transaction().Put(key, "value"), [this](absl::StatusOr<Revision> revision) {
      KS_CHECK(revision.ok());
      sync::MutexLock answered(&mutex_);
      ++answered_;
      changed_.SignalAll();
    });
  }
  // Two that are one batch: they come while the writer is busy with another one's answer.
  void CommitTwoTogether() {
    store_->Commit(Transaction().Put("first", "value"), [this](absl::StatusOr<Revision>) {
      Commit();
      Commit();
    });
    WaitForAnswers(2);
  }
  void WaitForAnswers(int count) {
    sync::MutexLock lock(&mutex_);
    while (answered_ < count) changed_.Wait(&mutex_);
  }
  int answered() {
    sync::MutexLock lock(&mutex_);
    return answered_;
  }

  const files::FileSystem files_;
  std::string folder_;
  std::unique_ptr<TestWall> wall_;
  std::unique_ptr<SqliteStore> store_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  int begun_ ABSL_GUARDED_BY(mutex_) = 0;
  int answered_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(GroupCommitTest, OneWaitsForThoseOfTheLastCommit) {
  // Given a slow commit of two
  Open(absl::Milliseconds(3));
  CommitTwoTogether();
  // When one of them comes again, then it waits
  Commit();
  wall_->WaitForTimer();
  EXPECT_EQ(answered(), 2);
  // until the other one does
  Commit();
  WaitForAnswers(4);
  EXPECT_EQ(wall_->timers_set(), 1);
}

TEST_F(GroupCommitTest, NotForLong) {
  Open(absl::Milliseconds(3));
  CommitTwoTogether();
  Commit();
  wall_->WaitForTimer();
  wall_->Fire();
  WaitForAnswers(3);
  // The other one is gone: the next commit waits for nobody
  Commit();
  WaitForAnswers(4);
  EXPECT_EQ(wall_->timers_set(), 1);
}

TEST_F(GroupCommitTest, WhereCommitsAreFastNobodyWaits) {
  Open(absl::Microseconds(100));
  CommitTwoTogether();
  Commit();
  WaitForAnswers(3);
  EXPECT_EQ(wall_->timers_set(), 0);
}

TEST_F(GroupCommitTest, TheEndOfTheStoreEndsTheWait) {
  Open(absl::Milliseconds(3));
  CommitTwoTogether();
  Commit();
  wall_->WaitForTimer();
  store_.reset();
  EXPECT_EQ(answered(), 3);
}

}  // namespace
}  // namespace keysphere::store
