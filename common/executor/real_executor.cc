#include "common/executor/real_executor.h"

#include <utility>

namespace keysphere::executor {
namespace {

// The executor whose thread this is.
thread_local const RealExecutor* current_executor = nullptr;

// What a thread that is no executor's runs in the outermost Dispatch.
struct Dispatched {
  const RealExecutor* executor;
  std::deque<Task> tasks;
};
thread_local Dispatched* dispatched = nullptr;

// So many tasks run in one Dispatch; the rest is left to the executor's threads.
constexpr int kMaxDispatched = 16;

}  // namespace

RealExecutor::RealExecutor(clock::Clock* clock, int threads)
    : clock_(clock), max_threads_(threads) {}

RealExecutor::~RealExecutor() {
  std::vector<std::thread> threads;
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  changed_.SignalAll();
  for (std::thread& thread : threads) thread.join();
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
  bool wake = false;
  {
    sync::MutexLock lock(&mutex_);
    queue_.push_back(std::move(item));
    // What a task posts is mostly its last act: this thread takes the one that waits when the task
    // has ended, which costs less than waking another for it.
    const bool follows = current_executor == this && queue_.size() == 1;
    wake = waiting_ > 0 && !waking_ && !follows;
    waking_ = waking_ || wake;
    // A process at rest has few threads: one starts when there is work that none is free for.
    const bool short_of_threads = waiting_ == 0 && !follows && !stopping_;
    if (short_of_threads && threads_.size() < max_threads_) {
      threads_.emplace_back([this] { Work(); });
    }
  }
  if (wake) changed_.Signal();
}

void RealExecutor::Dispatch(Task task) {
  if (current_executor != nullptr) return Post(std::move(task));
  if (dispatched != nullptr) {
    if (dispatched->executor != this) return Post(std::move(task));
    dispatched->tasks.push_back(std::move(task));
    return;
  }
  const clock::Clock::BusyToken token = clock_->Busy("executor task");
  Dispatched mine{this, {}};
  dispatched = &mine;
  mine.tasks.push_back(std::move(task));
  for (int ran = 0; ran < kMaxDispatched && !mine.tasks.empty(); ++ran) {
    Task next = std::move(mine.tasks.front());
    mine.tasks.pop_front();
    next();
  }
  dispatched = nullptr;
  for (Task& left : mine.tasks) Post(std::move(left));
}

bool RealExecutor::Next(Item* item) {
  bool wake_another = false;
  {
    sync::MutexLock lock(&mutex_);
    while (queue_.empty() || (stopping_ && drained_ >= kMaxDrainedTasks)) {
      // A running task may still post: only when none runs is the drain done.
      if (stopping_ && (running_ == 0 || drained_ >= kMaxDrainedTasks)) return false;
      ++waiting_;
      changed_.Wait(&mutex_);
      --waiting_;
      waking_ = false;  // or nobody was woken: then one more is, at worst
    }
    *item = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    if (stopping_) ++drained_;
    wake_another = waiting_ > 0 && !waking_ && !queue_.empty();
    waking_ = waking_ || wake_another;
  }
  if (wake_another) changed_.Signal();
  return true;
}

void RealExecutor::Work() {
  current_executor = this;
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
