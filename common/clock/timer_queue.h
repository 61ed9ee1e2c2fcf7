#ifndef KEYSPHERE_COMMON_CLOCK_TIMER_QUEUE_H_
#define KEYSPHERE_COMMON_CLOCK_TIMER_QUEUE_H_

#include <map>
#include <unordered_map>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"

namespace keysphere::clock {

// The timers that a Clock has to call: by time, and by the order of Add at the same time. Not
// thread safe: its owner guards it.
class TimerQueue {
 public:
  using Callback = absl::AnyInvocable<void()>;

  Clock::TimerId Add(absl::Time when, Callback callback);
  // Moves the callback of a pending timer into `callback`, to be destroyed outside locks. False: no
  // such timer.
  bool Remove(Clock::TimerId id, Callback* callback);
  // The time of the first timer; InfiniteFuture when there is none.
  absl::Time next_deadline() const;
  bool HasDue(absl::Time now) const { return !timers_.empty() && next_deadline() <= now; }
  // The callback of the first timer. There must be one.
  Callback PopFirst();
  bool empty() const { return timers_.empty(); }
  size_t size() const { return timers_.size(); }

 private:
  using Key = std::pair<absl::Time, Clock::TimerId>;
  std::map<Key, Callback> timers_;
  std::unordered_map<Clock::TimerId, absl::Time> times_;
  Clock::TimerId last_id_ = Clock::kNoTimer;
};

}  // namespace keysphere::clock

#endif  // KEYSPHERE_COMMON_CLOCK_TIMER_QUEUE_H_
