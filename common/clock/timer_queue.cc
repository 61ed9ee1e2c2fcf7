#include "common/clock/timer_queue.h"

namespace keysphere::clock {

Clock::TimerId TimerQueue::Add(absl::Time when, Callback callback) {
  const Clock::TimerId id = ++last_id_;
  timers_.emplace(Key(when, id), std::move(callback));
  times_.emplace(id, when);
  return id;
}

bool TimerQueue::Remove(Clock::TimerId id, Callback* callback) {
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  const auto timer = timers_.find(Key(time->second, id));
  *callback = std::move(timer->second);
  timers_.erase(timer);
  times_.erase(time);
  return true;
}

absl::Time TimerQueue::next_deadline() const {
  return timers_.empty() ? absl::InfiniteFuture() : timers_.begin()->first.first;
}

TimerQueue::Callback TimerQueue::PopFirst() {
  const auto first = timers_.begin();
  Callback callback = std::move(first->second);
  times_.erase(first->first.second);
  timers_.erase(first);
  return callback;
}

}  // namespace keysphere::clock
