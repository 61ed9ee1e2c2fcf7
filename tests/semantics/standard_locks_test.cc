// Standard key providers, and both kinds side by side: defaults, moves, locks, what is told.
#include <filesystem>

#include "common/identity/authority.h"
#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kVmLocked;
using controller::events::kCryptoOperation;

class StandardLocksTest : public StandardStage {
 protected:
  std::string ProviderOf(const std::string& vm) { return a.Vm(vm).key_id().provider_id(); }
  // Two VMs of the SKP, on esx-1, at vcenter-b, which has no provider.
  void MoveVmsToB() {
    UseSkp();
    MakeVm("on", /*running=*/true);
    MakeVm("off", /*running=*/false);
    MoveToB();
  }
};

// ---- Providers and defaults ----

TEST_F(StandardLocksTest, S11_S14_OneDefaultOfEitherKindForNewObjectsOnly) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("first", /*running=*/false);
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  EXPECT_FALSE(a.Provider("skp")->is_default());
  EXPECT_TRUE(a.Provider("nkp")->is_default());
  MakeVm("second", /*running=*/false);
  ASSERT_THAT(a.SetDefault("skp"), IsOk());
  EXPECT_FALSE(a.Provider("nkp")->is_default());
  MakeVm("third", /*running=*/false);
  Tick();
  EXPECT_EQ(ProviderOf("first"), "skp");
  EXPECT_EQ(ProviderOf("second"), "nkp");
  EXPECT_EQ(ProviderOf("third"), "skp");
  for (const std::string vm : {"first", "second", "third"}) {
    EXPECT_THAT(a.PowerOn(vm), IsOk());
    ExpectData(vm);
  }
}

TEST_F(StandardLocksTest, S12_S13_S15_UseDoesNotBlockDeletionAndADefaultHasNoSuccessor) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("web", /*running=*/true);
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  EXPECT_FALSE(a.Provider("nkp")->is_default());
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_THAT(a.AddVtpm("plain"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_THAT(a.EncryptVm("plain", "nkp"), IsOk());
  ExpectData("web");
}

TEST_F(StandardLocksTest, S126_S160_AClustersDefaultOfOneKindWinsOverAGlobalOneOfTheOther) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  ASSERT_THAT(a.SetDefault("nkp", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "native"), IsOk());
  EXPECT_EQ(ProviderOf("native"), "nkp");
  EXPECT_EQ(kms.Calls("Create"), 0);
  ASSERT_THAT(a.SetDefault("", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "standard"), IsOk());
  EXPECT_EQ(ProviderOf("standard"), "skp");

  AddSkp("skp-2");
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  ASSERT_THAT(a.SetDefault("skp-2", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "overridden"), IsOk());
  EXPECT_EQ(ProviderOf("overridden"), "skp-2");
  // Deleted, it has no successor: not the global one either.
  ASSERT_THAT(a.DeleteProvider("skp-2"), IsOk());
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "none"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  ASSERT_THAT(a.SetDefault("", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "global"), IsOk());
  EXPECT_EQ(ProviderOf("global"), "nkp");
}

TEST_F(StandardLocksTest, S34_S81_S131_TheFilesNameTheKeyAndOpenWhereverItIs) {
  UseSkp();
  MakeVm("web", /*running=*/false);
  const v1::CryptoKeyId key = a.Vm("web").key_id();
  EXPECT_THAT(kms.keys().uids(), Contains(key.key_id()));
  EXPECT_EQ(key.provider_id(), "skp");
  EXPECT_THAT(esx1.Vmx("web"),
              HasSubstr(absl::StrCat("encryption.keySafe = \"vmware:key/list/(pair/"
                                     "(fqid/<VMWARE-NULL>/skp/",
                                     key.key_id(), ",HMAC-SHA-256,")));
  EXPECT_THAT(esx1.Vmx("web"), HasSubstr("encryption.data = "));
  // The KMS' bytes are in none of it.
  const auto kek = kms.keys().Get(key.key_id());
  ASSERT_THAT(kek, IsOk());
  const auto bytes = kek->bytes(crypto::SecretKeyAccess::Token());
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_THAT(esx1.Vmx("web"), Not(HasSubstr(text)));

  // A vCenter with the same KMS under the same name.
  ASSERT_THAT(b.CreateSkp("skp", kms), IsOk());
  cluster.AddHost("esx-b");
  ASSERT_THAT(b.AddHost("esx-b", "cluster-b"), IsOk());
  ASSERT_THAT(a.Unregister("web"), IsOk());
  const auto there = b.Register("esx-b", "web");
  ASSERT_THAT(there, IsOk());
  EXPECT_EQ(there->lock_state(), v1::LOCK_STATE_UNLOCKED);
  ASSERT_THAT(b.PowerOn("web"), IsOk());
  ExpectData("web", "esx-b");
}

// A KDK is known to somebody: nothing may depend on it any more.
TEST_F(StandardLocksTest, S49_S46_AfterACompromiseAllIsRekeyedLiveOffTheOldProvider) {
  ASSERT_THAT(a.CreateUsableNkp("leaked"), IsOk());
  ASSERT_THAT(a.SetDefault("leaked"), IsOk());
  AddHostToA("esx-2");
  const std::vector<std::pair<std::string, std::string>> vms = {
      {"one", "esx-1"}, {"two", "esx-1"}, {"three", "esx-2"}};
  for (const auto& [vm, host] : vms) MakeVm(vm, /*running=*/true, host);
  for (const std::string next : {"skp", "nkp"}) {
    if (next == "skp") {
      UseSkp();
    } else {
      ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
      ASSERT_THAT(a.SetDefault("nkp"), IsOk());
    }
    for (const auto& [vm, host] : vms) {
      ASSERT_THAT(a.RekeyVm(vm), IsOk());
      EXPECT_EQ(a.Vm(vm).power_state(), v1::POWER_STATE_ON);
      EXPECT_EQ(a.Vm(vm).key_id().provider_id(), next);
      EXPECT_EQ(a.Vm(vm).disks(0).key_id().provider_id(), next);
    }
    ASSERT_THAT(a.DeleteProvider(next == "skp" ? "leaked" : "skp"), IsOk());
    Tick();
    for (const auto& [vm, host] : vms) {
      ExpectData(vm, host);
      ASSERT_THAT(a.PowerOff(vm), IsOk());
      ASSERT_THAT(a.PowerOn(vm), IsOk()) << vm << " depends on what is gone";
      ExpectData(vm, host);
    }
  }
}

// ---- Moves and purges ----

TEST_F(StandardLocksTest, S64_S132_UntilTheNextTickAMovedHostWorks) {
  MoveVmsToB();
  cluster.Advance(absl::Minutes(4));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ASSERT_THAT(b.PowerOff("off"), IsOk());
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_THAT(b.PowerOn("on"), IsOk());
  ExpectData("on");
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.Alarms(), IsEmpty());
  // No restart of the vCenter removes anything either: only a tick does.
  b.Crash();
  ASSERT_THAT(b.Start(), IsOk());
  cluster.Advance(absl::Minutes(4));
  EXPECT_EQ(esx1.Stats().cached_keys(), 3);
  EXPECT_FALSE(b.Locked("off"));
}

TEST_F(StandardLocksTest, S66_S67_S68_S133_TheTickLocksWhatDoesNotRunAndTheKmsAloneUnlocksNothing) {
  MoveVmsToB();
  Tick();
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
  EXPECT_TRUE(b.Locked("off"));
  EXPECT_EQ(b.Vm("off").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/off"));
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_THAT(esx1.Write("on", "goes on"), IsOk());
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));
  EXPECT_THAT(b.PowerOn("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));

  // The right KMS: what was not judged comes back without an administrator.
  ASSERT_THAT(b.CreateSkp("skp", kms), IsOk());
  cluster.Advance(absl::Seconds(5));
  EXPECT_THAT(b.PowerOn("on"), IsOk());
  Tick();
  EXPECT_TRUE(b.Locked("off"));
  const auto done = b.ConfigureCryptoKey("esx-1");
  ASSERT_THAT(done, IsOk());
  EXPECT_THAT(done->unlocked_vms(), ElementsAre("off"));
  EXPECT_THAT(b.Events(controller::events::kVmUnlocked, "vm/off"), SizeIs(1));
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/off"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(StandardLocksTest, S70_APurgeComesAtTheChangedInterval) {
  UseSkp();
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "20"), IsOk());
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  cluster.Advance(absl::Minutes(15));
  EXPECT_FALSE(a.Locked("off"));
  cluster.Advance(absl::Minutes(6));
  EXPECT_TRUE(a.Locked("off"));
}

TEST_F(StandardLocksTest, S72_ALockedVmTakesNoOperationButThese) {
  MoveVmsToB();
  Tick();
  ExpectLockedVmRefuses("off");
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/off"));  // S89
}

TEST_F(StandardLocksTest, S111_S68_CryptoUnlockNeedsThePrivilegeAndTheKey) {
  UseSkp();
  MakeVm("web", /*running=*/false);
  MakeVm("other", /*running=*/false);
  kms.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  ASSERT_TRUE(a.Locked("web"));
  EXPECT_FALSE(a.Unlock("web").ok());
  EXPECT_TRUE(a.Locked("web"));
  kms.SetDown(false);
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  a.caller.user = "plain";
  EXPECT_THAT(a.Unlock("web"), HasReason(v1::REASON_NO_PERMISSION));
  a.caller.user = "administrator";
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());  // a host that is not safe takes no key
  EXPECT_FALSE(a.Locked("web"));

  // One of several, where the host is safe.
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  Tick();
  UseSkp();
  cluster.Advance(absl::Seconds(5));
  ASSERT_TRUE(a.Locked("web"));
  ASSERT_TRUE(a.Locked("other"));
  EXPECT_THAT(a.Unlock("web"), IsOk());
  EXPECT_FALSE(a.Locked("web"));
  EXPECT_TRUE(a.Locked("other"));
}

TEST_F(StandardLocksTest, S134_OnlyPurgeRegistrationReloadAndBootJudge) {
  MoveVmsToB();
  Tick();
  ASSERT_TRUE(b.Locked("off"));
  ASSERT_THAT(b.PowerOff("on"), IsOk());
  EXPECT_FALSE(b.Locked("on"));  // a power-off does not
  ASSERT_THAT(b.CreateSkp("skp", kms), IsOk());
  cluster.Advance(absl::Seconds(5));
  EXPECT_TRUE(b.Locked("off"));  // keys that come do not
  Tick();
  EXPECT_TRUE(b.Locked("off"));  // nor a tick that adds only
  EXPECT_THAT(b.Reload("off"), IsOk());
  EXPECT_FALSE(b.Locked("off"));
  EXPECT_THAT(b.PowerOn("off"), IsOk());
}

TEST_F(StandardLocksTest, S135_AnotherKeyUnderTheRightIdFailsInTheUnwrap) {
  UseSkp();
  MakeVm("web", /*running=*/false);
  const std::string id = a.Vm("web").key_id().key_id();
  kms.keys().Replace(id);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  AfterFirstSync();
  EXPECT_TRUE(esx1.Safe());
  EXPECT_TRUE(a.Locked("web"));
  EXPECT_EQ(a.Vm("web").lock().reason(), v1::REASON_KEY_MISMATCH);
  EXPECT_THAT(a.Unlock("web"), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_TRUE(a.Locked("web"));
}

TEST_F(StandardLocksTest, S140_KeysOfAFormerControllerAreRefused) {
  AddHostToA("esx-2");
  MoveVmsToB();
  MakeVm("new", /*running=*/true, "esx-2");
  ASSERT_THAT(a.Remediate(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_EQ(esx1.Stats().cached_keys(), 4);  // of the four VMs and hosts of before the move
  EXPECT_FALSE(a.ConfigureCryptoKey("esx-1").ok());
}

TEST_F(StandardLocksTest, S148_AVCenterKilledAtAnyMomentOfARekeyLeavesTheVmWhole) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("web", /*running=*/false);
  for (int round = 0; round < 16; ++round) {
    v1::RekeyVmRequest request;
    request.set_vm("web");
    request.set_depth(v1::REKEY_DEPTH_SHALLOW);
    request.mutable_crypto()->mutable_key()->set_provider_id(round % 2 == 0 ? "skp" : "nkp");
    a.vcenter().strand()->Post([this, request] {
      a.vcenter().vm_encryption().RekeyVm(a.caller, request, [](absl::StatusOr<v1::Task>) {});
    });
    int steps = 0;
    cluster.executor().RunUntil([&] { return steps++ > round * 4; }, absl::ZeroDuration());
    a.Crash();
    cluster.Advance(absl::Seconds(3));
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Seconds(3));
    EXPECT_EQ(a.Vm("web").disks(0).key_id().key_id(), a.Vm("web").key_id().key_id());
    EXPECT_THAT(a.PowerOn("web"), IsOk()) << round;
    ExpectData("web");
    EXPECT_THAT(a.PowerOff("web"), IsOk());
  }
}

TEST_F(StandardLocksTest, S153_S110_APurgeShowsTheDiskThatWasSkipped) {
  FakeKms& old = AddSkp("old");
  UseSkp();
  MakeVm("web", /*running=*/false, "esx-1", "old");
  const std::string old_key = a.Vm("web").key_id().key_id();
  ASSERT_THAT(a.RekeyVm("web", "", /*deep=*/false, /*skip_hard_disks=*/true), IsOk());
  ASSERT_THAT(a.DeleteProvider("old"), IsOk());
  Tick();
  EXPECT_FALSE(a.Locked("web"));
  const absl::Status refused = a.PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_THAT(std::string(refused.message()), HasSubstr(old_key));
  const std::string disk = status::DetailOf(refused).metadata().at("disk");
  EXPECT_EQ(disk, a.Vm("web").disks(0).file_name());
  const v1::LockExplanation explained = a.Explain("web");
  EXPECT_EQ(explained.reason(), v1::REASON_KEY_MISSING_ON_HOST);
  EXPECT_EQ(explained.cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  EXPECT_EQ(explained.key_id().provider_id(), "old");
  EXPECT_EQ(explained.key_id().key_id(), old_key);
  EXPECT_THAT(explained.summary(), HasSubstr(disk));
  EXPECT_THAT(explained.next_step(), HasSubstr("old"));

  // Once the provider is there again, nothing prevents it.
  ASSERT_THAT(a.CreateSkp("old", old), IsOk());
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_UNSPECIFIED);
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  ExpectData("web");
}

TEST_F(StandardLocksTest, S110_WhyADiskWouldNotOpenIsToldAsThePowerOnTellsIt) {
  FakeKms& old = AddSkp("old");
  UseSkp();
  MakeVm("web", /*running=*/false, "esx-1", "old");
  ASSERT_THAT(a.RekeyVm("web", "", /*deep=*/false, /*skip_hard_disks=*/true), IsOk());
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_UNSPECIFIED);
  for (const std::string& uid : old.keys().uids()) old.keys().Remove(uid);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  AfterFirstSync();
  EXPECT_FALSE(a.Locked("web"));
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_KEY_MISSING_ON_KMS));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_KEY_MISSING_ON_KMS);
  old.SetDown();
  Tick();
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_KMS_UNREACHABLE);
}

TEST_F(StandardLocksTest, S154_TheFirstCauseIsTheReason) {
  UseSkp();
  kms.SetDown();
  cluster.AddHost("esx-lone");
  ASSERT_THAT(a.AddHost("esx-lone", ""), IsOk());
  ASSERT_THAT(a.CreateVm("esx-lone", "web"), IsOk());
  ASSERT_THAT(a.PowerOn("web"), IsOk());
  ASSERT_THAT(a.SetRole("Encrypter", {"Cryptographer.EncryptNew", "Cryptographer.Encrypt"}),
              IsOk());
  ASSERT_THAT(a.GiveRole("eve", "Encrypter"), IsOk());
  a.caller.user = "eve";
  const absl::Status refused = a.EncryptVm("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_THAT(OthersOf(refused), ElementsAre(v1::REASON_NOT_IN_CLUSTER, v1::REASON_HOST_NOT_SAFE));
  a.caller.user = "administrator";
  ASSERT_THAT(a.PowerOff("web"), IsOk());
  a.caller.user = "eve";
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  a.caller.user = "administrator";
  ASSERT_THAT(a.MoveHost("esx-lone", "cluster-a"), IsOk());
  a.caller.user = "eve";
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  a.caller.user = "administrator";
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_KMS_UNREACHABLE));
}

TEST_F(StandardLocksTest, S156_ARunningVmOfAPurgedProviderGoesOn) {
  MoveVmsToB();
  Tick();
  ASSERT_EQ(esx1.Stats().cached_keys(), 0);
  ASSERT_THAT(b.CreateUsableNkp("own"), IsOk());
  ASSERT_THAT(b.SetDefault("own"), IsOk());
  EXPECT_THAT(b.Reset("on"), IsOk());
  ExpectData("on");
  EXPECT_THAT(b.RekeyVm("on"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_EQ(b.Vm("on").key_id().provider_id(), "skp");
  EXPECT_EQ(b.Vm("on").power_state(), v1::POWER_STATE_ON);
  ExpectData("on");
}

// ---- What is told ----

TEST_F(StandardLocksTest, S87_TheAuditNamesKeysUserAndTime) {
  UseSkp();
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  ASSERT_THAT(a.EncryptVm("web"), IsOk());
  const std::string first = a.Vm("web").key_id().key_id();
  ASSERT_THAT(a.RekeyVm("web"), IsOk());
  const std::vector<v1::Event> events = a.Events(kCryptoOperation, "vm/web");
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[0].arguments().at("operation"), "EncryptVm");
  EXPECT_EQ(events[0].arguments().at("key_id"), first);
  EXPECT_EQ(events[1].arguments().at("provider"), "skp");
  EXPECT_EQ(events[1].arguments().at("old_key_id"), first);
  EXPECT_EQ(events[1].arguments().at("key_id"), a.Vm("web").key_id().key_id());
  EXPECT_EQ(events[1].user(), "administrator");
  EXPECT_EQ(events[1].time().seconds(), absl::ToUnixSeconds(cluster.executor().Now()));
  // What the KMS prevents was not done.
  kms.SetDown();
  EXPECT_FALSE(a.RekeyVm("web").ok());
  EXPECT_THAT(a.Events(kCryptoOperation, "vm/web"), SizeIs(2));
}

TEST_F(StandardLocksTest, S89_ARegistrationWhoseKeyTheKmsHasTellsOfNoLock) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  const std::string key = a.Vm("vm").key_id().key_id();
  ASSERT_THAT(a.Unregister("vm"), IsOk());
  ASSERT_THAT(esx1.Reboot(), IsOk());
  AfterFirstSync();
  kms.SetLatency(absl::Seconds(1));  // long enough to look in between
  const auto vm = a.Register("esx-1", "vm");
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ(vm->lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_EQ(a.Vm("vm").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto", "vm/vm"), IsEmpty());
  EXPECT_THAT(a.Alarms(), IsEmpty());
  // One that cannot be had: one lock, told once.
  ASSERT_THAT(a.Unregister("vm"), IsOk());
  kms.keys().Remove(key);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(1));
  const auto locked = a.Register("esx-1", "vm");
  ASSERT_THAT(locked, IsOk());
  EXPECT_EQ(locked->lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(locked->lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  EXPECT_THAT(TypesOf(a.Events("com.vmware.vc.vm.Crypto", "vm/vm")),
              ElementsAre(controller::events::kVmLockedKeyMissingOnKms));
}

TEST_F(StandardLocksTest, S89_ALockThatCameWhileTheControllerWasAwayIsToldOnReconnect) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  a.Stop();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  ASSERT_EQ(esx1.Vm("vm").lock_state(), v1::LOCK_STATE_LOCKED);
  ASSERT_THAT(a.Start(), IsOk());
  AfterFirstSync();
  EXPECT_THAT(a.Events(controller::events::kVmLockedKeyMissingOnHost, "vm/vm"), SizeIs(1));
  EXPECT_TRUE(a.Shows(kVmLocked, "vm/vm"));
}

TEST_F(StandardLocksTest, S94_AClientCertificateThatEndsSoonIsWarnedOf) {
  const absl::Time now = cluster.executor().Now();
  const auto authority = identity::Authority::Create("kms.test", identity::Validity::From(now));
  ASSERT_THAT(authority, IsOk());
  const auto issue = [&authority, now](absl::Duration lasts) {
    identity::Authority::Request request;
    request.name = "vcenter-a";
    request.validity = {now - absl::Hours(1), now + lasts};
    return *(*authority)->Issue(request);
  };
  UseSkp();
  const auto take = [this](const identity::Credentials& credentials) {
    v1::SetKmsClientCertificateRequest request;
    request.set_name("skp");
    request.set_certificate(credentials.certificate_pem);
    request.set_private_key(std::string(credentials.key_pem.view()));
    return a.Call(&VCenter::providers, &controller::providers::Providers::SetKmsClientCertificate,
                  request);
  };
  ASSERT_THAT(take(issue(absl::Hours(24 * 40))), IsOk());
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  const char* const expiration = controller::events::kKmsClientCertificateExpiration;
  EXPECT_THAT(a.Events(expiration), IsEmpty());

  cluster.Advance(absl::Hours(24 * 11));
  EXPECT_THAT(a.Events(expiration, "provider/skp"), SizeIs(1));
  EXPECT_TRUE(a.Shows(controller::alarms::kKmsClientCertificate, "provider/skp"));
  const v1::StandardProviderInfo info = a.Provider("skp")->standard_info();
  EXPECT_EQ(info.status(), v1::KMS_STATUS_YELLOW);
  EXPECT_THAT(info.status_reason(), HasSubstr("client certificate"));
  // Nearer to the threshold that somebody sets.
  ASSERT_THAT(a.SetOption("vpxd.kmscert.threshold", "10"), IsOk());
  Tick();
  EXPECT_FALSE(a.Shows(controller::alarms::kKmsClientCertificate, "provider/skp"));
  ASSERT_THAT(a.SetOption("vpxd.kmscert.threshold", "30"), IsOk());
  Tick();
  EXPECT_THAT(a.Events(expiration, "provider/skp"), SizeIs(2));

  ASSERT_THAT(take(issue(absl::Hours(24 * 400))), IsOk());
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_FALSE(a.Shows(controller::alarms::kKmsClientCertificate, "provider/skp"));
}

}  // namespace
}  // namespace keysphere::tests
