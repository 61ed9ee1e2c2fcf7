#include "common/executor/executor.h"

#include <thread>
#include <utility>

namespace keysphere::executor {

// One executor task a strand task: strands that share an executor take turns, and a simulated
// executor may order them as its seed says.
struct Strand::Queue : std::enable_shared_from_this<Strand::Queue> {
  explicit Queue(Executor* e) : executor(e) {}

  struct Item {
    Task task;
    bool quick;
  };

  void Add(Task task, bool quick) {
    {
      sync::MutexLock lock(&mutex);
      tasks.push_back({std::move(task), quick});
      if (scheduled) return;
      scheduled = true;
    }
    Schedule(quick);
  }

  void RunOne() {
    {
      Task task;
      {
        sync::MutexLock lock(&mutex);
        task = std::move(tasks.front().task);
        tasks.pop_front();
        runner = std::this_thread::get_id();
      }
      task();
      // What the task owns is destroyed here, still inside the strand.
    }
    bool next_is_quick = false;
    {
      sync::MutexLock lock(&mutex);
      runner = std::thread::id();
      scheduled = !tasks.empty();
      if (!scheduled) return;
      next_is_quick = tasks.front().quick;
    }
    Schedule(next_is_quick);
  }

  void Schedule(bool quick) {
    Task turn = [self = shared_from_this()] { self->RunOne(); };
    if (quick) {
      executor->Dispatch(std::move(turn));
    } else {
      executor->Post(std::move(turn));
    }
  }

  Executor* const executor;
  sync::Mutex mutex;
  std::deque<Item> tasks ABSL_GUARDED_BY(mutex);
  bool scheduled ABSL_GUARDED_BY(mutex) = false;  // RunOne is posted or running
  std::thread::id runner ABSL_GUARDED_BY(mutex);  // of the running task
};

Strand::Strand(Executor* executor) : queue_(std::make_shared<Queue>(executor)) {}

void Strand::Post(Task task) { queue_->Add(std::move(task), /*quick=*/false); }

void Strand::Dispatch(Task task) { queue_->Add(std::move(task), /*quick=*/true); }

bool Strand::IsCurrent() const {
  sync::MutexLock lock(&queue_->mutex);
  return queue_->runner == std::this_thread::get_id();
}

}  // namespace keysphere::executor
