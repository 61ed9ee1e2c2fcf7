#ifndef KEYSPHERE_CONTROLLER_TASKS_TASKS_H_
#define KEYSPHERE_CONTROLLER_TASKS_TASKS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/write_behind.h"
#include "controller/tasks/records.pb.h"
#include "keysphere/v1/tasks.pb.h"

namespace keysphere::controller::tasks {

// Long work and how it goes. Ended tasks stay 24 h, at most 10,000. Lives on the controller's
// strand. That a task ended is told when it is durable; progress is not kept.
//
// Who begins a task may give it a note: what is to be found again where the outcome of the work is
// not known, as an answer was lost or the controller ended. It is kept with the task, durable with
// the same writes, until the task has ended with a known outcome, the note is dropped, or the task
// is forgotten.
class Tasks {
 public:
  static constexpr size_t kMaxEnded = 10'000;
  static constexpr size_t kMaxRunning = 10'000;
  static constexpr absl::Duration kRetention = absl::Hours(24);

  // Tasks that ran when the controller ended are FAILED with CONTROLLER_UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<Tasks>> Load(store::Store* store, executor::Strand* strand,
                                                     clock::Clock* clock, random::Random* random);
  ~Tasks();

  // A new running task, told to the caller when it is durable. OVERLOADED while kMaxRunning run.
  void Begin(const access::Caller& caller, absl::string_view operation, absl::string_view object,
             std::string note, status::Callback<v1::Task> done);
  // Another note for a running task; nobody waits until it is durable.
  void SetNote(absl::string_view id, std::string note);
  // 0-100; never goes back.
  void Progress(absl::string_view id, int percent);
  // OK: SUCCEEDED. Watchers end.
  void End(absl::string_view id, const absl::Status& status);
  // Ends it as failed, though the work may be done: its note stays.
  void EndUnknown(absl::string_view id, const absl::Status& status);
  // The tasks that have ended and still have a note, as they began.
  std::vector<v1::Task> Unknown() const;
  // Of an ended task; empty: none, or no such task.
  std::string NoteOf(absl::string_view id) const;
  void DropNote(absl::string_view id);
  bool CancelRequested(absl::string_view id) const;

  void GetTask(const access::Caller& caller, const v1::GetTaskRequest& request,
               status::Callback<v1::Task> done);
  void ListTasks(const access::Caller& caller, const v1::ListTasksRequest& request,
                 status::Callback<v1::ListTasksResponse> done);
  // No error for a task that has ended.
  void CancelTask(const access::Caller& caller, const v1::CancelTaskRequest& request,
                  status::Callback<v1::Task> done);

  // Calls `sink` with the task at once and at each change; `last` with its end. NOT_FOUND.
  using WatchId = uint64_t;
  using Sink = std::function<void(const v1::Task& task, bool last)>;
  absl::StatusOr<WatchId> Watch(absl::string_view id, Sink sink);
  void CancelWatch(WatchId id);

 private:
  struct Entry {
    int64_t sequence = 0;  // greater than those of all tasks that began before
    v1::Task task;
    std::string note;
    bool ending = false;  // its end is being made durable
    v1::Task end;         // while it is ending
    bool cancel_requested = false;
    std::map<WatchId, Sink> watchers;
  };
  using Order = std::pair<absl::Time, std::string>;  // end time, id

  Tasks(store::Store* store, executor::Strand* strand, clock::Clock* clock, random::Random* random);

  std::shared_ptr<Entry> Find(absl::string_view id) const;
  void Insert(int64_t sequence, TaskRecord record);
  void Save(int64_t sequence, const v1::Task& task, const std::string& note);
  void EndWith(absl::string_view id, const absl::Status& status, bool keep_note);
  static void Tell(const std::shared_ptr<Entry>& entry, bool last);
  void Ended(const std::string& id);
  // Forgets ended tasks: those past their time, and the oldest of too many.
  void Forget();
  void Erase(const std::string& id);

  store::Store* const store_;
  executor::Strand* const strand_;
  clock::Clock* const clock_;
  random::Random* const random_;
  changes::WriteBehind writes_;
  std::map<std::string, std::shared_ptr<Entry>, std::less<>> tasks_;
  int64_t next_sequence_ = 1;
  std::map<int64_t, std::string> by_start_;  // ids, by their tasks' sequence
  std::set<Order> ended_;
  size_t beginning_ = 0;
  clock::Clock::TimerId timer_ = clock::Clock::kNoTimer;
  std::map<WatchId, std::string> watched_;
  WatchId next_watch_ = 1;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace keysphere::controller::tasks

#endif  // KEYSPHERE_CONTROLLER_TASKS_TASKS_H_
