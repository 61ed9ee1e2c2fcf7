// Keys that come and go, and the VMs that lock and unlock for it.
#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"
#include "hostagent/vm/vm_folder.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using LockTest = HostTest;

// The whole way: encrypt, run, lose the key at a tick, lock, get it back, unlock, same data.
TEST_F(LockTest, S66_S68_ATickWithoutTheProviderLocksAndOnlyAnUnlockEndsIt) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "hello, guest"), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());

  const auto tick = host().Tick({});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->removed_providers(), ElementsAre("nkp"));
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_THAT(tick->keys().held(), IsEmpty());
  const v1::Vm locked = host().Vm("web");
  EXPECT_EQ(locked.lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(locked.lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  EXPECT_EQ(locked.lock().reason(), v1::REASON_VM_LOCKED);
  EXPECT_THAT(locked.lock().others(), ElementsAre(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_THAT(locked.lock().summary(), HasSubstr("nkp"));
  EXPECT_THAT(locked.lock().summary(), HasSubstr("esx-1"));
  EXPECT_THAT(locked.lock().summary(), HasSubstr(locked.key_id().key_id()));
  EXPECT_THAT(locked.lock().next_step(), HasSubstr("mport the backup of provider"));
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_VM_LOCKED));

  // S68: the key alone unlocks nothing, neither by a message nor by a tick.
  ASSERT_THAT(host().Add({nkp}), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  ASSERT_THAT(host().Tick({nkp}), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_VM_LOCKED));
  EXPECT_THAT(host().Vm("web").lock().next_step(), HasSubstr("unlock the VM"));

  const auto unlocked = host().UnlockAll();
  ASSERT_THAT(unlocked, IsOk());
  EXPECT_THAT(unlocked->unlocked_vms(), ElementsAre("web"));
  EXPECT_THAT(unlocked->still_locked(), IsEmpty());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
}

TEST_F(LockTest, S66_S67_S133_ARunningVmGoesOnAndIsNotJudgedByItsPowerOff) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "before"), IsOk());
  const auto tick = host().Tick({});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), IsEmpty());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(host().Read("web", 6), status::IsOkAndHolds("before"));
  // S156: its guest starts anew with the keys that it has.
  host::v1::ResetHostVmRequest reset;
  reset.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::ResetHostVm, reset), IsOk());

  ASSERT_THAT(host().PowerOff("web"), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  // The right key comes: no administrator is needed.
  ASSERT_THAT(host().Add({nkp}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 6), status::IsOkAndHolds("before"));
}

TEST_F(LockTest, S71_S114_BeforeTheTickADeletedProviderLeavesNoTrace) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  // The controller has deleted it; nothing was sent. Power cycles work.
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(host().Tick({}), IsOk());
  // S114: registered anew it is judged, locked, and stays so until it is unlocked.
  ASSERT_THAT(host().Unregister("web"), IsOk());
  ASSERT_THAT(host().Register("web"), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  ASSERT_THAT(host().Add({nkp}), IsOk());
  EXPECT_THAT(host().Unlock("web"), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(LockTest, S69_S135_AnotherKeyUnderTheRightNameDoesNotUnlock) {
  const TestProvider right = TestProvider::Make("nkp");
  TestProvider wrong = TestProvider::Make("nkp");
  wrong.key_id = right.key_id;  // S116: not even the key id tells
  UseProvider(right);
  ASSERT_THAT(host().CreateEncrypted("web", right), IsOk());
  const auto tick = host().Tick({wrong});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_EQ(host().Vm("web").lock().reason(), v1::REASON_KEY_MISMATCH);
  EXPECT_THAT(host().UnlockAll().value().unlocked_vms(), IsEmpty());
  EXPECT_THAT(host().Unlock("web"), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEY_MISMATCH));
  // The right one comes; it is swapped at a tick.
  ASSERT_THAT(host().Add({right}), IsOk());
  EXPECT_THAT(host().Unlock("web"), HasReason(v1::REASON_KEY_MISMATCH));
  ASSERT_THAT(host().Tick({right}), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(host().Unlock("web"), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

// A tick does not see a VM that is being made: it is judged when it is there.
TEST_F(LockTest, S66_S71_S134_ATickDuringACreateLocksTheNewVm) {
  const TestProvider nkp = TestProvider::Make("nkp");
  const TestProvider other = TestProvider::Make("nkp");  // another key under its name
  UseProvider(nkp);
  ASSERT_THAT(host().files().WriteFileAtomically(host().datastore() + "/image.raw",
                                                 std::string(6 << 20, 'x'), 0600),
              IsOk());
  int judged = 0;
  for (int round = 0;; ++round) {
    SCOPED_TRACE(round);
    const int tasks = 1 + round / 2;
    ASSERT_THAT(host().Tick({nkp}), IsOk());
    host::v1::CreateHostVmRequest request;
    request.set_epoch(host().epoch());
    request.set_name(absl::StrCat("web-", round));
    request.add_disks()->set_import_path("[ds1] image.raw");
    request.mutable_key()->set_provider_id("nkp");
    request.mutable_key()->set_key_id("k");
    host::v1::ApplyKeysRequest tick = host().KeysRequest(
        round % 2 == 0 ? std::vector<TestProvider>() : std::vector<TestProvider>{other});
    tick.set_allow_removal(true);
    absl::optional<absl::StatusOr<host::v1::HostVm>> created;
    host().agent().CreateHostVm(
        ControllerId("vcenter-a"), request,
        [&created](absl::StatusOr<host::v1::HostVm> vm) { created = std::move(vm); });
    int asked = 0;
    executor_.RunUntil([&asked, tasks] { return asked++ == tasks; }, absl::ZeroDuration());
    if (created.has_value()) break;  // the tick would come after it
    ASSERT_THAT(host().Manage(&HostAgent::ApplyKeys, tick), IsOk());
    ASSERT_TRUE(created.has_value());
    if (!created->ok()) continue;  // the key went before it was taken
    EXPECT_EQ(host().Vm(request.name()).lock_state(), v1::LOCK_STATE_LOCKED);
    // Or the tick came behind its end.
    if ((*created)->vm().lock_state() == v1::LOCK_STATE_LOCKED) ++judged;
  }
  EXPECT_GE(judged, 6);
}

TEST_F(LockTest, S72_ALockedVmTakesUnregisterReloadAndUnlockOnly) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().Tick({}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_VM_LOCKED));
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::DecryptHostVm, decrypt), HasReason(v1::REASON_VM_LOCKED));
  host::v1::AddHostVmVtpmRequest vtpm;
  vtpm.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::AddHostVmVtpm, vtpm), HasReason(v1::REASON_VM_LOCKED));
  EXPECT_FALSE(host().Encrypt("web", nkp).ok());
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(host().Unregister("web"), IsOk());
}

TEST_F(LockTest, S109_AVmRegisteredWithoutItsKeyIsLocked) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().Unregister("web"), IsOk());
  TestHost::Settings settings;
  settings.name = "esx-2";
  settings.datastore = host().datastore();
  TestHost other(&executor_, settings);
  ASSERT_THAT(other.Start(), IsOk());
  ASSERT_THAT(other.Attach("vcenter-a"), IsOk());
  const auto vm = other.Register("web");
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ(vm->vm().lock_state(), v1::LOCK_STATE_LOCKED);
  // S111: the key comes, the VM is unlocked; without it the unlock is refused.
  EXPECT_THAT(other.Unlock("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  ASSERT_THAT(other.Add({nkp}), IsOk());
  EXPECT_THAT(other.Unlock("web"), IsOk());
  EXPECT_EQ(other.Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
}

TEST_F(LockTest, S64_S141_AMovedHostWorksUntilTheTickAndKeepsItsOwnKey) {
  const TestProvider old_nkp = TestProvider::Make("nkp");
  const TestProvider new_nkp = TestProvider::Make("nkp");
  UseProvider(old_nkp);
  ASSERT_THAT(host().CreateEncrypted("web", old_nkp), IsOk());
  ASSERT_THAT(host().Attach("vcenter-b", "cluster-b", /*force=*/true), IsOk());
  const auto added = host().Add({new_nkp});
  ASSERT_THAT(added, IsOk());
  ASSERT_EQ(added->keys().collisions_size(), 1);
  EXPECT_THAT(added->keys().held(0).key_check_value(), old_nkp.Entry().key_check_value());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().PowerOff("web"), IsOk());
  // What needs the new key is refused until then.
  ASSERT_THAT(host().Create("db"), IsOk());
  EXPECT_THAT(host().Encrypt("db", new_nkp), HasReason(v1::REASON_KEY_MISMATCH));
  const auto tick = host().Tick({new_nkp});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_THAT(tick->keys().collisions(), IsEmpty());
  EXPECT_THAT(host().Encrypt("db", new_nkp), IsOk());
}

// A VM that two hosts have, and that the first encrypts after the second read its files.
class SharedVmTest : public HostTest {
 protected:
  SharedVmTest() {
    UseProvider(nkp_);
    TestHost::Settings settings;
    settings.name = "esx-2";
    settings.datastore = host().datastore();
    other_ = std::make_unique<TestHost>(&executor_, settings);
    EXPECT_THAT(other_->Start(), IsOk());
    EXPECT_THAT(other_->Attach("vcenter-a"), IsOk());
    EXPECT_THAT(other_->Add({nkp_, second_}), IsOk());
    EXPECT_THAT(host().Add({second_}), IsOk());
    EXPECT_THAT(host().Create("web"), IsOk());
    EXPECT_THAT(other_->Register("web"), IsOk());
    EXPECT_THAT(host().Encrypt("web", nkp_), IsOk());
    EXPECT_FALSE(other_->Vm("web").has_key_id());
  }

  const TestProvider nkp_ = TestProvider::Make("nkp");
  const TestProvider second_ = TestProvider::Make("second");
  std::unique_ptr<TestHost> other_;
};

TEST_F(SharedVmTest, S81_APowerOnShowsWhatTheFilesSayNow) {
  ASSERT_THAT(other_->MakeSafe(nkp_), IsOk());
  const auto on = other_->PowerOn("web");
  ASSERT_THAT(on, IsOk());
  const v1::CryptoKeyId key = host().Vm("web").key_id();
  EXPECT_EQ(on->vm().key_id().provider_id(), "nkp");
  EXPECT_EQ(on->vm().key_id().key_id(), key.key_id());
  EXPECT_EQ(on->vm().disks(0).key_id().key_id(), key.key_id());
  EXPECT_EQ(on->vm().migrate_encryption(), "required");
  ASSERT_THAT(other_->PowerOff("web"), IsOk());
  // And the other way.
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  ASSERT_THAT(host().Manage(&HostAgent::DecryptHostVm, decrypt), IsOk());
  const auto plain = other_->PowerOn("web");
  ASSERT_THAT(plain, IsOk());
  EXPECT_FALSE(plain->vm().has_key_id());
}

TEST_F(SharedVmTest, S101_S151_AVmThatWasPlainDoesNotRunEncryptedOnAHostThatIsNotSafe) {
  EXPECT_THAT(other_->PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_EQ(other_->Vm("web").key_id().provider_id(), "nkp");
  EXPECT_EQ(other_->Vm("web").power_state(), v1::POWER_STATE_OFF);
  ASSERT_THAT(other_->PowerOn("web", /*may_enable_host=*/true), IsOk());
  EXPECT_EQ(other_->Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
}

TEST_F(SharedVmTest, S66_APurgeJudgesByTheKeyThatTheFilesName) {
  const auto tick = other_->Tick({second_});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_EQ(other_->Vm("web").key_id().provider_id(), "nkp");
}

TEST_F(SharedVmTest, S66_APurgeOfAFormerKeyDoesNotLockAVmThatHasAnother) {
  ASSERT_THAT(other_->MakeSafe(nkp_), IsOk());
  ASSERT_THAT(other_->PowerOn("web"), IsOk());
  ASSERT_THAT(other_->PowerOff("web"), IsOk());
  host::v1::RekeyHostVmRequest rekey;
  rekey.set_vm("web");
  rekey.set_depth(v1::REKEY_DEPTH_SHALLOW);
  rekey.mutable_key()->set_provider_id("second");
  rekey.mutable_key()->set_key_id("k");
  ASSERT_THAT(host().Manage(&HostAgent::RekeyHostVm, rekey), IsOk());
  EXPECT_EQ(other_->Vm("web").key_id().provider_id(), "nkp");
  const auto tick = other_->Tick({second_});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), IsEmpty());
  EXPECT_EQ(other_->Vm("web").key_id().provider_id(), "second");
}

TEST_F(LockTest, S110_AMissingDiskKeyFailsThePowerOnAndNamesTheDisk) {
  const TestProvider a = TestProvider::Make("a");
  const TestProvider b = TestProvider::Make("b");
  ASSERT_THAT(host().Add({a, b}), IsOk());
  ASSERT_THAT(host().MakeSafe(b), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", a), IsOk());
  const std::string disk_key = host().Vm("web").disks(0).key_id().key_id();
  ASSERT_THAT(host().Unregister("web"), IsOk());
  // A rekey to b that skips the disks (S153).
  auto folder = vm::VmFolder::Open(host().files(), host().datastore() + "/web");
  ASSERT_THAT(folder, IsOk());
  const auto lookup = [&a](const vm::KeyId& key) {
    return crypto::DeriveVmKek(*a.kdk, key.key_id);
  };
  ASSERT_THAT((*folder)->ShallowRekey(lookup, crypto::DeriveVmKek(*b.kdk, "home").value(),
                                      {"b", "home"}, /*include_disks=*/false),
              IsOk());
  folder->reset();
  ASSERT_THAT(host().Register("web"), IsOk());
  const auto tick = host().Tick({b});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), IsEmpty());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  const auto refused = host().PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  const v1::ErrorDetail detail = status::DetailOf(refused.status());
  EXPECT_EQ(detail.metadata().at("disk"), "web-1.vmdk");
  EXPECT_EQ(detail.metadata().at("key_id"), disk_key);
  EXPECT_EQ(detail.metadata().at("provider"), "a");
  ASSERT_THAT(host().Add({a}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

}  // namespace
}  // namespace keysphere::hostagent::agent
