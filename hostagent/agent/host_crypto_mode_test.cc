// Encryption mode of a host.
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::SetCryptoModeRequest;
using status::HasReason;
using status::IsOk;

class CryptoModeTest : public HostTest {
 protected:
  CryptoModeTest() { EXPECT_THAT(host().Add({nkp_}), IsOk()); }

  absl::StatusOr<host::v1::SetCryptoModeResponse> Do(SetCryptoModeRequest::Action action,
                                                     const std::string& key_id = "",
                                                     const std::string& provider = "nkp") {
    SetCryptoModeRequest request;
    request.set_action(action);
    if (!key_id.empty()) {
      request.mutable_host_key()->set_key_id(key_id);
      request.mutable_host_key()->set_provider_id(provider);
    }
    return host().Manage(&HostAgent::SetCryptoMode, request);
  }
  v1::CryptoState State() { return host().Status().crypto_state(); }

  const TestProvider nkp_ = TestProvider::Make("nkp");
};

TEST_F(CryptoModeTest, S95_PrepareWorksOnlyWhileIncapable) {
  EXPECT_EQ(State(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(Do(SetCryptoModeRequest::ACTION_PREPARE)->crypto_state(), v1::CRYPTO_STATE_PREPARED);
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_PREPARE), HasReason(v1::REASON_INVALID_STATE));
}

TEST_F(CryptoModeTest, S95_ARefusalNamesTheHostAndTheNextStep) {
  std::vector<absl::Status> refused = {Do(SetCryptoModeRequest::ACTION_ENABLE, "k1").status()};
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_PREPARE), IsOk());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_PREPARE).status());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_ENABLE).status());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_ENABLE, std::string(257, 'k')).status());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, "k1"), IsOk());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_PREPARE).status());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_ENABLE, "k2").status());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_DISABLE), IsOk());
  refused.push_back(Do(SetCryptoModeRequest::ACTION_PREPARE).status());
  for (const absl::Status& status : refused) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status::DetailOf(status).object(), "host/esx-1") << status;
    EXPECT_NE(status::DetailOf(status).next_step(), "") << status;
  }
}

TEST_F(CryptoModeTest, S96_EnableNeedsPreparedAndAnotherKeyAlreadyExists) {
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, "k1"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_PREPARE), IsOk());
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, "k1", "none-such"),
              HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  const auto enabled = Do(SetCryptoModeRequest::ACTION_ENABLE, "k1");
  ASSERT_THAT(enabled, IsOk());
  EXPECT_EQ(enabled->crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(enabled->host_key().key_id(), "k1");
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, "k1"), IsOk());
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, "k2"), HasReason(v1::REASON_ALREADY_EXISTS));
}

TEST_F(CryptoModeTest, S97_DisableIsPendingUntilTheReboot) {
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_DISABLE), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_DISABLE), IsOk());
  EXPECT_EQ(State(), v1::CRYPTO_STATE_PENDING_INCAPABLE);
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_DISABLE), HasReason(v1::REASON_INVALID_STATE));
  host().Reboot();
  EXPECT_EQ(State(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_FALSE(host().Status().has_host_key());
}

TEST_F(CryptoModeTest, S98_ChangeKeyNeedsASafeHost) {
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_CHANGE_KEY, "k2"),
              HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  EXPECT_EQ(Do(SetCryptoModeRequest::ACTION_CHANGE_KEY, "k2")->host_key().key_id(), "k2");
}

TEST_F(CryptoModeTest, S51_ASafeHostIsSafeAgainAfterAReboot) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  const std::string key = host().Status().host_key().key_id();
  host().Reboot();
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(host().Status().host_key().key_id(), key);
}

TEST_F(CryptoModeTest, S150_AfterThePurgeOfItsProviderAHostIsSafeUntilItsReboot) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  const std::string key = host().Status().host_key().key_id();
  ASSERT_THAT(host().Tick({}), IsOk());
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
  host().Reboot();
  EXPECT_EQ(State(), v1::CRYPTO_STATE_INCAPABLE);
  // It tells which key it lost.
  EXPECT_EQ(host().Status().host_key().key_id(), key);
  // No tick enables it.
  ASSERT_THAT(host().Tick({nkp_}), IsOk());
  EXPECT_EQ(State(), v1::CRYPTO_STATE_INCAPABLE);
}

TEST_F(CryptoModeTest, S116_S150_AnotherKdkUnderTheNameOfTheHostKeysGivesNotThatKey) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  const v1::CryptoKeyId key = host().Status().host_key();
  EXPECT_EQ(host().Status().host_key_check_value(), nkp_.Entry().key_check_value());
  TestProvider twin = TestProvider::Make("nkp");
  twin.key_id = nkp_.key_id;
  ASSERT_THAT(host().Tick({twin}), IsOk());
  // Safe with its key until the reboot; the key's name stands for no other.
  EXPECT_EQ(host().Status().host_key().key_id(), key.key_id());
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, key.key_id()),
              HasReason(v1::REASON_KEY_MISMATCH));
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_CHANGE_KEY, key.key_id()),
              HasReason(v1::REASON_KEY_MISMATCH));
  host().Reboot();
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
  EXPECT_NE(host().Status().host_key().key_id(), key.key_id());
  EXPECT_EQ(host().Status().host_key_check_value(), twin.Entry().key_check_value());
  // The new one is derivable at the next boot.
  const std::string made = host().Status().host_key().key_id();
  host().Reboot();
  EXPECT_EQ(host().Status().host_key().key_id(), made);
}

TEST_F(CryptoModeTest, S116_S150_ALostHostKeyIsNotMadeFromAnotherKdk) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  const std::string key = host().Status().host_key().key_id();
  ASSERT_THAT(host().Tick({}), IsOk());
  host().Reboot();
  ASSERT_EQ(State(), v1::CRYPTO_STATE_INCAPABLE);
  ASSERT_THAT(host().Add({TestProvider::Make("nkp")}), IsOk());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_PREPARE), IsOk());
  EXPECT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, key), HasReason(v1::REASON_KEY_MISMATCH));
  // From the right one it is.
  ASSERT_THAT(host().Tick({nkp_}), IsOk());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_ENABLE, key), IsOk());
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
}

TEST_F(CryptoModeTest, S104_S150_AtBootAHostMakesANewHostKeyFromAKeyThatItHolds) {
  const TestProvider other = TestProvider::Make("other");
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  const std::string key = host().Status().host_key().key_id();
  ASSERT_THAT(host().Tick({other}), IsOk());
  host().Reboot();
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(host().Status().host_key().provider_id(), "other");
  EXPECT_NE(host().Status().host_key().key_id(), key);
}

TEST_F(CryptoModeTest, S151_APowerOnEnablesAHostThatIsNotSafeIfTheCallerMay) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", nkp_), IsOk());
  TestHost::Settings settings;
  settings.name = "esx-2";
  settings.datastore = host().datastore();
  TestHost other(&executor_, settings);
  ASSERT_THAT(other.Start(), IsOk());
  ASSERT_THAT(other.Attach("vcenter-a"), IsOk());
  // A host that is not safe takes KDKs: they are configuration.
  ASSERT_THAT(other.Add({nkp_}), IsOk());
  ASSERT_THAT(other.Register("web"), IsOk());
  EXPECT_EQ(other.Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(other.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_EQ(other.Status().crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_THAT(other.PowerOn("web", /*may_enable_host=*/true), IsOk());
  EXPECT_EQ(other.Status().crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(other.Status().host_key().provider_id(), "nkp");
}

TEST_F(CryptoModeTest, S151_ADirectUserEnablesTheHostByItsRole) {
  ASSERT_THAT(host().MakeSafe(nkp_), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", nkp_), IsOk());
  ASSERT_THAT(Do(SetCryptoModeRequest::ACTION_DISABLE), IsOk());
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  // Not before its reboot (S97).
  EXPECT_THAT(host().Direct(&HostAgent::PowerOnHostVm, on), HasReason(v1::REASON_HOST_NOT_SAFE));
  host().Reboot();
  EXPECT_THAT(host().Direct(&HostAgent::PowerOnHostVm, on), IsOk());
  EXPECT_EQ(State(), v1::CRYPTO_STATE_SAFE);
}

}  // namespace
}  // namespace keysphere::hostagent::agent
