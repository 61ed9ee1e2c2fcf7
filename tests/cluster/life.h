#ifndef KEYSPHERE_TESTS_CLUSTER_LIFE_H_
#define KEYSPHERE_TESTS_CLUSTER_LIFE_H_

#include <memory>
#include <utility>
#include <vector>

#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/store/store.h"

// What a process that is killed no longer does: its tasks and timers do not run, what it commits is
// not written, and answers to it reach nobody.
namespace keysphere::tests {

// One run of a simulated process, from its start to its end.
class Life {
 public:
  Life() : alive_(std::make_shared<bool>(true)) {}
  bool alive() const { return *alive_; }
  void End() { *alive_ = false; }

  // `task`, dropped unrun once the life has ended.
  executor::Task Guard(executor::Task task) const {
    return [alive = alive_, task = std::move(task)]() mutable {
      if (*alive) task();
    };
  }

 private:
  std::shared_ptr<bool> alive_;
};

class LivingExecutor : public executor::Executor {
 public:
  LivingExecutor(executor::Executor* executor, const Life& life)
      : executor_(executor), life_(life) {}
  void Post(executor::Task task) override { executor_->Post(life_.Guard(std::move(task))); }

 private:
  executor::Executor* const executor_;
  const Life life_;
};

class LivingClock : public clock::Clock {
 public:
  LivingClock(clock::Clock* clock, const Life& life) : clock_(clock), life_(life) {}
  absl::Time Now() override { return clock_->Now(); }
  TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) override {
    return clock_->RunAt(when, life_.Guard(std::move(callback)));
  }
  bool Cancel(TimerId id) override { return clock_->Cancel(id); }

 private:
  clock::Clock* const clock_;
  const Life life_;
};

// The durable store as one process sees it.
class LivingStore : public store::Store {
 public:
  LivingStore(store::Store* store, const Life& life) : store_(store), life_(life) {}
  void Commit(store::Transaction transaction, CommitCallback done) override {
    if (!life_.alive()) return;
    store_->Commit(std::move(transaction), [life = life_, done = std::move(done)](
                                               absl::StatusOr<store::Revision> revision) mutable {
      if (life.alive()) done(revision);
    });
  }
  absl::StatusOr<absl::optional<store::Entry>> Get(absl::string_view key) override {
    return store_->Get(key);
  }
  absl::StatusOr<crypto::SecretKey> GetSecret(absl::string_view key) override {
    return store_->GetSecret(key);
  }
  absl::StatusOr<std::vector<store::Entry>> Range(absl::string_view prefix, absl::string_view after,
                                                  size_t limit) override {
    return store_->Range(prefix, after, limit);
  }
  absl::StatusOr<store::Revision> LastRevision() override { return store_->LastRevision(); }

 private:
  store::Store* const store_;
  const Life life_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_LIFE_H_
