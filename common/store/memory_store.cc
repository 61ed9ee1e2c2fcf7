#include "common/store/memory_store.h"

#include <deque>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "common/status/status.h"
#include "common/store/refusals.h"
#include "common/sync/mutex.h"

namespace keysphere::store {

struct MemoryStore::State {
  struct Value {
    std::string value;
    crypto::SecretKey secret;
    bool is_secret = false;
    Revision mod_revision = 0;
  };
  struct Waiting {
    Transaction transaction;
    CommitCallback done;
  };

  absl::StatusOr<Revision> Apply(Transaction* transaction) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void RunNext();

  sync::Mutex mutex;
  // Held while a commit runs and is answered, so that answers come in the order of commits on an
  // executor of several threads.
  sync::Mutex order ABSL_ACQUIRED_BEFORE(mutex);
  std::map<std::string, Value, std::less<>> entries ABSL_GUARDED_BY(mutex);
  std::deque<Waiting> waiting ABSL_GUARDED_BY(mutex);
  Revision last_revision ABSL_GUARDED_BY(mutex) = 0;
  absl::Status failure ABSL_GUARDED_BY(mutex);
  int failures_left ABSL_GUARDED_BY(mutex) = 0;
};

absl::StatusOr<Revision> MemoryStore::State::Apply(Transaction* transaction) {
  KS_RETURN_IF_ERROR(transaction->Check());
  if (failures_left > 0) {
    --failures_left;
    return failure;
  }
  for (const Transaction::CompareOp& compare : transaction->compares()) {
    const auto found = entries.find(compare.key);
    const Revision is = found == entries.end() ? 0 : found->second.mod_revision;
    if (is != compare.mod_revision) return Conflict(compare.key);
  }
  const Revision revision = ++last_revision;
  for (Transaction::PutOp& put : transaction->puts()) {
    Value& entry = entries[put.key];
    entry.value = std::move(put.value);
    entry.secret = std::move(put.secret);
    entry.is_secret = put.is_secret;
    entry.mod_revision = revision;
  }
  for (const std::string& key : transaction->deletes()) entries.erase(key);
  return revision;
}

void MemoryStore::State::RunNext() {
  sync::MutexLock in_order(&order);
  CommitCallback done;
  absl::StatusOr<Revision> result = Revision{0};
  {
    sync::MutexLock lock(&mutex);
    Waiting next = std::move(waiting.front());
    waiting.pop_front();
    done = std::move(next.done);
    result = Apply(&next.transaction);
  }
  done(std::move(result));
}

MemoryStore::MemoryStore(executor::Executor* executor)
    : executor_(executor), state_(std::make_shared<State>()) {}

MemoryStore::~MemoryStore() = default;

void MemoryStore::FailCommits(absl::Status failure, int times) {
  sync::MutexLock lock(&state_->mutex);
  state_->failure = std::move(failure);
  state_->failures_left = times;
}

void MemoryStore::Commit(Transaction transaction, CommitCallback done) {
  {
    sync::MutexLock lock(&state_->mutex);
    state_->waiting.push_back({std::move(transaction), std::move(done)});
  }
  executor_->Post([state = state_] { state->RunNext(); });
}

absl::StatusOr<absl::optional<Entry>> MemoryStore::Get(absl::string_view key) {
  sync::MutexLock lock(&state_->mutex);
  const auto found = state_->entries.find(std::string(key));
  if (found == state_->entries.end()) return absl::optional<Entry>();
  const State::Value& value = found->second;
  return absl::make_optional(Entry{found->first, value.value, value.mod_revision, value.is_secret});
}

absl::StatusOr<crypto::SecretKey> MemoryStore::GetSecret(absl::string_view key) {
  sync::MutexLock lock(&state_->mutex);
  const auto found = state_->entries.find(std::string(key));
  if (found == state_->entries.end()) return NoSuchKey(key);
  if (!found->second.is_secret) return NotASecret(key);
  return found->second.secret.Clone();
}

absl::StatusOr<std::vector<Entry>> MemoryStore::Range(absl::string_view prefix,
                                                      absl::string_view after, size_t limit) {
  sync::MutexLock lock(&state_->mutex);
  std::vector<Entry> found;
  auto it = after >= prefix ? state_->entries.upper_bound(std::string(after))
                            : state_->entries.lower_bound(std::string(prefix));
  for (; it != state_->entries.end() && found.size() < limit; ++it) {
    if (!absl::StartsWith(it->first, prefix)) break;
    found.push_back({it->first, it->second.value, it->second.mod_revision, it->second.is_secret});
  }
  return found;
}

absl::StatusOr<Revision> MemoryStore::LastRevision() {
  sync::MutexLock lock(&state_->mutex);
  return state_->last_revision;
}

}  // namespace keysphere::store
