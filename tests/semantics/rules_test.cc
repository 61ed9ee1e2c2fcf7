// J. Detail: VM rules. M to O: decisions and what follows from them.
#include <filesystem>

#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kHostRequiresEncryption;

class RulesTest : public Stage {};

TEST_F(RulesTest, S106_ARunningVmIsNeitherEncryptedNorDecrypted) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  ASSERT_THAT(a.PowerOn("plain"), IsOk());
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_FALSE(a.Vm("plain").has_key_id());
  MakeVm("web", /*running=*/true);
  EXPECT_THAT(a.DecryptVm("web"), HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_TRUE(a.Vm("web").has_key_id());
  ExpectData("web");
}

TEST_F(RulesTest, S106_AVmThatWasPoweredOffAtItsHostIsOffAtOnce) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  ASSERT_THAT(a.PowerOn("plain"), IsOk());
  cluster.Settle();
  // vcenter-a has not heard of the power-off yet when it is asked.
  esx1.wire().SetDelay(absl::Seconds(1));
  ASSERT_THAT(esx1.PowerOff("plain"), IsOk());
  EXPECT_THAT(a.EncryptVm("plain"), IsOk());
  EXPECT_EQ(a.Vm("plain").key_id().provider_id(), "nkp");
}

TEST_F(RulesTest, S107_EncryptedTwiceAndDecryptedTwiceAreInvalid) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  const v1::CryptoKeyId key = a.Vm("web").key_id();
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(a.Vm("web").key_id(), status::EqualsProto(key));
  ASSERT_THAT(a.DecryptVm("web"), IsOk());
  EXPECT_THAT(a.DecryptVm("web"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(a.PowerOn("web"), IsOk());
  ExpectData("web");
}

TEST_F(RulesTest, S138_TheTpmOpensTheConfigurationUnlessPcr7Changed) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  const std::string recovery_key = esx1.Status().recovery_key();
  ASSERT_FALSE(recovery_key.empty());
  esx1.hardware().SetFirmware("secureBoot off");
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_EQ(esx1.Status().configuration_state(), host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  EXPECT_THAT(esx1.PowerOn("web"), HasReason(v1::REASON_RECOVERY_REQUIRED));

  host::v1::ProvideRecoveryKeyRequest request;
  request.set_recovery_key(recovery_key.substr(0, 105) + "000000");
  EXPECT_FALSE(esx1.Direct(&HostAgent::ProvideRecoveryKey, request).ok());
  EXPECT_EQ(esx1.Status().configuration_state(), host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  request.set_recovery_key(recovery_key);
  ASSERT_THAT(esx1.Direct(&HostAgent::ProvideRecoveryKey, request), IsOk());
  EXPECT_THAT(esx1.PowerOn("web"), IsOk());
  ExpectData("web");
  // Sealed anew: the next boot needs no key.
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_EQ(esx1.Status().configuration_state(), host::v1::CONFIGURATION_STATE_OPEN);
}

TEST_F(RulesTest, S138_WithoutATpmTheKeyLiesBesideForItsUserOnly) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  EXPECT_EQ(none.Status().configuration_mode(), host::v1::CONFIGURATION_MODE_NONE);
  const auto permissions = std::filesystem::status(none.state_dir() + "/config.key").permissions();
  EXPECT_EQ(permissions & (std::filesystem::perms::group_all | std::filesystem::perms::others_all),
            std::filesystem::perms::none);
  EXPECT_FALSE(std::filesystem::exists(esx1.state_dir() + "/config.key"));
}

TEST_F(RulesTest, S144_AStolenStateFolderOpensOnlyWithoutATpm) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  UseNkp();
  MakeVm("sealed", /*running=*/false, "esx-1");
  MakeVm("open", /*running=*/false, "esx-none");
  esx1.Kill();
  none.Kill();
  a.Crash();
  // The thief's machine has a TPM of its own, and the VMs' files.
  const auto steal = [this](const HostNode& from, TpmVersion tpm) -> HostNode& {
    HostNode::Settings settings;
    settings.name = from.name() + "-stolen";
    settings.tpm = tpm;
    std::filesystem::copy(from.state_dir(), cluster.root() + "/" + settings.name,
                          std::filesystem::copy_options::recursive);
    return cluster.AddHost(settings);
  };
  HostNode& stolen_tpm = steal(esx1, TpmVersion::k20);
  EXPECT_EQ(stolen_tpm.Status().configuration_state(),
            host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  EXPECT_FALSE(stolen_tpm.PowerOn("sealed").ok());
  HostNode& stolen_none = steal(none, TpmVersion::kNone);
  EXPECT_THAT(stolen_none.PowerOn("open"), IsOk());
  ExpectData("open", "esx-none-stolen");
}

TEST_F(RulesTest, S149_KeysThatTheHostHoldsAreJudgedAtOnceOthersWait) {
  UseNkp();
  ASSERT_THAT(a.CreateUsableNkp("gone"), IsOk());
  MakeVm("held", /*running=*/false);
  MakeVm("lost", /*running=*/true, "esx-1", "gone");
  // A running VM is not judged by the purge.
  ASSERT_THAT(a.DeleteProvider("gone"), IsOk());
  Tick();
  ASSERT_FALSE(a.Locked("lost"));
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());

  EXPECT_FALSE(esx1.Status().boot_complete());
  EXPECT_THAT(esx1.PowerOn("held"), IsOk());
  EXPECT_THAT(esx1.PowerOn("lost"), HasReason(v1::REASON_KEYS_PENDING));
  EXPECT_NE(esx1.Vm("lost").lock_state(), v1::LOCK_STATE_LOCKED);
  cluster.Advance(absl::Seconds(59));
  EXPECT_THAT(esx1.PowerOn("lost"), HasReason(v1::REASON_KEYS_PENDING));
  cluster.Advance(absl::Seconds(1));
  EXPECT_TRUE(esx1.Status().boot_complete());
  EXPECT_EQ(esx1.Vm("lost").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(esx1.PowerOn("lost"), Not(HasReason(v1::REASON_KEYS_PENDING)));
}

TEST_F(RulesTest, S149_TheFirstSyncEndsTheWait) {
  UseNkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("gone"), IsOk());
  MakeVm("lost", /*running=*/true, "esx-1", "gone");
  ASSERT_THAT(a.DeleteProvider("gone"), IsOk());
  Tick();
  esx1.wire().SetDelay(absl::Seconds(2));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_FALSE(esx1.Status().boot_complete());
  EXPECT_THAT(esx1.PowerOn("lost"), HasReason(v1::REASON_KEYS_PENDING));
  cluster.Advance(absl::Seconds(20));
  EXPECT_TRUE(esx1.Status().boot_complete());
  EXPECT_TRUE(a.Locked("lost"));
}

TEST_F(RulesTest, S150_ASafeHostStaysSafeUntilItsRebootAndThenNeedsAnAdministrator) {
  UseNkp();
  ExpectSafeUntilReboot("nkp");
  // No tick enables it.
  ASSERT_THAT(a.CreateUsableNkp("new"), IsOk());
  ASSERT_THAT(a.SetDefault("new"), IsOk());
  cluster.Advance(absl::Minutes(15));
  EXPECT_FALSE(esx1.Safe());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(a.Host("esx-1").host_key().provider_id(), "new");
  EXPECT_FALSE(a.Shows(kHostRequiresEncryption, "host/esx-1"));
}

TEST_F(RulesTest, S150_AloneTheHostMakesANewHostKeyFromAKeyThatItHolds) {
  UseNkp();
  ASSERT_THAT(a.CreateUsableNkp("other"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(esx1.Status().host_key().provider_id(), "other");
}

TEST_F(RulesTest, S150_TheFirstSyncGivesTheHostANewKeyOfTheDefault) {
  UseNkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  esx1.Kill();
  ASSERT_THAT(a.CreateUsableNkp("new"), IsOk());
  ASSERT_THAT(a.SetDefault("new"), IsOk());
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(esx1.Status().host_key().provider_id(), "new");
}

// Two KDKs may bear one name and one key id: the host key of one is not that of the other.
TEST_F(RulesTest, S116_S150_AnotherKdkUnderTheNameOfTheHostKeysProviderGivesANewHostKey) {
  UseNkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  const std::string first = a.Host("esx-1").host_key().key_id();
  const std::string provider_key = a.Provider("nkp")->native_info().key_id();
  const auto another = [this, &provider_key] {
    ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
    v1::CreateKeyProviderRequest twin;
    twin.set_name("nkp");
    twin.set_key_id(provider_key);
    ASSERT_THAT(
        a.Call(&VCenter::providers, &controller::providers::Providers::CreateKeyProvider, twin),
        IsOk());
    ASSERT_THAT(a.BackUp("nkp"), IsOk());
    ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  };
  another();
  Tick();
  EXPECT_TRUE(esx1.Safe());
  EXPECT_THAT(a.Events(controller::events::kReqEnableKmsClusterError, "host/esx-1"), SizeIs(1));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_TRUE(esx1.Safe());
  const std::string second = a.Host("esx-1").host_key().key_id();
  EXPECT_NE(second, first);
  // The same where the host has lost its key before the other KDK comes.
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(1));
  ASSERT_FALSE(esx1.Safe());
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(1));
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_NE(a.Host("esx-1").host_key().key_id(), second);
}

TEST_F(RulesTest, S151_APowerOnEnablesTheHostOnlyForThoseWhoMay) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = AddHostToA("esx-2");
  // KDKs are configuration: a host that is not safe takes them.
  ASSERT_FALSE(esx2.Safe());
  EXPECT_TRUE(a.Holds("esx-2", "nkp"));
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  // Registered at the host itself, which enables nothing.
  ASSERT_THAT(esx2.Register("web"), IsOk());
  cluster.Settle();
  a.caller.user = "plain";
  ASSERT_FALSE(esx2.Safe());
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(esx2.Safe());
  a.caller.user = "administrator";
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  EXPECT_TRUE(esx2.Safe());
  ExpectData("web", "esx-2");
}

TEST_F(RulesTest, S151_ARegistrationEnablesTheHostForThoseWhoMay) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = AddHostToA("esx-2");
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  a.caller.user = "plain";
  EXPECT_THAT(a.Register("esx-2", "web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(esx2.Safe());
  EXPECT_EQ(esx2.Vm("web").name(), "");
  a.caller.user = "administrator";
  ASSERT_THAT(a.Register("esx-2", "web"), IsOk());
  EXPECT_TRUE(esx2.Safe());
  EXPECT_FALSE(a.Locked("web"));
}

TEST_F(RulesTest, S154_TheFirstCauseIsTheReasonAndTheOthersAreNamed) {
  HostNode::Settings settings;
  settings.name = "esx-bad";
  settings.version = "6.7.0";
  settings.tpm = TpmVersion::kNone;
  cluster.AddHost(settings);
  ASSERT_THAT(a.AddHost("esx-bad", ""), IsOk());
  ASSERT_THAT(a.CreateNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.CreateVm("esx-bad", "web"), IsOk());
  ASSERT_THAT(a.PowerOn("web"), IsOk());
  ASSERT_THAT(a.SetRole("Encrypter", {"Cryptographer.EncryptNew", "Cryptographer.Encrypt"}),
              IsOk());
  ASSERT_THAT(a.GiveRole("eve", "Encrypter"), IsOk());
  a.caller.user = "eve";

  absl::Status refused = a.EncryptVm("web", "strict");
  EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_THAT(OthersOf(refused), ElementsAre(v1::REASON_NOT_BACKED_UP, v1::REASON_NOT_IN_CLUSTER,
                                             v1::REASON_VERSION_UNSUPPORTED,
                                             v1::REASON_TPM_REQUIRED, v1::REASON_HOST_NOT_SAFE));
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_THAT(OthersOf(a.EncryptVm("web")), Contains(v1::REASON_NO_DEFAULT_PROVIDER));
  a.caller.user = "administrator";
  ASSERT_THAT(a.PowerOff("web"), IsOk());
  EXPECT_THAT(a.EncryptVm("web", "strict"), HasReason(v1::REASON_NOT_BACKED_UP));
  ASSERT_THAT(a.BackUp("strict"), IsOk());
  EXPECT_THAT(a.EncryptVm("web", "strict"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  ASSERT_THAT(a.MoveHost("esx-bad", "cluster-a"), IsOk());
  EXPECT_THAT(a.EncryptVm("web", "strict"), HasReason(v1::REASON_VERSION_UNSUPPORTED));
}

TEST_F(RulesTest, S154_ALockedVmNamesWhyBeforeThatItIsLocked) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  MoveToB();
  Tick();
  const absl::Status refused = b.PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_VM_LOCKED));
  EXPECT_THAT(OthersOf(refused), Contains(v1::REASON_KEY_MISSING_ON_HOST));
}

}  // namespace
}  // namespace keysphere::tests
