// A standard key provider with real daemons: controller, hosts and the nodes of a KMS.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "keysphere/v1/tasks.grpc.pb.h"
#include "tests/simulator/running_cluster.h"

namespace keysphere::tests {
namespace {

using status::IsOk;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using HostsStub = class v1::Hosts::Stub::async;
using KmsStub = class sim::v1::KmsFaults::Stub::async;
using ProvidersStub = class v1::KeyProviders::Stub::async;
using SimulatorStub = class sim::v1::Simulator::Stub::async;
using TasksStub = class v1::Tasks::Stub::async;
using VmsStub = class v1::VirtualMachines::Stub::async;

constexpr char kVCenter[] = "vcenter-a";
constexpr char kProvider[] = "skp-1";

rpc::CallOptions Patient() {
  rpc::CallOptions options;
  options.timeout = absl::Seconds(60);
  return options;
}

class StandardProviderTest : public ::testing::Test {
 protected:
  void Up(const std::vector<std::string>& flags) {
    cluster_ = std::make_unique<RunningCluster>(
        absl::StrCat(::testing::TempDir(), "/",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name()),
        flags);
    ASSERT_THAT(cluster_->ready(), HasSubstr("READY {")) << "see the log above";
  }
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Ask(
      const std::string& process,
      rpc::internal::UnaryMethod<typename rpc::Client<Service>::Async, Request, Response> method,
      Request request) {
    return cluster_->Client<Service>(process).CallSync(method, std::move(request), Patient());
  }

  template <typename Request>
  void Do(rpc::internal::UnaryMethod<SimulatorStub, Request, sim::v1::SimulatedProcess> method,
          const std::string& name) {
    Request request;
    request.set_name(name);
    ASSERT_THAT(Ask<sim::v1::Simulator>("", method, std::move(request)), IsOk()) << name;
  }
  void Advance(absl::Duration by) {
    sim::v1::AdvanceClockRequest request;
    request.mutable_by()->set_seconds(absl::ToInt64Seconds(by));
    ASSERT_THAT(Ask<sim::v1::Simulator>("", &SimulatorStub::AdvanceClock, request), IsOk());
  }
  v1::KeyProvider Provider() {
    v1::GetKeyProviderRequest request;
    request.set_name(kProvider);
    return Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::GetKeyProvider, request)
        .value_or(v1::KeyProvider());
  }
  v1::Vm Vm(const std::string& name) {
    v1::GetVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::GetVm, request).value_or(v1::Vm());
  }
  v1::Host Host(const std::string& name) {
    v1::GetHostRequest request;
    request.set_name(name);
    return Ask<v1::Hosts>(kVCenter, &HostsStub::GetHost, request).value_or(v1::Host());
  }
  absl::Status PowerOn(const std::string& name) {
    v1::PowerOnVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::PowerOnVm, request).status();
  }
  absl::Status PowerOff(const std::string& name) {
    v1::PowerOffVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::PowerOffVm, request).status();
  }
  // Begins to make an encrypted VM.
  v1::Task Create(const std::string& name, const std::string& host) {
    v1::CreateVmRequest request;
    request.set_name(name);
    request.set_host(host);
    request.mutable_crypto()->mutable_key()->set_provider_id(kProvider);
    auto task = Ask<v1::VirtualMachines>(kVCenter, &VmsStub::CreateVm, request);
    EXPECT_THAT(task, IsOk());
    return task.value_or(v1::Task());
  }
  v1::Task Now(const v1::Task& task) {
    v1::GetTaskRequest request;
    request.set_id(task.id());
    return Ask<v1::Tasks>(kVCenter, &TasksStub::GetTask, request).value_or(v1::Task());
  }
  // The task when time has gone on, by a minute, and nothing is under way.
  v1::Task Ended(const v1::Task& task) {
    Advance(absl::Minutes(1));
    return Now(task);
  }
  void SetFault(const std::string& node, sim::v1::SetKmsFaultRequest request) {
    request.set_name(node);
    ASSERT_THAT(Ask<sim::v1::Simulator>("", &SimulatorStub::SetKmsFault, std::move(request)),
                IsOk());
  }
  sim::v1::KmsStats Stats(const std::string& node) {
    return Ask<sim::v1::KmsFaults>(node, &KmsStub::GetKmsStats, sim::v1::GetKmsStatsRequest())
        .value_or(sim::v1::KmsStats());
  }

  std::unique_ptr<RunningCluster> cluster_;
};

TEST_F(StandardProviderTest, S38_AsManyKeysAsVmsAndHostsWhoeverEncryptsAtOnce) {
  Up({"--hosts", "4", "--kms", "2", "--vms", "24", "--encrypted", "24", "--encrypted-by",
      "standard"});
  // The nodes are one key server.
  for (const char* node : {"kms-1", "kms-2"}) EXPECT_EQ(Stats(node).objects(), 24 + 4) << node;
  int64_t created = 0;
  for (const char* node : {"kms-1", "kms-2"}) created += Stats(node).requests().at("Create");
  EXPECT_EQ(created, 24 + 4);
}

TEST_F(StandardProviderTest, S52_S53_S54_S60_S68_FromItsMakingThroughAnOutage) {
  Up({"--hosts", "2", "--kms", "2", "--vms", "2", "--encrypted", "2", "--encrypted-by", "standard",
      "--simulated-time"});
  EXPECT_TRUE(Provider().is_default());
  ASSERT_THAT(Provider().standard_info().servers(), SizeIs(2));
  for (const char* vm : {"vm-1", "vm-2"}) {
    EXPECT_EQ(Vm(vm).key_id().provider_id(), kProvider);
    EXPECT_THAT(PowerOn(vm), IsOk());
  }
  // S60: one node dies, and the other one makes the next key.
  Do(&SimulatorStub::KillProcess, "kms-1");
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_YELLOW);
  EXPECT_EQ(Ended(Create("vm-3", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);

  // S52: all are dead, and what is registered goes on.
  Do(&SimulatorStub::KillProcess, "kms-2");
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_RED);
  EXPECT_THAT(PowerOff("vm-2"), IsOk());
  EXPECT_THAT(PowerOn("vm-2"), IsOk());

  // S53: nothing new is encrypted, and nothing of it is left.
  const v1::Task refused = Ended(Create("vm-4", "esx-1"));
  EXPECT_EQ(refused.state(), v1::Task::STATE_FAILED);
  EXPECT_EQ(refused.error().reason(), v1::REASON_KMS_UNREACHABLE);
  EXPECT_EQ(Vm("vm-4").name(), "");

  // S54: a host that boots now has no key.
  Do(&SimulatorStub::RebootProcess, "esx-1");
  Advance(absl::Minutes(2));
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_EQ(Host("esx-1").crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(Vm("vm-1").lock().cause(), v1::LOCK_CAUSE_KMS_CLUSTER_ERROR);
  EXPECT_EQ(Vm("vm-2").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_EQ(Vm("vm-2").power_state(), v1::POWER_STATE_ON);

  // The KMS is back, and locks stay until somebody ends them (S68).
  Do(&SimulatorStub::StartProcess, "kms-1");
  Do(&SimulatorStub::StartProcess, "kms-2");
  Advance(absl::Minutes(10));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_LOCKED);
  v1::ConfigureCryptoKeyRequest configure;
  configure.set_host("esx-1");
  const auto configured = Ask<v1::Hosts>(kVCenter, &HostsStub::ConfigureCryptoKey, configure);
  ASSERT_THAT(configured, IsOk());
  EXPECT_THAT(configured->unlocked_vms(), Contains("vm-1"));
  EXPECT_EQ(Host("esx-1").crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(PowerOn("vm-1"), IsOk());
}

TEST_F(StandardProviderTest, S63_S89_S94_FaultsOfAKmsAsItsVCenterSeesThem) {
  Up({"--hosts", "1", "--kms", "2", "--encrypted-by", "standard", "--simulated-time"});
  const std::vector<std::string> nodes = {"kms-1", "kms-2"};

  // S63: latency makes it slow, and no more.
  sim::v1::SetKmsFaultRequest slow;
  slow.mutable_fault()->mutable_latency()->set_seconds(2);
  for (const std::string& node : nodes) SetFault(node, slow);
  const v1::Task late = Create("slow", "esx-1");
  EXPECT_EQ(Now(late).state(), v1::Task::STATE_RUNNING);
  EXPECT_EQ(Ended(late).state(), v1::Task::STATE_SUCCEEDED);
  for (const std::string& node : nodes) SetFault(node, {});

  // A node dies between a key's commit and its answer: another one makes a key, and one is left.
  const int64_t before = Stats("kms-2").objects();
  // What a check has found dead comes last, until a check finds it well.
  Do(&SimulatorStub::StopProcess, "kms-2");
  Advance(absl::Minutes(6));
  Do(&SimulatorStub::StartProcess, "kms-2");
  sim::v1::SetKmsFaultRequest die;
  die.mutable_fault()->set_die_after_create(true);
  SetFault("kms-1", die);
  EXPECT_EQ(Ended(Create("next", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_EQ(cluster_->Process("kms-1").exit_status(), "exit 1");
  EXPECT_EQ(Provider().standard_info().unanswered_creates(), 1);
  EXPECT_EQ(Stats("kms-2").objects(), before + 2);
  Do(&SimulatorStub::StartProcess, "kms-1");

  // No node answers in time.
  sim::v1::SetKmsFaultRequest hang;
  hang.mutable_fault()->set_mode(sim::v1::KmsFault::MODE_HANG);
  for (const std::string& node : nodes) SetFault(node, hang);
  EXPECT_EQ(Ended(Create("never", "esx-1")).error().reason(), v1::REASON_KMS_UNREACHABLE);
  for (const std::string& node : nodes) SetFault(node, {});

  // S94: a certificate that ends soon is warned of.
  sim::v1::SetKmsFaultRequest ends;
  ends.mutable_certificate_ends_in()->set_seconds(absl::ToInt64Seconds(absl::Hours(24 * 10)));
  SetFault("kms-2", ends);
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_YELLOW);
  EXPECT_THAT(Provider().standard_info().status_reason(), HasSubstr("certificate"));
  SetFault("kms-2", {});
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_GREEN);

  // S89: the KMS answers, and says that it has no such key.
  sim::v1::SetKmsFaultRequest missing;
  missing.mutable_fault()->add_missing_keys(Vm("slow").key_id().key_id());
  for (const std::string& node : nodes) SetFault(node, missing);
  Do(&SimulatorStub::RebootProcess, "esx-1");
  Advance(absl::Minutes(2));
  EXPECT_EQ(Vm("slow").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(Vm("slow").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  EXPECT_EQ(Vm("next").lock_state(), v1::LOCK_STATE_UNLOCKED);
}

}  // namespace
}  // namespace keysphere::tests
