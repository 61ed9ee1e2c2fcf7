// E. Outages. C and M: where keys are kept while somebody is away.
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

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

}  // namespace
}  // namespace keysphere::tests
