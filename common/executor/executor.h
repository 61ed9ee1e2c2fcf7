#ifndef KEYSPHERE_COMMON_EXECUTOR_EXECUTOR_H_
#define KEYSPHERE_COMMON_EXECUTOR_EXECUTOR_H_

#include <deque>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "common/sync/mutex.h"

namespace keysphere::executor {

// A piece of work. Runs once.
using Task = absl::AnyInvocable<void()>;

// Runs tasks, some time after Post, never inside it. Thread safe.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(Task task) = 0;
  // For a quick task, one that waits for nothing: it may run in the calling thread, inside this
  // call, but never inside another task. The caller holds no lock.
  virtual void Dispatch(Task task) { Post(std::move(task)); }
};

// Runs the tasks of one object one after another, in the order of Post, on an Executor. What only a
// strand's tasks touch needs no mutex. Thread safe. May be destroyed while tasks are queued: they
// still run, so a task that needs an object holds it.
class Strand {
 public:
  explicit Strand(Executor* executor);
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  void Post(Task task);
  // The same for a quick task, as Executor::Dispatch. It waits for those before it.
  void Dispatch(Task task);
  // Whether the calling code runs in one of this strand's tasks.
  bool IsCurrent() const;

 private:
  struct Queue;
  std::shared_ptr<Queue> queue_;
};

}  // namespace keysphere::executor

#endif  // KEYSPHERE_COMMON_EXECUTOR_EXECUTOR_H_
