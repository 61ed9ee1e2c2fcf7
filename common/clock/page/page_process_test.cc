#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock/page/clock_master.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::clock::page {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

constexpr int64_t kStartSeconds = 1'700'000'000;

// A page_test_process; killed when it goes out of scope.
class Process {
 public:
  Process(const std::string& page, const std::string& mode) {
    int in[2];
    int out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::string program = "common/clock/page/page_test_process";
    std::string flag = page;
    std::string how = mode;
    char* const argv[] = {program.data(), flag.data(), how.data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    to_ = in[1];
    from_ = out[0];
  }
  ~Process() {
    Kill();
    close(to_);
    close(from_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // The next line of its output; empty at the end.
  std::string ReadLine() {
    std::string line;
    char byte = 0;
    while (read(from_, &byte, 1) == 1 && byte != '\n') line += byte;
    return line;
  }

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int to_ = -1;
  int from_ = -1;
};

class PageProcessTest : public ::testing::Test {
 protected:
  void MakeMaster() {
    ClockMaster::Options options;
    options.slots = 8;
    options.start = absl::FromUnixSeconds(kStartSeconds);
    auto master = ClockMaster::Create(::testing::TempDir() + "/clock", options);
    ASSERT_THAT(master, IsOk());
    master_ = *std::move(master);
  }

  std::unique_ptr<Process> Start(int slot, const std::string& mode) {
    master_->HoldForStart(slot);
    auto process = std::make_unique<Process>(master_->FlagOf(slot), mode);
    EXPECT_EQ(process->ReadLine(), "READY");
    master_->EndStart(slot);
    return process;
  }

  std::unique_ptr<ClockMaster> master_;
};

TEST_F(PageProcessTest, EveryProcessDoesItsWorkAtItsTimes) {
  // Given three processes that tick each minute.
  MakeMaster();
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 3; ++i) {
    const auto slot = master_->AllocateSlot(absl::StrCat("host/", i));
    ASSERT_THAT(slot, IsOk());
    processes.push_back(Start(*slot, "tick"));
  }

  // When an hour of virtual time goes by.
  ASSERT_THAT(master_->AdvanceBy(absl::Hours(1)), IsOk());

  // Then each has ticked at exactly each minute of it.
  for (auto& process : processes) {
    for (int minute = 1; minute <= 60; ++minute) {
      ASSERT_EQ(process->ReadLine(), absl::StrCat("tick ", kStartSeconds + 60 * minute));
    }
  }
}

TEST_F(PageProcessTest, AKilledProcessHoldsTimeUntilItsSlotIsCleared) {
  MakeMaster();
  const auto slot = master_->AllocateSlot("host/esx-1");
  ASSERT_THAT(slot, IsOk());
  auto process = Start(*slot, "hang");
  master_->SetQuietGuard(absl::Milliseconds(30));
  const absl::Status status = master_->AdvanceBy(absl::Seconds(1));
  EXPECT_THAT(status, HasReason(v1::REASON_NOT_QUIESCENT));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"host/esx-1\" is busy (hang x1)"));

  process->Kill();
  EXPECT_THAT(master_->WaitQuiet(), HasReason(v1::REASON_NOT_QUIESCENT));
  master_->ClearSlot(*slot);
  master_->SetQuietGuard(absl::Seconds(30));
  EXPECT_THAT(master_->AdvanceBy(absl::Seconds(1)), IsOk());

  // Its next start has the same slot, and the time that has gone by.
  process = Start(*slot, "tick");
  ASSERT_THAT(master_->AdvanceBy(absl::Minutes(1)), IsOk());
  EXPECT_EQ(process->ReadLine(), absl::StrCat("tick ", kStartSeconds + 61));
}

}  // namespace
}  // namespace keysphere::clock::page
