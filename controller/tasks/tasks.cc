#include "controller/tasks/tasks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/paging/paging.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::tasks {
namespace {

constexpr char kPrefix[] = "task/";

// "task/0000000000000000017/ID": ordered as the tasks began.
std::string StoreKey(int64_t sequence, absl::string_view id) {
  return absl::StrFormat("%s%019d/%s", kPrefix, sequence, id);
}

// The sequence number in such a key.
absl::StatusOr<int64_t> SequenceOf(absl::string_view key) {
  int64_t sequence = 0;
  const std::vector<absl::string_view> parts = absl::StrSplit(key, '/');
  if (parts.size() == 3 && absl::SimpleAtoi(parts[1], &sequence) && sequence > 0) return sequence;
  return status::Error(v1::REASON_STORE_CORRUPT,
                       absl::StrCat("the entry ", status::Quote(key), " is no task's"));
}

// As it is kept now, from what may be a bare task.
TaskRecord Current(TaskRecord record) {
  if (!record.has_task()) {
    v1::Task bare;
    if (bare.ParseFromString(record.SerializeAsString())) *record.mutable_task() = std::move(bare);
    record.DiscardUnknownFields();
  }
  return record;
}

TaskRecord RecordOf(const v1::Task& task, const std::string& note) {
  TaskRecord record;
  *record.mutable_task() = task;
  record.set_note(note);
  return record;
}

absl::Status NoTask(absl::string_view id) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no task ", status::Quote(id)))
      .Object("task", id)
      .NextStep("List the tasks; an ended one is kept for 24 hours.");
}

void SetEnd(v1::Task* task, const absl::Status& status, absl::Time now) {
  *task->mutable_end_time() = timestamps::ToProto(now);
  if (status.ok()) {
    task->set_state(v1::Task::STATE_SUCCEEDED);
    task->set_progress_percent(100);
    return;
  }
  task->set_state(v1::Task::STATE_FAILED);
  *task->mutable_error() = status::DetailOf(status);
  task->set_error_code(static_cast<int>(status.code()));
  task->set_error_message(std::string(status.message()));
}

}  // namespace

Tasks::Tasks(store::Store* store, executor::Strand* strand, clock::Clock* clock,
             random::Random* random)
    : store_(store),
      strand_(strand),
      clock_(clock),
      random_(random),
      writes_(store, strand, clock) {}

Tasks::~Tasks() {
  if (timer_ != clock::Clock::kNoTimer) clock_->Cancel(timer_);
}

absl::StatusOr<std::unique_ptr<Tasks>> Tasks::Load(store::Store* store, executor::Strand* strand,
                                                   clock::Clock* clock, random::Random* random) {
  auto tasks = std::unique_ptr<Tasks>(new Tasks(store, strand, clock, random));
  std::vector<std::pair<int64_t, TaskRecord>> loaded;
  KS_RETURN_IF_ERROR(
      (store::ForEachProto<TaskRecord>(store, kPrefix, [&](store::ProtoEntry<TaskRecord> entry) {
        KS_ASSIGN_OR_RETURN(const int64_t sequence, SequenceOf(entry.key));
        loaded.emplace_back(sequence, Current(std::move(entry.message)));
        return absl::OkStatus();
      })));
  for (auto& [sequence, record] : loaded) {
    v1::Task& task = *record.mutable_task();
    if (task.state() == v1::Task::STATE_RUNNING) {
      SetEnd(&task,
             status::Error(v1::REASON_CONTROLLER_UNAVAILABLE,
                           "the controller ended while the task ran")
                 .NextStep("Look at the object, and begin the operation again."),
             clock->Now());
      tasks->Save(sequence, task, record.note());
    }
    tasks->next_sequence_ = std::max(tasks->next_sequence_, sequence + 1);
    tasks->Insert(sequence, std::move(record));
  }
  tasks->Forget();
  return tasks;
}

void Tasks::Save(int64_t sequence, const v1::Task& task, const std::string& note) {
  writes_.Put(StoreKey(sequence, task.id()), RecordOf(task, note).SerializeAsString());
}

void Tasks::Insert(int64_t sequence, TaskRecord record) {
  v1::Task& task = *record.mutable_task();
  const std::string id = task.id();
  by_start_.emplace(sequence, id);
  if (task.state() != v1::Task::STATE_RUNNING) {
    ended_.emplace(timestamps::FromProto(task.end_time()), id);
  }
  auto entry = std::make_shared<Entry>();
  entry->sequence = sequence;
  entry->task = std::move(task);
  entry->note = std::move(*record.mutable_note());
  tasks_[id] = std::move(entry);
}

std::shared_ptr<Tasks::Entry> Tasks::Find(absl::string_view id) const {
  const auto it = tasks_.find(id);
  return it == tasks_.end() ? nullptr : it->second;
}

void Tasks::Begin(const access::Caller& caller, absl::string_view operation,
                  absl::string_view object, std::string note, status::Callback<v1::Task> done) {
  if (tasks_.size() - ended_.size() + beginning_ >= kMaxRunning) {
    return done(status::Error(v1::REASON_OVERLOADED,
                              absl::StrCat(kMaxRunning, " tasks are running already"))
                    .NextStep("Wait until some of them have ended."));
  }
  v1::Task task;
  task.set_id(random_->Uuid());
  task.set_operation(std::string(operation));
  task.set_object(std::string(object));
  task.set_state(v1::Task::STATE_RUNNING);
  *task.mutable_start_time() = timestamps::ToProto(clock_->Now());
  task.set_user(caller.user);
  const int64_t sequence = next_sequence_++;
  store::Transaction transaction;
  transaction.Compare(StoreKey(sequence, task.id()), 0);
  TaskRecord record = RecordOf(task, note);
  store::PutProto(&transaction, StoreKey(sequence, task.id()), record);
  ++beginning_;
  const auto committed = [this, sequence, alive = std::weak_ptr<bool>(alive_)](
                             TaskRecord record, status::Callback<v1::Task> done,
                             const absl::Status& status) {
    if (alive.expired()) return;
    --beginning_;
    if (!status.ok()) return done(status);
    v1::Task task = record.task();
    Insert(sequence, std::move(record));
    done(std::move(task));
  };
  store_->Commit(std::move(transaction),
                 [strand = strand_, committed, record,
                  done = std::move(done)](absl::StatusOr<store::Revision> result) mutable {
                   strand->Post([committed, record = std::move(record), done = std::move(done),
                                 status = result.status()]() mutable {
                     committed(std::move(record), std::move(done), status);
                   });
                 });
}

void Tasks::Progress(absl::string_view id, int percent) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr || entry->ending || entry->task.state() != v1::Task::STATE_RUNNING) return;
  percent = std::min(percent, 100);
  if (percent <= entry->task.progress_percent()) return;
  entry->task.set_progress_percent(percent);
  Tell(entry, false);
}

void Tasks::SetNote(absl::string_view id, std::string note) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr || entry->ending || entry->task.state() != v1::Task::STATE_RUNNING) return;
  entry->note = std::move(note);
  Save(entry->sequence, entry->task, entry->note);
}

std::vector<v1::Task> Tasks::Unknown() const {
  std::vector<v1::Task> unknown;
  for (const auto& [sequence, id] : by_start_) {
    const Entry& entry = *tasks_.at(id);
    if (entry.task.state() != v1::Task::STATE_RUNNING && !entry.note.empty()) {
      unknown.push_back(entry.task);
    }
  }
  return unknown;
}

std::string Tasks::NoteOf(absl::string_view id) const {
  const std::shared_ptr<Entry> entry = Find(id);
  return entry == nullptr ? "" : entry->note;
}

void Tasks::DropNote(absl::string_view id) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr || entry->note.empty()) return;
  entry->note.clear();
  // One that is ending is saved as what it ends as.
  Save(entry->sequence, entry->ending ? entry->end : entry->task, "");
}

void Tasks::End(absl::string_view id, const absl::Status& status) {
  EndWith(id, status, /*keep_note=*/false);
}

void Tasks::EndUnknown(absl::string_view id, const absl::Status& status) {
  EndWith(id, status, /*keep_note=*/true);
}

void Tasks::EndWith(absl::string_view id, const absl::Status& status, bool keep_note) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr || entry->ending || entry->task.state() != v1::Task::STATE_RUNNING) return;
  entry->ending = true;
  entry->end = entry->task;
  SetEnd(&entry->end, status, clock_->Now());
  if (!keep_note) entry->note.clear();
  Save(entry->sequence, entry->end, entry->note);
  writes_.WhenDurable([this, id = std::string(id)]() { Ended(id); });
}

void Tasks::Ended(const std::string& id) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) return;
  entry->task = std::move(entry->end);
  entry->ending = false;
  ended_.emplace(timestamps::FromProto(entry->task.end_time()), id);
  for (const auto& [watch, sink] : entry->watchers) watched_.erase(watch);
  Tell(entry, true);
  Forget();
}

void Tasks::Tell(const std::shared_ptr<Entry>& entry, bool last) {
  // A copy: a sink may cancel its watch.
  const std::map<WatchId, Sink> watchers = entry->watchers;
  for (const auto& [id, sink] : watchers) {
    if (entry->watchers.count(id) > 0) sink(entry->task, last);
  }
  if (last) entry->watchers.clear();
}

void Tasks::Erase(const std::string& id) {
  const std::shared_ptr<Entry> entry = Find(id);
  by_start_.erase(entry->sequence);
  tasks_.erase(id);
  writes_.Delete(StoreKey(entry->sequence, id));
}

void Tasks::Forget() {
  const absl::Time now = clock_->Now();
  while (!ended_.empty() &&
         (ended_.size() > kMaxEnded || ended_.begin()->first + kRetention <= now)) {
    Erase(ended_.begin()->second);
    ended_.erase(ended_.begin());
  }
  if (ended_.empty() || timer_ != clock::Clock::kNoTimer) return;
  timer_ = clock_->RunAt(ended_.begin()->first + kRetention,
                         [this, strand = strand_, alive = std::weak_ptr<bool>(alive_)]() {
                           strand->Post([this, alive]() {
                             if (alive.expired()) return;
                             timer_ = clock::Clock::kNoTimer;
                             Forget();
                           });
                         });
}

bool Tasks::CancelRequested(absl::string_view id) const {
  const std::shared_ptr<Entry> entry = Find(id);
  return entry != nullptr && entry->cancel_requested;
}

void Tasks::GetTask(const access::Caller&, const v1::GetTaskRequest& request,
                    status::Callback<v1::Task> done) {
  const std::shared_ptr<Entry> entry = Find(request.id());
  if (entry == nullptr) return done(NoTask(request.id()));
  done(entry->task);
}

void Tasks::ListTasks(const access::Caller&, const v1::ListTasksRequest& request,
                      status::Callback<v1::ListTasksResponse> done) {
  const absl::StatusOr<int> size = paging::PageSize(request.page_size());
  if (!size.ok()) return done(size.status());
  auto at = by_start_.end();
  if (!request.page_token().empty()) {
    const absl::StatusOr<std::string> token = paging::ReadToken(request.page_token());
    if (!token.ok()) return done(token.status());
    int64_t before = 0;
    if (!absl::SimpleAtoi(*token, &before)) {
      return done(status::Error(v1::REASON_PAGE_TOKEN_INVALID,
                                "page_token is not one that this list gave"));
    }
    at = by_start_.lower_bound(before);
  }
  v1::ListTasksResponse response;
  while (at != by_start_.begin() && response.tasks_size() < *size) {
    --at;
    *response.add_tasks() = tasks_.at(at->second)->task;
  }
  if (at != by_start_.begin() && at != by_start_.end()) {
    response.set_next_page_token(paging::MakeToken(absl::StrCat(at->first)));
  }
  done(std::move(response));
}

void Tasks::CancelTask(const access::Caller&, const v1::CancelTaskRequest& request,
                       status::Callback<v1::Task> done) {
  const std::shared_ptr<Entry> entry = Find(request.id());
  if (entry == nullptr) return done(NoTask(request.id()));
  if (entry->task.state() == v1::Task::STATE_RUNNING) entry->cancel_requested = true;
  done(entry->task);
}

absl::StatusOr<Tasks::WatchId> Tasks::Watch(absl::string_view id, Sink sink) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) return NoTask(id);
  const WatchId watch = next_watch_++;
  if (entry->task.state() != v1::Task::STATE_RUNNING) {
    sink(entry->task, true);
    return watch;
  }
  entry->watchers[watch] = sink;
  watched_[watch] = std::string(id);
  sink(entry->task, false);
  return watch;
}

void Tasks::CancelWatch(WatchId id) {
  const auto it = watched_.find(id);
  if (it == watched_.end()) return;
  if (const std::shared_ptr<Entry> entry = Find(it->second); entry != nullptr) {
    entry->watchers.erase(id);
  }
  watched_.erase(it);
}

}  // namespace keysphere::controller::tasks
