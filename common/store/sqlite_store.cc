#include "common/store/sqlite_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/status/status.h"
#include "common/store/refusals.h"

namespace keysphere::store {
namespace {

// One group commit: enough to share a sync, and little enough to keep the log and the page cache
// small.
constexpr size_t kMaxBatch = 256;
constexpr size_t kMaxBatchBytes = 4 << 20;
// Commits that are faster wait for nobody; slower ones this part of their time.
constexpr absl::Duration kSlowCommit = absl::Microseconds(500);
constexpr int kPartToWait = 3;

// The revision first: its digits end at the colon, so that no two pairs give the same text.
std::string SecretAad(absl::string_view key, Revision revision) {
  return absl::StrCat("keysphere store: secret ", revision, ":", key);
}

// The smallest string above all that begin with `prefix`; empty: there is none.
std::string EndOfPrefix(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

}  // namespace

SqliteStore::SqliteStore(const Options& options, files::FileLock lock, crypto::SecretKey key,
                         std::unique_ptr<Database> writer, std::unique_ptr<Database> reader,
                         Revision last_revision)
    : options_(options),
      lock_(std::move(lock)),
      key_(std::move(key)),
      writer_(std::move(writer)),
      reader_(std::move(reader)),
      last_revision_(last_revision),
      thread_([this] { WriterLoop(); }) {}

SqliteStore::~SqliteStore() {
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

// Commits.

void SqliteStore::Commit(Transaction transaction, CommitCallback done) {
  Waiting waiting;
  waiting.done = std::move(done);
  if (options_.clock != nullptr) waiting.token = options_.clock->Busy("store commit");
  const absl::Status valid = transaction.Check();
  if (valid.ok()) {
    waiting.bytes = transaction.Bytes();
    waiting.transaction = std::move(transaction);
  } else {
    waiting.result = valid;
    waiting.refused = true;
  }
  sync::MutexLock lock(&mutex_);
  if (!waiting.refused && (waiting_.size() >= options_.max_waiting ||
                           waiting_bytes_ + waiting.bytes > options_.max_waiting_bytes)) {
    waiting.result = Overloaded(options_.max_waiting);
    waiting.refused = true;
    waiting.transaction = Transaction();
    waiting.bytes = 0;
  }
  waiting_bytes_ += waiting.bytes;
  waiting_.push_back(std::move(waiting));
  changed_.Signal();
}

void SqliteStore::WriterLoop() {
  while (true) {
    Batch batch = TakeBatch();
    if (batch.all.empty()) return;
    const absl::Time begin = options_.wall == nullptr ? absl::Time() : options_.wall->Now();
    CommitBatch(&batch);
    if (options_.wall != nullptr) {
      took_ = options_.wall->Now() - begin;
      sync::MutexLock lock(&mutex_);
      company_ = std::min(batch.all.size() + waiting_.size(), kMaxBatch);
    }
    for (Waiting& waiting : batch.all) {
      waiting.done(std::move(waiting.result));
      // What the callback posted holds tokens of its own from here on.
      waiting.done = nullptr;
      waiting.token.Release();
    }
  }
}

SqliteStore::Batch SqliteStore::TakeBatch() {
  Batch batch;
  sync::MutexLock lock(&mutex_);
  while (waiting_.empty() && !stopping_) changed_.Wait(&mutex_);
  if (options_.wall != nullptr) AwaitCompany();
  TakeWaiting(&batch);
  return batch;
}

// Without it, of several clients in step the first one's commit goes alone, and all the others wait
// for two.
void SqliteStore::AwaitCompany() {
  if (waiting_.size() >= company_ || took_ < kSlowCommit || stopping_) return;
  bool over = false;
  const clock::Clock::TimerId timer =
      options_.wall->RunAfter(took_ / kPartToWait, [this, &over]() ABSL_LOCKS_EXCLUDED(mutex_) {
        sync::MutexLock lock(&mutex_);
        over = true;
        changed_.SignalAll();
      });
  while (!over && !stopping_ && waiting_.size() < company_) changed_.Wait(&mutex_);
  // It may be about to run, and uses what is here.
  if (options_.wall->Cancel(timer)) return;
  while (!over) changed_.Wait(&mutex_);
}

void SqliteStore::TakeWaiting(Batch* batch) {
  const size_t before = batch->bytes;
  while (!waiting_.empty() && batch->all.size() < kMaxBatch && batch->bytes < kMaxBatchBytes) {
    batch->bytes += waiting_.front().bytes;
    batch->all.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  waiting_bytes_ -= batch->bytes - before;
}

bool SqliteStore::TakeMore(Batch* batch) {
  const size_t before = batch->all.size();
  sync::MutexLock lock(&mutex_);
  TakeWaiting(batch);
  return batch->all.size() > before;
}

void SqliteStore::CommitBatch(Batch* batch) {
  absl::StatusOr<Revision> last = ApplyBatch(batch);
  if (last.ok()) {
    sync::MutexLock lock(&mutex_);
    last_revision_ = *last;
    return;
  }
  if (writer_->InTransaction()) {
    const absl::Status undone = writer_->Execute("ROLLBACK");
    // An open transaction that cannot be undone would be committed with the next one.
    KS_CHECK(undone.ok() || !writer_->InTransaction());
  }
  // Those refused by a compare too: it may have seen what is undone now.
  for (Waiting& waiting : batch->all) {
    if (!waiting.refused) waiting.result = last.status();
  }
}

absl::StatusOr<Revision> SqliteStore::ApplyBatch(Batch* batch) {
  Revision revision;
  {
    sync::MutexLock lock(&mutex_);
    revision = last_revision_;
  }
  {
    KS_ASSIGN_OR_RETURN(Database::Query begin, writer_->Prepare("BEGIN IMMEDIATE"));
    KS_RETURN_IF_ERROR(begin.Run());
  }
  if (options_.shared) {
    KS_ASSIGN_OR_RETURN(revision, writer_->Number("SELECT value FROM meta WHERE name='revision'"));
  }
  const Revision before = revision;
  // Those that come while others are applied share the sync too: whoever was answered by the last
  // commit asks again within a moment.
  for (size_t i = 0; i < batch->all.size() || TakeMore(batch); ++i) {
    Waiting& waiting = batch->all[i];
    if (waiting.refused) continue;
    auto applied = Apply(&waiting.transaction, revision + 1);
    // A refused compare has written nothing and concerns nobody else; any other error has perhaps
    // written a part, so that the whole batch is undone.
    if (!applied.ok() && !absl::IsAborted(applied.status())) return applied.status();
    if (applied.ok()) revision = *applied;
    waiting.result = std::move(applied);
  }
  if (revision != before) {
    KS_ASSIGN_OR_RETURN(Database::Query query,
                        writer_->Prepare("UPDATE meta SET value=? WHERE name='revision'"));
    KS_RETURN_IF_ERROR(query.Int(1, revision).Run());
  }
  KS_ASSIGN_OR_RETURN(Database::Query commit, writer_->Prepare("COMMIT"));
  KS_RETURN_IF_ERROR(commit.Run());
  return revision;
}

absl::StatusOr<Revision> SqliteStore::Apply(Transaction* transaction, Revision revision) {
  KS_RETURN_IF_ERROR(CheckCompares(*transaction));
  for (const Transaction::PutOp& put : transaction->puts()) {
    KS_RETURN_IF_ERROR(Write(put, revision));
  }
  for (const std::string& key : transaction->deletes()) {
    KS_ASSIGN_OR_RETURN(Database::Query query, writer_->Prepare("DELETE FROM entries WHERE key=?"));
    KS_RETURN_IF_ERROR(query.Blob(1, key).Run());
  }
  return revision;
}

absl::Status SqliteStore::CheckCompares(const Transaction& transaction) {
  for (const Transaction::CompareOp& compare : transaction.compares()) {
    KS_ASSIGN_OR_RETURN(Database::Query query,
                        writer_->Prepare("SELECT mod_revision FROM entries WHERE key=?"));
    KS_ASSIGN_OR_RETURN(const bool found, query.Blob(1, compare.key).Step());
    const Revision is = found ? query.IntAt(0) : 0;
    if (is != compare.mod_revision) return Conflict(compare.key);
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Write(const Transaction::PutOp& put, Revision revision) {
  std::string sealed;
  if (put.is_secret) {
    KS_ASSIGN_OR_RETURN(sealed,
                        crypto::GcmSealSecret(key_, SecretAad(put.key, revision), put.secret));
  }
  KS_ASSIGN_OR_RETURN(Database::Query query,
                      writer_->Prepare("INSERT OR REPLACE INTO entries VALUES(?, ?, ?, ?)"));
  return query.Blob(1, put.key)
      .Blob(2, put.is_secret ? sealed : put.value)
      .Int(3, revision)
      .Int(4, put.is_secret ? 1 : 0)
      .Run();
}

// Reads.

absl::StatusOr<absl::optional<Entry>> SqliteStore::Get(absl::string_view key) {
  sync::MutexLock lock(&read_mutex_);
  KS_ASSIGN_OR_RETURN(
      Database::Query query,
      reader_->Prepare("SELECT CASE secret WHEN 0 THEN value ELSE x'' END, mod_revision, secret"
                       " FROM entries WHERE key=?"));
  KS_ASSIGN_OR_RETURN(const bool found, query.Blob(1, key).Step());
  if (!found) return absl::optional<Entry>();
  return absl::make_optional(
      Entry{std::string(key), query.BlobAt(0), query.IntAt(1), query.IntAt(2) != 0});
}

absl::StatusOr<crypto::SecretKey> SqliteStore::GetSecret(absl::string_view key) {
  sync::MutexLock lock(&read_mutex_);
  KS_ASSIGN_OR_RETURN(
      Database::Query query,
      reader_->Prepare("SELECT value, mod_revision, secret FROM entries WHERE key=?"));
  KS_ASSIGN_OR_RETURN(const bool found, query.Blob(1, key).Step());
  if (!found) return NoSuchKey(key);
  if (query.IntAt(2) == 0) return NotASecret(key);
  return crypto::GcmOpenSecret(key_, SecretAad(key, query.IntAt(1)), query.BlobAt(0));
}

absl::StatusOr<std::vector<Entry>> SqliteStore::Range(absl::string_view prefix,
                                                      absl::string_view after, size_t limit) {
  // Nothing lies between a key and the same with a zero byte behind it.
  const std::string past = absl::StrCat(after, absl::string_view("\0", 1));
  const std::string begin =
      after.empty() ? std::string(prefix) : std::max(std::string(prefix), past);
  const std::string end = EndOfPrefix(prefix);
  constexpr size_t kNoLimit = std::numeric_limits<int64_t>::max();
  std::vector<Entry> entries;
  sync::MutexLock lock(&read_mutex_);
  KS_ASSIGN_OR_RETURN(
      Database::Query query,
      end.empty() ? reader_->Prepare("SELECT key, CASE secret WHEN 0 THEN value ELSE x'' END,"
                                     " mod_revision, secret FROM entries WHERE key>=?1"
                                     " ORDER BY key LIMIT ?2")
                  : reader_->Prepare("SELECT key, CASE secret WHEN 0 THEN value ELSE x'' END,"
                                     " mod_revision, secret FROM entries WHERE key>=?1 AND key<?3"
                                     " ORDER BY key LIMIT ?2"));
  query.Blob(1, begin).Int(2, static_cast<int64_t>(std::min(limit, kNoLimit)));
  if (!end.empty()) query.Blob(3, end);
  while (true) {
    KS_ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return entries;
    entries.push_back({query.BlobAt(0), query.BlobAt(1), query.IntAt(2), query.IntAt(3) != 0});
  }
}

absl::StatusOr<Revision> SqliteStore::LastRevision() {
  if (options_.shared) {
    sync::MutexLock lock(&read_mutex_);
    return reader_->Number("SELECT value FROM meta WHERE name='revision'");
  }
  sync::MutexLock lock(&mutex_);
  return last_revision_;
}

}  // namespace keysphere::store
