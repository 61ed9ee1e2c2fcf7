#ifndef KEYSPHERE_COMMON_RPC_TESTING_MANUAL_CLOCK_H_
#define KEYSPHERE_COMMON_RPC_TESTING_MANUAL_CLOCK_H_

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/clock/clock.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc::testing {

// Virtual time that a test moves. Timers that are due run on the thread of Advance, and those set
// for now or the past on that of the next Advance. Counts busy tokens.
class ManualClock : public clock::Clock {
 public:
  explicit ManualClock(absl::Time start) : now_(start) {}

  absl::Time Now() override {
    sync::MutexLock lock(&mutex_);
    return now_;
  }

  TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) override {
    sync::MutexLock lock(&mutex_);
    timers_.emplace(std::make_pair(when, ++last_), std::move(callback));
    changed_.SignalAll();
    return last_;
  }

  bool Cancel(TimerId id) override {
    sync::MutexLock lock(&mutex_);
    for (auto timer = timers_.begin(); timer != timers_.end(); ++timer) {
      if (timer->first.second != id) continue;
      timers_.erase(timer);
      return true;
    }
    return false;
  }

  void Advance(absl::Duration by) {
    std::vector<absl::AnyInvocable<void()>> due;
    {
      sync::MutexLock lock(&mutex_);
      now_ += by;
      while (!timers_.empty() && timers_.begin()->first.first <= now_) {
        due.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
    }
    for (auto& callback : due) callback();
  }

  int timers() {
    sync::MutexLock lock(&mutex_);
    return static_cast<int>(timers_.size());
  }
  // Waits until there is a timer, due or not.
  void WaitForTimer() {
    sync::MutexLock lock(&mutex_);
    while (timers_.empty()) changed_.Wait(&mutex_);
  }
  int busy() {
    sync::MutexLock lock(&mutex_);
    return busy_;
  }
  // Waits until no token lives.
  void WaitUntilQuiet() {
    sync::MutexLock lock(&mutex_);
    while (busy_ > 0) changed_.Wait(&mutex_);
  }
  // Waits until a timer is due: something happened on another thread.
  void WaitUntilDue() {
    sync::MutexLock lock(&mutex_);
    while (timers_.empty() || timers_.begin()->first.first > now_) changed_.Wait(&mutex_);
  }

 protected:
  void BeginBusy(const char* /*what*/) override {
    sync::MutexLock lock(&mutex_);
    ++busy_;
  }
  void EndBusy(const char* /*what*/) override {
    sync::MutexLock lock(&mutex_);
    --busy_;
    changed_.SignalAll();
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  TimerId last_ ABSL_GUARDED_BY(mutex_) = 0;
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::pair<absl::Time, TimerId>, absl::AnyInvocable<void()>> timers_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::rpc::testing

#endif  // KEYSPHERE_COMMON_RPC_TESTING_MANUAL_CLOCK_H_
