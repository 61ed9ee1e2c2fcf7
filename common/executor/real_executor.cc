#include "common/executor/real_executor.h"

#include <utility>

namespace keysphere::executor {

RealExecutor::RealExecutor(clock::Clock* clock, int threads) : clock_(clock) {
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

RealExecutor::~RealExecutor() {
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.SignalAll();
  for (std::thread& thread : threads_) thread.join();
  // What the drain's limit left. A dropped task may own objects whose destructors post again.
  while (true) {
    std::deque<Item> dropped;
    {
      sync::MutexLock lock(&mutex_);
      dropped.swap(queue_);
    }
    if (dropped.empty()) break;
  }
}

void RealExecutor::Post(Task task) {
  Item item{clock_->Busy("executor task"), std::move(task)};
  {
    sync::MutexLock lock(&mutex_);
    queue_.push_back(std::move(item));
  }
  changed_.Signal();
}

bool RealExecutor::Next(Item* item) {
  sync::MutexLock lock(&mutex_);
  while (queue_.empty() || (stopping_ && drained_ >= kMaxDrainedTasks)) {
    // A running task may still post: only when none runs is the drain done.
    if (stopping_ && (running_ == 0 || drained_ >= kMaxDrainedTasks)) return false;
    changed_.Wait(&mutex_);
  }
  *item = std::move(queue_.front());
  queue_.pop_front();
  ++running_;
  if (stopping_) ++drained_;
  return true;
}

void RealExecutor::Work() {
  while (true) {
    Item item;
    if (!Next(&item)) return;
    item.task();
    item.task = nullptr;  // What it owns may post: before its token goes.
    item.token.Release();
    bool last = false;
    {
      sync::MutexLock lock(&mutex_);
      --running_;
      last = stopping_ && running_ == 0;
    }
    if (last) changed_.SignalAll();
  }
}

}  // namespace keysphere::executor
