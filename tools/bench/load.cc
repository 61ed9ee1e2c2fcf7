#include "tools/bench/load.h"

#include <utility>

#include "absl/base/thread_annotations.h"

namespace keysphere::bench {
namespace {

// One run; lives until its last call has ended.
class Load {
 public:
  Load(clock::Clock* clock, absl::Time end, const StartCall& start)
      : clock_(clock), end_(end), start_(start) {}

  LoadResult Run(int concurrency) {
    const absl::Time begin = clock_->Now();
    {
      sync::MutexLock lock(&mutex_);
      running_ = concurrency;
    }
    for (int slot = 0; slot < concurrency; ++slot) Next(slot);
    sync::MutexLock lock(&mutex_);
    while (running_ > 0) changed_.Wait(&mutex_);
    result_.elapsed = clock_->Now() - begin;
    return result_;
  }

 private:
  void Next(int slot) {
    start_(slot, [this, slot](const grpc::Status& status) { Ended(slot, status); });
  }

  void Ended(int slot, const grpc::Status& status) {
    const bool over = clock_->Now() >= end_;
    {
      sync::MutexLock lock(&mutex_);
      ++result_.calls;
      if (!status.ok() && result_.failed++ == 0) result_.failure = status;
      if (over) {
        if (--running_ == 0) changed_.Signal();
        return;
      }
    }
    Next(slot);
  }

  clock::Clock* const clock_;
  const absl::Time end_;
  const StartCall& start_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  LoadResult result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

LoadResult RunLoad(clock::Clock* clock, int concurrency, absl::Duration duration,
                   const StartCall& start) {
  return Load(clock, clock->Now() + duration, start).Run(concurrency);
}

LoadResult RunBurst(clock::Clock* clock, int calls, const StartCall& start) {
  return Load(clock, absl::InfinitePast(), start).Run(calls);
}

}  // namespace keysphere::bench
