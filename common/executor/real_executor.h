#ifndef KEYSPHERE_COMMON_EXECUTOR_REAL_EXECUTOR_H_
#define KEYSPHERE_COMMON_EXECUTOR_REAL_EXECUTOR_H_

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/sync/mutex.h"

namespace keysphere::executor {

// The executor of a daemon: a few threads over one queue, each started when it is first needed.
// Each queued or running task holds a busy token of the clock, so that simulated time waits for it.
class RealExecutor : public Executor {
 public:
  static constexpr int kDefaultThreads = 2;
  // Tasks that still run after destruction began; the rest is dropped unrun. It bounds a drain in
  // which tasks post tasks for ever.
  static constexpr int kMaxDrainedTasks = 100'000;

  // `clock` outlives the executor.
  explicit RealExecutor(clock::Clock* clock, int threads = kDefaultThreads);
  // Runs what is queued and what those tasks post, then joins. Not called in one of its tasks.
  ~RealExecutor() override;
  RealExecutor(const RealExecutor&) = delete;
  RealExecutor& operator=(const RealExecutor&) = delete;

  void Post(Task task) override;
  // Runs the task here and now, or after the one that this thread runs. Its own threads queue it.
  void Dispatch(Task task) override;

 private:
  struct Item {
    clock::Clock::BusyToken token;  // first: it goes after the task and what that owns
    Task task;
  };

  void Work();
  // Waits for a task. False: the executor is drained.
  bool Next(Item* item);

  clock::Clock* const clock_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // threads without a task
  // One of them was woken and has not taken a task yet. It wakes the next one if more are queued: a
  // thread that is woken for each task mostly finds that another was quicker.
  bool waking_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int drained_ ABSL_GUARDED_BY(mutex_) = 0;
  const size_t max_threads_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::executor

#endif  // KEYSPHERE_COMMON_EXECUTOR_REAL_EXECUTOR_H_
