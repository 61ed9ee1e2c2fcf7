#ifndef KEYSPHERE_CONTROLLER_TASKS_TASKS_H_
#define KEYSPHERE_CONTROLLER_TASKS_TASKS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "keysphere/v1/tasks.pb.h"

namespace keysphere::controller::tasks {

// Long work and how it goes. Ended tasks stay 24 h, at most 10,000. Lives on the controller's
// strand.
class Tasks {
 public:
  // Tasks that ran when the controller ended are FAILED with CONTROLLER_UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<Tasks>> Load(store::Store* store, executor::Strand* strand,
                                                     clock::Clock* clock, random::Random* random);

  // A new running task, told to the caller when it is durable.
  void Begin(const access::Caller& caller, absl::string_view operation, absl::string_view object,
             status::Callback<v1::Task> done);
  void Progress(absl::string_view id, int percent);
  // OK: SUCCEEDED. Watchers end.
  void End(absl::string_view id, const absl::Status& status);
  bool CancelRequested(absl::string_view id) const;

  void GetTask(const access::Caller& caller, const v1::GetTaskRequest& request,
               status::Callback<v1::Task> done);
  void ListTasks(const access::Caller& caller, const v1::ListTasksRequest& request,
                 status::Callback<v1::ListTasksResponse> done);
  void CancelTask(const access::Caller& caller, const v1::CancelTaskRequest& request,
                  status::Callback<v1::Task> done);

  // Calls `sink` with the task at once and at each change; `last` with its end. NOT_FOUND.
  using WatchId = uint64_t;
  using Sink = std::function<void(const v1::Task& task, bool last)>;
  absl::StatusOr<WatchId> Watch(absl::string_view id, Sink sink);
  void CancelWatch(WatchId id);

 private:
  Tasks(store::Store* store, executor::Strand* strand, clock::Clock* clock, random::Random* random)
      : store_(store), strand_(strand), clock_(clock), random_(random) {}

  store::Store* const store_;
  executor::Strand* const strand_;
  clock::Clock* const clock_;
  random::Random* const random_;
  struct Entry;
  std::map<std::string, std::shared_ptr<Entry>> tasks_;
  WatchId next_watch_ = 1;
};

}  // namespace keysphere::controller::tasks

#endif  // KEYSPHERE_CONTROLLER_TASKS_TASKS_H_
