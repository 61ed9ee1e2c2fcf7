#include "common/files/file_system.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "common/files/scripted_faults.h"
#include "common/status/status.h"

namespace keysphere::files {
namespace {

using status::ReasonOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FileSystemTest : public ::testing::Test {
 protected:
  FileSystemTest()
      : files_(&faults_, [this](absl::string_view message) { fatal_ = std::string(message); }) {
    std::string name = ::testing::TempDir() + "/filesXXXXXX";
    EXPECT_NE(mkdtemp(&name[0]), nullptr);
    folder_ = name;
  }
  ~FileSystemTest() override { EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::vector<std::string> Names() { return files_.List(folder_).value(); }
  std::string Content(const std::string& name) {
    return files_.ReadFile(Path(name), 1 << 20).value();
  }
  static absl::Span<const uint8_t> Bytes(absl::string_view text) {
    return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }

  ScriptedFaults faults_;
  std::string fatal_;
  FileSystem files_;
  std::string folder_;
};

TEST_F(FileSystemTest, AtomicWriteReplacesAndLeavesNothingElse) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "one", 0600).ok());
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), std::string(9000, 'x'), 0640).ok());
  EXPECT_EQ(Content("a"), std::string(9000, 'x'));
  EXPECT_THAT(Names(), ElementsAre("a"));
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640);
}

TEST_F(FileSystemTest, AtomicWriteSyncsTheFileBeforeTheRenameAndTheFolderAfterIt) {
  std::string order;
  for (const Operation operation :
       {Operation::kWrite, Operation::kSync, Operation::kRename, Operation::kSyncFolder}) {
    ScriptedFaults::Rule rule;
    rule.operation = operation;
    rule.callback = [&order, operation] {
      order += std::to_string(static_cast<int>(operation)) + " ";
    };
    faults_.Add(std::move(rule));
  }
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  std::string expected;
  for (const Operation operation :
       {Operation::kWrite, Operation::kSync, Operation::kRename, Operation::kSyncFolder}) {
    expected += std::to_string(static_cast<int>(operation)) + " ";
  }
  EXPECT_EQ(order, expected);
}

TEST_F(FileSystemTest, FailedAtomicWriteKeepsTheOldContent) {
  const struct {
    Operation operation;
    int error;
    v1::Reason reason;
  } cases[] = {
      {Operation::kOpen, EROFS, v1::REASON_STORAGE_READ_ONLY},
      {Operation::kWrite, ENOSPC, v1::REASON_STORAGE_FULL},
      {Operation::kWrite, EIO, v1::REASON_STORAGE_ERROR},
      {Operation::kRename, EACCES, v1::REASON_STORAGE_READ_ONLY},
  };
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "old", 0600).ok());
  for (const auto& c : cases) {
    faults_.Fail(c.operation, "", c.error);
    const absl::Status result = files_.WriteFileAtomically(Path("a"), "new", 0600);
    EXPECT_EQ(ReasonOf(result), c.reason) << result;
    EXPECT_EQ(Content("a"), "old");
    EXPECT_THAT(Names(), ElementsAre("a"));
  }
}

TEST_F(FileSystemTest, ShortWritesAndReadsAreContinued) {
  for (const Operation operation : {Operation::kWrite, Operation::kRead}) {
    ScriptedFaults::Rule rule;
    rule.operation = operation;
    rule.times = -1;
    rule.fault.at_most = 3;
    faults_.Add(std::move(rule));
  }
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "0123456789", 0600).ok());
  EXPECT_EQ(Content("a"), "0123456789");
  EXPECT_GE(faults_.count(Operation::kWrite), 4);
  auto file = files_.Open(Path("a"), OpenMode::kRead).value();
  uint8_t out[20];
  EXPECT_EQ(file.ReadAt(2, absl::MakeSpan(out)).value(), 8);
}

TEST_F(FileSystemTest, ShortWriteThenFullDiskIsAnError) {
  ScriptedFaults::Rule rule;
  rule.operation = Operation::kWrite;
  rule.fault.at_most = 3;
  faults_.Add(std::move(rule));
  faults_.Fail(Operation::kWrite, "", ENOSPC);
  const absl::Status result = files_.WriteFileAtomically(Path("a"), "0123456789", 0600);
  EXPECT_EQ(ReasonOf(result), v1::REASON_STORAGE_FULL);
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileSystemTest, FailedSyncIsFatal) {
  faults_.Fail(Operation::kSync, "", EIO);
  EXPECT_FALSE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  EXPECT_THAT(fatal_, HasSubstr("the process ends"));
  fatal_.clear();
  faults_.Fail(Operation::kSyncFolder, "", EIO);
  EXPECT_FALSE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  EXPECT_THAT(fatal_, HasSubstr("the process ends"));
}

TEST_F(FileSystemTest, FailedSyncAbortsByDefault) {
  ScriptedFaults faults;
  faults.Fail(Operation::kSync, "", EIO);
  const FileSystem files(&faults);
  EXPECT_DEATH(files.WriteFileAtomically(Path("a"), "x", 0600).IgnoreError(), "cannot sync");
}

TEST_F(FileSystemTest, KilledWriterLeavesTheOldFileAndATemporaryThatIsRemoved) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "old", 0600).ok());
  // Given a process that is killed after the write and before the rename
  const pid_t child = fork();
  if (child == 0) {
    ScriptedFaults::Rule rule;
    rule.operation = Operation::kRename;
    rule.callback = [] { raise(SIGKILL); };
    faults_.Add(std::move(rule));
    files_.WriteFileAtomically(Path("a"), "new", 0600).IgnoreError();
    _exit(0);
  }
  int how = 0;
  ASSERT_EQ(waitpid(child, &how, 0), child);
  ASSERT_TRUE(WIFSIGNALED(how));
  EXPECT_EQ(Content("a"), "old");
  ASSERT_EQ(Names().size(), 2);
  // When the next start cleans up, then only the temporary goes
  EXPECT_EQ(files_.RemoveStaleTemporaries(folder_).value(), 1);
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(FileSystemTest, TemporaryOfAWriteThatIsGoingOnStays) {
  ScriptedFaults::Rule rule;
  rule.operation = Operation::kRename;
  int removed = -1;
  rule.callback = [&] { removed = files_.RemoveStaleTemporaries(folder_).value(); };
  faults_.Add(std::move(rule));
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  EXPECT_EQ(removed, 0);
  EXPECT_EQ(Content("a"), "x");
}

TEST_F(FileSystemTest, ReadFileRefusesWhatIsMissingTooLongOrNoFile) {
  EXPECT_EQ(ReasonOf(files_.ReadFile(Path("none"), 10).status()), v1::REASON_NOT_FOUND);
  EXPECT_THAT(std::string(files_.ReadFile(Path("none"), 10).status().message()), HasSubstr("none"));
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "0123456789", 0600).ok());
  EXPECT_TRUE(files_.ReadFile(Path("a"), 10).ok());
  EXPECT_EQ(files_.ReadFile(Path("a"), SIZE_MAX)->size(), 10);
  EXPECT_EQ(ReasonOf(files_.ReadFile(Path("a"), 9).status()), v1::REASON_TOO_LARGE);
  EXPECT_EQ(ReasonOf(files_.ReadFile(folder_, 9).status()), v1::REASON_INVALID_ARGUMENT);
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReasonOf(files_.ReadFile(Path("pipe"), 9).status()), v1::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(files_.Open(Path("pipe"), OpenMode::kReadWrite).status()),
            v1::REASON_INVALID_ARGUMENT);
}

TEST_F(FileSystemTest, SymbolicLinksAreRefusedUnlessAsked) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  ASSERT_EQ(symlink(Path("a").c_str(), Path("link").c_str()), 0);
  EXPECT_EQ(ReasonOf(files_.ReadFile(Path("link"), 10).status()), v1::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(files_.Open(Path("link"), OpenMode::kRead).status()),
            v1::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(files_.Lock(Path("link")).status()), v1::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(files_.ReadFile(Path("link"), 10, Links::kFollow).value(), "x");
  EXPECT_FALSE(files_.Stat(Path("link"))->is_regular);
}

TEST_F(FileSystemTest, PathsWithNulAreRefused) {
  EXPECT_EQ(ReasonOf(files_.ReadFile(absl::string_view("a\0b", 3), 10).status()),
            v1::REASON_INVALID_ARGUMENT);
}

TEST_F(FileSystemTest, RemoveAndRename) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  ASSERT_TRUE(files_.MakeFolders(Path("f/g/h")).ok());
  ASSERT_TRUE(files_.MakeFolders(Path("f/g/h")).ok());
  ASSERT_TRUE(files_.Rename(Path("a"), Path("f/b")).ok());
  EXPECT_FALSE(files_.Exists(Path("a")).value());
  EXPECT_TRUE(files_.Exists(Path("f/b")).value());
  EXPECT_TRUE(files_.Stat(Path("f"))->is_folder);
  ASSERT_TRUE(files_.Remove(Path("f/b")).ok());
  EXPECT_EQ(ReasonOf(files_.Remove(Path("f/b"))), v1::REASON_NOT_FOUND);
  EXPECT_FALSE(files_.RemoveFolder(Path("f")).ok());
  EXPECT_TRUE(files_.RemoveFolder(Path("f/g/h")).ok());
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a"), "x", 0600).ok());
  EXPECT_EQ(ReasonOf(files_.MakeFolders(Path("a/b"))), v1::REASON_NOT_FOUND);
}

TEST_F(FileSystemTest, RandomAccessWritesGrowsAndReads) {
  auto file = files_.Open(Path("disk"), OpenMode::kCreateExclusive).value();
  EXPECT_EQ(ReasonOf(files_.Open(Path("disk"), OpenMode::kCreateExclusive).status()),
            v1::REASON_ALREADY_EXISTS);
  ASSERT_TRUE(file.Truncate(64 << 20).ok());
  ASSERT_TRUE(file.WriteAt(32 << 20, Bytes("hello")).ok());
  ASSERT_TRUE(file.Sync().ok());
  EXPECT_EQ(file.Size().value(), 64 << 20);
  uint8_t out[5];
  EXPECT_EQ(file.ReadAt(32 << 20, absl::MakeSpan(out)).value(), 5);
  EXPECT_EQ(std::string(out, out + 5), "hello");
  EXPECT_EQ(file.ReadAt((64 << 20) - 2, absl::MakeSpan(out)).value(), 2);
  EXPECT_EQ(file.ReadAt(65 << 20, absl::MakeSpan(out)).value(), 0);
  EXPECT_LT(files_.Stat(Path("disk"))->allocated_bytes, 1 << 20);
}

TEST_F(FileSystemTest, CopyRangeCopiesAndKeepsHoles) {
  auto from = files_.Open(Path("from"), OpenMode::kCreate).value();
  auto to = files_.Open(Path("to"), OpenMode::kCreate).value();
  ASSERT_TRUE(from.WriteAt(0, Bytes(std::string(300 << 10, 'a'))).ok());
  ASSERT_TRUE(from.WriteAt(8 << 20, Bytes("b")).ok());
  ASSERT_TRUE(from.Truncate(16 << 20).ok());
  EXPECT_EQ(files_.CopyRange(from, 0, &to, 0, 1 << 30).value(), 16 << 20);
  EXPECT_EQ(to.Size().value(), 16 << 20);
  uint8_t out[2] = {9, 9};
  EXPECT_EQ(to.ReadAt(8 << 20, absl::MakeSpan(out)).value(), 2);
  EXPECT_EQ(out[0], 'b');
  EXPECT_EQ(out[1], 0);
  EXPECT_LT(files_.Stat(Path("to"))->allocated_bytes, 2 << 20);
  // Over existing data a hole of the source is written as zeros.
  ASSERT_TRUE(to.WriteAt(1 << 20, Bytes("old")).ok());
  ASSERT_TRUE(files_.CopyRange(from, 1 << 20, &to, 1 << 20, 3).ok());
  EXPECT_EQ(to.ReadAt(1 << 20, absl::MakeSpan(out)).value(), 2);
  EXPECT_EQ(out[0], 0);
  // An error of `progress` stops it.
  EXPECT_TRUE(absl::IsCancelled(
      files_.CopyRange(from, 0, &to, 0, 1 << 30, [](uint64_t) { return absl::CancelledError(); })
          .status()));
}

TEST_F(FileSystemTest, LockIsExclusiveAlsoWithinTheProcess) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a.vmx"), "x", 0600).ok());
  auto lock = files_.Lock(Path("a.vmx"));
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(ReasonOf(files_.Lock(Path("a.vmx")).status()), v1::REASON_VM_IN_USE);
  lock->Release();
  EXPECT_TRUE(files_.Lock(Path("a.vmx")).ok());
  EXPECT_EQ(ReasonOf(files_.Lock(Path("none")).status()), v1::REASON_NOT_FOUND);
}

TEST_F(FileSystemTest, LockEndsWithItsProcess) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a.vmx"), "x", 0600).ok());
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto lock = files_.Lock(Path("a.vmx"));
    _exit(write(ready[1], lock.ok() ? "y" : "n", 1) == 1 ? pause() : 1);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(ReasonOf(files_.Lock(Path("a.vmx")).status()), v1::REASON_VM_IN_USE);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(files_.Lock(Path("a.vmx")).ok());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(FileSystemTest, ReplacingALockedFileKeepsTheLock) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a.vmx"), "x", 0600).ok());
  FileLock lock = files_.Lock(Path("a.vmx")).value();
  ASSERT_TRUE(files_.ReplaceLocked(&lock, "y", 0600).ok());
  EXPECT_EQ(Content("a.vmx"), "y");
  EXPECT_EQ(ReasonOf(files_.Lock(Path("a.vmx")).status()), v1::REASON_VM_IN_USE);
  // A failed replacement keeps lock and content.
  faults_.Fail(Operation::kWrite, "", ENOSPC);
  EXPECT_EQ(ReasonOf(files_.ReplaceLocked(&lock, "z", 0600)), v1::REASON_STORAGE_FULL);
  EXPECT_EQ(Content("a.vmx"), "y");
  EXPECT_EQ(ReasonOf(files_.Lock(Path("a.vmx")).status()), v1::REASON_VM_IN_USE);
  lock.Release();
  EXPECT_TRUE(files_.Lock(Path("a.vmx")).ok());
}

TEST_F(FileSystemTest, LockOfAFileThatIsReplacedMeanwhileIsOnTheNewFile) {
  ASSERT_TRUE(files_.WriteFileAtomically(Path("a.vmx"), "x", 0600).ok());
  ScriptedFaults::Rule rule;
  rule.operation = Operation::kLock;
  rule.callback = [&] { EXPECT_TRUE(files_.WriteFileAtomically(Path("a.vmx"), "y", 0600).ok()); };
  faults_.Add(std::move(rule));
  const FileLock lock = files_.Lock(Path("a.vmx")).value();
  EXPECT_EQ(ReasonOf(files_.Lock(Path("a.vmx")).status()), v1::REASON_VM_IN_USE);
}

TEST_F(FileSystemTest, FolderOfAPath) {
  EXPECT_EQ(FolderOf("/a/b/c"), "/a/b");
  EXPECT_EQ(FolderOf("/a/b/"), "/a");
  EXPECT_EQ(FolderOf("/c"), "/");
  EXPECT_EQ(FolderOf("c"), ".");
}

}  // namespace
}  // namespace keysphere::files
