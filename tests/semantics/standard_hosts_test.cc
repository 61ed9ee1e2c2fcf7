// Hosts under standard key providers: encryption mode, Key Persistence, core dumps, boots.
#include <filesystem>

#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kHostRequiresEncryption;
using controller::events::kCryptoOperation;

class StandardHostsTest : public StandardStage {
 protected:
  v1::CryptoState StateOf(const std::string& host) { return a.Host(host).crypto_state(); }
  std::string HostKeyOf(const std::string& host) { return a.Host(host).host_key().key_id(); }
  // A user who may encrypt and enable no host.
  void BecomeEncrypter() {
    ASSERT_THAT(a.SetRole("Encrypter", {"Cryptographer.EncryptNew", "Cryptographer.Encrypt",
                                        "VirtualMachine.Inventory.Create", "System.View"}),
                IsOk());
    ASSERT_THAT(a.GiveRole("eve", "Encrypter"), IsOk());
    a.caller.user = "eve";
  }
  absl::StatusOr<v1::Host> SetKeyPersistence(const std::string& host, bool enabled) {
    v1::SetKeyPersistenceRequest request;
    request.set_host(host);
    request.set_enabled(enabled);
    return a.Call(&VCenter::host_encryption, &HostEncryption::SetKeyPersistence, request);
  }
  absl::StatusOr<v1::WriteCoreDumpResponse> WriteCoreDump(const std::string& host,
                                                          const std::string& vm = "") {
    v1::WriteCoreDumpRequest request;
    request.set_host(host);
    request.set_vm(vm);
    return a.Call(&VCenter::host_encryption, &HostEncryption::WriteCoreDump, request);
  }
  // The last operation that the audit has about `object`.
  v1::Event LastAudit(const std::string& object) {
    const std::vector<v1::Event> events = a.Events(kCryptoOperation, object);
    EXPECT_THAT(events, Not(IsEmpty()));
    return events.empty() ? v1::Event() : events.back();
  }
};

TEST_F(StandardHostsTest, S95_S96_S97_TheStatesOfEncryptionMode) {
  UseSkp();
  EXPECT_THAT(Enable("esx-1", Key("skp")), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_PREPARED);
  EXPECT_THAT(Prepare("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(Disable("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_EQ(kms.keys().size(), 0u);  // none is made for a step that the host refuses

  ASSERT_THAT(Enable("esx-1", Key("skp")), IsOk());
  EXPECT_TRUE(esx1.Safe());
  const v1::CryptoKeyId key = a.Host("esx-1").host_key();
  EXPECT_EQ(key.provider_id(), "skp");
  EXPECT_EQ(*kms.keys().State(key.key_id()), kmip::client::KeyState::kActive);
  const auto other = Generate("skp");
  ASSERT_THAT(other, IsOk());
  EXPECT_THAT(Enable("esx-1", *other), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(Enable("esx-1", key), IsOk());
  EXPECT_EQ(HostKeyOf("esx-1"), key.key_id());
  EXPECT_EQ(kms.keys().size(), 2u);

  ASSERT_THAT(Disable("esx-1"), IsOk());
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_PENDING_INCAPABLE);
  EXPECT_THAT(Disable("esx-1"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  AfterFirstSync();
  EXPECT_EQ(StateOf("esx-1"), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
  EXPECT_THAT(a.Alarms(), IsEmpty());
}

TEST_F(StandardHostsTest, S98_OnlyASafeHostTakesKeys) {
  UseSkp();
  const auto key = Generate("skp");
  ASSERT_THAT(key, IsOk());
  EXPECT_THAT(AddKey("esx-1", *key), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(ChangeKey("esx-1", *key), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(Prepare("esx-1"), IsOk());
  EXPECT_THAT(AddKey("esx-1", *key), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(ChangeKey("esx-1", *key), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);

  ASSERT_THAT(Enable("esx-1", Key("skp")), IsOk());
  EXPECT_EQ(esx1.Stats().cached_keys(), 1);
  EXPECT_THAT(AddKey("esx-1", *key), IsOk());
  EXPECT_EQ(esx1.Stats().cached_keys(), 2);
  EXPECT_THAT(ChangeKey("esx-1", *key), IsOk());
  EXPECT_EQ(HostKeyOf("esx-1"), key->key_id());
  EXPECT_THAT(AddKey("esx-1", Key("skp", "nobody's")), HasReason(v1::REASON_KEY_MISSING_ON_KMS));
}

TEST_F(StandardHostsTest, S99_S139_TheFirstEncryptionMakesTheClustersHostsSafe) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  cluster.AddHost("esx-far");
  ASSERT_THAT(a.CreateCluster("elsewhere"), IsOk());
  ASSERT_THAT(a.AddHost("esx-far", "elsewhere"), IsOk());
  UseSkp();
  EXPECT_EQ(kms.keys().size(), 0u);
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_TRUE(none.Safe());
  EXPECT_EQ(StateOf("esx-far"), v1::CRYPTO_STATE_INCAPABLE);
  // Each host's key is one of its own in the KMS, and none is the VM's.
  const std::vector<std::string> keys = {HostKeyOf("esx-1"), HostKeyOf("esx-none"),
                                         a.Vm("web").key_id().key_id()};
  EXPECT_THAT(kms.keys().uids(), ::testing::UnorderedElementsAreArray(keys));
  EXPECT_EQ(cluster.FindHost("esx-far")->Stats().cached_keys(), 0);
}

TEST_F(StandardHostsTest, S100_S101_WithoutRegisterHostOnlySafeHostsWork) {
  UseSkp();
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  BecomeEncrypter();
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_EQ(kms.keys().size(), 0u);
  EXPECT_FALSE(a.Vm("plain").has_key_id());

  a.caller.user = "administrator";
  HostNode& esx2 = AddHostToA("esx-2");
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "first"), IsOk());
  HostNode& esx3 = AddHostToA("esx-3");
  a.caller.user = "eve";
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "second"), IsOk());
  cluster.Settle();
  // Two VMs' keys and two hosts'.
  EXPECT_EQ(esx1.Stats().cached_keys(), 4);
  EXPECT_EQ(esx2.Stats().cached_keys(), 4);
  EXPECT_FALSE(esx3.Safe());
  EXPECT_EQ(esx3.Stats().cached_keys(), 0);
  const size_t keys = kms.keys().size();
  EXPECT_THAT(a.CreateEncryptedVm("esx-3", "third"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_EQ(kms.keys().size(), keys);
}

TEST_F(StandardHostsTest, S102_ConfigureCryptoKeyTakesTheHostsKeyElseTheClustersElseTheDefault) {
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  UseSkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  const std::string first = HostKeyOf("esx-1");
  EXPECT_THAT(kms.keys().uids(), ElementsAre(first));
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  AddHostToA("esx-2");
  ASSERT_THAT(a.ConfigureCryptoKey("esx-2"), IsOk());
  EXPECT_EQ(HostKeyOf("esx-2"), first);
  EXPECT_THAT(kms.keys().uids(), ElementsAre(first));
  // A new one of a provider that is named.
  AddSkp("other");
  ASSERT_THAT(a.ConfigureCryptoKey("esx-2", "other"), IsOk());
  EXPECT_EQ(a.Host("esx-2").host_key().provider_id(), "other");

  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  a.caller.user = "plain";
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(StandardHostsTest, S102_VmsWhoseKeysCannotBeHadAreListedWithTheirCauses) {
  UseSkp();
  FakeKms& other = AddSkp("other");
  MakeVm("can", /*running=*/false);
  MakeVm("cannot", /*running=*/false, "esx-1", "other");
  MakeVm("lost", /*running=*/false);
  kms.SetDown();
  other.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_FALSE(esx1.Safe());

  kms.SetDown(false);
  kms.keys().Remove(a.Vm("lost").key_id().key_id());
  const auto done = a.ConfigureCryptoKey("esx-1");
  ASSERT_THAT(done, IsOk());
  EXPECT_THAT(done->unlocked_vms(), ElementsAre("can"));
  std::map<std::string, v1::LockCause> causes;
  for (const auto& locked : done->still_locked()) {
    causes[locked.vm()] = locked.explanation().cause();
  }
  EXPECT_THAT(causes,
              UnorderedElementsAre(::testing::Pair("cannot", v1::LOCK_CAUSE_KMS_CLUSTER_ERROR),
                                   ::testing::Pair("lost", v1::LOCK_CAUSE_KEY_MISSING_ON_KMS)));
}

TEST_F(StandardHostsTest, S57_S58_S87_KeyPersistenceFromTheRequestToTheReboot) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  UseSkp();
  MakeVm("vm", /*running=*/true);
  EXPECT_FALSE(a.Host("esx-1").key_persistence());  // by default
  EXPECT_THAT(SetKeyPersistence("esx-none", true), HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_FALSE(none.Status().key_persistence());
  const auto on = SetKeyPersistence("esx-1", true);
  ASSERT_THAT(on, IsOk());
  EXPECT_TRUE(on->key_persistence());
  EXPECT_EQ(LastAudit("host/esx-1").arguments().at("operation"), "EnableKeyPersistence");
  EXPECT_EQ(LastAudit("host/esx-1").user(), "administrator");
  MakeVm("later", /*running=*/false);  // its key is kept too

  kms.SetDown();
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_THAT(esx1.PowerOn("vm"), IsOk());
  ExpectData("vm");
  EXPECT_THAT(esx1.PowerOn("later"), IsOk());
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_TRUE(a.Host("esx-1").key_persistence());

  ASSERT_THAT(SetKeyPersistence("esx-1", false), IsOk());
  EXPECT_EQ(LastAudit("host/esx-1").arguments().at("operation"), "DisableKeyPersistence");
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
  cluster.Advance(absl::Minutes(2));
  EXPECT_TRUE(a.Locked("vm"));
}

TEST_F(StandardHostsTest, S57_APurgeErasesWhatIsPersisted) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(SetKeyPersistence("esx-1", true), IsOk());
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  Tick();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_EQ(esx1.Stats().cached_keys(), 0);
  EXPECT_TRUE(esx1.Status().key_persistence());
}

TEST_F(StandardHostsTest, S59_S144_WhatAStolenHostOpens) {
  AddHostToA("esx-none", TpmVersion::kNone);
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("skp-vm", /*running=*/false);
  MakeVm("skp-none", /*running=*/false, "esx-none");
  MakeVm("nkp-none", /*running=*/false, "esx-none", "nkp");
  MakeVm("nkp-vm", /*running=*/false, "esx-1", "nkp");
  a.Crash();
  // The whole of a host, its TPM in it.
  esx1.Kill();
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_THAT(esx1.PowerOn("nkp-vm"), IsOk());
  EXPECT_FALSE(esx1.PowerOn("skp-vm").ok());
  EXPECT_EQ(esx1.Vm("skp-vm").lock_state(), v1::LOCK_STATE_LOCKED);
  // The state folder of a host without a TPM, and the VMs' files.
  cluster.FindHost("esx-none")->Kill();
  std::filesystem::copy(cluster.FindHost("esx-none")->state_dir(), cluster.root() + "/esx-stolen",
                        std::filesystem::copy_options::recursive);
  HostNode& stolen = cluster.AddHost("esx-stolen", TpmVersion::kNone);
  cluster.Advance(absl::Minutes(2));
  EXPECT_THAT(stolen.PowerOn("nkp-none"), IsOk());
  ExpectData("nkp-none", "esx-stolen");
  EXPECT_FALSE(stolen.PowerOn("skp-none").ok());
}

TEST_F(StandardHostsTest, S103_S87_ACoreDumpOfTheHostIsUnderItsKeyAndAVmsUnderItsOwn) {
  UseSkp();
  // Without encryption mode a dump is under no key.
  const auto plain = WriteCoreDump("esx-1");
  ASSERT_THAT(plain, IsOk());
  EXPECT_FALSE(plain->has_key());
  MakeVm("vm", /*running=*/true);

  const auto dump = WriteCoreDump("esx-1");
  ASSERT_THAT(dump, IsOk());
  EXPECT_EQ(dump->key().provider_id(), "skp");
  EXPECT_EQ(dump->key().key_id(), HostKeyOf("esx-1"));
  EXPECT_GT(dump->bytes(), 0);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(dump->path())), dump->bytes());
  EXPECT_EQ(LastAudit("host/esx-1").arguments().at("operation"), "WriteCoreDump");
  EXPECT_EQ(LastAudit("host/esx-1").arguments().at("key_id"), HostKeyOf("esx-1"));

  const auto of_vm = WriteCoreDump("esx-1", "vm");
  ASSERT_THAT(of_vm, IsOk());
  EXPECT_EQ(of_vm->key().key_id(), a.Vm("vm").key_id().key_id());
  EXPECT_EQ(LastAudit("vm/vm").arguments().at("operation"), "WriteCoreDump");
  EXPECT_EQ(LastAudit("vm/vm").arguments().at("host"), "esx-1");

  v1::ReadCoreDumpRequest read;
  read.set_host("esx-1");
  read.set_path(of_vm->path());
  const auto opened = a.Call(&VCenter::host_encryption, &HostEncryption::ReadCoreDump, read);
  ASSERT_THAT(opened, IsOk());
  EXPECT_EQ(opened->key().key_id(), a.Vm("vm").key_id().key_id());
  EXPECT_EQ(opened->parts(), 1);
  EXPECT_THAT(opened->data(), ::testing::HasSubstr("displayName"));
  EXPECT_EQ(LastAudit("host/esx-1").arguments().at("operation"), "ReadCoreDump");
}

TEST_F(StandardHostsTest, S149_WithoutAVCenterStandardVmsWaitAMinuteAndNativeOnesDoNot) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1", "nkp"), IsOk());
  UseSkp();
  MakeVm("native", /*running=*/false, "esx-1", "nkp");
  MakeVm("standard", /*running=*/false);
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  EXPECT_THAT(esx1.PowerOn("native"), IsOk());
  EXPECT_THAT(esx1.PowerOn("standard"), HasReason(v1::REASON_KEYS_PENDING));
  EXPECT_NE(esx1.Vm("standard").lock_state(), v1::LOCK_STATE_LOCKED);
  cluster.Advance(absl::Seconds(59));
  EXPECT_THAT(esx1.PowerOn("standard"), HasReason(v1::REASON_KEYS_PENDING));
  cluster.Advance(absl::Seconds(1));
  EXPECT_EQ(esx1.Vm("standard").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(esx1.Vm("standard").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);  // S89
}

TEST_F(StandardHostsTest, S149_AKmsFailureEndsTheWaitToo) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  kms.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  AfterFirstSync();
  EXPECT_TRUE(esx1.Status().boot_complete());
  EXPECT_TRUE(a.Locked("vm"));
}

TEST_F(StandardHostsTest, S149_S150_S87_WithItsVCenterAHostWaitsForAKmsThatHangs) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("vm", /*running=*/false);
  kms.SetMode(FakeKms::Node::Mode::kHang);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  // When the KMS has used up its time the vCenter, not the host by itself, gives the host a key of
  // the provider that it has; the VM is judged when the KMS has failed to give its key, too.
  cluster.Advance(absl::Seconds(45));
  ASSERT_TRUE(esx1.Safe());
  EXPECT_EQ(a.Host("esx-1").host_key().provider_id(), "nkp");
  EXPECT_FALSE(a.Locked("vm"));
  cluster.Advance(absl::Minutes(1));
  EXPECT_TRUE(a.Locked("vm"));
  std::vector<std::string> restored;
  for (const v1::Event& event : a.Events(controller::events::kCryptoOperation, "host/esx-1")) {
    if (event.arguments().at("operation") == "RestoreHostKey") {
      restored.push_back(event.arguments().at("key_id"));
    }
  }
  EXPECT_THAT(restored, ElementsAre(HostKeyOf("esx-1")));
}

TEST_F(StandardHostsTest, S150_ASafeHostStaysSafeUntilItsRebootAndThenNeedsAnAdministrator) {
  UseSkp();
  ExpectSafeUntilReboot("skp");
  // No tick enables it, though the key could be had again.
  UseSkp();
  cluster.Advance(absl::Minutes(15));
  EXPECT_FALSE(esx1.Safe());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(kms.keys().size(), 1u);  // the old one
}

TEST_F(StandardHostsTest, S150_S98_S139_ABootBringsTheOldKeyBackThoughANativeOneCouldBeMade) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("skp-vm", /*running=*/false);
  MakeVm("nkp-vm", /*running=*/false, "esx-1", "nkp");
  const std::string key = HostKeyOf("esx-1");
  for (int boot = 0; boot < 2; ++boot) {
    ASSERT_THAT(esx1.Reboot(), IsOk());
    AfterFirstSync();
    EXPECT_TRUE(esx1.Safe());
    EXPECT_EQ(a.Host("esx-1").host_key().provider_id(), "skp");
    EXPECT_EQ(HostKeyOf("esx-1"), key);
    EXPECT_FALSE(a.Locked("skp-vm"));
    EXPECT_FALSE(a.Locked("nkp-vm"));
  }
  EXPECT_EQ(kms.keys().size(), 2u);
  EXPECT_THAT(a.Alarms(), IsEmpty());
  EXPECT_THAT(a.PowerOn("nkp-vm"), IsOk());
}

TEST_F(StandardHostsTest, S150_S50_AloneTheHostMakesItselfANativeHostKey) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("skp-vm", /*running=*/false);
  MakeVm("early", /*running=*/false, "esx-1", "nkp");
  MakeVm("late", /*running=*/false, "esx-1", "nkp");
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  // Whoever may enable the host does not wait (S151).
  EXPECT_THAT(esx1.PowerOn("early"), IsOk());
  EXPECT_TRUE(esx1.Safe());
  ASSERT_THAT(a.Start(), IsOk());
  AfterFirstSync();
  EXPECT_EQ(HostKeyOf("esx-1"), esx1.Status().host_key().key_id());

  // Otherwise it does so when the wait for a vCenter is over.
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1", "skp"), IsOk());
  a.Crash();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(61));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(esx1.Status().host_key().provider_id(), "nkp");
  EXPECT_THAT(esx1.PowerOn("late"), IsOk());
}

TEST_F(StandardHostsTest, S150_S104_WithoutNewIfMissingAHostWaitsForItsOldKey) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(a.SetOption("vpxd.hostkey.newIfMissing", "false"), IsOk());
  kms.SetDown();
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(5));
  EXPECT_FALSE(esx1.Safe());
  EXPECT_TRUE(a.Shows(kHostRequiresEncryption, "host/esx-1"));
}

TEST_F(StandardHostsTest, S151_S98_APowerOnEnablesTheHostOnlyForThoseWhoMay) {
  UseSkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = AddHostToA("esx-2");
  Tick();
  ASSERT_FALSE(esx2.Safe());
  EXPECT_EQ(esx2.Stats().cached_keys(), 0);  // such a host takes no key of a KMS
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  // Registered at the host itself, which locks it: the host has no key.
  ASSERT_THAT(esx2.Register("web"), IsOk());
  cluster.Settle();
  a.caller.user = "plain";
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(esx2.Safe());
  a.caller.user = "administrator";
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_VM_LOCKED));  // S72
  EXPECT_TRUE(esx2.Safe());
  EXPECT_THAT(a.Unlock("web"), IsOk());
  EXPECT_THAT(a.PowerOn("web"), IsOk());
  ExpectData("web", "esx-2");
}

TEST_F(StandardHostsTest, S151_ARegistrationEnablesTheHostForThoseWhoMay) {
  UseSkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = AddHostToA("esx-2");
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  a.caller.user = "plain";
  EXPECT_THAT(a.Register("esx-2", "web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(esx2.Safe());
  EXPECT_EQ(esx2.Vm("web").name(), "");
  EXPECT_EQ(a.Vm("web").name(), "");
  a.caller.user = "administrator";
  const auto vm = a.Register("esx-2", "web");
  ASSERT_THAT(vm, IsOk());
  EXPECT_TRUE(esx2.Safe());
  EXPECT_EQ(vm->lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto"), IsEmpty());  // S89: it never was locked
}

// S89, S90: the KMS answers, and has neither the host's key nor the VM's.
TEST_F(StandardHostsTest, S89_S90_AKmsThatLostAllKeysIsNamedThoughTheHostIsNotSafe) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(a.SetOption("vpxd.hostkey.newIfMissing", "false"), IsOk());
  for (const std::string& uid : kms.keys().uids()) kms.keys().Remove(uid);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_FALSE(esx1.Safe());
  EXPECT_THAT(a.Events(controller::events::kReqEnableKeyMissingOnKms), SizeIs(1));
  EXPECT_TRUE(a.Locked("vm"));
  EXPECT_EQ(a.Vm("vm").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  EXPECT_THAT(a.Events(controller::events::kVmLockedKeyMissingOnKms), SizeIs(1));
  EXPECT_THAT(a.Explain("vm").summary(),
              HasSubstr("KMS of provider \"skp\" does not have the key"));
  EXPECT_THAT(a.Explain("vm").next_step(), HasSubstr("estore the key on the KMS"));
}

}  // namespace
}  // namespace keysphere::tests
