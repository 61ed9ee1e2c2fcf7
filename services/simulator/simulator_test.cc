#include "services/simulator/simulator.h"

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock/page/page_clock.h"
#include "common/executor/real_executor.h"
#include "common/identity/certificate.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/simulator/testing_cluster.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;

// Keeps what KMS nodes are told.
class FakeKmsLink : public Simulator::KmsLink {
 public:
  void SetFault(const sim::v1::SimulatedProcess& node, sim::v1::SetFaultRequest request,
                status::Callback<sim::v1::SetFaultResponse> done) override {
    told_[node.control_address()] = std::move(request);
    done(sim::v1::SetFaultResponse());
  }
  std::map<std::string, sim::v1::SetFaultRequest> told_;
};

class SimulatorTest : public ::testing::Test {
 protected:
  void Make(bool simulated_time) {
    TestingCluster::Setup setup;
    setup.folder = absl::StrCat(::testing::TempDir(), "/",
                                ::testing::UnitTest::GetInstance()->current_test_info()->name());
    setup.simulated_time = simulated_time;
    testing_ = std::make_unique<TestingCluster>(setup);
    executor_ = std::make_unique<executor::RealExecutor>(&testing_->clock(), 1);
    Simulator::Deps deps;
    deps.clock = &testing_->clock();
    deps.master = testing_->master();
    deps.cluster = &testing_->cluster();
    deps.folder = &testing_->folder();
    deps.kms = &kms_link_;
    deps.time_executor = executor_.get();
    deps.on_shutdown = [this] { shutdown_.Callback()(true); };
    simulator_ = std::make_unique<Simulator>(std::move(deps));
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (Simulator::*method)(const rpc::CallInfo&, const Request&,
                                                          status::Callback<Response>),
                                const Request& request) {
    Waiting<Response> waiting;
    (simulator_.get()->*method)(rpc::CallInfo(), request, waiting.Callback());
    return waiting.Get();
  }
  absl::StatusOr<sim::v1::ClockState> Advance(int64_t seconds) {
    sim::v1::AdvanceClockRequest request;
    request.mutable_by()->set_seconds(seconds);
    return Call(&Simulator::AdvanceClock, request);
  }

  // vcenter-a and kms-1, which run.
  void StartKms() {
    Topology topology;
    topology.controllers = {"vcenter-a"};
    topology.kms = {"kms-1"};
    ASSERT_THAT(testing_->cluster().Add(topology), IsOk());
    for (const char* name : {"vcenter-a", "kms-1"}) {
      ASSERT_THAT(testing_->Do(&Cluster::Start, name), IsOk());
    }
    node_ = testing_->cluster().Get("kms-1").value();
  }
  std::unique_ptr<clock::page::PageClock> PageOfVCenter() {
    const int slot = testing_->cluster().SlotOf("vcenter-a").value();
    return clock::page::PageClock::Open(testing_->master()->FlagOf(slot)).value();
  }
  clock::page::LinkState LinkToKms(clock::page::PageClock& page) {
    return page.links().Lookup(page.links().SlotOf("kms/" + node_.address()));
  }
  absl::Status SetKmsFault(const sim::v1::KmsFault& fault, int64_t certificate_seconds = 0) {
    sim::v1::SetKmsFaultRequest request;
    request.set_name("kms-1");
    *request.mutable_fault() = fault;
    request.mutable_certificate_ends_in()->set_seconds(certificate_seconds);
    return Call(&Simulator::SetKmsFault, request).status();
  }

  // What a list of processes says of kms-1.
  std::string ListedFault() {
    const auto cluster = Call(&Simulator::GetCluster, sim::v1::GetClusterRequest());
    EXPECT_THAT(cluster, IsOk());
    for (const sim::v1::SimulatedProcess& process : cluster->processes()) {
      if (process.name() == "kms-1") return process.kms_fault();
    }
    return "no kms-1";
  }

  sim::v1::SimulatedProcess node_;
  FakeKmsLink kms_link_;
  Waiting<bool> shutdown_;
  std::unique_ptr<TestingCluster> testing_;
  std::unique_ptr<executor::RealExecutor> executor_;
  std::unique_ptr<Simulator> simulator_;
};

TEST_F(SimulatorTest, TimeAdvancesByWhatIsAsked) {
  Make(/*simulated_time=*/true);
  const auto before = Call(&Simulator::GetClock, sim::v1::GetClockRequest());
  ASSERT_THAT(before, IsOk());
  EXPECT_TRUE(before->simulated());
  EXPECT_EQ(before->rate(), 0);
  const auto after = Advance(300);
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->now().seconds() - before->now().seconds(), 300);
  EXPECT_EQ(after->steps(), 0);
  EXPECT_THAT(Advance(0), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Advance(-1), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Advance(int64_t{11} * 366 * 86400), HasReason(v1::REASON_INVALID_ARGUMENT));
  sim::v1::SetClockRateRequest rate;
  rate.set_rate(-1);
  EXPECT_THAT(Call(&Simulator::SetClockRate, rate), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(SimulatorTest, WhileTimeAdvancesAnotherAdvanceIsRefusedAndTheClockIsShown) {
  Make(/*simulated_time=*/true);
  // Time waits for a process that starts.
  const int slot = testing_->master()->AllocateSlot("host/slow").value();
  testing_->master()->HoldForStart(slot);
  sim::v1::AdvanceClockRequest request;
  request.mutable_by()->set_seconds(60);
  Waiting<sim::v1::ClockState> first;
  simulator_->AdvanceClock(rpc::CallInfo(), request, first.Callback());
  EXPECT_THAT(Advance(60), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(Call(&Simulator::GetClock, sim::v1::GetClockRequest()), IsOk());
  testing_->master()->EndStart(slot);
  EXPECT_THAT(first.Get(), IsOk());
  EXPECT_THAT(Advance(60), IsOk());
}

TEST_F(SimulatorTest, AnAdvanceIsShownAndCanBeStopped) {
  Make(/*simulated_time=*/true);
  const auto before = Call(&Simulator::GetClock, sim::v1::GetClockRequest());
  ASSERT_THAT(before, IsOk());
  EXPECT_FALSE(before->has_advancing_to());
  // Time waits for a process that starts.
  const int slot = testing_->master()->AllocateSlot("host/slow").value();
  testing_->master()->HoldForStart(slot);
  sim::v1::AdvanceClockRequest request;
  request.mutable_by()->set_seconds(3600);
  Waiting<sim::v1::ClockState> advance;
  simulator_->AdvanceClock(rpc::CallInfo(), request, advance.Callback());
  const auto meanwhile = Call(&Simulator::GetClock, sim::v1::GetClockRequest());
  ASSERT_THAT(meanwhile, IsOk());
  EXPECT_EQ(meanwhile->advancing_to().seconds() - before->now().seconds(), 3600);
  EXPECT_THAT(Call(&Simulator::StopClock, sim::v1::StopClockRequest()), IsOk());
  testing_->master()->EndStart(slot);
  EXPECT_THAT(advance.Get(), HasReason(v1::REASON_CANCELLED));
  const auto after = Call(&Simulator::GetClock, sim::v1::GetClockRequest());
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->now().seconds(), before->now().seconds());
  EXPECT_FALSE(after->has_advancing_to());
}

TEST_F(SimulatorTest, RealTimeIsNotMoved) {
  Make(/*simulated_time=*/false);
  EXPECT_THAT(Call(&Simulator::StopClock, sim::v1::StopClockRequest()),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_THAT(Advance(300), HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_THAT(Call(&Simulator::SetClockRate, sim::v1::SetClockRateRequest()),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_THAT(Call(&Simulator::SetLinkFault, sim::v1::SetLinkFaultRequest()),
              HasReason(v1::REASON_UNSUPPORTED));
  const auto state = Call(&Simulator::GetClock, sim::v1::GetClockRequest());
  ASSERT_THAT(state, IsOk());
  EXPECT_FALSE(state->simulated());
  EXPECT_EQ(state->rate(), 1);
}

TEST_F(SimulatorTest, LinksAreBetweenProcesses) {
  Make(/*simulated_time=*/true);
  testing_->AddHost("esx-1");
  testing_->AddHost("esx-2");
  sim::v1::SetLinkFaultRequest request;
  request.set_from("esx-1");
  request.set_to("esx-2");
  request.set_cut(true);
  EXPECT_THAT(Call(&Simulator::SetLinkFault, request), IsOk());
  request.set_fail_next(-1);
  EXPECT_THAT(Call(&Simulator::SetLinkFault, request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_fail_next(0);
  request.mutable_delay()->set_seconds(-1);
  EXPECT_THAT(Call(&Simulator::SetLinkFault, request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.clear_delay();
  request.set_to("esx-3");
  EXPECT_THAT(Call(&Simulator::SetLinkFault, request), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(SimulatorTest, FaultsOfAKmsAreForItsNode) {
  Make(/*simulated_time=*/false);
  StartKms();
  EXPECT_EQ(node_.spiffe_id(), "spiffe://keysphere.test/kms/kms-1");
  sim::v1::KmsFault fault;
  fault.set_mode(sim::v1::KmsFault::MODE_HANG);
  fault.mutable_latency()->set_nanos(5'000'000);
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  const sim::v1::SetFaultRequest& told = kms_link_.told_[node_.control_address()];
  EXPECT_EQ(told.fault().mode(), sim::v1::KmsFault::MODE_HANG);
  EXPECT_EQ(told.fault().latency().nanos(), 5'000'000);
  EXPECT_EQ(told.certificate_file(), "");

  ASSERT_THAT(SetKmsFault(sim::v1::KmsFault(), 600), IsOk());
  const auto pem = testing_->files().ReadFile(told.certificate_file(), 1 << 20);
  const auto info = identity::ReadCertificate(pem.value());
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->identity.ToUri(), node_.spiffe_id());
  EXPECT_LE(info->not_after, testing_->clock().Now() + absl::Minutes(10));
  EXPECT_FALSE(told.key_file().empty());

  sim::v1::SetKmsFaultRequest request;
  request.set_name("vcenter-a");
  EXPECT_THAT(Call(&Simulator::SetKmsFault, request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_name("kms-2");
  EXPECT_THAT(Call(&Simulator::SetKmsFault, request), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(testing_->Do(&Cluster::Kill, "kms-1"), IsOk());
  EXPECT_THAT(SetKmsFault(fault), HasReason(v1::REASON_INVALID_STATE));
}

// However the process ends: what starts is healthy, and its links are.
TEST_F(SimulatorTest, AFaultOfAKmsEndsWithItsProcess) {
  Make(/*simulated_time=*/true);
  StartKms();
  const auto page = PageOfVCenter();
  const auto link = [&] { return LinkToKms(*page); };
  sim::v1::KmsFault fault;
  fault.set_mode(sim::v1::KmsFault::MODE_HANG);
  fault.mutable_latency()->set_seconds(2);
  fault.set_all_keys_missing(true);
  const auto is_well = [&] {
    return link().out.delay == absl::ZeroDuration() && !link().back.cut && ListedFault().empty();
  };
  sim::v1::KillProcessRequest kill;
  kill.set_name("kms-1");
  sim::v1::StopProcessRequest stop;
  stop.set_name("kms-1");
  sim::v1::StartProcessRequest start;
  start.set_name("kms-1");
  sim::v1::RebootProcessRequest reboot;
  reboot.set_name("kms-1");

  ASSERT_THAT(SetKmsFault(fault), IsOk());
  EXPECT_EQ(ListedFault(), "hang, latency 2s, all keys missing");
  EXPECT_FALSE(is_well());
  ASSERT_THAT(Call(&Simulator::KillProcess, kill), IsOk());
  EXPECT_TRUE(is_well());
  ASSERT_THAT(Call(&Simulator::StartProcess, start), IsOk());
  EXPECT_TRUE(is_well());
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  ASSERT_THAT(Call(&Simulator::StopProcess, stop), IsOk());
  EXPECT_TRUE(is_well());
  ASSERT_THAT(Call(&Simulator::StartProcess, start), IsOk());
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  ASSERT_THAT(Call(&Simulator::RebootProcess, reboot), IsOk());
  EXPECT_TRUE(is_well());
  // It ended by itself.
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  ASSERT_THAT(testing_->Do(&Cluster::Kill, "kms-1"), IsOk());
  EXPECT_EQ(ListedFault(), "");
  ASSERT_THAT(Call(&Simulator::StartProcess, start), IsOk());
  EXPECT_TRUE(is_well());
  // What runs is not started, and stays as it is.
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  EXPECT_THAT(Call(&Simulator::StartProcess, start), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_EQ(ListedFault(), "hang, latency 2s, all keys missing");
  EXPECT_FALSE(is_well());
}

TEST_F(SimulatorTest, OnSimulatedTimeAKmsIsSlowByItsLinks) {
  Make(/*simulated_time=*/true);
  StartKms();
  const auto page = PageOfVCenter();
  const auto link = [&] { return LinkToKms(*page); };
  sim::v1::KmsFault fault;
  fault.mutable_latency()->set_seconds(2);
  fault.set_fail_request(3);
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  EXPECT_EQ(link().out.delay, absl::Seconds(2));
  const sim::v1::SetFaultRequest& told = kms_link_.told_[node_.control_address()];
  EXPECT_FALSE(told.fault().has_latency());
  EXPECT_EQ(told.fault().fail_request(), 3);

  fault.Clear();
  fault.set_mode(sim::v1::KmsFault::MODE_HANG);
  ASSERT_THAT(SetKmsFault(fault), IsOk());
  EXPECT_FALSE(link().out.cut);
  EXPECT_TRUE(link().back.cut);
  EXPECT_EQ(told.fault().mode(), sim::v1::KmsFault::MODE_UNSPECIFIED);
  EXPECT_EQ(ListedFault(), "hang");
  ASSERT_THAT(SetKmsFault(sim::v1::KmsFault()), IsOk());
  EXPECT_FALSE(link().back.cut);
  EXPECT_EQ(ListedFault(), "");

  fault.Clear();
  fault.mutable_latency_jitter()->set_seconds(1);
  const absl::Status refused = SetKmsFault(fault);
  EXPECT_THAT(refused, HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_FALSE(status::DetailOf(refused).next_step().empty());
}

TEST_F(SimulatorTest, AFurtherHostIsStarted) {
  Make(/*simulated_time=*/false);
  const auto added = Call(&Simulator::AddHostProcess, sim::v1::AddHostProcessRequest());
  ASSERT_THAT(added, IsOk());
  EXPECT_EQ(added->name(), "esx-1");
  EXPECT_EQ(added->state(), sim::v1::PROCESS_STATE_RUNNING);
}

TEST_F(SimulatorTest, CertificatesForUsersServeAsLongAsAsked) {
  Make(/*simulated_time=*/true);
  ASSERT_THAT(Advance(3600), IsOk());
  sim::v1::IssueUserCertificateRequest request;
  request.set_user("eve");
  request.mutable_not_after()->set_seconds(1'600'000'000);
  const auto issued = Call(&Simulator::IssueUserCertificate, request);
  ASSERT_THAT(issued, IsOk());
  const auto pem = testing_->files().ReadFile(issued->certificate_file(), 1 << 20);
  const auto info = identity::ReadCertificate(pem.value());
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->identity.ToUri(), "spiffe://keysphere.test/user/eve");
  EXPECT_EQ(absl::ToUnixSeconds(info->not_after), 1'600'000'000);

  // Nobody else is the simulator.
  request.set_user("simulator");
  EXPECT_THAT(Call(&Simulator::IssueUserCertificate, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_user("");
  EXPECT_THAT(Call(&Simulator::IssueUserCertificate, request), HasReason(v1::REASON_INVALID_NAME));
}

TEST_F(SimulatorTest, AShutdownIsAnsweredWhenAllHaveEnded) {
  Make(/*simulated_time=*/false);
  ASSERT_THAT(Call(&Simulator::AddHostProcess, sim::v1::AddHostProcessRequest()), IsOk());
  EXPECT_THAT(Call(&Simulator::Shutdown, sim::v1::ShutdownRequest()), IsOk());
  EXPECT_THAT(shutdown_.Get(), IsOk());
  const auto cluster = Call(&Simulator::GetCluster, sim::v1::GetClusterRequest());
  ASSERT_THAT(cluster, IsOk());
  EXPECT_EQ(cluster->processes(0).state(), sim::v1::PROCESS_STATE_ENDED);
}

TEST(SimulatorRulesTest, S128_OnlyTheUserThatStartedItMayUseIt) {
  const auto rules = SimulatorRules();
  rpc::CallInfo call;
  for (const std::string& method : rpc::MethodsOf("keysphere.sim.v1.Simulator")) {
    EXPECT_TRUE(rules->HasRule(method));
    call.caller = identity::Identity{kTrustDomain, identity::Kind::kUser, kAdministrator};
    EXPECT_THAT(rules->Authorize(call, method), IsOk());
    call.caller.name = "eve";
    EXPECT_THAT(rules->Authorize(call, method), HasReason(v1::REASON_NO_PERMISSION));
    call.caller = identity::Identity{kTrustDomain, identity::Kind::kHost, kAdministrator};
    EXPECT_THAT(rules->Authorize(call, method), HasReason(v1::REASON_NO_PERMISSION));
  }
}

}  // namespace
}  // namespace keysphere::simulator
