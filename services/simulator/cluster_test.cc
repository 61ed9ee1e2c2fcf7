#include "services/simulator/cluster.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/simulator/testing_cluster.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

// The third field of /proc/PID/stat: 'T' while stopped; 0: no such process.
char KernelState(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const size_t end = text.str().rfind(')');
  return end == std::string::npos ? 0 : text.str()[end + 2];
}

class ClusterTest : public ::testing::Test {
 protected:
  void Make(TestingCluster::Setup setup = {}) {
    setup.folder = absl::StrCat(::testing::TempDir(), "/",
                                ::testing::UnitTest::GetInstance()->current_test_info()->name());
    testing_ = std::make_unique<TestingCluster>(setup);
  }
  sim::v1::SimulatedProcess Started(const std::string& name) {
    testing_->AddHost(name);
    const auto started = testing_->Do(&Cluster::Start, name);
    EXPECT_THAT(started, IsOk());
    return started.value_or(sim::v1::SimulatedProcess());
  }
  std::unique_ptr<TestingCluster> testing_;
};

TEST_F(ClusterTest, AProcessIsStoppedOrderlyAndStartsAgain) {
  Make();
  const auto started = Started("esx-1");
  const auto stopped = testing_->Do(&Cluster::Stop, "esx-1");
  ASSERT_THAT(stopped, IsOk());
  EXPECT_EQ(stopped->state(), sim::v1::PROCESS_STATE_ENDED);
  EXPECT_EQ(stopped->exit_status(), "exit 0");
  EXPECT_EQ(KernelState(started.pid()), 0);
  EXPECT_THAT(testing_->Do(&Cluster::Stop, "esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(testing_->Do(&Cluster::Start, "esx-1"), IsOk());
}

TEST_F(ClusterTest, NodesOfAKmsHaveOneFolderAndTheirOwnControl) {
  Make({"", /*simulated_time=*/true});
  Topology topology;
  topology.kms = {"kms-1", "kms-2"};
  ASSERT_THAT(testing_->cluster().Add(topology), IsOk());
  const auto first = testing_->cluster().Get("kms-1");
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->kind(), sim::v1::PROCESS_KIND_KMS);
  EXPECT_THAT(first->address(), HasSubstr(".5.1:5696"));
  EXPECT_THAT(first->control_address(), HasSubstr(".5.1:8991"));
  for (const char* name : {"kms-1", "kms-2"}) {
    ASSERT_THAT(testing_->Do(&Cluster::Start, name), IsOk());
  }
  const auto second = testing_->cluster().Get("kms-2");
  ASSERT_THAT(second, IsOk());
  std::ifstream file(absl::StrCat("/proc/", second->pid(), "/cmdline"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string flags = absl::StrReplaceAll(text.str(), {{absl::string_view("\0", 1), " "}});
  EXPECT_THAT(flags, HasSubstr("/state/kms --control " + second->control_address()));
  EXPECT_THAT(flags, HasSubstr("--simulation --clock-page"));
  EXPECT_THAT(flags, ::testing::Not(HasSubstr("--state-dir")));
}

TEST_F(ClusterTest, AProcessRunsUntilItIsKilledAndKeepsItsAddress) {
  Make();
  const auto started = Started("esx-1");
  EXPECT_EQ(started.state(), sim::v1::PROCESS_STATE_RUNNING);
  EXPECT_GT(started.pid(), 0);
  EXPECT_EQ(started.starts(), 1);
  EXPECT_NE(KernelState(started.pid()), 0);

  const auto killed = testing_->Do(&Cluster::Kill, "esx-1");
  ASSERT_THAT(killed, IsOk());
  EXPECT_EQ(killed->state(), sim::v1::PROCESS_STATE_ENDED);
  EXPECT_EQ(killed->exit_status(), "signal 9");
  EXPECT_EQ(killed->pid(), 0);
  EXPECT_EQ(KernelState(started.pid()), 0);

  const auto again = testing_->Do(&Cluster::Start, "esx-1");
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->starts(), 2);
  EXPECT_EQ(again->address(), started.address());
  EXPECT_EQ(again->exit_status(), "");
}

TEST_F(ClusterTest, ARebootIsAnOrderlyEndAndAStart) {
  Make();
  const auto before = Started("esx-1");
  const auto after = testing_->Do(&Cluster::Reboot, "esx-1");
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->starts(), 2);
  EXPECT_NE(after->pid(), before.pid());
  EXPECT_EQ(KernelState(before.pid()), 0);
}

TEST_F(ClusterTest, AProcessThatDoesNotStopIsNotRebooted) {
  TestingCluster::Setup setup;
  setup.stop_guard = absl::Milliseconds(50);
  Make(setup);
  const auto before = Started("stubborn");
  EXPECT_THAT(testing_->Do(&Cluster::Reboot, "stubborn"), HasReason(v1::REASON_DEADLINE_EXCEEDED));
  // It runs on, and can be killed without a start that follows.
  EXPECT_EQ(testing_->cluster().Get("stubborn")->pid(), before.pid());
  EXPECT_THAT(testing_->Do(&Cluster::Kill, "stubborn"), IsOk());
  EXPECT_EQ(testing_->cluster().Get("stubborn")->starts(), 1);
}

TEST_F(ClusterTest, APausedProcessStandsStill) {
  Make();
  const auto started = Started("esx-1");
  const auto paused = testing_->Do(&Cluster::Pause, "esx-1");
  ASSERT_THAT(paused, IsOk());
  EXPECT_EQ(paused->state(), sim::v1::PROCESS_STATE_PAUSED);
  EXPECT_EQ(KernelState(started.pid()), 'T');
  EXPECT_THAT(testing_->Do(&Cluster::Reboot, "esx-1"), HasReason(v1::REASON_INVALID_STATE));

  const auto resumed = testing_->Do(&Cluster::Resume, "esx-1");
  ASSERT_THAT(resumed, IsOk());
  EXPECT_EQ(resumed->state(), sim::v1::PROCESS_STATE_RUNNING);
  EXPECT_THAT(testing_->Do(&Cluster::Pause, "esx-1"), IsOk());
  // A hanging process loses its power as any other.
  EXPECT_THAT(testing_->Do(&Cluster::Kill, "esx-1"), IsOk());
}

TEST_F(ClusterTest, WhatDoesNotFitTheStateIsRefused) {
  Make();
  testing_->AddHost("esx-1");
  for (const auto operation :
       {&Cluster::Kill, &Cluster::Reboot, &Cluster::Pause, &Cluster::Resume}) {
    EXPECT_THAT(testing_->Do(operation, "esx-1"), HasReason(v1::REASON_INVALID_STATE));
    EXPECT_THAT(testing_->Do(operation, "esx-9"), HasReason(v1::REASON_NOT_FOUND));
  }
  ASSERT_THAT(testing_->Do(&Cluster::Start, "esx-1"), IsOk());
  EXPECT_THAT(testing_->Do(&Cluster::Start, "esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(testing_->Do(&Cluster::Resume, "esx-1"), HasReason(v1::REASON_INVALID_STATE));
}

TEST_F(ClusterTest, AProcessThatEndsBeforeItIsReadySaysHowAndWhereItsLogIs) {
  Make();
  testing_->AddHost("broken");
  const auto started = testing_->Do(&Cluster::Start, "broken");
  EXPECT_THAT(started, HasReason(v1::REASON_UNREACHABLE));
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("exit 3"));
  EXPECT_THAT(status::DetailOf(started.status()).next_step(), HasSubstr("broken.log"));
  const auto log = testing_->files().ReadFile(testing_->folder().LogFile("broken"), 1000);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(*log, "broken begins\n");
}

TEST_F(ClusterTest, AProcessThatIsNeverReadyIsKilledByTheGuard) {
  TestingCluster::Setup setup;
  setup.start_guard = absl::Milliseconds(50);
  Make(setup);
  testing_->AddHost("mute");
  const auto started = testing_->Do(&Cluster::Start, "mute");
  EXPECT_THAT(started, HasReason(v1::REASON_UNREACHABLE));
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("signal 9"));
}

TEST_F(ClusterTest, AProgramThatIsNotThereSaysSo) {
  TestingCluster::Setup setup;
  setup.binary = "/nowhere/keysphere-hostagent";
  Make(setup);
  testing_->AddHost("esx-1");
  const auto started = testing_->Do(&Cluster::Start, "esx-1");
  EXPECT_THAT(started, HasReason(v1::REASON_UNREACHABLE));
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("/nowhere/keysphere-hostagent"));
}

TEST_F(ClusterTest, AHostWithoutANameGetsTheNextFreeOne) {
  Make();
  testing_->AddHost("esx-1");
  EXPECT_EQ(testing_->cluster().AddHost(HostPlan()).value(), "esx-2");
  HostPlan taken;
  taken.name = "esx-2";
  EXPECT_THAT(testing_->cluster().AddHost(taken), HasReason(v1::REASON_ALREADY_EXISTS));
  taken.name = "a\nb";
  EXPECT_THAT(testing_->cluster().AddHost(taken), HasReason(v1::REASON_INVALID_NAME));
}

TEST_F(ClusterTest, ClusterJsonTellsEachChange) {
  Make();
  testing_->AddHost("esx-1");
  ASSERT_THAT(testing_->cluster().Publish(), IsOk());
  const auto read = [&] {
    const auto text = testing_->files().ReadFile(testing_->folder().ClusterFile(), 1 << 20);
    return ClusterFromJson(text.value()).value().processes(0);
  };
  EXPECT_EQ(read().state(), sim::v1::PROCESS_STATE_ENDED);
  const auto started = testing_->Do(&Cluster::Start, "esx-1");
  EXPECT_EQ(read().pid(), started->pid());
  ASSERT_THAT(testing_->Do(&Cluster::Pause, "esx-1"), IsOk());
  EXPECT_EQ(read().state(), sim::v1::PROCESS_STATE_PAUSED);
  ASSERT_THAT(testing_->Do(&Cluster::Kill, "esx-1"), IsOk());
  EXPECT_EQ(read().exit_status(), "signal 9");
}

TEST_F(ClusterTest, TimeWaitsForAStartAndNotForThePausedOrTheDead) {
  TestingCluster::Setup setup;
  setup.simulated_time = true;
  Make(setup);
  clock::page::ClockMaster* const master = testing_->master();
  // Given a host that does not become READY: time stands still.
  testing_->AddHost("mute");
  Waiting<sim::v1::SimulatedProcess> mute;
  testing_->cluster().Start("mute", mute.Callback());
  master->SetQuietGuard(absl::Milliseconds(20));
  EXPECT_THAT(master->AdvanceBy(absl::Minutes(5)), HasReason(v1::REASON_NOT_QUIESCENT));

  // When it has lost its power, time goes on.
  ASSERT_THAT(testing_->Do(&Cluster::Kill, "mute"), IsOk());
  EXPECT_THAT(mute.Get(), HasReason(v1::REASON_UNREACHABLE));
  master->SetQuietGuard(absl::Seconds(30));
  EXPECT_THAT(master->AdvanceBy(absl::Minutes(5)), IsOk());

  // And so it does past one that is paused.
  Started("esx-1");
  ASSERT_THAT(testing_->Do(&Cluster::Pause, "esx-1"), IsOk());
  EXPECT_THAT(master->AdvanceBy(absl::Minutes(5)), IsOk());
}

TEST_F(ClusterTest, EndAllEndsAllAndNothingStartsAnyMore) {
  TestingCluster::Setup setup;
  setup.stop_guard = absl::Milliseconds(50);
  Make(setup);
  const auto first = Started("esx-1");
  const auto stubborn = Started("stubborn");
  const auto paused = Started("esx-3");
  ASSERT_THAT(testing_->Do(&Cluster::Pause, "esx-3"), IsOk());
  Waiting<bool> ended;
  testing_->cluster().EndAll(/*orderly=*/true, [done = ended.Callback()]() mutable { done(true); });
  ASSERT_THAT(ended.Get(), IsOk());
  for (const auto& process : {first, stubborn, paused}) {
    EXPECT_EQ(KernelState(process.pid()), 0);
  }
  EXPECT_EQ(testing_->cluster().Get("esx-1")->exit_status(), "exit 0");
  EXPECT_EQ(testing_->cluster().Get("stubborn")->exit_status(), "signal 9");
  EXPECT_THAT(testing_->Do(&Cluster::Start, "esx-1"), HasReason(v1::REASON_SHUTTING_DOWN));
}

TEST_F(ClusterTest, NobodyIsLeftWhenTheSpawnerGoes) {
  Make();
  const pid_t pid = Started("esx-1").pid();
  testing_.reset();
  EXPECT_EQ(KernelState(pid), 0);
}

}  // namespace
}  // namespace keysphere::simulator
