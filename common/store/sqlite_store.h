#ifndef KEYSPHERE_COMMON_STORE_SQLITE_STORE_H_
#define KEYSPHERE_COMMON_STORE_SQLITE_STORE_H_

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/clock/clock.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "common/store/database.h"
#include "common/store/store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {

// A Store in a SQLite database (write-ahead log, synchronous=FULL): what was acknowledged survives
// kill -9 and power loss. Files, all 0600: PATH (with PATH-wal and PATH-shm), PATH.key (the key of
// the secrets) and PATH.lock (one process at a time, unless it is shared). A thread of its own
// writes: transactions that wait are put into one SQLite transaction (group commit), so that they
// share a sync. Answers come from that thread. Destroying it first completes the commits that wait.
class SqliteStore : public Store {
 public:
  struct Options {
    // Commits beyond these are refused: OVERLOADED.
    size_t max_waiting = 8192;
    size_t max_waiting_bytes = 16 << 20;
    // The database does not grow beyond it (STORAGE_FULL). 0: no limit.
    int64_t max_database_bytes = 0;
    // Several processes work on it: each opens it so. Their commits follow each other; a compare
    // sees what the others have committed.
    bool shared = false;
    // Virtual time stands still while a commit waits or is answered. May be null.
    clock::Clock* clock = nullptr;
    // The machine's time, for stores whose clients wait for their commits: where syncs are slow, a
    // commit waits a part of one for those who shared the last. Null: no commit waits for another.
    clock::Clock* wall = nullptr;
  };

  // Opens the database, or makes it in an existing folder. INVALID_STATE: another process has it
  // open, or a newer version of keysphere made it. NOT_FOUND: it holds secrets, but its key file is
  // gone. STORE_CORRUPT: damaged, not a database of keysphere, or the key file of another one.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const files::FileSystem* files,
                                                           absl::string_view path, Options options);
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const files::FileSystem* files,
                                                           absl::string_view path) {
    return Open(files, path, Options());
  }
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;
  ~SqliteStore() override;

  void Commit(Transaction transaction, CommitCallback done) override;
  absl::StatusOr<absl::optional<Entry>> Get(absl::string_view key) override;
  absl::StatusOr<crypto::SecretKey> GetSecret(absl::string_view key) override;
  absl::StatusOr<std::vector<Entry>> Range(absl::string_view prefix, absl::string_view after,
                                           size_t limit) override;
  absl::StatusOr<Revision> LastRevision() override;

 private:
  struct Waiting {
    Transaction transaction;
    CommitCallback done;
    size_t bytes = 0;
    absl::StatusOr<Revision> result = Revision{0};
    bool refused = false;  // `result` says why; the database does not see it
    clock::Clock::BusyToken token;
  };

  SqliteStore(const Options& options, files::FileLock lock, crypto::SecretKey key,
              std::unique_ptr<Database> writer, std::unique_ptr<Database> reader,
              Revision last_revision);

  // What one SQLite transaction holds.
  struct Batch {
    std::vector<Waiting> all;
    size_t bytes = 0;
  };

  void WriterLoop();
  // Waits for the first; empty: there will be none.
  Batch TakeBatch() ABSL_LOCKS_EXCLUDED(mutex_);
  void TakeWaiting(Batch* batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AwaitCompany() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What has come since; false: nothing.
  bool TakeMore(Batch* batch) ABSL_LOCKS_EXCLUDED(mutex_);
  void CommitBatch(Batch* batch);
  // Runs all transactions inside the open SQLite transaction; an error of the database ends it.
  absl::StatusOr<Revision> ApplyBatch(Batch* batch);
  absl::StatusOr<Revision> Apply(Transaction* transaction, Revision revision);
  absl::Status CheckCompares(const Transaction& transaction);
  absl::Status Write(const Transaction::PutOp& put, Revision revision);

  const Options options_;
  const files::FileLock lock_;
  const crypto::SecretKey key_;
  const std::unique_ptr<Database> writer_;  // of the writer thread

  // Of the writer thread: what the last commit tells of the next one.
  size_t company_ = 0;  // how many were waiting for it, or when it ended
  absl::Duration took_;

  sync::Mutex read_mutex_;
  const std::unique_ptr<Database> reader_ ABSL_PT_GUARDED_BY(read_mutex_);

  sync::Mutex mutex_;
  sync::CondVar changed_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Revision last_revision_ ABSL_GUARDED_BY(mutex_);  // not of a shared one: others write too

  std::thread thread_;
};

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_SQLITE_STORE_H_
