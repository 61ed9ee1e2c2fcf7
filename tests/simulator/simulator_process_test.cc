// The simulator with the real controller and host agents, each a process.
#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "keysphere/v1/controller.grpc.pb.h"
#include "keysphere/v1/events.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tests/simulator/running_cluster.h"

namespace keysphere::tests {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using SimulatorStub = class sim::v1::Simulator::Stub::async;
using HostsStub = class v1::Hosts::Stub::async;
using VmsStub = class v1::VirtualMachines::Stub::async;
using EventsStub = class v1::Events::Stub::async;
using ControllerStub = class v1::Controller::Stub::async;

rpc::CallOptions Patient() {
  rpc::CallOptions options;
  options.timeout = absl::Seconds(60);
  return options;
}

class SimulatorProcessTest : public ::testing::Test {
 protected:
  void Up(const std::vector<std::string>& flags) {
    cluster_ = std::make_unique<RunningCluster>(
        absl::StrCat(::testing::TempDir(), "/",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name()),
        flags);
    ASSERT_THAT(cluster_->ready(), HasSubstr("READY {")) << "see the log above";
    simulator_ =
        std::make_unique<rpc::Client<sim::v1::Simulator>>(cluster_->Client<sim::v1::Simulator>(""));
  }
  template <typename Request>
  absl::StatusOr<sim::v1::SimulatedProcess> Do(
      rpc::internal::UnaryMethod<SimulatorStub, Request, sim::v1::SimulatedProcess> method,
      const std::string& name) {
    Request request;
    request.set_name(name);
    return simulator_->CallSync(method, std::move(request), Patient());
  }
  absl::StatusOr<sim::v1::ClockState> Advance(absl::Duration by) {
    sim::v1::AdvanceClockRequest request;
    request.mutable_by()->set_seconds(absl::ToInt64Seconds(by));
    return simulator_->CallSync(&SimulatorStub::AdvanceClock, std::move(request), Patient());
  }
  v1::Host Host(const std::string& name) {
    v1::GetHostRequest request;
    request.set_name(name);
    return cluster_->Client<v1::Hosts>("vcenter-a")
        .CallSync(&HostsStub::GetHost, std::move(request), Patient())
        .value_or(v1::Host());
  }
  // Until it holds.
  absl::Status WaitFor(const v1::WaitForRequest& predicate) {
    auto ended = std::make_shared<std::promise<absl::Status>>();
    const rpc::Subscription wait =
        cluster_->Client<v1::Events>("vcenter-a")
            .Watch(
                &EventsStub::WaitFor, predicate, Patient(), [](const v1::WaitForResponse&) {},
                [ended](absl::Status status) { ended->set_value(status); });
    return ended->get_future().get();
  }
  std::vector<pid_t> Pids() {
    std::vector<pid_t> pids;
    const sim::v1::SimulatedCluster cluster = cluster_->Read();
    for (const auto& process : cluster.processes()) pids.push_back(process.pid());
    return pids;
  }

  std::unique_ptr<RunningCluster> cluster_;
  std::unique_ptr<rpc::Client<sim::v1::Simulator>> simulator_;
};

TEST_F(SimulatorProcessTest, UpMakesWhatItsFlagsSay) {
  Up({"--hosts", "2", "--tpm", "1", "--vms", "3", "--encrypted", "2", "--simulated-time"});
  const sim::v1::SimulatedCluster cluster = cluster_->Read();
  ASSERT_THAT(cluster.processes(), SizeIs(3));
  EXPECT_TRUE(cluster.simulated_time());
  EXPECT_EQ(cluster.pid(), cluster_->pid());
  for (const auto& process : cluster.processes()) {
    EXPECT_EQ(process.state(), sim::v1::PROCESS_STATE_RUNNING);
    EXPECT_TRUE(IsAlive(process.pid()));
  }
  // The hosts are attached, and the first alone has a TPM.
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_EQ(Host("esx-1").cluster(), "cluster-a");
  EXPECT_EQ(Host("esx-1").tpm_version(), v1::TPM_VERSION_2_0);
  EXPECT_EQ(Host("esx-2").tpm_version(), v1::TPM_VERSION_NONE);
  // Two VMs are encrypted, one is not.
  const auto vms = cluster_->Client<v1::VirtualMachines>("vcenter-a")
                       .CallSync(&VmsStub::ListVms, v1::ListVmsRequest(), Patient());
  ASSERT_THAT(vms, IsOk());
  ASSERT_THAT(vms->vms(), SizeIs(3));
  for (const v1::Vm& vm : vms->vms()) EXPECT_EQ(vm.has_key_id(), vm.name() != "vm-3") << vm.name();
}

TEST_F(SimulatorProcessTest, HostsDieHangAndComeBack) {
  Up({"--hosts", "2", "--simulated-time"});
  const auto before = cluster_->Process("esx-1");

  const auto killed = Do(&SimulatorStub::KillProcess, "esx-1");
  ASSERT_THAT(killed, IsOk());
  EXPECT_EQ(killed->exit_status(), "signal 9");
  EXPECT_FALSE(IsAlive(before.pid()));
  EXPECT_THAT(Do(&SimulatorStub::KillProcess, "esx-1"), HasReason(v1::REASON_INVALID_STATE));
  const auto started = Do(&SimulatorStub::StartProcess, "esx-1");
  ASSERT_THAT(started, IsOk());
  EXPECT_EQ(started->address(), before.address());
  EXPECT_NE(started->pid(), before.pid());

  const auto rebooted = Do(&SimulatorStub::RebootProcess, "esx-2");
  ASSERT_THAT(rebooted, IsOk());
  EXPECT_EQ(rebooted->starts(), 2);

  ASSERT_THAT(Do(&SimulatorStub::PauseProcess, "esx-2"), IsOk());
  EXPECT_EQ(cluster_->Process("esx-2").state(), sim::v1::PROCESS_STATE_PAUSED);
  // Time does not wait for who hangs; the controller notes it.
  ASSERT_THAT(Advance(absl::Minutes(10)), IsOk());
  EXPECT_EQ(Host("esx-2").connection_state(), v1::CONNECTION_STATE_NOT_RESPONDING);
  ASSERT_THAT(Do(&SimulatorStub::ResumeProcess, "esx-2"), IsOk());
  ASSERT_THAT(Advance(absl::Minutes(10)), IsOk());
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_EQ(Host("esx-2").connection_state(), v1::CONNECTION_STATE_CONNECTED);
}

TEST_F(SimulatorProcessTest, S132_ARebootedHostIsThereWhileTimeStandsStill) {
  Up({"--hosts", "1", "--vms", "1", "--encrypted", "1", "--simulated-time"});
  const auto vms = cluster_->Client<v1::VirtualMachines>("vcenter-a");
  v1::PowerOnVmRequest power_on;
  power_on.set_vm("vm-1");
  v1::WaitForRequest off;
  off.mutable_vm()->set_vm("vm-1");
  off.mutable_vm()->set_power_state(v1::POWER_STATE_OFF);
  ASSERT_THAT(WaitFor(off), IsOk());
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(vms.CallSync(&VmsStub::PowerOnVm, power_on, Patient()), IsOk());
    // In order, and at once.
    if (i % 2 == 0) {
      ASSERT_THAT(Do(&SimulatorStub::RebootProcess, "esx-1"), IsOk());
    } else {
      ASSERT_THAT(Do(&SimulatorStub::KillProcess, "esx-1"), IsOk());
      ASSERT_THAT(Do(&SimulatorStub::StartProcess, "esx-1"), IsOk());
    }
    // That it is off now, the host alone could tell.
    ASSERT_THAT(WaitFor(off), IsOk());
    EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  }
  EXPECT_THAT(vms.CallSync(&VmsStub::PowerOnVm, power_on, Patient()), IsOk());
}

TEST_F(SimulatorProcessTest, FiveMinutesOfRemediationPassAtOnce) {
  Up({"--hosts", "2", "--simulated-time"});
  const auto controller = cluster_->Client<v1::Controller>("vcenter-a");
  const auto about = [&] {
    return controller.CallSync(&ControllerStub::GetAbout, v1::GetAboutRequest(), Patient());
  };
  const auto first = about();
  ASSERT_THAT(first, IsOk());
  for (int pass = 1; pass <= 2; ++pass) {
    const auto advanced = Advance(absl::Minutes(5));
    ASSERT_THAT(advanced, IsOk());
    EXPECT_GT(advanced->steps(), 0);
    const auto now = about();
    ASSERT_THAT(now, IsOk());
    EXPECT_EQ(now->now().seconds() - first->now().seconds(), 300 * pass);
    EXPECT_GT(now->last_pass_time().seconds(), first->now().seconds() + 300 * (pass - 1));
  }
}

TEST_F(SimulatorProcessTest, ACallThatWaitsForAHangingHostHoldsUpNoTimeAndNamesTheHost) {
  Up({"--hosts", "1", "--vms", "1", "--simulated-time"});
  ASSERT_THAT(Do(&SimulatorStub::PauseProcess, "esx-1"), IsOk());
  auto ended = std::make_shared<std::promise<absl::Status>>();
  auto vms = cluster_->Client<v1::VirtualMachines>("vcenter-a");
  v1::PowerOnVmRequest request;
  request.set_vm("vm-1");
  vms.Call(&VmsStub::PowerOnVm, request, Patient(),
           [ended](absl::StatusOr<v1::Vm> vm) { ended->set_value(vm.status()); });
  std::future<absl::Status> answer = ended->get_future();
  while (answer.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    ASSERT_THAT(Advance(absl::Seconds(5)), IsOk());
  }
  const absl::Status refused = answer.get();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr("esx-1"));
}

TEST_F(SimulatorProcessTest, ACutLinkIsSeenAndHeals) {
  Up({"--hosts", "1", "--simulated-time"});
  sim::v1::SetLinkFaultRequest fault;
  fault.set_from("vcenter-a");
  fault.set_to("esx-1");
  fault.set_cut(true);
  ASSERT_THAT(simulator_->CallSync(&SimulatorStub::SetLinkFault, fault, Patient()), IsOk());
  ASSERT_THAT(Advance(absl::Minutes(10)), IsOk());
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_NOT_RESPONDING);
  fault.set_cut(false);
  ASSERT_THAT(simulator_->CallSync(&SimulatorStub::SetLinkFault, fault, Patient()), IsOk());
  ASSERT_THAT(Advance(absl::Minutes(10)), IsOk());
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
}

TEST_F(SimulatorProcessTest, AFurtherHostCanBeAdded) {
  Up({"--topology", "vcenter-a=1,vcenter-b=1"});
  sim::v1::AddHostProcessRequest request;
  request.set_tpm(true);
  const auto added = simulator_->CallSync(&SimulatorStub::AddHostProcess, request, Patient());
  ASSERT_THAT(added, IsOk());
  EXPECT_EQ(added->name(), "esx-3");
  v1::AddHostRequest attach;
  attach.set_name(added->name());
  attach.set_address(added->address());
  const auto host = cluster_->Client<v1::Hosts>("vcenter-b")
                        .CallSync(&HostsStub::AddHost, std::move(attach), Patient());
  ASSERT_THAT(host, IsOk());
  EXPECT_EQ(host->tpm_version(), v1::TPM_VERSION_2_0);
}

TEST_F(SimulatorProcessTest, TheChildrenDieWithTheSimulatorHoweverItDies) {
  Up({"--hosts", "2"});
  const std::vector<pid_t> pids = Pids();
  ASSERT_THAT(pids, SizeIs(3));
  // Also one that stands still.
  ASSERT_THAT(Do(&SimulatorStub::PauseProcess, "esx-1"), IsOk());
  cluster_->Signal(SIGKILL);
  EXPECT_EQ(cluster_->Wait(), 128 + SIGKILL);
  for (const pid_t pid : pids) WaitUntilGone(pid);
}

TEST_F(SimulatorProcessTest, DownLeavesNothingBehind) {
  Up({"--hosts", "2"});
  const std::vector<pid_t> pids = Pids();
  EXPECT_THAT(simulator_->CallSync(&SimulatorStub::Shutdown, sim::v1::ShutdownRequest(), Patient()),
              IsOk());
  // The answer comes when the processes have ended.
  for (const pid_t pid : pids) EXPECT_FALSE(IsAlive(pid));
  EXPECT_EQ(cluster_->Wait(), 0);
  EXPECT_FALSE(files::FileSystem().Exists(cluster_->folder()).value());
}

TEST_F(SimulatorProcessTest, SigtermEndsItToo) {
  Up({"--hosts", "1", "--keep"});
  const std::vector<pid_t> pids = Pids();
  cluster_->Signal(SIGTERM);
  EXPECT_EQ(cluster_->Wait(), 0);
  for (const pid_t pid : pids) EXPECT_FALSE(IsAlive(pid));
  // What is kept says how they ended.
  EXPECT_EQ(cluster_->Process("esx-1").exit_status(), "exit 0");
}

}  // namespace
}  // namespace keysphere::tests
