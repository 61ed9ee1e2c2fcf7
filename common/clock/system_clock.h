#ifndef KEYSPHERE_COMMON_CLOCK_SYSTEM_CLOCK_H_
#define KEYSPHERE_COMMON_CLOCK_SYSTEM_CLOCK_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "common/clock/clock.h"
#include "common/clock/futex.h"
#include "common/clock/timer_queue.h"
#include "common/sync/mutex.h"

namespace keysphere::clock {

// The machine's wall time. One thread calls the timers; a callback must not destroy the clock.
class SystemClock : public Clock {
 public:
  SystemClock() = default;
  ~SystemClock() override;
  SystemClock(const SystemClock&) = delete;
  SystemClock& operator=(const SystemClock&) = delete;

  absl::Time Now() override;
  TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) override;
  bool Cancel(TimerId id) override;

  // Pending timers, and those set later, are dropped unrun; none runs any more. To be called before
  // what timers use is destroyed; the destructor calls it too.
  void StopTimers();

 private:
  void Work();
  void Wake();

  sync::Mutex mutex_;
  TimerQueue timers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Until when the thread sleeps, at most; in the past while it is awake and will look by itself.
  absl::Time sleeps_until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  FutexWord changes_{0};                        // rises when the thread has to look again
  std::thread thread_ ABSL_GUARDED_BY(mutex_);  // from the first timer on
};

}  // namespace keysphere::clock

#endif  // KEYSPHERE_COMMON_CLOCK_SYSTEM_CLOCK_H_
