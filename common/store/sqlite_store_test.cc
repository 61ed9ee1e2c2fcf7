#include "common/store/sqlite_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files/scripted_faults.h"
#include "common/status/matchers.h"
#include "common/store/commit_and_wait.h"

extern char** environ;

namespace keysphere::store {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;
using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() : files_(&faults_) {
    folder_ = ::testing::TempDir() + "/sqliteXXXXXX";
    EXPECT_NE(mkdtemp(&folder_[0]), nullptr);
    path_ = folder_ + "/db";
  }
  ~SqliteStoreTest() override {
    store_.reset();
    EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0);
  }

  absl::Status Open(SqliteStore::Options options = {}) {
    store_.reset();
    auto opened = SqliteStore::Open(&files_, path_, options);
    if (opened.ok()) store_ = *std::move(opened);
    return opened.status();
  }
  absl::StatusOr<Revision> Commit(Transaction transaction) {
    return CommitAndWait(store_.get(), std::move(transaction));
  }
  std::string Content(const std::string& path) { return files_.ReadFile(path, 64 << 20).value(); }
  void Overwrite(const std::string& path, uint64_t offset, absl::string_view bytes) {
    auto file = files_.Open(path, files::OpenMode::kReadWrite).value();
    ASSERT_THAT(
        file.WriteAt(offset, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                 bytes.size())),
        IsOk());
  }

  files::ScriptedFaults faults_;
  files::FileSystem files_;
  std::string folder_;
  std::string path_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(SqliteStoreTest, ReopenedItHoldsWhatWasCommitted) {
  const SecretKey secret = SecretKey::Random(32).value();
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().Put("a", "1").PutSecret("s", secret.Clone().value())), IsOk());
  ASSERT_THAT(Commit(Transaction().Put("b", "2")), IsOk());
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(store_->LastRevision().value(), 2);
  EXPECT_EQ(store_->Get("a").value()->value, "1");
  EXPECT_TRUE(store_->GetSecret("s")->Equals(secret));
  EXPECT_EQ(Commit(Transaction().Put("c", "3")).value(), 3);
}

TEST_F(SqliteStoreTest, DestroyingCompletesWhatWaits) {
  ASSERT_THAT(Open(), IsOk());
  int acknowledged = 0;
  for (int i = 0; i < 1000; ++i) {
    store_->Commit(Transaction().Put(std::to_string(i), "x"),
                   [&](absl::StatusOr<Revision> result) { acknowledged += result.ok(); });
  }
  store_.reset();
  EXPECT_EQ(acknowledged, 1000);
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(store_->LastRevision().value(), 1000);
}

TEST_F(SqliteStoreTest, FilesAreOfTheirOwnerOnly) {
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().Put("a", "1")), IsOk());
  for (const char* suffix : {"", "-wal", "-shm", ".key", ".lock"}) {
    struct stat info;
    ASSERT_EQ(stat((path_ + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600) << suffix;
  }
}

TEST_F(SqliteStoreTest, OneProcessAtATime) {
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(SqliteStore::Open(&files_, path_).status(), HasReason(v1::REASON_INVALID_STATE));
}

TEST_F(SqliteStoreTest, SecretsAreNotInTheFiles) {
  const SecretKey secret = SecretKey::Random(32).value();
  const auto bytes = secret.bytes(SecretKeyAccess::Token());
  const absl::string_view whole(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().PutSecret("s", secret.Clone().value()).Put("p", "plainvalue")),
              IsOk());
  for (const bool closed : {false, true}) {
    if (closed) store_.reset();
    std::string all;
    const std::vector<std::string> names = files_.List(folder_).value();
    for (const std::string& name : names) {
      all += Content(folder_ + "/" + name);
    }
    EXPECT_TRUE(absl::StrContains(all, "plainvalue"));  // the positive control
    EXPECT_FALSE(absl::StrContains(all, whole.substr(0, 16)));
    EXPECT_FALSE(absl::StrContains(all, whole.substr(16)));
  }
}

TEST_F(SqliteStoreTest, ASecretIsBoundToItsKeyAndRevision) {
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction()
                         .PutSecret("s1", SecretKey::Random(32).value())
                         .PutSecret("s2", SecretKey::Random(32).value())),
              IsOk());
  store_.reset();
  // When somebody moves the sealed value of one entry to the other
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw,
                         "UPDATE entries SET value=(SELECT value FROM entries WHERE key=x'7331')"
                         " WHERE key=x'7332'; UPDATE entries SET mod_revision=9 WHERE key=x'7331'",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(raw);
  // Then neither opens
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(store_->GetSecret("s1").status(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(store_->GetSecret("s2").status(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(SqliteStoreTest, WithoutItsKeyFileADatabaseWithSecretsDoesNotOpen) {
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().PutSecret("s", SecretKey::Random(32).value())), IsOk());
  store_.reset();
  const std::string key = Content(path_ + ".key");
  ASSERT_THAT(files_.Remove(path_ + ".key"), IsOk());
  const absl::Status missing = Open();
  EXPECT_THAT(missing, HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("key file"));
  EXPECT_FALSE(files_.Exists(path_ + ".key").value());  // none is made in its place
  // Another database's key, and a damaged one
  ASSERT_THAT(files_.WriteFileAtomically(path_ + ".key", std::string(32, 'k'), 0600), IsOk());
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORE_CORRUPT));
  ASSERT_THAT(files_.WriteFileAtomically(path_ + ".key", "short", 0600), IsOk());
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORE_CORRUPT));
  // The right one opens it again
  ASSERT_THAT(files_.WriteFileAtomically(path_ + ".key", key, 0600), IsOk());
  EXPECT_THAT(Open(), IsOk());
  EXPECT_THAT(store_->GetSecret("s").status(), IsOk());
}

TEST_F(SqliteStoreTest, WithoutSecretsALostKeyFileIsMadeAnew) {
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().Put("a", "1")), IsOk());
  store_.reset();
  ASSERT_THAT(files_.Remove(path_ + ".key"), IsOk());
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(Commit(Transaction().PutSecret("s", SecretKey::Random(32).value())), IsOk());
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(store_->GetSecret("s").status(), IsOk());
}

TEST_F(SqliteStoreTest, DamageIsNamed) {
  ASSERT_THAT(Open(), IsOk());
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(Commit(Transaction().Put(absl::StrCat("k", i), std::string(500, 'x'))), IsOk());
  }
  store_.reset();
  const std::string whole = Content(path_);
  // A page in the middle
  Overwrite(path_, 5 * 4096, std::string(4096, '\x5a'));
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORE_CORRUPT));
  // The header
  Overwrite(path_, 0, whole);
  ASSERT_THAT(Open(), IsOk());
  store_.reset();
  Overwrite(path_, 0, "nonsense");
  const absl::Status damaged = Open();
  EXPECT_THAT(damaged, HasReason(v1::REASON_STORE_CORRUPT));
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("database"));
}

TEST_F(SqliteStoreTest, ForeignAndNewerDatabasesAreRefused) {
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, "CREATE TABLE t(x)", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORE_CORRUPT));
  ASSERT_EQ(sqlite3_exec(raw, "DROP TABLE t", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_THAT(Open(), IsOk());
  store_.reset();
  ASSERT_EQ(sqlite3_exec(raw, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_THAT(Open(), HasReason(v1::REASON_INVALID_STATE));
  sqlite3_close(raw);
}

TEST_F(SqliteStoreTest, FullStorageRefusesAndLosesNothing) {
  SqliteStore::Options options;
  options.max_database_bytes = 256 << 10;
  ASSERT_THAT(Open(options), IsOk());
  ASSERT_THAT(Commit(Transaction().Put("small", "1")), IsOk());
  EXPECT_THAT(Commit(Transaction().Put("small", "2").Put("big", std::string(300 << 10, 'x'))),
              HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_EQ(store_->Get("small").value()->value, "1");
  // And it goes on, with the revisions in a row
  EXPECT_EQ(Commit(Transaction().Put("small", "3")).value(), 2);
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(store_->Get("small").value()->value, "3");
}

TEST_F(SqliteStoreTest, FaultsWhenItIsMadeAreTold) {
  faults_.Fail(files::Operation::kWrite, "", ENOSPC);  // the key file
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORAGE_FULL));
  faults_.Fail(files::Operation::kOpen, ".lock", EROFS);
  EXPECT_THAT(Open(), HasReason(v1::REASON_STORAGE_READ_ONLY));
  EXPECT_THAT(Open(), IsOk());
}

TEST_F(SqliteStoreTest, TooManyWaitingAreRefusedInOrder) {
  SqliteStore::Options options;
  options.max_waiting = 3;
  ASSERT_THAT(Open(options), IsOk());
  // Given a writer that is held in the callback of the first commit
  sync::Mutex mutex;
  sync::CondVar changed;
  bool held = false, go = false;
  store_->Commit(Transaction().Put("a", "0"), [&](absl::StatusOr<Revision>) {
    sync::MutexLock lock(&mutex);
    held = true;
    changed.SignalAll();
    while (!go) changed.Wait(&mutex);
  });
  {
    sync::MutexLock lock(&mutex);
    while (!held) changed.Wait(&mutex);
  }
  std::vector<absl::StatusOr<Revision>> answers;
  for (int i = 0; i < 5; ++i) {
    store_->Commit(Transaction().Put("a", "x"),
                   [&](absl::StatusOr<Revision> result) { answers.push_back(std::move(result)); });
  }
  EXPECT_TRUE(answers.empty());
  {
    sync::MutexLock lock(&mutex);
    go = true;
    changed.SignalAll();
  }
  store_.reset();
  ASSERT_EQ(answers.size(), 5);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(answers[i], IsOk());
  for (int i = 3; i < 5; ++i) EXPECT_THAT(answers[i], HasReason(v1::REASON_OVERLOADED));
}

// Counts tokens.
class CountingClock : public clock::Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch(); }
  TimerId RunAt(absl::Time, absl::AnyInvocable<void()>) override { return kNoTimer; }
  bool Cancel(TimerId) override { return false; }
  int busy() {
    sync::MutexLock lock(&mutex_);
    return busy_;
  }

 protected:
  void BeginBusy(const char*) override {
    sync::MutexLock lock(&mutex_);
    ++busy_;
  }
  void EndBusy(const char*) override {
    sync::MutexLock lock(&mutex_);
    --busy_;
  }

 private:
  sync::Mutex mutex_;
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(SqliteStoreTest, TimeStandsStillUntilACommitIsAnswered) {
  CountingClock clock;
  SqliteStore::Options options;
  options.clock = &clock;
  ASSERT_THAT(Open(options), IsOk());
  EXPECT_EQ(clock.busy(), 0);
  int in_callback = 0;
  store_->Commit(Transaction().Put("a", "1"),
                 [&](absl::StatusOr<Revision>) { in_callback = clock.busy(); });
  store_.reset();
  EXPECT_EQ(in_callback, 1);
  EXPECT_EQ(clock.busy(), 0);
}

// Kills the process before the file operation number `at`.
class KillAt : public files::FaultHook {
 public:
  explicit KillAt(int at) : at_(at) {}
  files::Fault Before(files::Operation, absl::string_view) override {
    if (at_-- == 0) raise(SIGKILL);
    return {};
  }

 private:
  int at_;
};

TEST_F(SqliteStoreTest, KilledAtAnyStepOfItsMakingItOpensAfterwards) {
  bool made = false;
  for (int at = 0; !made; ++at) {
    // Given a process that is killed while it makes the store
    path_ = absl::StrCat(folder_, "/db", at);
    const pid_t child = fork();
    if (child == 0) {
      KillAt kill_at(at);
      const files::FileSystem files(&kill_at);
      const bool ok = SqliteStore::Open(&files, path_).ok();
      _exit(ok ? 0 : 1);
    }
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    made = !WIFSIGNALED(how);
    ASSERT_EQ(how, made ? 0 : SIGKILL);
    // When it is opened again, then it works
    ASSERT_THAT(Open(), IsOk()) << at;
    ASSERT_THAT(Commit(Transaction().PutSecret("s", SecretKey::Random(32).value())), IsOk());
    ASSERT_THAT(Open(), IsOk()) << at;
    EXPECT_THAT(store_->GetSecret("s").status(), IsOk());
    store_.reset();
    ASSERT_LT(at, 100);
  }
}

// Reads "<i> <revision>" lines until `count` came.
std::map<int, Revision> ReadLines(std::FILE* out, size_t count) {
  std::map<int, Revision> lines;
  int i = 0;
  long long revision = 0;
  while (lines.size() < count && std::fscanf(out, "%d %lld\n", &i, &revision) == 2) {
    lines[i] = revision;
  }
  return lines;
}

TEST_F(SqliteStoreTest, WhatWasAcknowledgedSurvivesKill9) {
  Revision last = 0;
  for (const size_t count : {1, 40, 700}) {
    // Given a process that commits, and is killed at any point after `count` acknowledgements
    int out[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::string program = "common/store/committer";
    char* const argv[] = {&program[0], &path_[0], nullptr};
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    std::FILE* const lines = fdopen(out[0], "r");
    std::map<int, Revision> acknowledged = ReadLines(lines, count);
    kill(child, SIGKILL);
    acknowledged.merge(ReadLines(lines, SIZE_MAX));  // said before it died
    std::fclose(lines);
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    ASSERT_TRUE(WIFSIGNALED(how));
    ASSERT_GE(acknowledged.size(), count);
    // When the database is opened again, then all of them are there
    ASSERT_THAT(Open(), IsOk());
    for (const auto& [i, revision] : acknowledged) {
      EXPECT_GT(revision, last);
      const auto entry = store_->Get(absl::StrCat("n/", i)).value();
      ASSERT_TRUE(entry.has_value()) << i;
      EXPECT_EQ(entry->value, std::to_string(i));
      EXPECT_EQ(entry->mod_revision, revision);
    }
    EXPECT_THAT(store_->GetSecret("s").status(), IsOk());
    last = store_->LastRevision().value();
    EXPECT_GE(last, acknowledged.rbegin()->second);
    // The next run starts afresh with its numbers.
    for (const auto& [i, revision] : acknowledged) {
      ASSERT_THAT(Commit(Transaction().Delete(absl::StrCat("n/", i))), IsOk());
    }
    last = store_->LastRevision().value();
    store_.reset();
  }
}

// Two nodes on one database: as if they were two processes, since nothing is shared in memory.
TEST_F(SqliteStoreTest, SharedByTwo) {
  SqliteStore::Options options;
  options.shared = true;
  ASSERT_THAT(Open(options), IsOk());
  const auto other = SqliteStore::Open(&files_, path_, options).value();
  ASSERT_THAT(Commit(Transaction().Compare("a", 0).Put("a", "1")), IsOk());
  // What one has committed the other sees
  EXPECT_EQ(other->Get("a").value()->value, "1");
  EXPECT_EQ(other->LastRevision().value(), 1);
  // Both write at once: every revision is given once, no change is lost
  sync::Mutex mutex;
  sync::CondVar answered;
  std::map<Revision, int> revisions;
  int answers = 0;
  for (int i = 0; i < 200; ++i) {
    SqliteStore* const store = i % 2 == 0 ? store_.get() : other.get();
    store->Commit(Transaction().Compare("same", 0).Put("same", "x"), [](auto) {});
    store->Commit(Transaction().Put(absl::StrCat("n/", i), "x"),
                  [&](absl::StatusOr<Revision> revision) {
                    sync::MutexLock lock(&mutex);
                    ++answers;
                    if (revision.ok()) ++revisions[*revision];
                    answered.SignalAll();
                  });
  }
  {
    sync::MutexLock lock(&mutex);
    while (answers < 200) answered.Wait(&mutex);
  }
  EXPECT_EQ(revisions.size(), 200);
  EXPECT_EQ(store_->Range("n/", "", 1000).value().size(), 200);
  EXPECT_EQ(other->LastRevision().value(), 202);
  // Secrets of one open in the other
  ASSERT_THAT(Commit(Transaction().PutSecret("k", crypto::SecretKey::Random(32).value())), IsOk());
  EXPECT_TRUE(other->GetSecret("k")->Equals(*store_->GetSecret("k")));
}

}  // namespace
}  // namespace keysphere::store
