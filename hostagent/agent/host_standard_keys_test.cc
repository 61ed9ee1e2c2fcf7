// Standard providers on a host: keys of a KMS, cached in memory.
#include <filesystem>
#include <fstream>

#include "common/keyset/keyset.h"
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A safe host whose host key, and a VM "web" that is off, are the provider's.
class StandardKeysTest : public HostTest {
 protected:
  StandardKeysTest() {
    EXPECT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
    EXPECT_THAT(host().AddStandard(kms_, {vm_key_}), IsOk());
    EXPECT_THAT(host().CreateEncrypted("web", kms_.Id(vm_key_)), IsOk());
  }

  int64_t CachedKeys() {
    return host().Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest())->cached_keys();
  }
  void ExpectLocked(v1::LockCause cause, v1::Reason reason) {
    const v1::Vm vm = host().Vm("web");
    EXPECT_EQ(vm.lock_state(), v1::LOCK_STATE_LOCKED);
    EXPECT_EQ(vm.lock().cause(), cause);
    EXPECT_THAT(vm.lock().others(), ::testing::Contains(reason));
  }

  TestStandardProvider kms_{"kms"};
  const std::string host_key_ = kms_.NewKey();
  const std::string vm_key_ = kms_.NewKey();
};

// The whole way: encrypt, run, reboot without a controller, locked; keys again, unlock, same data.
TEST_F(StandardKeysTest, S54_S56_S155_AnEmptyCacheAfterARebootLocksTheVms) {
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "hello, guest"), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  EXPECT_EQ(CachedKeys(), 2);
  EXPECT_EQ(host().Vm("web").key_id().key_id(), vm_key_);

  host().Reboot();
  EXPECT_EQ(CachedKeys(), 0);
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(host().Status().host_key().key_id(), host_key_);  // the key that it lost
  EXPECT_FALSE(host().Status().boot_complete());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNSPECIFIED);
  const auto pending = host().PowerOn("web");
  EXPECT_THAT(pending, HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_THAT(status::DetailOf(pending.status()).others(),
              ElementsAre(v1::REASON_KEYS_PENDING, v1::REASON_KEY_MISSING_ON_HOST));

  executor_.AdvanceBy(absl::Seconds(60));
  ExpectLocked(v1::LOCK_CAUSE_KEY_MISSING_ON_HOST, v1::REASON_KEY_MISSING_ON_HOST);
  // The controller is back: keys alone end no lock (S68).
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  ASSERT_THAT(host().AddStandard(kms_, {vm_key_}, /*first_sync=*/true), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(host().UnlockAll()->unlocked_vms(), ElementsAre("web"));
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
}

TEST_F(StandardKeysTest, S55_S149_TheFirstSyncBringsTheKeysBackWithoutALock) {
  host().Reboot();
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(host().Status().host_key().key_id(), host_key_);
  // Keys alone are not the end of the sync.
  ASSERT_THAT(host().AddStandard(kms_, {vm_key_}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEYS_PENDING));
  const auto synced = host().AddStandard(kms_, {}, /*first_sync=*/true);
  ASSERT_THAT(synced, IsOk());
  EXPECT_THAT(synced->locked_vms(), IsEmpty());
  EXPECT_TRUE(host().Status().boot_complete());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(StandardKeysTest, S54_S89_AFirstSyncInAnOutageOfTheKmsLocksForThat) {
  host().Reboot();
  host::v1::ApplyKeysRequest sync = host().KeysRequest({});
  sync.set_first_sync(true);
  *sync.add_standard_providers() = kms_.State();
  sync.mutable_standard_providers(0)->set_kms_unreachable(true);
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, sync)->locked_vms(), ElementsAre("web"));
  ExpectLocked(v1::LOCK_CAUSE_KMS_CLUSTER_ERROR, v1::REASON_KMS_UNREACHABLE);
  EXPECT_EQ(host().Vm("web").lock().reason(), v1::REASON_HOST_NOT_SAFE);
  EXPECT_THAT(host().Vm("web").lock().summary(),
              HasSubstr("o server of the KMS of provider \"kms\" answers"));
  EXPECT_THAT(host().Vm("web").lock().next_step(),
              HasSubstr("re-enable encryption mode of the host or unlock the VM"));
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  // The KMS answers again: what to do is another thing now, the cause of the lock is not.
  ASSERT_THAT(host().TickStandard({kms_.State()}), IsOk());
  ExpectLocked(v1::LOCK_CAUSE_KMS_CLUSTER_ERROR, v1::REASON_KEY_MISSING_ON_HOST);
  EXPECT_THAT(host().Vm("web").lock().next_step(), HasSubstr("either fetches the key"));
}

TEST_F(StandardKeysTest, S52_S56_S73_ACachedKeyOutlivesOutagesUnregisterAndDecrypt) {
  host::v1::StandardProviderState down = kms_.State();
  down.set_kms_unreachable(true);
  ASSERT_THAT(host().TickStandard({down}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(host().Unregister("web"), IsOk());
  ASSERT_THAT(host().Register("web"), IsOk());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  ASSERT_THAT(host().Manage(&HostAgent::DecryptHostVm, decrypt), IsOk());
  EXPECT_EQ(CachedKeys(), 2);
}

TEST_F(StandardKeysTest, S66_S67_S71_ATickWithoutTheProviderPurgesItsKeys) {
  const std::string other_key = kms_.NewKey();
  ASSERT_THAT(host().AddStandard(kms_, {other_key}), IsOk());
  ASSERT_THAT(host().CreateEncrypted("db", kms_.Id(other_key)), IsOk());
  ASSERT_THAT(host().PowerOn("db"), IsOk());
  const auto tick = host().TickStandard({});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_THAT(tick->removed_providers(), ElementsAre("kms"));
  ASSERT_EQ(tick->removed_standard_keys_size(), 1);
  EXPECT_EQ(tick->removed_standard_keys(0).keys_size(), 3);
  EXPECT_EQ(CachedKeys(), 0);
  ExpectLocked(v1::LOCK_CAUSE_KEY_MISSING_ON_HOST, v1::REASON_KEY_MISSING_ON_HOST);
  // S150: safe until its reboot. The running VM goes on, and is not locked by its power-off.
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_THAT(host().Write("db", "still here"), IsOk());
  ASSERT_THAT(host().PowerOff("db"), IsOk());
  EXPECT_THAT(host().PowerOn("db"), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_EQ(host().Vm("db").lock_state(), v1::LOCK_STATE_UNLOCKED);
  // S65: the key comes; no administrator is needed.
  ASSERT_THAT(host().AddStandard(kms_, {other_key}), IsOk());
  EXPECT_THAT(host().PowerOn("db"), IsOk());
}

TEST_F(StandardKeysTest, S152_ATickPurgesWhatTheKmsLacksAndNothingElse) {
  host::v1::StandardProviderState state = kms_.State();
  state.add_missing_key_ids(vm_key_);
  state.add_missing_key_ids("never-cached");
  const auto tick = host().TickStandard({state});
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->locked_vms(), ElementsAre("web"));
  EXPECT_THAT(tick->removed_providers(), IsEmpty());
  ASSERT_EQ(tick->removed_standard_keys_size(), 1);
  EXPECT_EQ(tick->removed_standard_keys(0).keys(0).key_id(), vm_key_);
  ExpectLocked(v1::LOCK_CAUSE_KEY_MISSING_ON_KMS, v1::REASON_KEY_MISSING_ON_KMS);
  EXPECT_EQ(CachedKeys(), 1);  // the host key stays
  ASSERT_EQ(tick->keys().standard_size(), 1);
  EXPECT_EQ(tick->keys().standard(0).keys(), 1);
}

TEST_F(StandardKeysTest, S132_AddsReplaceNothingAndATickSwaps) {
  TestStandardProvider impostor("kms");
  impostor.keys[vm_key_] = kms_.keys.at(host_key_);  // another KMS gave that id to another key
  const auto added = host().AddStandard(impostor, {vm_key_});
  ASSERT_THAT(added, IsOk());
  ASSERT_EQ(added->keys().collisions_size(), 1);
  EXPECT_EQ(added->keys().collisions(0).key_id(), vm_key_);
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().PowerOff("web"), IsOk());
  host::v1::ApplyKeysRequest tick = host().KeysRequest({});
  tick.set_allow_removal(true);
  *tick.add_standard_keys() = host().Seal(impostor, {vm_key_});
  *tick.add_standard_providers() = kms_.State();
  // S135: the unwrap decides.
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, tick)->locked_vms(), ElementsAre("web"));
  EXPECT_EQ(host().Vm("web").lock().reason(), v1::REASON_KEY_MISMATCH);
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEY_MISMATCH));
}

TEST_F(StandardKeysTest, S98_S151_AHostThatIsNotSafeTakesNoStandardKeys) {
  TestHost::Settings settings;
  settings.name = "esx-2";
  settings.datastore = host().datastore();
  TestHost other(&executor_, settings);
  ASSERT_THAT(other.Start(), IsOk());
  ASSERT_THAT(other.Attach("vcenter-a"), IsOk());
  const auto refused = other.AddStandard(kms_, {vm_key_});
  ASSERT_THAT(refused, IsOk());
  ASSERT_EQ(refused->keys().refused_size(), 1);
  EXPECT_EQ(refused->keys().refused(0).reason(), v1::REASON_HOST_NOT_SAFE);
  EXPECT_EQ(refused->keys().refused(0).entry().type(), v1::PROVIDER_TYPE_STANDARD);
  EXPECT_THAT(refused->keys().standard(), IsEmpty());
  ASSERT_THAT(other.Register("web"), IsOk());
  EXPECT_THAT(other.PowerOn("web", /*may_enable_host=*/true), HasReason(v1::REASON_HOST_NOT_SAFE));
  ASSERT_THAT(other.MakeSafe(kms_, kms_.NewKey()), IsOk());
  ASSERT_THAT(other.AddStandard(kms_, {vm_key_}), IsOk());
  EXPECT_THAT(other.Unlock("web"), IsOk());
  EXPECT_THAT(other.PowerOn("web"), IsOk());
}

TEST_F(StandardKeysTest, S139_TheHostKeyMustComeWithItsStep) {
  const std::string key = kms_.NewKey();
  host::v1::SetCryptoModeRequest request;
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_CHANGE_KEY);
  *request.mutable_host_key() = kms_.Id(key);
  EXPECT_THAT(host().Manage(&HostAgent::SetCryptoMode, request),
              HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  *request.mutable_host_key_material() = host().Seal(kms_, {vm_key_});
  EXPECT_THAT(host().Manage(&HostAgent::SetCryptoMode, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  *request.mutable_host_key_material() = host().Seal(kms_, {key});
  EXPECT_EQ(host().Manage(&HostAgent::SetCryptoMode, request)->host_key().key_id(), key);
  EXPECT_EQ(CachedKeys(), 3);
  // A step that is refused leaves no key.
  const std::string unused = kms_.NewKey();
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
  *request.mutable_host_key() = kms_.Id(unused);
  *request.mutable_host_key_material() = host().Seal(kms_, {unused});
  EXPECT_THAT(host().Manage(&HostAgent::SetCryptoMode, request),
              HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(CachedKeys(), 3);
}

TEST_F(StandardKeysTest, S139_S150_AnotherKeyUnderTheHostKeysIdIsNotTakenForIt) {
  EXPECT_EQ(host().Status().host_key_check_value(), kms_.CheckValue(host_key_));
  TestStandardProvider impostor("kms");  // another KMS gave that id to another key
  impostor.keys[host_key_] = kms_.keys.at(vm_key_);
  host().Reboot();
  EXPECT_EQ(host().Status().host_key_check_value(), kms_.CheckValue(host_key_));
  EXPECT_THAT(host().MakeSafe(impostor, host_key_), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_EQ(CachedKeys(), 0);
  host::v1::SetCryptoModeRequest enable;
  enable.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
  *enable.mutable_host_key() = kms_.Id(host_key_);
  *enable.mutable_host_key_material() = host().Seal(kms_, {host_key_});
  EXPECT_THAT(host().Manage(&HostAgent::SetCryptoMode, enable), IsOk());
  // The same while it is safe, and has the key in its cache.
  *enable.mutable_host_key_material() = host().Seal(impostor, {host_key_});
  EXPECT_THAT(host().Manage(&HostAgent::SetCryptoMode, enable), HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
}

TEST_F(StandardKeysTest, S53_S54_ANewKeyThatDidNotComeSaysWhy) {
  ASSERT_THAT(host().Create("db"), IsOk());
  const v1::CryptoKeyId key = kms_.Id("not-here");
  EXPECT_THAT(host().Encrypt("db", key), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  host::v1::StandardProviderState state = kms_.State();
  state.add_missing_key_ids("not-here");
  ASSERT_THAT(host().TickStandard({state}), IsOk());
  EXPECT_THAT(host().Encrypt("db", key), HasReason(v1::REASON_KEY_MISSING_ON_KMS));
  state.set_kms_unreachable(true);
  ASSERT_THAT(host().TickStandard({state}), IsOk());
  EXPECT_THAT(host().Encrypt("db", key), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_FALSE(host().Vm("db").has_key_id());
}

TEST_F(StandardKeysTest, S54_S150_ABootMakesAHostKeyOfANativeProviderThatItHolds) {
  const TestProvider nkp = TestProvider::Make("nkp");
  ASSERT_THAT(host().Add({nkp}), IsOk());
  const v1::CryptoKeyId lost = host().Status().host_key();
  host().Reboot();
  // The old key may come yet: its controller is waited for.
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_THAT(host().Status().host_key(), status::EqualsProto(lost));
  executor_.AdvanceBy(absl::Seconds(59));
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(host().Status().host_key().provider_id(), "nkp");
  host().Reboot();
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
}

TEST_F(StandardKeysTest, S150_AFirstSyncWithoutAHostKeyIsTheControllersLastWord) {
  const TestProvider nkp = TestProvider::Make("nkp");
  ASSERT_THAT(host().Add({nkp}), IsOk());
  host().Reboot();
  ASSERT_THAT(host().Add({nkp}, /*first_sync=*/true), IsOk());
  executor_.AdvanceBy(absl::Minutes(5));
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
}

TEST_F(StandardKeysTest, TheDigestAndTheListsTellWhatIsCached) {
  keyset::CachedKeysDigest cached;
  for (const std::string& key : {host_key_, vm_key_}) {
    cached.Toggle("kms", key, kms_.CheckValue(key));
  }
  host::v1::CheckKeysRequest check;
  check.set_list_standard_keys(true);
  const auto listed = host().Manage(&HostAgent::CheckKeys, check);
  ASSERT_THAT(listed, IsOk());
  EXPECT_EQ(listed->digest(), keyset::Digest({}, "cluster-a", cached));
  ASSERT_EQ(listed->standard_keys_size(), 1);
  ASSERT_EQ(listed->standard_keys(0).keys_size(), 2);
  for (const auto& key : listed->standard_keys(0).keys()) {
    EXPECT_EQ(key.key_check_value(), kms_.CheckValue(key.key_id()));
  }
  EXPECT_EQ(host().Attach("vcenter-a")->standard_keys(0).keys_size(), 2);
  check.set_list_standard_keys(false);
  EXPECT_THAT(host().Manage(&HostAgent::CheckKeys, check)->standard_keys(), IsEmpty());
}

TEST_F(StandardKeysTest, KeysOpenOnlyInTheirBootUnderTheirNames) {
  const std::string key = kms_.NewKey();
  host::v1::ApplyKeysRequest request = host().KeysRequest({});
  *request.add_standard_keys() = host().Seal(kms_, {vm_key_, key});
  host::v1::ApplyKeysRequest swapped = request;
  auto* const keys = swapped.mutable_standard_keys(0);
  keys->mutable_keys(0)->mutable_sealed()->swap(*keys->mutable_keys(1)->mutable_sealed());
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, swapped),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  host::v1::ApplyKeysRequest renamed = request;
  renamed.mutable_standard_keys(0)->mutable_keys(1)->set_key_id("another");
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, renamed),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  host::v1::ApplyKeysRequest moved = request;
  moved.mutable_standard_keys(0)->set_provider("kms-2");
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, moved),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  host::v1::ApplyKeysRequest bad = request;
  bad.mutable_standard_keys(0)->mutable_keys(0)->set_sealed("short");
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_EQ(CachedKeys(), 2);
  host().Reboot();
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(StandardKeysTest, S33_AMessageOfCachedKeysWritesNothing) {
  const auto writes = [this] {
    return host()
        .Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest())
        ->configuration_writes();
  };
  const int64_t before = writes();
  ASSERT_THAT(host().AddStandard(kms_, {kms_.NewKey()}), IsOk());
  EXPECT_EQ(writes(), before);
  EXPECT_EQ(CachedKeys(), 3);
}

TEST_F(StandardKeysTest, S56_NoCachedKeyLiesOnTheHostsDisk) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(host().state_dir())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)),
                              std::istreambuf_iterator<char>());
    for (const auto& [id, key] : kms_.keys) {
      const auto bytes = key->bytes(crypto::SecretKeyAccess::Token());
      for (const size_t half : {0, 16}) {
        EXPECT_EQ(content.find(std::string(reinterpret_cast<const char*>(bytes.data()) + half, 16)),
                  std::string::npos)
            << entry.path();
      }
    }
  }
}

}  // namespace
}  // namespace keysphere::hostagent::agent
