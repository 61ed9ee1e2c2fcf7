// What a host is after a power loss, a reboot, a stolen disk.
#include <filesystem>
#include <iterator>

#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using BootTest = HostTest;

TEST_F(BootTest, S50_S51_KeysAndVmsOutliveAPowerLossWithoutTheController) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "survives"), IsOk());
  const std::string boot_id = host().Status().boot_id();
  const std::string transport_key = host().Status().transport_public_key();
  host().Kill();
  ASSERT_THAT(host().Start(), IsOk());
  const host::v1::GetHostStatusResponse status = host().Status();
  EXPECT_NE(status.boot_id(), boot_id);
  EXPECT_NE(status.transport_public_key(), transport_key);
  EXPECT_EQ(status.crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(status.controller(), "vcenter-a");
  EXPECT_EQ(status.epoch(), 1);
  EXPECT_TRUE(status.boot_complete());
  EXPECT_EQ(status.configuration_mode(), host::v1::CONFIGURATION_MODE_TPM);
  // All VMs are off; those whose keys are there are judged and unlocked (S149).
  EXPECT_EQ(host().Vm("web").power_state(), v1::POWER_STATE_OFF);
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_EQ(host().Vm("web").guest_os(), "debian12-64");
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::PowerOnHostVm, on), IsOk());
  EXPECT_THAT(host().Read("web", 8), status::IsOkAndHolds("survives"));
}

TEST_F(BootTest, S28_S29_WithoutATpmTheKeysLieInTheEncryptedConfiguration) {
  TestHost::Settings settings;
  settings.tpm = tpm::TpmVersion::k12;
  TestHost bare(&executor_, settings);
  ASSERT_THAT(bare.Start(), IsOk());
  ASSERT_THAT(bare.Attach("vcenter-a"), IsOk());
  const TestProvider nkp = TestProvider::Make("nkp");
  ASSERT_THAT(bare.Add({nkp}), IsOk());
  bare.Reboot();
  EXPECT_EQ(bare.Status().configuration_mode(), host::v1::CONFIGURATION_MODE_NONE);
  EXPECT_EQ(bare.Status().tpm_version(), v1::TPM_VERSION_1_2);
  EXPECT_EQ(bare.Attach("vcenter-a")->keys().held_size(), 1);
}

TEST_F(BootTest, S149_VmsWithoutTheirKeysWaitForTheFirstSync) {
  const TestProvider nkp = TestProvider::Make("nkp");
  const TestProvider lost = TestProvider::Make("lost");
  UseProvider(nkp);
  ASSERT_THAT(host().Add({lost}), IsOk());
  ASSERT_THAT(host().CreateEncrypted("kept", nkp), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", lost), IsOk());
  ASSERT_THAT(host().CreateEncrypted("db", lost), IsOk());
  // They run while their key goes, so no tick judges them.
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().PowerOn("db"), IsOk());
  ASSERT_THAT(host().Tick({nkp}), IsOk());
  host().Reboot();
  EXPECT_FALSE(host().Status().boot_complete());
  EXPECT_THAT(host().PowerOn("kept"), IsOk());
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEYS_PENDING));
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNSPECIFIED);
  // A message that is not the end of the sync judges nobody.
  ASSERT_THAT(host().Add({}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_KEYS_PENDING));
  ASSERT_THAT(host().Add({lost}, /*first_sync=*/true), IsOk());
  EXPECT_TRUE(host().Status().boot_complete());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().PowerOn("db"), IsOk());
}

TEST_F(BootTest, S149_TheFirstSyncLocksWhatItBringsNoKeyFor) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Tick({}), IsOk());
  host().Reboot();
  const auto sync = host().Add({}, /*first_sync=*/true);
  EXPECT_THAT(sync->locked_vms(), ::testing::ElementsAre("web"));
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_TRUE(host().Status().boot_complete());
}

TEST_F(BootTest, S149_WithoutAControllerTheWaitEndsAfterAMinute) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Tick({}), IsOk());
  host().Reboot();
  executor_.AdvanceBy(absl::Seconds(59));
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_FALSE(host().Status().boot_complete());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNSPECIFIED);
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_TRUE(host().Status().boot_complete());
}

TEST_F(BootTest, S149_WhileItsControllerIsHereAHostWaitsForTheFirstSync) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Tick({}), IsOk());
  host().Reboot();
  host::v1::WatchHostRequest request;
  request.set_epoch(host().epoch());
  const HostAgent::WatchId watch = host().agent().WatchHost(
      ControllerId("vcenter-a"), request,
      {[](const host::v1::HostEvent&) { return true; }, [](const absl::Status&) {}});
  executor_.AdvanceBy(absl::Minutes(5));
  EXPECT_FALSE(host().Status().boot_complete());
  // It goes: a minute without it.
  host().agent().CancelWatch(watch);
  executor_.AdvanceBy(absl::Seconds(59));
  EXPECT_FALSE(host().Status().boot_complete());
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_TRUE(host().Status().boot_complete());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
}

TEST_F(BootTest, S138_AChangedPcr7NeedsTheRecoveryKey) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  const std::string recovery_key = host().Status().recovery_key();
  ASSERT_FALSE(recovery_key.empty());
  // The controller does not see it; after a restart nobody does.
  EXPECT_TRUE(host().Attach("vcenter-a")->status().recovery_key().empty());
  host().Reboot();
  EXPECT_TRUE(host().Status().recovery_key().empty());

  host().hardware().SetFirmware("another bootloader");
  ASSERT_THAT(host().Stop(), IsOk());
  ASSERT_THAT(host().Start(), IsOk());
  EXPECT_EQ(host().Status().configuration_state(), host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_RECOVERY_REQUIRED));
  EXPECT_THAT(host().Attach("vcenter-a"), HasReason(v1::REASON_RECOVERY_REQUIRED));
  host::v1::ProvideRecoveryKeyRequest request;
  request.set_recovery_key(recovery_key.substr(0, recovery_key.size() - 1));
  EXPECT_FALSE(host().Direct(&HostAgent::ProvideRecoveryKey, request).ok());
  request.set_recovery_key(recovery_key);
  EXPECT_THAT(host().Call(&HostAgent::ProvideRecoveryKey, UserId("eve"), request),
              HasReason(v1::REASON_NO_PERMISSION));
  const auto opened = host().Direct(&HostAgent::ProvideRecoveryKey, request);
  ASSERT_THAT(opened, IsOk());
  EXPECT_EQ(opened->configuration_state(), host::v1::CONFIGURATION_STATE_OPEN);
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Direct(&HostAgent::ProvideRecoveryKey, request),
              HasReason(v1::REASON_INVALID_STATE));
  // It was sealed anew: the next boot needs no key.
  host().Reboot();
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(BootTest, AVmWhoseFilesAreGoneIsShownAndNotLost) {
  ASSERT_THAT(host().Create("web"), IsOk());
  const std::string folder = host().datastore() + "/web";
  host().Kill();
  std::filesystem::rename(folder, folder + ".away");
  ASSERT_THAT(host().Start(), IsOk());
  const v1::Vm vm = host().Vm("web");
  EXPECT_EQ(vm.lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(vm.lock().reason(), v1::REASON_VM_FILE_MISSING);
  EXPECT_THAT(vm.lock().next_step(), HasSubstr("reload"));
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_VM_FILE_MISSING));
  std::filesystem::rename(folder + ".away", folder);
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(BootTest, AnOrderlyStopTellsTheTpmAndRefusesWhatComesAfter) {
  ASSERT_THAT(host().Create("web"), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const int before = host().hardware().orderly_shutdowns();
  absl::Status stopped = absl::InternalError("no answer");
  host().agent().Shutdown([&stopped](const absl::Status& status) { stopped = status; });
  EXPECT_THAT(host().PowerOff("web"), HasReason(v1::REASON_SHUTTING_DOWN));
  EXPECT_THAT(stopped, IsOk());
  EXPECT_EQ(host().hardware().orderly_shutdowns(), before + 1);
}

TEST_F(BootTest, S148_APowerLossInTheMiddleOfAnEncryptionLosesNothing) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().Create("web"), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "before"), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  host::v1::EncryptHostVmRequest request;
  request.set_epoch(host().epoch());
  request.set_vm("web");
  request.mutable_key()->set_provider_id("nkp");
  request.mutable_key()->set_key_id("k");
  for (int tasks = 1; tasks < 8; ++tasks) {
    bool answered = false;
    host().agent().EncryptHostVm(
        ControllerId("vcenter-a"), request,
        [&answered](const absl::StatusOr<host::v1::HostVm>&) { answered = true; });
    int asked = 0;
    executor_.RunUntil([&asked, tasks] { return asked++ == tasks; }, absl::ZeroDuration());
    host().Kill();
    executor_.RunUntilIdle();
    ASSERT_THAT(host().Start(), IsOk());
    EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
    ASSERT_THAT(host().PowerOn("web"), IsOk());
    EXPECT_THAT(host().Read("web", 6), status::IsOkAndHolds("before"));
    ASSERT_THAT(host().PowerOff("web"), IsOk());
    if (answered) break;
  }
}

// The loss of a process in the middle of a Create: its next boot removes what there is of the VM.
TEST_F(BootTest, S148_ABootRemovesWhatThereIsOfAVmThatWasBeingMade) {
  const std::string folder = host().datastore() + "/web";
  const std::string left = host().datastore() + "/left";
  const std::string notes = host().state_dir() + "/making";
  ASSERT_THAT(host().files().WriteFileAtomically(host().datastore() + "/image.raw",
                                                 std::string(3 << 20, 'x'), 0600),
              IsOk());
  host::v1::CreateHostVmRequest request;
  request.set_epoch(host().epoch());
  request.set_name("web");
  request.add_disks()->set_import_path("[ds1] image.raw");
  host().agent().CreateHostVm(ControllerId("vcenter-a"), request,
                              [](const absl::StatusOr<host::v1::HostVm>&) {});
  // Some of its disk is there.
  executor_.RunUntil(
      [&] {
        return std::filesystem::exists(folder) &&
               std::distance(std::filesystem::directory_iterator(folder), {}) >= 2;
      },
      absl::ZeroDuration());
  ASSERT_FALSE(std::filesystem::exists(folder + "/web.vmx"));
  std::filesystem::copy(folder, left);
  std::filesystem::copy(notes, left + "-notes");
  host().Kill();  // its destructors remove what a kill -9 would leave
  std::filesystem::remove_all(folder);
  std::filesystem::rename(left, folder);
  std::filesystem::remove_all(notes);
  std::filesystem::rename(left + "-notes", notes);
  executor_.RunUntilIdle();

  ASSERT_THAT(host().Start(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_TRUE(std::filesystem::is_empty(notes));
  ASSERT_THAT(host().Create("web"), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(notes));
  host().Reboot();
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(BootTest, S146_TheLogHasNoRecoveryKey) {
  const std::string recovery_key = host().Status().recovery_key();
  for (const auto& entry : host().logger().entries()) {
    for (const auto& [key, value] : entry.fields) {
      EXPECT_EQ(value.find(recovery_key.substr(0, 13)), std::string::npos) << entry.event;
    }
  }
  EXPECT_FALSE(host().logger().entries().empty());
}

}  // namespace
}  // namespace keysphere::hostagent::agent
