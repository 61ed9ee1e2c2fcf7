#include "common/clock/system_clock.h"

#include <utility>

#include "absl/time/clock.h"

namespace keysphere::clock {

SystemClock::~SystemClock() { StopTimers(); }

void SystemClock::StopTimers() {
  TimerQueue dropped;  // destroyed after the lock
  std::thread thread;
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
    std::swap(dropped, timers_);
    thread.swap(thread_);
  }
  Wake();
  if (thread.joinable()) thread.join();
}

absl::Time SystemClock::Now() { return absl::Now(); }

Clock::TimerId SystemClock::RunAt(absl::Time when, absl::AnyInvocable<void()> callback) {
  TimerId id = kNoTimer;
  bool first = false;
  {
    sync::MutexLock lock(&mutex_);
    if (stopping_) return kNoTimer;
    id = timers_.Add(when, std::move(callback));
    first = when < sleeps_until_;
    // One wake is enough.
    if (first) sleeps_until_ = absl::InfinitePast();
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  if (first) Wake();
  return id;
}

bool SystemClock::Cancel(TimerId id) {
  TimerQueue::Callback dropped;  // destroyed after the lock
  sync::MutexLock lock(&mutex_);
  return timers_.Remove(id, &dropped);
}

void SystemClock::Wake() {
  changes_.fetch_add(1);
  FutexWakeAll(&changes_);
}

void SystemClock::Work() {
  while (true) {
    const uint32_t seen = changes_.load();
    TimerQueue::Callback due;
    absl::Time next;
    {
      sync::MutexLock lock(&mutex_);
      if (stopping_) return;
      if (timers_.HasDue(absl::Now())) due = timers_.PopFirst();
      next = timers_.next_deadline();
      sleeps_until_ = due ? absl::InfinitePast() : next;
    }
    if (due) {
      due();
    } else {
      FutexWait(&changes_, seen, next);
    }
  }
}

}  // namespace keysphere::clock
