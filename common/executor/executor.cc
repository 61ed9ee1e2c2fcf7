#include "common/executor/executor.h"

#include <thread>
#include <utility>

namespace keysphere::executor {

// One executor task a strand task: strands that share an executor take turns, and a simulated
// executor may order them as its seed says.
struct Strand::Queue : std::enable_shared_from_this<Strand::Queue> {
  explicit Queue(Executor* e) : executor(e) {}

  void RunOne() {
    {
      Task task;
      {
        sync::MutexLock lock(&mutex);
        task = std::move(tasks.front());
        tasks.pop_front();
        runner = std::this_thread::get_id();
      }
      task();
      // What the task owns is destroyed here, still inside the strand.
    }
    sync::MutexLock lock(&mutex);
    runner = std::thread::id();
    scheduled = !tasks.empty();
    if (scheduled) Schedule();
  }

  void Schedule() {
    executor->Post([self = shared_from_this()] { self->RunOne(); });
  }

  Executor* const executor;
  sync::Mutex mutex;
  std::deque<Task> tasks ABSL_GUARDED_BY(mutex);
  bool scheduled ABSL_GUARDED_BY(mutex) = false;  // RunOne is posted or running
  std::thread::id runner ABSL_GUARDED_BY(mutex);  // of the running task
};

Strand::Strand(Executor* executor) : queue_(std::make_shared<Queue>(executor)) {}

void Strand::Post(Task task) {
  sync::MutexLock lock(&queue_->mutex);
  queue_->tasks.push_back(std::move(task));
  if (queue_->scheduled) return;
  queue_->scheduled = true;
  queue_->Schedule();
}

bool Strand::IsCurrent() const {
  sync::MutexLock lock(&queue_->mutex);
  return queue_->runner == std::this_thread::get_id();
}

}  // namespace keysphere::executor
