// A disk that fails below SQLite: the test's own system calls stand before the C library's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "common/store/commit_and_wait.h"
#include "common/store/sqlite_store.h"

namespace {
std::atomic<int> g_sync_error{0};   // errno of every sync; 0: none
std::atomic<int> g_write_error{0};  // errno of every write at an offset
}  // namespace

extern "C" int fdatasync(int fd) {
  if (g_sync_error != 0) {
    errno = g_sync_error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t offset) {
  if (g_write_error != 0) {
    errno = g_write_error;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, data, bytes, offset);
}

namespace keysphere::store {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

class SqliteFaultsTest : public ::testing::Test {
 protected:
  SqliteFaultsTest()
      : files_(nullptr, [this](absl::string_view message) {
          sync::MutexLock lock(&mutex_);
          fatal_ = std::string(message);
        }) {
    folder_ = ::testing::TempDir() + "/faultsXXXXXX";
    EXPECT_NE(mkdtemp(&folder_[0]), nullptr);
    Open();
  }
  ~SqliteFaultsTest() override {
    g_sync_error = 0;
    g_write_error = 0;
    store_.reset();
    EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0);
  }
  void Open() {
    store_.reset();
    auto opened = SqliteStore::Open(&files_, folder_ + "/db");
    ASSERT_THAT(opened, IsOk());
    store_ = *std::move(opened);
  }
  absl::StatusOr<Revision> Commit(Transaction transaction) {
    return CommitAndWait(store_.get(), std::move(transaction));
  }

  sync::Mutex mutex_;
  std::string fatal_ ABSL_GUARDED_BY(mutex_);
  const files::FileSystem files_;
  std::string folder_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(SqliteFaultsTest, AFailedSyncEndsTheProcess) {
  ASSERT_THAT(Commit(Transaction().Put("a", "1")), IsOk());
  g_sync_error = EIO;
  EXPECT_THAT(Commit(Transaction().Put("a", "2")), HasReason(v1::REASON_STORAGE_ERROR));
  sync::MutexLock lock(&mutex_);
  EXPECT_THAT(fatal_, HasSubstr("the process ends"));
}

TEST_F(SqliteFaultsTest, AFailedWriteRefusesAndLosesNothing) {
  const struct {
    int error;
    v1::Reason reason;
  } cases[] = {{ENOSPC, v1::REASON_STORAGE_FULL}, {EIO, v1::REASON_STORAGE_ERROR}};
  Revision revision = 0;
  for (const auto& c : cases) {
    ASSERT_EQ(Commit(Transaction().Put("a", "good")).value(), ++revision);
    g_write_error = c.error;
    const auto refused = Commit(Transaction().Put("a", "bad").Put("b", "bad"));
    EXPECT_THAT(refused, HasReason(c.reason));
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("cannot write the database"));
    g_write_error = 0;
    EXPECT_EQ(store_->Get("a").value()->value, "good");
    EXPECT_FALSE(store_->Get("b").value().has_value());
    ASSERT_EQ(Commit(Transaction().Compare("a", revision).Put("a", "next")).value(), revision + 1);
    ++revision;
    Open();
    EXPECT_EQ(store_->LastRevision().value(), revision);
    EXPECT_EQ(store_->Get("a").value()->value, "next");
  }
  sync::MutexLock lock(&mutex_);
  EXPECT_EQ(fatal_, "");
}

}  // namespace
}  // namespace keysphere::store
