// What every Store does, run against each of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>

#include "common/executor/executor.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "common/store/memory_store.h"
#include "common/store/proto_store.h"
#include "common/store/sqlite_store.h"
#include "common/store/store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {
namespace {

using crypto::SecretKey;
using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Runs tasks where it is told to.
class ManualExecutor : public executor::Executor {
 public:
  void Post(executor::Task task) override { tasks_.push_back(std::move(task)); }
  void RunAll() {
    while (!tasks_.empty()) {
      executor::Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

 private:
  std::deque<executor::Task> tasks_;
};

// A store, and how to wait for its answers.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Store* store() = 0;
  virtual void RunTasks() {}
};

class MemorySubject : public Subject {
 public:
  MemorySubject() : store_(&executor_) {}
  Store* store() override { return &store_; }
  void RunTasks() override { executor_.RunAll(); }

 private:
  ManualExecutor executor_;
  MemoryStore store_;
};

class SqliteSubject : public Subject {
 public:
  SqliteSubject() {
    folder_ = ::testing::TempDir() + "/storeXXXXXX";
    EXPECT_NE(mkdtemp(&folder_[0]), nullptr);
    auto opened = SqliteStore::Open(&files_, folder_ + "/db");
    EXPECT_THAT(opened, IsOk());
    store_ = *std::move(opened);
  }
  ~SqliteSubject() override {
    store_.reset();
    EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0);
  }
  Store* store() override { return store_.get(); }

 private:
  std::string folder_;
  files::FileSystem files_;
  std::unique_ptr<Store> store_;
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Subject>()> make;
};

class StoreContractTest : public ::testing::TestWithParam<Kind> {
 protected:
  StoreContractTest() : subject_(GetParam().make()), store_(subject_->store()) {}

  absl::StatusOr<Revision> Commit(Transaction transaction) {
    CommitLater(std::move(transaction));
    return Answers().back();
  }
  void CommitLater(Transaction transaction) {
    ++expected_;
    store_->Commit(std::move(transaction), [this](absl::StatusOr<Revision> result) {
      sync::MutexLock lock(&mutex_);
      answers_.push_back(std::move(result));
      answered_.SignalAll();
    });
  }
  // All answers so far, when none is missing.
  std::vector<absl::StatusOr<Revision>> Answers() {
    subject_->RunTasks();
    sync::MutexLock lock(&mutex_);
    while (answers_.size() < expected_) answered_.Wait(&mutex_);
    return answers_;
  }
  std::vector<std::string> Keys(absl::string_view prefix, absl::string_view after, size_t limit) {
    std::vector<std::string> keys;
    const std::vector<Entry> entries = store_->Range(prefix, after, limit).value();
    for (const Entry& entry : entries) keys.push_back(entry.key);
    return keys;
  }
  static SecretKey Secret(absl::string_view text) {
    return SecretKey::CopyOf(
               absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()))
        .value();
  }

  const std::unique_ptr<Subject> subject_;
  Store* const store_;
  size_t expected_ = 0;
  sync::Mutex mutex_;
  sync::CondVar answered_;
  std::vector<absl::StatusOr<Revision>> answers_ ABSL_GUARDED_BY(mutex_);
};

TEST_P(StoreContractTest, PutGetDelete) {
  EXPECT_EQ(store_->LastRevision().value(), 0);
  EXPECT_FALSE(store_->Get("a").value().has_value());
  const std::string value("x\0y", 3);
  EXPECT_EQ(Commit(Transaction().Put("a", value)).value(), 1);
  const Entry entry = store_->Get("a").value().value();
  EXPECT_EQ(entry.key, "a");
  EXPECT_EQ(entry.value, value);
  EXPECT_EQ(entry.mod_revision, 1);
  EXPECT_FALSE(entry.is_secret);
  EXPECT_EQ(Commit(Transaction().Put("a", "")).value(), 2);
  EXPECT_EQ(store_->Get("a").value()->value, "");
  EXPECT_EQ(Commit(Transaction().Delete("a").Delete("never there")).value(), 3);
  EXPECT_FALSE(store_->Get("a").value().has_value());
  EXPECT_EQ(store_->LastRevision().value(), 3);
}

TEST_P(StoreContractTest, OneTransactionIsOneRevision) {
  EXPECT_EQ(Commit(Transaction().Put("a", "1").Put("b", "2")).value(), 1);
  EXPECT_EQ(store_->Get("a").value()->mod_revision, 1);
  EXPECT_EQ(store_->Get("b").value()->mod_revision, 1);
  EXPECT_EQ(Commit(Transaction().Put("b", "3")).value(), 2);
  EXPECT_EQ(store_->Get("a").value()->mod_revision, 1);
}

TEST_P(StoreContractTest, CompareRefusesTheWholeTransaction) {
  ASSERT_THAT(Commit(Transaction().Compare("a", 0).Put("a", "1")), IsOk());
  // Made meanwhile
  EXPECT_THAT(Commit(Transaction().Compare("a", 0).Put("a", "2")), HasReason(v1::REASON_CONFLICT));
  // The second compare fails: nothing of it is done
  EXPECT_THAT(Commit(Transaction().Compare("a", 1).Compare("b", 7).Put("a", "2").Put("c", "2")),
              HasReason(v1::REASON_CONFLICT));
  EXPECT_EQ(store_->Get("a").value()->value, "1");
  EXPECT_FALSE(store_->Get("c").value().has_value());
  // A refusal takes no revision
  EXPECT_EQ(Commit(Transaction().Compare("a", 1).Delete("a")).value(), 2);
  EXPECT_THAT(Commit(Transaction().Compare("a", 1).Put("a", "2")), HasReason(v1::REASON_CONFLICT));
}

TEST_P(StoreContractTest, CommitsRunInOrderAndARefusedOneUndoesNoOther) {
  for (int i = 0; i < 300; ++i) {
    CommitLater(Transaction().Compare("n", i).Put("n", std::to_string(i)));
    CommitLater(Transaction().Compare("n", 999).Put("n", "never"));
    CommitLater(Transaction().Put("", "refused"));
  }
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 900);
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(answers[3 * i].value(), i + 1);
    EXPECT_THAT(answers[3 * i + 1], HasReason(v1::REASON_CONFLICT));
    EXPECT_THAT(answers[3 * i + 2], HasReason(v1::REASON_INVALID_ARGUMENT));
  }
  EXPECT_EQ(store_->Get("n").value()->value, "299");
}

TEST_P(StoreContractTest, Limits) {
  Transaction most;
  for (size_t i = 0; i < kMaxOperations; ++i) most.Put(std::to_string(i), "x");
  EXPECT_THAT(Commit(std::move(most)), IsOk());
  Transaction too_many;
  for (size_t i = 0; i < kMaxOperations - 1; ++i) too_many.Put(std::to_string(i), "y");
  too_many.Compare("0", 1).Delete("d");
  EXPECT_THAT(Commit(std::move(too_many)), HasReason(v1::REASON_TOO_LARGE));

  const std::string value(kMaxValueBytes, 'v');
  EXPECT_THAT(Commit(Transaction().Put("v", value)), IsOk());
  EXPECT_EQ(store_->Get("v").value()->value, value);
  EXPECT_THAT(Commit(Transaction().Put("v", value + "v")), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(Commit(Transaction().Put("v", value).Put("w", value)),
              HasReason(v1::REASON_TOO_LARGE));  // the keys make it too long

  EXPECT_THAT(Commit(Transaction().Put("k", "1").Put("k", "2")),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Commit(Transaction().Put("k", "1").Delete("k")),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Commit(Transaction().Delete("k").Delete("k")),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Commit(Transaction().Compare("", 0)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Commit(Transaction().PutSecret("s", SecretKey())),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_FALSE(store_->Get("k").value().has_value());
  EXPECT_EQ(store_->LastRevision().value(), 2);
}

TEST_P(StoreContractTest, RangeIsByPrefixInByteOrderAndPaged) {
  const std::string high("a/\xff\xff", 4);
  ASSERT_THAT(Commit(Transaction()
                         .Put("a", "")
                         .Put("a/1", "one")
                         .Put("a/10", "")
                         .Put("a/2", "")
                         .Put(high, "")
                         .Put("a0", "")
                         .Put("\xff\xff", "")),
              IsOk());
  EXPECT_THAT(Keys("a/", "", 10), ElementsAre("a/1", "a/10", "a/2", high));
  EXPECT_THAT(Keys("a/", "", 2), ElementsAre("a/1", "a/10"));
  EXPECT_THAT(Keys("a/", "a/10", 2), ElementsAre("a/2", high));
  EXPECT_THAT(Keys("a/", "a/100", 1), ElementsAre("a/2"));
  EXPECT_THAT(Keys("a/", "a/", 1), ElementsAre("a/1"));
  EXPECT_THAT(Keys("a/", "A", 1), ElementsAre("a/1"));
  EXPECT_THAT(Keys("a/", high, 10), IsEmpty());
  EXPECT_THAT(Keys("a/", "b", 10), IsEmpty());
  EXPECT_THAT(Keys("a/", "", 0), IsEmpty());
  EXPECT_THAT(Keys("\xff", "", 10), ElementsAre("\xff\xff"));
  EXPECT_EQ(Keys("", "", 1000).size(), 7);
  EXPECT_EQ(Keys("", "a0", 1000).size(), 1);
  EXPECT_EQ(store_->Range("a/1", "", 1).value()[0].value, "one");
}

TEST_P(StoreContractTest, SecretsAreReadByGetSecretOnly) {
  ASSERT_THAT(Commit(Transaction().PutSecret("s", Secret("hush")).Put("p", "plain")), IsOk());
  EXPECT_TRUE(store_->GetSecret("s")->Equals(Secret("hush")));
  EXPECT_TRUE(store_->GetSecret("s")->Equals(Secret("hush")));
  const Entry entry = store_->Get("s").value().value();
  EXPECT_TRUE(entry.is_secret);
  EXPECT_EQ(entry.value, "");
  EXPECT_EQ(entry.mod_revision, 1);
  EXPECT_EQ(store_->Range("s", "", 1).value()[0].value, "");
  EXPECT_THAT(store_->GetSecret("p").status(), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(store_->GetSecret("none").status(), HasReason(v1::REASON_NOT_FOUND));
  // Replaced by another, by a plain value, and gone
  ASSERT_THAT(Commit(Transaction().PutSecret("s", Secret("other"))), IsOk());
  EXPECT_TRUE(store_->GetSecret("s")->Equals(Secret("other")));
  ASSERT_THAT(Commit(Transaction().Put("s", "plain")), IsOk());
  EXPECT_EQ(store_->Get("s").value()->value, "plain");
  EXPECT_THAT(store_->GetSecret("s").status(), HasReason(v1::REASON_INVALID_ARGUMENT));
  ASSERT_THAT(Commit(Transaction().Delete("s")), IsOk());
  EXPECT_THAT(store_->GetSecret("s").status(), HasReason(v1::REASON_NOT_FOUND));
}

TEST_P(StoreContractTest, Messages) {
  v1::ErrorDetail detail;
  for (int i = 0; i < 300; i += 100) {
    Transaction transaction;
    for (int n = i; n < i + 100; ++n) {
      detail.set_object(absl::StrCat("vm/", n));
      PutProto(&transaction, absl::StrCat("detail/", 1000 + n), detail);
    }
    ASSERT_THAT(Commit(std::move(transaction)), IsOk());
  }
  const auto one = GetProto<v1::ErrorDetail>(store_, "detail/1005").value().value();
  EXPECT_EQ(one.message.object(), "vm/5");
  EXPECT_EQ(one.mod_revision, 1);
  EXPECT_FALSE(GetProto<v1::ErrorDetail>(store_, "none").value().has_value());
  EXPECT_EQ((RangeProto<v1::ErrorDetail>(store_, "detail/", "detail/1005", 2).value()[1].key),
            "detail/1007");
  int seen = 0;
  EXPECT_THAT(ForEachProto<v1::ErrorDetail>(store_, "detail/",
                                            [&](ProtoEntry<v1::ErrorDetail> entry) {
                                              EXPECT_EQ(entry.message.object(),
                                                        absl::StrCat("vm/", seen++));
                                              return absl::OkStatus();
                                            }),
              IsOk());
  EXPECT_EQ(seen, 300);
  ASSERT_THAT(Commit(Transaction().Put("bad", "\x07")), IsOk());
  EXPECT_THAT(GetProto<v1::ErrorDetail>(store_, "bad").status(),
              HasReason(v1::REASON_STORE_CORRUPT));
}

INSTANTIATE_TEST_SUITE_P(
    Stores, StoreContractTest,
    ::testing::Values(Kind{"Memory", [] { return std::make_unique<MemorySubject>(); }},
                      Kind{"Sqlite", [] { return std::make_unique<SqliteSubject>(); }}),
    [](const ::testing::TestParamInfo<Kind>& info) { return info.param.name; });

}  // namespace
}  // namespace keysphere::store
