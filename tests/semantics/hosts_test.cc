// B. Hosts: eligibility, TPM policy. I. Detail: host crypto state machine.
#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/keyset/keyset.h"
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::providers::Providers;

class HostsTest : public Stage {
 protected:
  v1::CryptoState StateOf(const std::string& host) { return a.Host(host).crypto_state(); }
};

TEST_F(HostsTest, S22_AnOldVCenterMakesNoNativeProvider) {
  VCenterNode::Settings settings;
  settings.name = "vcenter-old";
  settings.version = "7.0.1";
  VCenterNode& old = cluster.AddVCenter(settings);
  EXPECT_THAT(old.CreateNkp("nkp"), HasReason(v1::REASON_VERSION_UNSUPPORTED));
  EXPECT_THAT(old.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(HostsTest, S22_AnOldHostIsNotEntitledAndTheOthersWork) {
  HostNode::Settings settings;
  settings.name = "esx-old";
  settings.version = "7.0.1";
  HostNode& old = cluster.AddHost(settings);
  ASSERT_THAT(a.AddHost("esx-old", "cluster-a"), IsOk());
  settings.name = "esx-702";
  settings.version = "7.0.2";
  cluster.AddHost(settings);
  ASSERT_THAT(a.AddHost("esx-702", "cluster-a"), IsOk());
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-old", "there"), IsOk());

  EXPECT_THAT(a.EncryptVm("there"), HasReason(v1::REASON_VERSION_UNSUPPORTED));
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "here"), IsOk());
  EXPECT_THAT(a.CreateEncryptedVm("esx-702", "new"), IsOk());
  Tick();
  EXPECT_FALSE(a.Holds("esx-old", "nkp"));
  EXPECT_EQ(old.Stats().held_keys(), 0);
  EXPECT_TRUE(a.Holds("esx-702", "nkp"));
}

TEST_F(HostsTest, S23_AStandaloneHostDoesNoCrypto) {
  UseNkp();
  HostNode& lone = cluster.AddHost("esx-lone");
  ASSERT_THAT(a.AddHost("esx-lone", ""), IsOk());
  ASSERT_THAT(a.CreateVm("esx-lone", "plain"), IsOk());

  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  EXPECT_THAT(a.AddVtpm("plain"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  EXPECT_THAT(a.CreateEncryptedVm("esx-lone", "enc"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  EXPECT_EQ(lone.Stats().held_keys(), 0);
  // A power-on of an encrypted VM, too.
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  ASSERT_THAT(a.Register("esx-lone", "web"), IsOk());
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  // A cluster of one host works: esx-1's is one.
  ASSERT_THAT(a.Unregister("web"), IsOk());
  ASSERT_THAT(a.Register("esx-1", "web"), IsOk());
  EXPECT_THAT(a.PowerOn("web"), IsOk());
}

TEST_F(HostsTest, S23_AHostThatLeavesItsClusterWorksOnUntilTheTick) {
  UseNkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  ASSERT_THAT(a.MoveHost("esx-1", ""), IsOk());
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  EXPECT_THAT(a.PowerOff("off"), IsOk());
  EXPECT_FALSE(a.Locked("off"));

  Tick();
  EXPECT_FALSE(a.Holds("esx-1", "nkp"));
  EXPECT_TRUE(a.Locked("off"));
  EXPECT_THAT(a.PowerOn("off"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  ExpectData("on");
  ASSERT_THAT(a.MoveHost("esx-1", "cluster-a"), IsOk());
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
}

TEST_F(HostsTest, S25_ATpmOnlyKeyIsWithheldFromAHostWithoutTpm) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  Tick();
  EXPECT_TRUE(a.Holds("esx-1", "strict"));
  EXPECT_FALSE(a.Holds("esx-none", "strict"));
  EXPECT_EQ(none.Stats().held_keys(), 0);
}

TEST_F(HostsTest, S25_AHostWithoutTpmRefusesATpmOnlyKeyByItself) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  const host::v1::GetHostStatusResponse status = none.Status();
  const auto kdk = crypto::SecretKey::Random(32);
  host::v1::ApplyKeysRequest request;
  request.set_epoch(status.epoch());
  request.set_generation(absl::ToUnixMicros(cluster.executor().Now()) + 1'000'000);
  request.set_cluster("cluster-a");
  host::v1::SealedKey* key = request.add_keys();
  key->mutable_entry()->set_provider("strict");
  key->mutable_entry()->set_type(v1::PROVIDER_TYPE_NATIVE);
  key->mutable_entry()->set_key_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  key->mutable_entry()->set_key_check_value(*crypto::KeyCheckValue(*kdk));
  key->mutable_entry()->set_tpm_required(true);
  key->set_sealed(*crypto::SealTo(status.transport_public_key(),
                                  keyset::SealInfo("esx-none", status.boot_id(), status.epoch(),
                                                   "strict", key->entry().key_id()),
                                  *kdk));
  const identity::Identity controller{"keysphere.test", identity::Kind::kController, "vcenter-a"};

  const auto refused = none.Call(controller, &HostAgent::ApplyKeys, request);
  ASSERT_THAT(refused, IsOk());
  EXPECT_THAT(refused->keys().held(), IsEmpty());
  ASSERT_EQ(refused->keys().refused_size(), 1);
  EXPECT_EQ(refused->keys().refused(0).reason(), v1::REASON_TPM_REQUIRED);
  EXPECT_EQ(none.Stats().held_keys(), 0);

  // The same key without the constraint is taken: it was the constraint.
  key->mutable_entry()->set_tpm_required(false);
  request.set_generation(request.generation() + 1);
  const auto taken = none.Call(controller, &HostAgent::ApplyKeys, request);
  ASSERT_THAT(taken, IsOk());
  EXPECT_THAT(taken->keys().held(), SizeIs(1));
}

TEST_F(HostsTest, S26_CryptoOperationsWithoutTheTpmAreRefusedForThatReason) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.SetDefault("strict"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-none", "plain"), IsOk());
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_THAT(a.AddVtpm("plain"), HasReason(v1::REASON_TPM_REQUIRED));

  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  ASSERT_THAT(a.Register("esx-none", "web"), IsOk());
  EXPECT_TRUE(a.Locked("web"));
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_TPM_REQUIRED);
  EXPECT_THAT(none.PowerOn("web"), HasReason(v1::REASON_TPM_REQUIRED));
}

TEST_F(HostsTest, S28_WithoutTheConstraintEveryHostKeepsTheKeyAsWellAsItCan) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  UseNkp();
  MakeVm("on-tpm", /*running=*/false, "esx-1");
  MakeVm("on-none", /*running=*/false, "esx-none");
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
  EXPECT_TRUE(a.Holds("esx-none", "nkp"));
  EXPECT_EQ(esx1.Status().configuration_mode(), host::v1::CONFIGURATION_MODE_TPM);
  EXPECT_EQ(none.Status().configuration_mode(), host::v1::CONFIGURATION_MODE_NONE);

  // Both keep it over a reboot, without their controller.
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  ASSERT_THAT(none.Reboot(), IsOk());
  EXPECT_THAT(esx1.PowerOn("on-tpm"), IsOk());
  EXPECT_THAT(none.PowerOn("on-none"), IsOk());
}

TEST_F(HostsTest, S29_ATpm12CountsAsNone) {
  HostNode& old = AddHostToA("esx-12", TpmVersion::k12);
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.SetDefault("strict"), IsOk());
  EXPECT_EQ(a.Host("esx-12").tpm_version(), v1::TPM_VERSION_1_2);
  EXPECT_EQ(old.Status().configuration_mode(), host::v1::CONFIGURATION_MODE_NONE);
  EXPECT_FALSE(a.Holds("esx-12", "strict"));
  ASSERT_THAT(a.CreateVm("esx-12", "web"), IsOk());
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_TPM_REQUIRED));
}

TEST_F(HostsTest, S30_ARestoreWithoutTheConstraintLetsTheOtherHostsJoin) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  ASSERT_THAT(a.CreateNkp("nkp", /*tpm_required=*/true), IsOk());
  const auto bundle = a.BackUp("nkp");
  ASSERT_THAT(bundle, IsOk());
  MakeVm("web", /*running=*/false, "esx-1", "nkp");
  EXPECT_FALSE(a.Holds("esx-none", "nkp"));

  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  v1::ImportKeyProviderRequest request;
  request.set_bundle(*bundle);
  request.mutable_constraints()->set_tpm_required(false);
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::ImportKeyProvider, request), IsOk());
  EXPECT_TRUE(a.Holds("esx-none", "nkp"));
  ASSERT_THAT(a.Unregister("web"), IsOk());
  ASSERT_THAT(a.Register("esx-none", "web"), IsOk());
  EXPECT_FALSE(a.Locked("web"));
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  ExpectData("web", "esx-none");
  (void)none;
}

TEST_F(HostsTest, S33_AfterATickAHostHoldsExactlyWhatItIsEntitledTo) {
  AddHostToA("esx-none", TpmVersion::kNone);
  HostNode::Settings settings;
  settings.name = "esx-old";
  settings.version = "6.7.0";
  cluster.AddHost(settings);
  ASSERT_THAT(a.AddHost("esx-old", "cluster-a"), IsOk());
  cluster.AddHost("esx-lone");
  ASSERT_THAT(a.AddHost("esx-lone", ""), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("open"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.CreateNkp("unsaved"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("gone"), IsOk());
  ASSERT_THAT(a.DeleteProvider("gone"), IsOk());
  Tick();

  const auto held = [this](const std::string& host) {
    std::vector<std::string> names;
    const v1::Host described = a.Host(host);
    for (const v1::HeldProvider& one : described.held_providers()) names.push_back(one.provider());
    return names;
  };
  EXPECT_THAT(held("esx-1"), UnorderedElementsAre("open", "strict"));
  EXPECT_THAT(held("esx-none"), UnorderedElementsAre("open"));
  EXPECT_THAT(held("esx-old"), IsEmpty());
  EXPECT_THAT(held("esx-lone"), IsEmpty());
}

TEST_F(HostsTest, S95_PrepareWorksOnceAndOnlyWhileIncapable) {
  UseNkp();
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_INCAPABLE);
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_PREPARED);
  EXPECT_THAT(Prepare("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Enable("esx-1", Key("nkp")), IsOk());
  EXPECT_THAT(Prepare("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_SAFE);
}

TEST_F(HostsTest, S96_EnableNeedsPreparedAndKnowsItsOwnKey) {
  UseNkp();
  EXPECT_THAT(Enable("esx-1", Key("nkp", "k1")), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  ASSERT_THAT(Enable("esx-1", Key("nkp", "k1")), IsOk());
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(a.Host("esx-1").host_key().key_id(), "k1");
  EXPECT_THAT(Enable("esx-1", Key("nkp", "k2")), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(Enable("esx-1", Key("nkp", "k1")), IsOk());
  EXPECT_EQ(a.Host("esx-1").host_key().key_id(), "k1");
}

TEST_F(HostsTest, S97_DisableLastsUntilTheReboot) {
  UseNkp();
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  EXPECT_THAT(Disable("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Enable("esx-1", Key("nkp")), IsOk());
  ASSERT_THAT(Disable("esx-1"), IsOk());
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_PENDING_INCAPABLE);
  EXPECT_THAT(Disable("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(10));
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_INCAPABLE);
}

TEST_F(HostsTest, S151_S154_WhatNeedsAHostWhoseModeEndsIsRefusedAsNotSafe) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(Disable("esx-1"), IsOk());
  for (const absl::Status& refused :
       {a.EncryptVm("plain"), a.RekeyVm("vm"), a.CreateEncryptedVm("esx-1", "new")}) {
    EXPECT_THAT(refused, HasReason(v1::REASON_HOST_NOT_SAFE));
    EXPECT_THAT(status::DetailOf(refused).next_step(), HasSubstr("Reboot the host"));
  }
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(10));
  EXPECT_THAT(a.EncryptVm("plain"), IsOk());
  EXPECT_THAT(a.RekeyVm("vm"), IsOk());
}

TEST_F(HostsTest, S98_AddKeyAndChangeKeyNeedASafeHost) {
  UseNkp();
  EXPECT_THAT(AddKey("esx-1", Key("nkp")), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(ChangeKey("esx-1", Key("nkp")), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  EXPECT_THAT(AddKey("esx-1", Key("nkp")), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(ChangeKey("esx-1", Key("nkp")), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Enable("esx-1", Key("nkp", "k1")), IsOk());
  EXPECT_THAT(AddKey("esx-1", Key("nkp")), IsOk());
  EXPECT_THAT(ChangeKey("esx-1", Key("nkp", "k2")), IsOk());
  EXPECT_EQ(a.Host("esx-1").host_key().key_id(), "k2");
}

TEST_F(HostsTest, S99_TheFirstEncryptionMakesTheClustersHostsSafe) {
  HostNode& esx2 = AddHostToA("esx-2");
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  cluster.AddHost("esx-far");
  ASSERT_THAT(a.CreateCluster("elsewhere"), IsOk());
  ASSERT_THAT(a.AddHost("esx-far", "elsewhere"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.SetDefault("strict"), IsOk());
  EXPECT_FALSE(esx1.Safe());

  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_TRUE(esx2.Safe());
  EXPECT_TRUE(a.Holds("esx-2", "strict"));
  EXPECT_NE(a.Host("esx-1").host_key().key_id(), a.Host("esx-2").host_key().key_id());
  // Not entitled: neither VM nor host key of that provider.
  EXPECT_FALSE(none.Safe());
  EXPECT_FALSE(a.Holds("esx-none", "strict"));
  EXPECT_EQ(StateOf("esx-far"), v1::CRYPTO_STATE_INCAPABLE);
}

TEST_F(HostsTest, S100_WithoutRegisterHostSafeHostsWorkAndOthersStayDisabled) {
  HostNode& esx2 = AddHostToA("esx-2");
  UseNkp();
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "first"), IsOk());
  EXPECT_TRUE(esx2.Safe());
  HostNode& esx3 = AddHostToA("esx-3");
  ASSERT_THAT(a.SetRole("Encrypter", {"Cryptographer.EncryptNew", "Cryptographer.Encrypt",
                                      "VirtualMachine.Inventory.Create", "System.View"}),
              IsOk());
  ASSERT_THAT(a.GiveRole("eve", "Encrypter"), IsOk());

  a.caller.user = "eve";
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "second"), IsOk());
  EXPECT_THAT(a.CreateEncryptedVm("esx-2", "third"), IsOk());
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
  EXPECT_TRUE(a.Holds("esx-2", "nkp"));
  EXPECT_FALSE(esx3.Safe());
  EXPECT_THAT(a.CreateEncryptedVm("esx-3", "fourth"), HasReason(v1::REASON_HOST_NOT_SAFE));
}

TEST_F(HostsTest, S101_NoSafeHostAndNoRegisterHostIsAnError) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  ASSERT_THAT(a.SetRole("Encrypter", {"Cryptographer.EncryptNew", "Cryptographer.Encrypt"}),
              IsOk());
  ASSERT_THAT(a.GiveRole("eve", "Encrypter"), IsOk());
  a.caller.user = "eve";
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(a.Vm("web").has_key_id());
  EXPECT_FALSE(esx1.Safe());
}

TEST_F(HostsTest, S102_ConfigureCryptoKeyTakesTheHostsKeyElseTheClustersElseTheDefault) {
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  UseNkp();
  // A new one of the effective default.
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  const std::string first = a.Host("esx-1").host_key().key_id();
  EXPECT_NE(first, "");
  EXPECT_EQ(a.Host("esx-1").host_key().provider_id(), "nkp");
  // On a safe host it is no error, and changes nothing.
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_EQ(a.Host("esx-1").host_key().key_id(), first);
  // Its cluster's.
  AddHostToA("esx-2");
  ASSERT_THAT(a.ConfigureCryptoKey("esx-2"), IsOk());
  EXPECT_EQ(a.Host("esx-2").host_key().key_id(), first);
  // A key that is named.
  ASSERT_THAT(a.CreateUsableNkp("nkp2"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-2", "nkp2"), IsOk());
  EXPECT_EQ(a.Host("esx-2").host_key().provider_id(), "nkp2");

  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  a.caller.user = "plain";
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(HostsTest, S102_AClustersKeyThatIsNotForTheHostIsPassedOver) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  UseNkp();
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1", "strict"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-none"), IsOk());
  EXPECT_EQ(none.Status().host_key().provider_id(), "nkp");
}

TEST_F(HostsTest, S102_VmsWhoseKeysCannotBeHadAreListedWithTheirCauses) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("can", /*running=*/false);
  ASSERT_THAT(a.CreateUsableNkp("other"), IsOk());
  MakeVm("cannot", /*running=*/false, "esx-1", "other");
  MoveToB();
  Tick();
  ASSERT_THAT(b.Import(bundle), IsOk());

  const auto done = b.ConfigureCryptoKey("esx-1", "nkp");
  ASSERT_THAT(done, IsOk());
  EXPECT_THAT(done->unlocked_vms(), ElementsAre("can"));
  ASSERT_EQ(done->still_locked_size(), 1);
  EXPECT_EQ(done->still_locked(0).vm(), "cannot");
  EXPECT_EQ(done->still_locked(0).explanation().reason(), v1::REASON_VM_LOCKED);
  EXPECT_THAT(done->still_locked(0).explanation().others(),
              ElementsAre(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_EQ(done->still_locked(0).explanation().key_id().provider_id(), "other");
}

TEST_F(HostsTest, S139_TheHostKeyIsDerivedWithALabelOfItsOwn) {
  UseNkp();
  const auto kdk = crypto::SecretKey::Random(32);
  const auto host_key = crypto::DeriveHostKey(*kdk, "id");
  const auto vm_kek = crypto::DeriveVmKek(*kdk, "id");
  ASSERT_THAT(host_key, IsOk());
  ASSERT_THAT(vm_kek, IsOk());
  EXPECT_FALSE(host_key->Equals(*vm_kek));
  EXPECT_TRUE(host_key->Equals(*crypto::DeriveHostKey(*kdk, "id")));
  // And so it survives a reboot without a controller.
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  const v1::CryptoKeyId id = a.Host("esx-1").host_key();
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_THAT(esx1.Status().host_key(), status::EqualsProto(id));
}

// One VM on two hosts: what the one did to its files, the other has not been told.
TEST_F(HostsTest, S107_WhatAnotherHostDidToAVmsFilesIsSeenBeforeARefusal) {
  UseNkp();
  HostNode& esx2 = AddHostToA("esx-2");
  ASSERT_THAT(a.CreateVm("esx-1", "d1"), IsOk());
  ASSERT_THAT(a.Register("esx-2", "d1"), IsOk());
  const auto on = [this](auto method, auto request, const std::string& host) {
    request.set_vm("d1");
    request.set_host(host);
    return a.Await(a.Call(&VCenter::vm_encryption, method, request));
  };
  using controller::encryption::VmEncryption;
  const auto encrypt = [&](const std::string& host) {
    return on(&VmEncryption::EncryptVm, v1::EncryptVmRequest(), host);
  };
  const auto decrypt = [&](const std::string& host) {
    return on(&VmEncryption::DecryptVm, v1::DecryptVmRequest(), host);
  };
  ASSERT_THAT(encrypt("esx-2"), IsOk());
  // Encrypted, says the one and the other: it can be decrypted there.
  EXPECT_THAT(encrypt("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(decrypt("esx-1"), IsOk());
  // And so on, without any operation between that would tell.
  EXPECT_THAT(encrypt("esx-2"), IsOk());
  EXPECT_THAT(decrypt("esx-1"), IsOk());
  EXPECT_THAT(decrypt("esx-2"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_FALSE(esx1.Vm("d1").has_key_id());
  EXPECT_FALSE(esx2.Vm("d1").has_key_id());
}

}  // namespace
}  // namespace keysphere::tests
