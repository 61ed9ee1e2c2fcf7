#ifndef KEYSPHERE_KMIP_NET_LOOP_H_
#define KEYSPHERE_KMIP_NET_LOOP_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/files/file_system.h"
#include "common/sync/mutex.h"

namespace keysphere::kmip::net {

// One thread that waits for sockets (epoll) and runs short tasks. What only its handlers and tasks
// touch needs no mutex.
class Loop {
 public:
  using Task = absl::AnyInvocable<void()>;

  // Told when its file descriptor is ready.
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnReady(uint32_t events) = 0;  // EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
  };
  // Names a watched descriptor; an id is used once, so that no event reaches a later handler.
  using WatchId = uint64_t;

  static absl::StatusOr<std::unique_ptr<Loop>> Create();
  // Runs the tasks that wait, and those that they post, then joins. Not called on its thread.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs the task soon, never inside this call, in the order of Post. Thread safe.
  void Post(Task task);
  // Runs the task and returns when it has ended. Not called on the loop's thread. Thread safe.
  void RunAndWait(Task task);
  bool IsCurrent() const { return std::this_thread::get_id() == thread_.get_id(); }

  // On the loop's thread only. `handler` outlives the watch.
  WatchId Watch(int fd, uint32_t events, Handler* handler);
  void Change(WatchId id, int fd, uint32_t events);
  void Unwatch(WatchId id, int fd);

 private:
  Loop(files::Descriptor epoll, files::Descriptor wakeup);
  void Run();
  bool HasTasks();
  // False: nothing was there.
  bool RunTasks();

  const files::Descriptor epoll_;
  const files::Descriptor wakeup_;
  absl::flat_hash_map<WatchId, Handler*> handlers_;  // of the thread
  WatchId last_id_ = 0;

  sync::Mutex mutex_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_LOOP_H_
