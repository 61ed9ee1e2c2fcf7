// Standard key providers: outages, moves, purges, rekeys.
#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kHostRequiresEncryption;
using controller::alarms::kVmLocked;

class StandardOutagesTest : public StandardStage {};

TEST_F(StandardOutagesTest, S54_AHostThatRebootsWithoutKmsWaitsForAnAdministrator) {
  UseSkp();
  MakeVm("vm", /*running=*/true);
  kms.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));

  EXPECT_FALSE(esx1.Safe());
  EXPECT_THAT(a.Events("com.vmware.vc.host.Crypto.ReqEnable.KMSClusterError"), SizeIs(1));
  EXPECT_TRUE(a.Shows(kHostRequiresEncryption, "host/esx-1"));
  EXPECT_TRUE(a.Locked("vm"));
  EXPECT_EQ(a.Vm("vm").lock().cause(), v1::LOCK_CAUSE_KMS_CLUSTER_ERROR);
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"), SizeIs(1));

  kms.SetDown(false);
  cluster.Advance(absl::Minutes(20));
  EXPECT_FALSE(esx1.Safe());
  EXPECT_TRUE(a.Locked("vm"));

  const size_t keys = kms.keys().size();
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_FALSE(a.Locked("vm"));
  EXPECT_FALSE(a.Shows(kHostRequiresEncryption, "host/esx-1"));
  EXPECT_EQ(kms.keys().size(), keys);  // the old host key is used again
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S54_S150_ANativeProviderGivesTheHostAKey) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("skp-vm", /*running=*/true);
  MakeVm("nkp-vm", /*running=*/true, "esx-1", "nkp");
  kms.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));

  EXPECT_TRUE(esx1.Safe());
  EXPECT_THAT(a.PowerOn("nkp-vm"), IsOk());
  ExpectData("nkp-vm");
  EXPECT_TRUE(a.Locked("skp-vm"));
  EXPECT_EQ(a.Vm("skp-vm").lock().cause(), v1::LOCK_CAUSE_KMS_CLUSTER_ERROR);

  kms.SetDown(false);
  cluster.Advance(absl::Minutes(20));
  EXPECT_TRUE(a.Locked("skp-vm"));
  EXPECT_THAT(a.Unlock("skp-vm"), IsOk());
  EXPECT_THAT(a.PowerOn("skp-vm"), IsOk());
  ExpectData("skp-vm");
}

TEST_F(StandardOutagesTest, S90_TheKmsThatLostTheHostKeyIsTold) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(a.SetOption("vpxd.hostkey.newIfMissing", "false"), IsOk());
  kms.keys().Remove(a.Host("esx-1").host_key().key_id());
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_FALSE(esx1.Safe());
  EXPECT_THAT(a.Events("com.vmware.vc.host.Crypto.ReqEnable.KeyMissingOnKMS"), SizeIs(1));
}

TEST_F(StandardOutagesTest, S104_ANewHostKeyWhereTheOldOneIsGone) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  const std::string old = a.Host("esx-1").host_key().key_id();
  kms.keys().Remove(old);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_NE(a.Host("esx-1").host_key().key_id(), old);
  EXPECT_FALSE(a.Locked("vm"));
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
}

TEST_F(StandardOutagesTest, S53_ARekeyToANativeProviderWorksWithoutTheKms) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("vm", /*running=*/true);
  kms.SetDown();
  EXPECT_THAT(a.RekeyVm("vm", "nkp"), IsOk());
  EXPECT_EQ(a.Vm("vm").key_id().provider_id(), "nkp");
  EXPECT_THAT(a.RekeyVm("vm", "skp"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(a.Vm("vm").key_id().provider_id(), "nkp");
  ExpectData("vm");
  // And whatever is the native provider's alone.
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "native", "nkp"), IsOk());
  EXPECT_THAT(a.RekeyVm("native", "nkp", /*deep=*/true), IsOk());
  EXPECT_THAT(a.AddVtpm("native", /*encrypt=*/false), IsOk());
}

TEST_F(StandardOutagesTest, S43_S46_RekeysBothWaysWhileTheGuestRuns) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("vm", /*running=*/true);
  const std::string disk = esx1.File("vm", "vm-1-flat.vmdk");
  for (const std::string provider : {"nkp", "skp", "skp", "nkp"}) {
    const std::string before = a.Vm("vm").key_id().key_id();
    ASSERT_THAT(a.RekeyVm("vm", provider), IsOk());
    const v1::Vm vm = a.Vm("vm");
    EXPECT_EQ(vm.key_id().provider_id(), provider);
    EXPECT_NE(vm.key_id().key_id(), before);
    EXPECT_EQ(vm.disks(0).key_id().key_id(), vm.key_id().key_id());
    EXPECT_EQ(vm.power_state(), v1::POWER_STATE_ON);
    ExpectData("vm");
  }
  EXPECT_EQ(esx1.File("vm", "vm-1-flat.vmdk"), disk);
  ASSERT_THAT(a.PowerOff("vm"), IsOk());
  ASSERT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S44_ADeepRekeyNeedsAPowerOff) {
  UseSkp();
  MakeVm("vm", /*running=*/true);
  EXPECT_THAT(a.RekeyVm("vm", "", /*deep=*/true), HasReason(v1::REASON_INVALID_POWER_STATE));
  ASSERT_THAT(a.PowerOff("vm"), IsOk());
  EXPECT_THAT(a.RekeyVm("vm", "", /*deep=*/true), IsOk());
  ASSERT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S39_S40_NoKeyIsEverDestroyedAndTheNewKmsHasOnlyWhatIsUsed) {
  UseSkp();
  MakeVm("kept", /*running=*/true);
  MakeVm("deleted", /*running=*/false);
  MakeVm("decrypted", /*running=*/false);
  ASSERT_THAT(a.Unregister("deleted"), IsOk());
  ASSERT_THAT(a.DecryptVm("decrypted"), IsOk());
  const std::vector<std::string> before = kms.keys().uids();
  FakeKms& fresh = cluster.AddKms("fresh");
  ASSERT_THAT(a.CreateSkp("skp-new", fresh), IsOk());
  ASSERT_THAT(a.SetDefault("skp-new"), IsOk());
  ASSERT_THAT(a.RekeyVm("kept"), IsOk());
  EXPECT_EQ(kms.keys().uids(), before);
  const v1::Vm kept = a.Vm("kept");
  EXPECT_THAT(fresh.keys().uids(), ElementsAre(kept.key_id().key_id()));
  ASSERT_GT(kept.disks_size(), 0);
  for (const v1::VmDisk& disk : kept.disks()) {
    EXPECT_EQ(disk.key_id().key_id(), kept.key_id().key_id());
  }
  for (const std::string& uid : before) {
    EXPECT_EQ(*kms.keys().State(uid), kmip::client::KeyState::kActive);
  }
}

TEST_F(StandardOutagesTest, S71_S17_ADeletedProviderIsPurgedAtTheTickAndComesBack) {
  UseSkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ASSERT_THAT(a.PowerOff("off"), IsOk());
  Tick();
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_EQ(a.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  EXPECT_FALSE(a.Locked("on"));
  ExpectData("on");
  ASSERT_THAT(a.PowerOff("on"), IsOk());
  EXPECT_THAT(a.PowerOn("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));

  ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
  cluster.Advance(absl::Seconds(5));
  EXPECT_THAT(a.PowerOn("on"), IsOk());
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_THAT(a.Unlock("off"), IsOk());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(StandardOutagesTest, S152_AMovedHostLosesWhatTheOtherKmsLacks) {
  UseSkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  FakeKms& other = cluster.AddKms("other");
  ASSERT_THAT(b.CreateSkp("skp", other), IsOk());
  other.SetDown();
  MoveToB();
  Tick();
  cluster.Advance(absl::Seconds(30));
  EXPECT_FALSE(b.Locked("off"));  // S73
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ASSERT_THAT(b.PowerOff("off"), IsOk());

  other.SetDown(false);
  cluster.Advance(absl::Minutes(11));
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_EQ(b.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/off"));
  EXPECT_FALSE(b.Locked("on"));
  ExpectData("on");
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
}

TEST_F(StandardOutagesTest, S152_S90_ThePassTellsWhatItTookAndThatTheKmsLacksTheHostKey) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  FakeKms& other = cluster.AddKms("other");
  ASSERT_THAT(b.CreateSkp("skp", other), IsOk());
  MoveToB();
  const auto pass = b.Remediate("esx-1");
  ASSERT_THAT(pass, IsOk());
  EXPECT_THAT(pass->hosts(0).removed_providers(), ElementsAre("skp"));
  EXPECT_THAT(pass->hosts(0).locked_vms(), ElementsAre("off"));
  EXPECT_THAT(TypesOf(b.Events("com.vmware.vc.host.Crypto.ReqEnable")),
              ElementsAre(controller::events::kReqEnableKeyMissingOnKms));
  EXPECT_TRUE(esx1.Safe());
}

// Mixed: the name of the provider is not enough, whatever its kind.
TEST_F(StandardOutagesTest, S69_S65_AStandardProviderOfANativeOnesNameDoesNotUnlock) {
  ASSERT_THAT(a.CreateUsableNkp("p"), IsOk());
  ASSERT_THAT(a.SetDefault("p"), IsOk());
  MakeVm("off", /*running=*/false);
  const auto bundle = a.BackUp("p");
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(b.CreateSkp("p", kms), IsOk());
  ASSERT_THAT(b.SetDefault("p"), IsOk());
  MoveToB();
  Tick();
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/off"));
  b.ConfigureCryptoKey("esx-1", "p").IgnoreError();
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_FALSE(b.Unlock("off").ok());

  // The way out.
  EXPECT_THAT(b.Import(*bundle), HasReason(v1::REASON_ALREADY_EXISTS));
  ASSERT_THAT(b.DeleteProvider("p"), IsOk());
  ASSERT_THAT(b.Import(*bundle), IsOk());
  Tick();
  ASSERT_THAT(b.ConfigureCryptoKey("esx-1", "p"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(StandardOutagesTest, S90_TheAlarmOfAPurgedHostKeyEndsWhenTheHostHasItAgain) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  Tick();
  const char* const alarm = controller::alarms::kHostRequiresEncryption;
  EXPECT_TRUE(a.Shows(alarm, "host/esx-1"));
  ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
  cluster.Advance(absl::Minutes(6));
  EXPECT_FALSE(a.Shows(alarm, "host/esx-1"));
}

TEST_F(StandardOutagesTest, S152_AProviderMadeAnewAtTheSameInstantIsAnotherOne) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  Tick();  // verified
  FakeKms& other = cluster.AddKms("other");
  const absl::Time instant = cluster.executor().Now();
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  ASSERT_THAT(a.CreateSkp("skp", other), IsOk());
  ASSERT_LT(cluster.executor().Now() - instant, absl::Seconds(1));
  cluster.Advance(absl::Minutes(11));
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_EQ(a.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
}

TEST_F(StandardOutagesTest, S152_WhatAFormerKmsAnswersVerifiesNothing) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  FakeKms& other = cluster.AddKms("other");
  const auto use = [this](const FakeKms& now) {
    v1::UpdateKeyProviderRequest request;
    request.set_name("skp");
    for (const std::string& address : now.addresses()) {
      request.mutable_standard()->add_servers()->set_address(address);
    }
    request.mutable_update_mask()->add_paths("standard.servers");
    return a.Call(&VCenter::providers, &controller::providers::Providers::UpdateKeyProvider,
                  request);
  };
  ASSERT_THAT(use(kms), IsOk());  // its keys are to be verified
  const int gets = kms.Calls("Get");
  kms.SetLatency(absl::Seconds(4));
  for (int i = 0; i < 400 && kms.Calls("Get") == gets; ++i) cluster.Advance(absl::Seconds(1));
  ASSERT_GT(kms.Calls("Get"), gets);  // under way
  ASSERT_THAT(use(other), IsOk());
  cluster.Advance(absl::Seconds(10));
  kms.SetLatency(absl::ZeroDuration());
  cluster.Advance(absl::Minutes(11));
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_EQ(a.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
}

TEST_F(StandardOutagesTest, S65_S152_AMovedHostKeepsWhatTheSameKmsHas) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(b.CreateSkp("skp", kms), IsOk());
  MoveToB();
  const int gets = kms.Calls("Get");
  Tick();
  EXPECT_GT(kms.Calls("Get"), gets);  // asked once
  const int then = kms.KeyCalls();
  cluster.Advance(absl::Minutes(30));
  EXPECT_EQ(kms.KeyCalls(), then);
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.Alarms(), IsEmpty());
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(StandardOutagesTest, S155_WithTheControllerDownAVmStaysLockedAfterItsReturn) {
  AddHostToA("esx-2");
  UseSkp();
  MakeVm("vm", /*running=*/true);
  MakeVm("elsewhere", /*running=*/true, "esx-2");
  a.Stop();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(esx1.Vm("vm").lock_state(), v1::LOCK_STATE_LOCKED);
  ExpectData("elsewhere", "esx-2");
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(10));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_TRUE(a.Locked("vm"));
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_FALSE(a.Locked("vm"));
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S56_CachedKeysOutliveUnregisterRekeyAndOutages) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  MakeVm("other", /*running=*/false);
  const int64_t cached = esx1.Stats().cached_keys();
  ASSERT_THAT(a.RekeyVm("vm"), IsOk());
  ASSERT_THAT(a.Unregister("other"), IsOk());
  kms.SetDown();
  cluster.Advance(absl::Minutes(20));
  EXPECT_EQ(esx1.Stats().cached_keys(), cached + 1);
  EXPECT_THAT(a.Register("esx-1", "other"), IsOk());
  EXPECT_THAT(a.PowerOn("other"), IsOk());
  ExpectData("other");
}

TEST_F(StandardOutagesTest, S153_DisksThatARekeySkipsSaySo) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  const std::string old = a.Vm("vm").key_id().key_id();
  ASSERT_THAT(a.RekeyVm("vm", "", /*deep=*/false, /*skip_hard_disks=*/true), IsOk());
  EXPECT_NE(a.Vm("vm").key_id().key_id(), old);
  EXPECT_EQ(a.Vm("vm").disks(0).key_id().key_id(), old);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(10));
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S109_S134_ARegisteredVmsKeyIsFetchedBeforeTheAnswer) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(a.Unregister("vm"), IsOk());
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  const auto vm = a.Register("esx-1", "vm");
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ(vm->lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(StandardOutagesTest, S102_TheOtherHostsKeysFollow) {
  HostNode& esx2 = AddHostToA("esx-2");
  UseSkp();
  MakeVm("vm", /*running=*/false, "esx-2");
  ASSERT_THAT(a.Unregister("vm"), IsOk());
  ASSERT_THAT(esx1.Reboot(), IsOk());
  ASSERT_THAT(esx2.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  kms.SetDown();
  ASSERT_THAT(a.Register("esx-2", "vm"), IsOk());
  EXPECT_TRUE(a.Locked("vm"));
  const int64_t cached = esx2.Stats().cached_keys();
  kms.SetDown(false);
  // Of the other host, and without waiting for any time.
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  cluster.Settle();
  EXPECT_EQ(esx2.Stats().cached_keys(), cached + 1);
}

TEST_F(StandardOutagesTest, ADeadKmsHoldsUpNoPass) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  kms.SetMode(FakeKms::Node::Mode::kHang);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(3));
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  const absl::Time before = cluster.executor().Now();
  ASSERT_THAT(a.Remediate(), IsOk());
  EXPECT_LE(cluster.executor().Now() - before, absl::Seconds(5));
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
}

}  // namespace
}  // namespace keysphere::tests
