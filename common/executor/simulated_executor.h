#ifndef KEYSPHERE_COMMON_EXECUTOR_SIMULATED_EXECUTOR_H_
#define KEYSPHERE_COMMON_EXECUTOR_SIMULATED_EXECUTOR_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/clock/timer_queue.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/sync/mutex.h"

namespace keysphere::executor {

// The executor and the clock of a simulation in one process. Tasks and timers run inside the Run
// and Advance functions, on the calling thread, and virtual time moves only there. Of the tasks
// that are ready the seed chooses the next (a Strand keeps its order); timers run in the order of
// their times. The same seed and the same calls give the same run.
//
// Post, RunAt and Cancel are thread safe, but only a run of one thread repeats.
class SimulatedExecutor : public Executor, public clock::Clock {
 public:
  // Tasks and timers at one instant. More of them abort: something posts itself for ever.
  static constexpr int kDefaultMaxTasksPerInstant = 1'000'000;

  SimulatedExecutor(uint64_t seed, absl::Time start,
                    int max_tasks_per_instant = kDefaultMaxTasksPerInstant);
  ~SimulatedExecutor() override;

  void Post(Task task) override;
  absl::Time Now() override;
  TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) override;
  bool Cancel(TimerId id) override;

  // Runs what is ready and due now, until nothing is. Time stands still.
  void RunUntilIdle();
  // Runs everything that is due until `target`, in the order of time, and ends there.
  void AdvanceTo(absl::Time target);
  void AdvanceBy(absl::Duration duration);
  // Runs until `done()` is true, which it asks before each task, for at most `limit` of virtual
  // time. False: the limit came first (time has then advanced by it).
  bool RunUntil(absl::FunctionRef<bool()> done, absl::Duration limit);

  // The time of the first timer; InfiniteFuture when there is none.
  absl::Time next_deadline();

 private:
  // Runs one ready task or due timer. False: there is none.
  bool Step();
  // Moves time to the first timer if that is not after `target`. False: it is.
  bool MoveToNextDeadline(absl::Time target);

  const int max_tasks_per_instant_;
  sync::Mutex mutex_;
  random::SeededRandom random_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  int tasks_at_instant_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Task> ready_ ABSL_GUARDED_BY(mutex_);
  clock::TimerQueue timers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::executor

#endif  // KEYSPHERE_COMMON_EXECUTOR_SIMULATED_EXECUTOR_H_
