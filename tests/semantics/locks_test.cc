// F. Moving hosts, locks, remediation.
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kKeyCollision;
using controller::alarms::kVmLocked;
using controller::options::Options;

class LocksTest : public Stage {
 protected:
  // esx-1 with a running and a stopped encrypted VM, at vcenter-b, which lacks the provider.
  void MoveVmsToB() {
    bundle = UseNkpWithBundle();
    MakeVm("on", /*running=*/true);
    MakeVm("off", /*running=*/false);
    MoveToB();
  }
  absl::Time LastPass() {
    absl::Time last;
    a.OnStrand([&last](VCenter& vcenter) { last = vcenter.remediator().last_pass(); });
    return last;
  }
  int64_t Passes() {
    int64_t passes = 0;
    a.OnStrand([&passes](VCenter& vcenter) { passes = vcenter.remediator().passes(); });
    return passes;
  }

  std::string bundle;
};

TEST_F(LocksTest, S64_UntilTheNextTickAMovedHostWorks) {
  MoveVmsToB();
  cluster.Advance(absl::Minutes(4) + absl::Seconds(50));

  EXPECT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_THAT(b.PowerOn("on"), IsOk());
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("on");
  ExpectData("off");
  EXPECT_THAT(esx1.Write("on", "more"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.Alarms(), IsEmpty());
}

TEST_F(LocksTest, S65_WithTheSameProviderTicksChangeNothing) {
  bundle = UseNkpWithBundle();
  ASSERT_THAT(b.Import(bundle), IsOk());
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  MoveToB();
  cluster.Advance(absl::Minutes(31));

  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.Alarms(), IsEmpty());
  EXPECT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_THAT(b.PowerOn("on"), IsOk());
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(LocksTest, S66_TheTickLocksWhatDoesNotRun) {
  MoveVmsToB();
  Tick();

  ExpectData("on");
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_EQ(b.Vm("on").power_state(), v1::POWER_STATE_ON);
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_EQ(b.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/off"));
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/on"));
  EXPECT_FALSE(b.Holds("esx-1", "nkp"));
}

TEST_F(LocksTest, S67_AVmPoweredOffLaterIsNotLockedAndComesBackByItself) {
  MoveVmsToB();
  Tick();
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_THAT(b.PowerOn("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/on"));

  ASSERT_THAT(b.Import(bundle), IsOk());
  EXPECT_THAT(b.PowerOn("on"), IsOk());
  ExpectData("on");
}

TEST_F(LocksTest, S68_AnImportUnlocksNothingReEnablingUnlocksAll) {
  MoveVmsToB();
  ASSERT_THAT(b.CreateCluster("spare"), IsOk());
  Tick();
  ASSERT_THAT(b.Import(bundle), IsOk());
  EXPECT_TRUE(b.Holds("esx-1", "nkp"));
  EXPECT_TRUE(b.Locked("off"));
  Tick();
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_FALSE(b.PowerOn("off").ok());

  const auto done = b.ConfigureCryptoKey("esx-1");
  ASSERT_THAT(done, IsOk());
  EXPECT_THAT(done->unlocked_vms(), ElementsAre("off"));
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/off"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(LocksTest, S68_CryptoUnlockUnlocksOne) {
  MoveVmsToB();
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  Tick();
  ASSERT_TRUE(b.Locked("on"));
  ASSERT_TRUE(b.Locked("off"));
  ASSERT_THAT(b.Import(bundle), IsOk());
  ASSERT_THAT(b.Unlock("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_TRUE(b.Locked("off"));
}

TEST_F(LocksTest, S68_ReEnablingFetchesWhatTheHostLacks) {
  MoveVmsToB();
  Tick();
  // The import's own push does not get there.
  esx1.wire().SetCut(true);
  ASSERT_THAT(b.Import(bundle), IsOk());
  cluster.Advance(absl::Seconds(30));
  EXPECT_FALSE(b.Holds("esx-1", "nkp"));
  esx1.wire().SetCut(false);
  cluster.Advance(absl::Seconds(1));
  ASSERT_THAT(b.ConfigureCryptoKey("esx-1", "nkp"), IsOk());
  EXPECT_TRUE(b.Holds("esx-1", "nkp"));
  EXPECT_FALSE(b.Locked("off"));
}

TEST_F(LocksTest, S69_TheSameNameWithAnotherKeyDoesNotUnlock) {
  MoveVmsToB();
  ASSERT_THAT(b.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(b.SetDefault("nkp"), IsOk());
  Tick();
  EXPECT_TRUE(b.Holds("esx-1", "nkp"));
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_EQ(b.Explain("off").reason(), v1::REASON_KEY_MISMATCH);
  ASSERT_THAT(b.ConfigureCryptoKey("esx-1", "nkp"), IsOk());
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_FALSE(b.Unlock("off").ok());

  // The way out.
  EXPECT_THAT(b.Import(bundle), HasReason(v1::REASON_ALREADY_EXISTS));
  ASSERT_THAT(b.DeleteProvider("nkp"), IsOk());
  ASSERT_THAT(b.Import(bundle), IsOk());
  EXPECT_THAT(b.Unlock("off"), HasReason(v1::REASON_KEY_MISMATCH));
  Tick();
  EXPECT_TRUE(b.Locked("off"));
  ASSERT_THAT(b.ConfigureCryptoKey("esx-1", "nkp"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(LocksTest, S70_TheIntervalIsFiveMinutesAndChangeable) {
  const absl::Time start = cluster.executor().Now();
  v1::GetOptionRequest get;
  get.set_name("vpxd.KMS.remediationInterval");
  EXPECT_EQ(a.Call(&VCenter::options, &Options::GetOption, get)->value(), "5");
  for (const char* value : {"0", "1441", "-1", "five", "5.5", ""}) {
    EXPECT_THAT(a.SetOption("vpxd.KMS.remediationInterval", value),
                HasReason(v1::REASON_INVALID_ARGUMENT))
        << value;
  }
  // The first is one interval after the start, the next one interval after it.
  cluster.Advance(absl::Minutes(5) - absl::Seconds(1));
  EXPECT_EQ(Passes(), 0);
  cluster.Advance(absl::Seconds(1));
  EXPECT_EQ(Passes(), 1);
  cluster.Advance(absl::Minutes(5));
  EXPECT_EQ(Passes(), 2);
  // Re-timed from the last tick.
  cluster.Advance(absl::Minutes(2));
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "3"), IsOk());
  cluster.Advance(absl::Seconds(59));
  EXPECT_EQ(Passes(), 2);
  cluster.Advance(absl::Seconds(1));
  EXPECT_EQ(Passes(), 3);
  EXPECT_EQ(LastPass() - start, absl::Minutes(13));
  // At once if that is past.
  cluster.Advance(absl::Minutes(2));
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "1"), IsOk());
  cluster.Settle();
  EXPECT_EQ(Passes(), 4);
  EXPECT_EQ(LastPass() - start, absl::Minutes(15));
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "1440"), IsOk());
  cluster.Advance(absl::Minutes(1439));
  EXPECT_EQ(Passes(), 4);
}

TEST_F(LocksTest, S70_MovesAndExplicitPassesDoNotShiftTheTicks) {
  const absl::Time start = cluster.executor().Now();
  cluster.Advance(absl::Minutes(3));
  ASSERT_THAT(a.Remediate(), IsOk());
  ASSERT_THAT(a.MoveHost("esx-1", ""), IsOk());
  ASSERT_THAT(a.MoveHost("esx-1", "cluster-a"), IsOk());
  EXPECT_EQ(Passes(), 1);
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(Passes(), 2);
  EXPECT_EQ(LastPass() - start, absl::Minutes(5));
}

TEST_F(LocksTest, S71_ADeletionCountsFromTheTick) {
  const std::string file = UseNkpWithBundle();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  // Restored before a tick: no trace.
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  EXPECT_THAT(a.PowerOff("off"), IsOk());
  ASSERT_THAT(a.Import(file), IsOk());
  Tick();
  EXPECT_FALSE(a.Locked("off"));
  EXPECT_THAT(a.Alarms(), IsEmpty());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ASSERT_THAT(a.PowerOff("off"), IsOk());

  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  ExpectData("on");
  EXPECT_TRUE(a.Locked("off"));
  ASSERT_THAT(a.PowerOff("on"), IsOk());
  EXPECT_THAT(a.PowerOn("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  ASSERT_THAT(a.Import(file), IsOk());
  EXPECT_THAT(a.PowerOn("on"), IsOk());
  EXPECT_TRUE(a.Locked("off"));
}

TEST_F(LocksTest, S72_ALockedVmTakesNoOperationButThese) {
  MoveVmsToB();
  Tick();
  ExpectLockedVmRefuses("off");
}

TEST_F(LocksTest, S109_RegisteringAVmWhoseKeyIsMissingLocksIt) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  cluster.AddHost("esx-2");
  ASSERT_THAT(b.AddHost("esx-2", "cluster-b"), IsOk());
  const auto registered = b.Register("esx-2", "web");
  ASSERT_THAT(registered, IsOk());
  EXPECT_EQ(registered->lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(registered->lock().key_id().provider_id(), "nkp");
  EXPECT_EQ(registered->guest_os(), "");
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/web"));
}

TEST_F(LocksTest, S111_CryptoUnlockNeedsThePrivilegeAndTheKey) {
  MoveVmsToB();
  Tick();
  EXPECT_THAT(b.Unlock("off"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_TRUE(b.Locked("off"));
  ASSERT_THAT(b.Import(bundle), IsOk());
  ASSERT_THAT(b.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  b.caller.user = "plain";
  EXPECT_THAT(b.Unlock("off"), HasReason(v1::REASON_NO_PERMISSION));
  b.caller.user = "administrator";
  ASSERT_THAT(b.SetRole("Unlocker", {"Cryptographer.RegisterVM"}), IsOk());
  ASSERT_THAT(b.GiveRole("uma", "Unlocker"), IsOk());
  b.caller.user = "uma";
  EXPECT_THAT(b.Unlock("off"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
}

TEST_F(LocksTest, S114_ARegistrationAfterThePurgeLocksUntilTheImport) {
  const std::string file = UseNkpWithBundle();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  ASSERT_THAT(a.PowerOff("web"), IsOk());
  ASSERT_THAT(a.Unregister("web"), IsOk());
  Tick();
  ASSERT_THAT(a.Register("esx-1", "web"), IsOk());
  EXPECT_TRUE(a.Locked("web"));
  ASSERT_THAT(a.Import(file), IsOk());
  EXPECT_TRUE(a.Locked("web"));
  ASSERT_THAT(a.Unlock("web"), IsOk());
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  ExpectData("web");
}

TEST_F(LocksTest, S133_ARunningVmKeepsItsKeysUntilItsPowerOff) {
  MoveVmsToB();
  Tick();
  ASSERT_FALSE(b.Holds("esx-1", "nkp"));
  ASSERT_THAT(esx1.Write("on", "after the purge"), IsOk());
  EXPECT_EQ(esx1.Read("on", 15).value_or(""), "after the purge");
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_THAT(esx1.PowerOn("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
}

TEST_F(LocksTest, S134_OnlyPurgeRegistrationReloadAndBootJudge) {
  MoveVmsToB();
  Tick();
  ASSERT_TRUE(b.Locked("off"));
  // A power-off does not lock, an add does not unlock, a tick that only adds does neither.
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  Tick();
  EXPECT_FALSE(b.Locked("on"));
  ASSERT_THAT(b.Import(bundle), IsOk());
  Tick();
  EXPECT_TRUE(b.Locked("off"));
  // A reload judges, both ways.
  ASSERT_THAT(b.Reload("off"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
  ASSERT_THAT(b.DeleteProvider("nkp"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
  ASSERT_THAT(b.Remediate(), IsOk());
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_TRUE(b.Locked("on"));
  // So does a boot.
  ASSERT_THAT(b.Import(bundle), IsOk());
  EXPECT_TRUE(b.Locked("on"));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_FALSE(b.Locked("off"));
}

TEST_F(LocksTest, S135_AWrongKeyUnderTheRightNameFailsInTheUnwrap) {
  MoveVmsToB();
  ASSERT_THAT(b.CreateUsableNkp("nkp"), IsOk());
  Tick();
  // The name is there and the power-on of the VM that nobody judged fails all the same.
  ASSERT_TRUE(b.Holds("esx-1", "nkp"));
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_THAT(b.PowerOn("on"), HasReason(v1::REASON_KEY_MISMATCH));
  ASSERT_THAT(b.Reload("on"), IsOk());
  EXPECT_TRUE(b.Locked("on"));
}

TEST_F(LocksTest, S140_AFormerControllerIsRefused) {
  UseNkp();
  HostNode& esx2 = AddHostToA("esx-2");
  EXPECT_THAT(b.AddHost("esx-2", "cluster-b"), HasReason(v1::REASON_HOST_ATTACHED));
  const int64_t before = esx2.Status().epoch();
  MoveToB("esx-2");
  EXPECT_GT(esx2.Status().epoch(), before);
  EXPECT_EQ(esx2.Status().controller(), "vcenter-b");

  const identity::Identity former{"keysphere.test", identity::Kind::kController, "vcenter-a"};
  host::v1::CheckKeysRequest request;
  request.set_epoch(before);
  EXPECT_THAT(esx2.Call(former, &HostAgent::CheckKeys, request), HasReason(v1::REASON_STALE_EPOCH));
  request.set_epoch(esx2.Status().epoch());
  EXPECT_THAT(esx2.Call(former, &HostAgent::CheckKeys, request), HasReason(v1::REASON_STALE_EPOCH));
  host::v1::PowerOnHostVmRequest power_on;
  power_on.set_epoch(before);
  EXPECT_THAT(esx2.Call(former, &HostAgent::PowerOnHostVm, power_on),
              HasReason(v1::REASON_STALE_EPOCH));
  Tick();
  EXPECT_EQ(a.Host("esx-2").connection_state(), v1::CONNECTION_STATE_DISCONNECTED);
  EXPECT_EQ(b.Host("esx-2").connection_state(), v1::CONNECTION_STATE_CONNECTED);
}

TEST_F(LocksTest, S141_ACollisionIsToldAndTheOldKeyStaysUntilTheTick) {
  bundle = UseNkpWithBundle();
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(b.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(b.SetDefault("nkp"), IsOk());
  MoveToB();

  EXPECT_TRUE(b.Shows(kKeyCollision, "host/esx-1"));
  EXPECT_THAT(b.Events(controller::events::kKeyCollision, "host/esx-1"), SizeIs(1));
  EXPECT_THAT(b.Host("esx-1").collisions(), ElementsAre("nkp"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
  ASSERT_THAT(b.PowerOff("off"), IsOk());
  ASSERT_THAT(b.CreateVm("esx-1", "new"), IsOk());
  EXPECT_THAT(b.EncryptVm("new"), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_THAT(b.ConfigureCryptoKey("esx-1", "nkp"), HasReason(v1::REASON_KEY_MISMATCH));
  // Nor with the key that the host has: it is the other provider's.
  EXPECT_THAT(b.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_THAT(b.Unlock("off"), HasReason(v1::REASON_KEY_MISMATCH));

  Tick();
  EXPECT_FALSE(b.Shows(kKeyCollision, "host/esx-1"));
  EXPECT_THAT(b.Host("esx-1").collisions(), IsEmpty());
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_THAT(b.EncryptVm("new"), IsOk());
}

TEST_F(LocksTest, S156_ARunningVmOfAPurgedProviderSurvivesAReset) {
  MoveVmsToB();
  Tick();
  EXPECT_THAT(b.Reset("on"), IsOk());
  ExpectData("on");
  EXPECT_FALSE(b.Locked("on"));
}

TEST_F(LocksTest, AHostThatDoesNotAnswerAPassIsNotResponding) {
  esx1.wire().SetCut(true);
  Tick();
  cluster.Advance(absl::Seconds(11));
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_NOT_RESPONDING);
  esx1.wire().SetCut(false);
  cluster.Advance(absl::Seconds(1));
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
}

TEST_F(LocksTest, S140_AHostComesBackToAVCenterThatHasJustStarted) {
  MoveVmsToB();
  cluster.Settle();
  // The answer to what vcenter-a asks at its start is still under way.
  esx1.wire().SetDelay(absl::Seconds(1));
  const auto restart = [this] {
    a.Crash();
    ASSERT_THAT(a.Start(), IsOk());
  };
  restart();
  EXPECT_THAT(a.AddHost("esx-1", "cluster-a"), HasReason(v1::REASON_HOST_ATTACHED));
  restart();
  EXPECT_THAT(a.AddHost("esx-1", "cluster-a", /*force=*/true), IsOk());
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  // One that never went is there already, however early that is asked.
  restart();
  EXPECT_THAT(a.AddHost("esx-1", "cluster-a", /*force=*/true),
              HasReason(v1::REASON_ALREADY_EXISTS));
  esx1.wire().SetDelay(absl::ZeroDuration());
  cluster.Advance(absl::Minutes(1));
  ExpectData("on");
  EXPECT_THAT(a.PowerOn("off"), IsOk());
}

TEST_F(LocksTest, S140_S148_AHostWhoseAnswerIsLostIsAskedAgain) {
  MoveVmsToB();
  cluster.Settle();
  ASSERT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_DISCONNECTED);
  // It hears that it is vcenter-a's again, which hears of that too late.
  esx1.wire().SetDelay(absl::Seconds(6));
  EXPECT_THAT(a.AddHost("esx-1", "cluster-a", /*force=*/true),
              HasReason(v1::REASON_HOST_NOT_RESPONDING));
  esx1.wire().SetDelay(absl::ZeroDuration());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_THAT(a.PowerOn("off"), IsOk());
}

TEST_F(LocksTest, S140_S148_AHostThatDoesNotComeBackStaysInTheInventory) {
  MoveVmsToB();
  cluster.Settle();
  ASSERT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_DISCONNECTED);
  ASSERT_THAT(a.CreateCluster("other"), IsOk());
  esx1.wire().SetCut(true);
  EXPECT_THAT(a.AddHost("esx-1", "other", /*force=*/true),
              HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_EQ(a.Host("esx-1").cluster(), "cluster-a");
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  EXPECT_EQ(a.Host("esx-1").cluster(), "cluster-a");
  // It comes to the place that was asked last, with its VMs and their alarms as they are now.
  esx1.wire().SetCut(false);
  cluster.Advance(absl::Minutes(1));
  ASSERT_THAT(b.Remediate(), IsOk());
  ASSERT_TRUE(b.Locked("off"));
  EXPECT_THAT(a.AddHost("esx-1", "other", /*force=*/true), IsOk());
  EXPECT_EQ(a.Host("esx-1").cluster(), "other");
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_TRUE(a.Shows(kVmLocked, "vm/off"));
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_FALSE(a.Shows(kVmLocked, "vm/off"));
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_EQ(a.Host("esx-1").cluster(), "other");
  EXPECT_EQ(a.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
}

TEST_F(LocksTest, S33_APassThatChangesNothingSaysSo) {
  using Result = v1::RemediateResponse::HostResult;
  const auto outcome = [this] { return a.Remediate()->hosts(0).outcome(); };
  EXPECT_EQ(outcome(), Result::OUTCOME_UNCHANGED);
  // The host is told why it gets no key of it; that is no change.
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  EXPECT_EQ(outcome(), Result::OUTCOME_UNCHANGED);
  ASSERT_THAT(a.BackUp("nkp"), IsOk());
  EXPECT_EQ(outcome(), Result::OUTCOME_UNCHANGED);  // the key has travelled already
  ASSERT_THAT(a.MoveHost("esx-1", ""), IsOk());
  EXPECT_EQ(outcome(), Result::OUTCOME_CHANGED);
  ASSERT_THAT(a.MoveHost("esx-1", "cluster-a"), IsOk());
  EXPECT_EQ(outcome(), Result::OUTCOME_UNCHANGED);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  const auto pass = a.Remediate();
  ASSERT_THAT(pass, IsOk());
  EXPECT_EQ(pass->hosts(0).outcome(), Result::OUTCOME_CHANGED);
  EXPECT_THAT(pass->hosts(0).removed_providers(), ElementsAre("nkp"));
  EXPECT_EQ(outcome(), Result::OUTCOME_UNCHANGED);
}

TEST_F(LocksTest, WhereTheProviderIsGoneItsReturnIsTheNextStep) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  const std::string helps = a.Explain("web").next_step();
  EXPECT_THAT(helps, HasSubstr("Import the backup of provider \"nkp\""));
  EXPECT_THAT(helps, HasSubstr("(a standard provider: create it again)"));
}

}  // namespace
}  // namespace keysphere::tests
