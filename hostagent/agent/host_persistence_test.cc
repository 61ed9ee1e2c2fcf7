// Key Persistence: keys of standard providers that outlive a boot.
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;

// A safe host whose host key, and a VM "web" that is off, are the provider's.
class PersistenceTest : public HostTest {
 protected:
  PersistenceTest() {
    EXPECT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
    EXPECT_THAT(host().AddStandard(kms_, {vm_key_}), IsOk());
    EXPECT_THAT(host().CreateEncrypted("web", kms_.Id(vm_key_)), IsOk());
  }

  absl::StatusOr<host::v1::SetKeyPersistenceResponse> Set(bool enabled) {
    host::v1::SetKeyPersistenceRequest request;
    request.set_enabled(enabled);
    return host().Manage(&HostAgent::SetKeyPersistence, request);
  }
  int64_t CachedKeys() {
    return host().Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest())->cached_keys();
  }

  TestStandardProvider kms_{"kms"};
  const std::string host_key_ = kms_.NewKey();
  const std::string vm_key_ = kms_.NewKey();
};

TEST_F(PersistenceTest, S57_S59_WhatWasCachedOutlivesABootWithoutKmsAndController) {
  ASSERT_TRUE(Set(true)->enabled());
  EXPECT_TRUE(host().Status().key_persistence());
  host().Kill();  // no orderly stop is needed
  ASSERT_THAT(host().Start(), IsOk());
  EXPECT_EQ(CachedKeys(), 2);
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(host().Status().host_key().key_id(), host_key_);
  EXPECT_TRUE(host().Status().boot_complete());
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::PowerOnHostVm, on), IsOk());
}

TEST_F(PersistenceTest, S57_KeysThatComeLaterAreKeptToo) {
  ASSERT_THAT(Set(true), IsOk());
  const std::string later = kms_.NewKey();
  const std::string new_host_key = kms_.NewKey();
  ASSERT_THAT(host().AddStandard(kms_, {later}), IsOk());
  host::v1::SetCryptoModeRequest change;
  change.set_action(host::v1::SetCryptoModeRequest::ACTION_CHANGE_KEY);
  *change.mutable_host_key() = kms_.Id(new_host_key);
  *change.mutable_host_key_material() = host().Seal(kms_, {new_host_key});
  ASSERT_THAT(host().Manage(&HostAgent::SetCryptoMode, change), IsOk());
  host().Reboot();
  EXPECT_EQ(CachedKeys(), 4);
  EXPECT_EQ(host().Status().host_key().key_id(), new_host_key);
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
}

TEST_F(PersistenceTest, S57_DisablingErasesWhatWasKept) {
  ASSERT_THAT(Set(true), IsOk());
  EXPECT_FALSE(Set(false)->enabled());
  EXPECT_FALSE(host().Status().key_persistence());
  EXPECT_EQ(CachedKeys(), 2);  // the cache stays
  host().Reboot();
  EXPECT_EQ(CachedKeys(), 0);
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
}

TEST_F(PersistenceTest, S57_S151_AHostThatLeavesEncryptionModeKeepsNone) {
  ASSERT_THAT(Set(true), IsOk());
  host::v1::SetCryptoModeRequest disable;
  disable.set_action(host::v1::SetCryptoModeRequest::ACTION_DISABLE);
  ASSERT_THAT(host().Manage(&HostAgent::SetCryptoMode, disable), IsOk());
  host().Reboot();
  EXPECT_EQ(host().Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(CachedKeys(), 0);
  EXPECT_TRUE(host().Status().key_persistence());  // the setting stays
  host().Reboot();
  EXPECT_EQ(CachedKeys(), 0);
}

TEST_F(PersistenceTest, S57_APurgeErasesWhatWasKept) {
  ASSERT_THAT(Set(true), IsOk());
  host::v1::StandardProviderState state = kms_.State();
  state.add_missing_key_ids(vm_key_);
  EXPECT_THAT(host().TickStandard({state})->locked_vms(), ElementsAre("web"));
  host().Reboot();
  EXPECT_EQ(CachedKeys(), 1);
  ASSERT_THAT(host().TickStandard({}), IsOk());
  host().Reboot();
  EXPECT_EQ(CachedKeys(), 0);
}

TEST_F(PersistenceTest, S57_S29_WithoutATpm20ItIsRefused) {
  for (const tpm::TpmVersion version : {tpm::TpmVersion::kNone, tpm::TpmVersion::k12}) {
    TestHost::Settings settings;
    settings.tpm = version;
    TestHost bare(&executor_, settings);
    ASSERT_THAT(bare.Start(), IsOk());
    ASSERT_THAT(bare.Attach("vcenter-a"), IsOk());
    host::v1::SetKeyPersistenceRequest request;
    request.set_enabled(true);
    EXPECT_THAT(bare.Manage(&HostAgent::SetKeyPersistence, request),
                HasReason(v1::REASON_TPM_REQUIRED));
    EXPECT_FALSE(bare.Status().key_persistence());
    request.set_enabled(false);
    EXPECT_THAT(bare.Manage(&HostAgent::SetKeyPersistence, request), IsOk());
  }
}

TEST_F(PersistenceTest, S58_ItIsOffUnlessSwitchedOn) {
  EXPECT_FALSE(host().Status().key_persistence());
  host().Reboot();
  EXPECT_FALSE(host().Status().key_persistence());
  EXPECT_EQ(CachedKeys(), 0);
}

TEST_F(PersistenceTest, ADirectUserCannotSwitchIt) {
  host::v1::SetKeyPersistenceRequest request;
  request.set_enabled(true);
  EXPECT_THAT(host().Direct(&HostAgent::SetKeyPersistence, request),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
}

}  // namespace
}  // namespace keysphere::hostagent::agent
