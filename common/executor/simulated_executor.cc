#include "common/executor/simulated_executor.h"

#include <algorithm>
#include <utility>

#include "common/status/status.h"

namespace keysphere::executor {

SimulatedExecutor::SimulatedExecutor(uint64_t seed, absl::Time start, int max_tasks_per_instant)
    : max_tasks_per_instant_(max_tasks_per_instant), random_(seed), now_(start) {}

SimulatedExecutor::~SimulatedExecutor() {
  // A dropped task may own objects whose destructors post again.
  while (true) {
    std::vector<Task> dropped;
    clock::TimerQueue timers;
    {
      sync::MutexLock lock(&mutex_);
      dropped.swap(ready_);
      std::swap(timers, timers_);
    }
    if (dropped.empty() && timers.empty()) break;
  }
}

void SimulatedExecutor::Post(Task task) {
  sync::MutexLock lock(&mutex_);
  ready_.push_back(std::move(task));
}

absl::Time SimulatedExecutor::Now() {
  sync::MutexLock lock(&mutex_);
  return now_;
}

clock::Clock::TimerId SimulatedExecutor::RunAt(absl::Time when,
                                               absl::AnyInvocable<void()> callback) {
  sync::MutexLock lock(&mutex_);
  return timers_.Add(when, std::move(callback));
}

bool SimulatedExecutor::Cancel(TimerId id) {
  clock::TimerQueue::Callback dropped;  // destroyed after the lock
  sync::MutexLock lock(&mutex_);
  return timers_.Remove(id, &dropped);
}

absl::Time SimulatedExecutor::next_deadline() {
  sync::MutexLock lock(&mutex_);
  return timers_.next_deadline();
}

bool SimulatedExecutor::Step() {
  Task task;
  {
    sync::MutexLock lock(&mutex_);
    const bool timer_due = timers_.HasDue(now_);
    const size_t choices = ready_.size() + (timer_due ? 1 : 0);
    if (choices == 0) return false;
    if (++tasks_at_instant_ > max_tasks_per_instant_) {
      status::CheckFailed(__FILE__, __LINE__, "a task or timer posts itself for ever");
    }
    const size_t choice = random_.Below(choices);
    if (choice == ready_.size()) {
      task = timers_.PopFirst();
    } else {
      std::swap(ready_[choice], ready_.back());
      task = std::move(ready_.back());
      ready_.pop_back();
    }
  }
  task();
  return true;
}

bool SimulatedExecutor::MoveToNextDeadline(absl::Time target) {
  sync::MutexLock lock(&mutex_);
  const absl::Time next = timers_.next_deadline();
  if (timers_.empty() || next > target) return false;
  if (next > now_) {
    now_ = next;
    tasks_at_instant_ = 0;
  }
  return true;
}

void SimulatedExecutor::RunUntilIdle() {
  while (Step()) {
  }
}

void SimulatedExecutor::AdvanceTo(absl::Time target) {
  RunUntil([] { return false; }, target - Now());
}

void SimulatedExecutor::AdvanceBy(absl::Duration duration) { AdvanceTo(Now() + duration); }

bool SimulatedExecutor::RunUntil(absl::FunctionRef<bool()> done, absl::Duration limit) {
  const absl::Time target = Now() + limit;
  do {
    do {
      if (done()) return true;
    } while (Step());
  } while (MoveToNextDeadline(target));
  sync::MutexLock lock(&mutex_);
  if (target > now_) {
    now_ = target;
    tasks_at_instant_ = 0;
  }
  return false;
}

}  // namespace keysphere::executor
