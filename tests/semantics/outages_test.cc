// E. Outages. C and M: where keys are kept while somebody is away.
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::vms::Vms;

class OutagesTest : public Stage {};

TEST_F(OutagesTest, S50_WithoutTheControllerEncryptedVmsLiveOn) {
  UseNkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  a.Crash();
  cluster.Advance(absl::Hours(2));

  ExpectData("on");
  EXPECT_THAT(esx1.PowerOff("on"), IsOk());
  EXPECT_THAT(esx1.PowerOn("on"), IsOk());
  EXPECT_THAT(esx1.PowerOn("off"), IsOk());
  ExpectData("off");
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_THAT(esx1.PowerOn("on"), IsOk());
  EXPECT_THAT(esx1.PowerOn("off"), IsOk());
  ExpectData("on");
  ExpectData("off");
}

TEST_F(OutagesTest, S51_KeysPersistOverAReboot) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  UseNkp();
  MakeVm("web", /*running=*/true);
  EXPECT_TRUE(none.Safe());
  a.Crash();
  for (HostNode* host : {&esx1, &none}) {
    host->Kill();
    ASSERT_THAT(host->Boot(), IsOk());
    EXPECT_TRUE(host->Safe()) << host->name();
    EXPECT_TRUE(host->Status().boot_complete());
    EXPECT_EQ(host->Stats().held_keys(), 1);
  }
  EXPECT_EQ(esx1.Vm("web").power_state(), v1::POWER_STATE_OFF);
  EXPECT_EQ(esx1.Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
}

TEST_F(OutagesTest, S132_AddsTravelAtOnceAtEveryOccasion) {
  // First backup.
  ASSERT_THAT(a.CreateNkp("one"), IsOk());
  EXPECT_FALSE(a.Holds("esx-1", "one"));
  ASSERT_THAT(a.BackUp("one"), IsOk());
  EXPECT_TRUE(a.Holds("esx-1", "one"));
  // Import.
  ASSERT_THAT(b.CreateNkp("two"), IsOk());
  ASSERT_THAT(a.Import(b.BackUp("two").value_or("")), IsOk());
  EXPECT_TRUE(a.Holds("esx-1", "two"));
  // A host's attach.
  AddHostToA("esx-2");
  EXPECT_TRUE(a.Holds("esx-2", "one"));
  EXPECT_TRUE(a.Holds("esx-2", "two"));
  // Reconnect, after something came while it was away.
  esx1.Kill();
  ASSERT_THAT(a.CreateUsableNkp("three"), IsOk());
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Seconds(90));
  EXPECT_TRUE(a.Holds("esx-1", "three"));
  EXPECT_EQ(esx1.Stats().held_keys(), 3);
}

TEST_F(OutagesTest, S132_OnlyATickRemoves) {
  const std::string bundle = UseNkpWithBundle();
  ASSERT_THAT(a.CreateUsableNkp("doomed"), IsOk());
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "1440"), IsOk());
  ASSERT_THAT(b.SetOption("vpxd.KMS.remediationInterval", "1440"), IsOk());
  ASSERT_THAT(a.DeleteProvider("doomed"), IsOk());
  const auto held = [this] { return esx1.Stats().held_keys(); };
  EXPECT_EQ(held(), 2);

  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(held(), 2);
  esx1.Kill();
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(held(), 2);
  a.Crash();
  cluster.Advance(absl::Minutes(10));
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(held(), 2);
  esx1.wire().SetCut(true);
  cluster.Advance(absl::Minutes(10));
  esx1.wire().SetCut(false);
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(held(), 2);
  // An add, and an encryption, remove nothing either; nor does a move.
  ASSERT_THAT(a.CreateUsableNkp("third"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_EQ(held(), 3);
  MoveToB();
  EXPECT_EQ(held(), 3);

  ASSERT_THAT(b.Remediate(), IsOk());
  EXPECT_EQ(held(), 0);
}

TEST_F(OutagesTest, S148_AVCenterKilledAtAnyMomentLosesNothingAcknowledged) {
  UseNkp();
  for (int round = 0; round < 12; ++round) {
    const std::string vm = "vm" + std::to_string(round);
    // It dies a little later each time into an encryption.
    v1::CreateVmRequest request;
    request.set_host("esx-1");
    request.set_name(vm);
    request.add_disks()->set_capacity_bytes(64 << 10);
    request.mutable_crypto();
    auto answered = std::make_shared<bool>(false);
    a.vcenter().strand()->Post([this, request, answered] {
      a.vcenter().vm_encryption().CreateVm(
          a.caller, request, [answered](absl::StatusOr<v1::Task> task) { *answered = task.ok(); });
    });
    int steps = 0;
    cluster.executor().RunUntil([&] { return steps++ > round * 7; }, absl::ZeroDuration());
    a.Crash();
    cluster.Advance(absl::Seconds(3));
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Seconds(3));
    EXPECT_THAT(a.Provider("nkp"), IsOk());
    EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
    // Either it is there and works, or there is nothing half done under its name.
    if (esx1.Vm(vm).name().empty()) {
      EXPECT_THAT(a.CreateEncryptedVm("esx-1", vm), IsOk());
    }
    EXPECT_THAT(a.PowerOn(vm), IsOk()) << round;
  }
}

// What is said to be done has its events, though the vCenter dies at that very moment.
TEST_F(OutagesTest, S148_AnAnswerIsGivenWhenItsEventsAreDurable) {
  const auto dies_at = [this](const std::function<bool()>& told) {
    cluster.executor().RunUntil(told, absl::Hours(2));
    ASSERT_TRUE(told());
    a.Crash();
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Seconds(1));
  };
  UseNkp();
  ASSERT_THAT(a.CreateUsableNkp("second"), IsOk());
  const size_t defaults = a.Events(controller::events::kDefaultChanged).size();
  // Two events: that it is gone, and that there is no default any more.
  v1::DeleteKeyProviderRequest request;
  request.set_name("nkp");
  auto answered = std::make_shared<bool>(false);
  a.vcenter().strand()->Post([this, request, answered] {
    a.vcenter().providers().DeleteKeyProvider(
        a.caller, request,
        a.vcenter().AfterItsEvents<v1::DeleteKeyProviderResponse>(
            [answered](const absl::StatusOr<v1::DeleteKeyProviderResponse>& answer) {
              *answered = answer.ok();
            }));
  });
  dies_at([answered] { return *answered; });
  EXPECT_THAT(a.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(a.Events(controller::events::kProviderDeleted), SizeIs(1));
  EXPECT_THAT(a.Events(controller::events::kDefaultChanged), SizeIs(defaults + 1));

  // A task that has ended, while events of others are being written.
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  v1::EncryptVmRequest encrypt;
  encrypt.set_vm("web");
  encrypt.mutable_crypto()->mutable_key()->set_provider_id("second");
  auto ended = std::make_shared<bool>(false);
  a.vcenter().strand()->Post([this, encrypt, ended] {
    VCenter& vcenter = a.vcenter();
    vcenter.vm_encryption().EncryptVm(
        a.caller, encrypt, [&vcenter, ended](const absl::StatusOr<v1::Task>& task) {
          ASSERT_THAT(task, IsOk());
          vcenter.tasks()
              .Watch(task->id(),
                     [ended](const v1::Task& now, bool /*last*/) {
                       *ended = now.state() == v1::Task::STATE_SUCCEEDED;
                     })
              .status()
              .IgnoreError();
        });
  });
  dies_at([this, ended] {
    v1::Event noise;
    noise.set_type("noise");
    noise.set_object("vcenter/vcenter-a");
    a.vcenter().events().Append(std::move(noise));
    return *ended;
  });
  EXPECT_EQ(a.Vm("web").key_id().provider_id(), "second");
  EXPECT_THAT(a.Events(controller::events::kCryptoOperation, "vm/web"), SizeIs(1));
}

TEST_F(OutagesTest, S148_AHostKilledAtAnyMomentKeepsItsVms) {
  UseNkp();
  for (int round = 0; round < 12; ++round) {
    const std::string vm = "vm" + std::to_string(round);
    ASSERT_THAT(a.CreateVm("esx-1", vm), IsOk());
    ASSERT_THAT(a.PowerOn(vm), IsOk());
    ASSERT_THAT(esx1.Write(vm, kData + vm), IsOk());
    ASSERT_THAT(a.PowerOff(vm), IsOk());
    v1::EncryptVmRequest request;
    request.set_vm(vm);
    a.vcenter().strand()->Post([this, request] {
      a.vcenter().vm_encryption().EncryptVm(a.caller, request, [](absl::StatusOr<v1::Task>) {});
    });
    int steps = 0;
    cluster.executor().RunUntil([&] { return steps++ > 20 + round * 6; }, absl::ZeroDuration());
    esx1.Kill();
    cluster.Settle();
    ASSERT_THAT(esx1.Boot(), IsOk());
    cluster.Advance(absl::Minutes(1));
    ASSERT_THAT(a.PowerOn(vm), IsOk()) << round;
    ExpectData(vm);
  }
}

TEST_F(OutagesTest, S157_WhatNeedsTheControllerIsUnavailableWithoutIt) {
  UseNkp();
  MakeVm("enc", /*running=*/false);
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  const std::string before = esx1.Vmx("plain");
  a.Crash();

  host::v1::EncryptHostVmRequest encrypt;
  encrypt.set_vm("plain");
  encrypt.mutable_key()->set_provider_id("nkp");
  encrypt.mutable_key()->set_key_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  EXPECT_THAT(esx1.Direct(&HostAgent::EncryptHostVm, encrypt),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::AddHostVmVtpmRequest vtpm;
  vtpm.set_vm("plain");
  *vtpm.mutable_key() = encrypt.key();
  EXPECT_THAT(esx1.Direct(&HostAgent::AddHostVmVtpm, vtpm),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("enc");
  EXPECT_THAT(esx1.Direct(&HostAgent::DecryptHostVm, decrypt),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::CreateHostVmRequest create;
  create.set_name("new");
  *create.mutable_key() = encrypt.key();
  EXPECT_THAT(esx1.Direct(&HostAgent::CreateHostVm, create),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  // No partial state.
  EXPECT_EQ(esx1.Vmx("plain"), before);
  EXPECT_EQ(esx1.Vm("new").name(), "");
  EXPECT_TRUE(esx1.Vm("enc").has_key_id());
  // Power, unregister and register work.
  EXPECT_THAT(esx1.PowerOn("enc"), IsOk());
  EXPECT_THAT(esx1.PowerOff("enc"), IsOk());
  EXPECT_THAT(esx1.Unregister("enc"), IsOk());
  EXPECT_THAT(esx1.Register("enc"), IsOk());
  EXPECT_THAT(esx1.PowerOn("enc"), IsOk());
  ExpectData("enc");
}

// The inventory is rebuilt from what hosts tell: one that has not spoken yet may have the VM.
TEST_F(OutagesTest, S148_AVmOfAHostThatHasNotSpokenYetIsNotSaidToBeMissing) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  AddHostToA("esx-2");
  ASSERT_THAT(a.CreateVm("esx-2", "other"), IsOk());
  esx1.wire().SetCut(true);
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_THAT(a.PowerOn("other"), IsOk());

  v1::GetVmRequest get;
  get.set_vm("web");
  const absl::Status unknown = a.Call(&VCenter::vms, &Vms::GetVm, get).status();
  EXPECT_THAT(unknown, HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_TRUE(absl::IsUnavailable(unknown));
  EXPECT_EQ(status::DetailOf(unknown).object(), "host/esx-1");
  EXPECT_FALSE(status::DetailOf(unknown).next_step().empty());
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(a.DecryptVm("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(a.Unregister("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(a.Unlock("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  // What is asked of a host that has spoken is known.
  get.set_host("esx-2");
  EXPECT_THAT(a.Call(&VCenter::vms, &Vms::GetVm, get), HasReason(v1::REASON_NOT_FOUND));

  esx1.wire().SetCut(false);
  cluster.Advance(absl::Minutes(1));
  EXPECT_EQ(a.Vm("web").name(), "web");
  EXPECT_THAT(a.PowerOn("none"), HasReason(v1::REASON_NOT_FOUND));
  // A host that has spoken and is silent now: what it told counts.
  esx1.wire().SetCut(true);
  ASSERT_THAT(a.Remediate(), IsOk());
  EXPECT_THAT(a.PowerOn("none"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
}

TEST_F(OutagesTest, AHostOfAnotherVCenterIsNotWaitedFor) {
  UseNkp();
  MoveToB();
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_NOT_FOUND));
}

// Sixteen seconds from a question to its answer, where ten are waited.
TEST_F(OutagesTest, S148_AHostThatAnswersLateKeepsNobodyWaitingAndLosesNothing) {
  UseNkp();
  AddHostToA("esx-2");
  MakeVm("web", /*running=*/false);
  MakeVm("db", /*running=*/true);
  MakeVm("quick", /*running=*/false, "esx-2");
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "gone"), IsOk());
  const auto in_time = [this](const std::function<absl::Status()>& operation) {
    const absl::Time before = cluster.executor().Now();
    const absl::Status refused = operation();
    EXPECT_THAT(refused, HasReason(v1::REASON_HOST_NOT_RESPONDING));
    EXPECT_TRUE(absl::IsUnavailable(refused));
    EXPECT_LE(cluster.executor().Now() - before, absl::Seconds(10));
  };
  esx1.wire().SetDelay(absl::Seconds(8));
  in_time([this] { return a.PowerOn("web"); });
  in_time([this] { return a.PowerOff("db"); });
  in_time([this] { return a.Reset("plain"); });
  in_time([this] { return a.Reload("plain").status(); });
  in_time([this] { return a.Unregister("gone"); });
  in_time([this] { return a.ConfigureCryptoKey("esx-1").status(); });
  // Other hosts are not in it.
  const absl::Time before = cluster.executor().Now();
  EXPECT_THAT(a.PowerOn("quick"), IsOk());
  EXPECT_EQ(cluster.executor().Now(), before);
  // A pass finds it silent; then refusals take no time.
  const auto pass = a.Remediate("esx-1");
  ASSERT_THAT(pass, IsOk());
  EXPECT_EQ(pass->hosts(0).outcome(), v1::RemediateResponse::HostResult::OUTCOME_NOT_RESPONDING);
  const absl::Time lost = cluster.executor().Now();
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(a.PowerOff("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_EQ(cluster.executor().Now(), lost);

  // What it did though nobody heard of it is known once it answers in time.
  esx1.wire().SetDelay(absl::ZeroDuration());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_EQ(a.Vm("web").power_state(), v1::POWER_STATE_ON);
  EXPECT_EQ(a.Vm("db").power_state(), v1::POWER_STATE_OFF);
  EXPECT_EQ(a.Vm("gone").name(), "");
  EXPECT_EQ(a.Vm("plain").name(), "plain");
  ExpectData("web");
  EXPECT_THAT(a.PowerOn("db"), IsOk());
  ExpectData("db");
  EXPECT_THAT(a.EncryptVm("plain"), IsOk());
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
}

}  // namespace
}  // namespace keysphere::tests
