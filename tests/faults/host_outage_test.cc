// Hosts that go on alone, lose power, are stolen, or hang.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/status/matchers.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::GuestData;
using processes::HostDriver;
using processes::HostProcess;
using processes::HostSettings;
using processes::Lab;
using processes::NativeProvider;
using status::HasReason;
using status::IsOk;
using status::IsOkAndHolds;

HostSettings Named(const std::string& name, const std::string& tpm) {
  HostSettings settings;
  settings.name = name;
  settings.tpm = tpm;
  return settings;
}

// With a TPM 2.0 and without.
class HostOutageTest : public ::testing::TestWithParam<const char*> {
 protected:
  HostOutageTest() : host_(lab_.AddHost(Named("esx-1", GetParam()))), driver_(&host_) {
    KS_CHECK(host_.Start().ok());
    KS_CHECK(driver_.Prepare(nkp_).ok());
    KS_CHECK(driver_.CreateEncrypted("web", nkp_, data_).ok());
  }

  Lab lab_;
  HostProcess& host_;
  HostDriver driver_;
  const NativeProvider nkp_ = NativeProvider::Make("nkp");
  const std::string data_ = GuestData(11);
};

INSTANTIATE_TEST_SUITE_P(Hosts, HostOutageTest, ::testing::Values("2.0", "none"),
                         [](const auto& instance) {
                           return std::string(instance.param) == "none" ? "NoTpm" : "Tpm20";
                         });

TEST_P(HostOutageTest, S50_S51_WithoutItsControllerAHostPowersRebootsAndKeepsItsKeys) {
  // Given: nobody plays the controller any more. When VMs run, stop, and the host reboots.
  ASSERT_THAT(driver_.PowerOn("web"), IsOk());
  const std::string more = GuestData(12);
  ASSERT_THAT(driver_.Write("web", more), IsOk());
  ASSERT_THAT(host_.Reboot(), IsOk());
  // Then: it is safe and complete at once, and the VM opens.
  const auto status = driver_.Status();
  ASSERT_THAT(status, IsOk());
  EXPECT_EQ(status->crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_TRUE(status->boot_complete());
  EXPECT_EQ(driver_.Get("web")->power_state(), v1::POWER_STATE_OFF);
  EXPECT_THAT(driver_.OpenAndRead("web", more.size()), IsOkAndHolds(more));
  // S157: nor does it encrypt alone.
  host::v1::EncryptHostVmRequest encrypt;
  encrypt.set_vm("web");
  EXPECT_THAT(
      driver_.AsUser().Call<processes::HostVms>(&processes::VmCalls::EncryptHostVm, encrypt),
      HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  ASSERT_THAT(driver_.Unregister("web"), IsOk());
  ASSERT_THAT(driver_.Register("[ds1] web/web.vmx"), IsOk());
  EXPECT_EQ(driver_.Get("web")->lock_state(), v1::LOCK_STATE_UNLOCKED);
}

TEST_P(HostOutageTest, S51_TenLossesOfPowerLoseNoKeyAndNoFlushedWrite) {
  for (uint64_t i = 0; i < 10; ++i) {
    ASSERT_THAT(driver_.PowerOn("web"), IsOk());
    const std::string data = GuestData(100 + i);
    ASSERT_THAT(driver_.Write("web", data), IsOk());
    host_.Kill();
    ASSERT_THAT(host_.Start(), IsOk());
    EXPECT_EQ(driver_.Get("web")->power_state(), v1::POWER_STATE_OFF);
    ASSERT_THAT(driver_.OpenAndRead("web", data.size()), IsOkAndHolds(data));
  }
}

TEST_P(HostOutageTest, S59_S144_AStolenHostOpensItsVms) {
  host_.Kill();
  // The whole machine is carried away: state, TPM and files; no vCenter is near.
  HostProcess& stolen = lab_.AddHost(Named("esx-1", GetParam()));
  ASSERT_THAT(stolen.Start(), IsOk());
  HostDriver thief(&stolen);
  EXPECT_THAT(thief.OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
}

TEST_P(HostOutageTest, S144_AStateFolderWithoutItsTpmOpensInModeNoneOnly) {
  host_.Kill();
  std::filesystem::remove_all(host_.tpm_dir());
  std::filesystem::create_directories(host_.tpm_dir());
  ASSERT_THAT(host_.Start(), IsOk());
  const auto status = driver_.Status();
  ASSERT_THAT(status, IsOk());
  if (std::string(GetParam()) == "none") {
    EXPECT_EQ(status->configuration_mode(), host::v1::CONFIGURATION_MODE_NONE);
    EXPECT_EQ(status->configuration_state(), host::v1::CONFIGURATION_STATE_OPEN);
    EXPECT_THAT(driver_.OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
    return;
  }
  EXPECT_EQ(status->configuration_state(), host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  EXPECT_THAT(driver_.PowerOn("web"), HasReason(v1::REASON_RECOVERY_REQUIRED));
  host::v1::ProvideRecoveryKeyRequest guess;
  guess.set_recovery_key("000000-000000-000000-000000-000000-000000-000000-000000");
  EXPECT_FALSE(driver_.AsUser()
                   .Call<processes::HostStatus>(&processes::StatusCalls::ProvideRecoveryKey, guess)
                   .ok());
  EXPECT_TRUE(host_.Running());
}

TEST_P(HostOutageTest, AHungHostIsNoticedAtTheDeadlineAndGoesOnAfterwards) {
  host_.child().Pause();
  host::v1::PowerOnHostVmRequest power_on;
  power_on.set_vm("web");
  EXPECT_THAT(driver_.AsUser().Call<processes::HostVms>(&processes::VmCalls::PowerOnHostVm,
                                                        power_on, absl::Seconds(1)),
              HasReason(v1::REASON_DEADLINE_EXCEEDED));
  host_.child().Resume();
  // The answer that came late, or the call that was dropped, has left a VM that is on or off and
  // nothing between.
  const auto vm = driver_.Get("web");
  ASSERT_THAT(vm, IsOk());
  if (vm->power_state() == v1::POWER_STATE_OFF) {
    const auto on = driver_.PowerOn("web");
    EXPECT_TRUE(on.ok() || status::ReasonOf(on.status()) == v1::REASON_INVALID_POWER_STATE)
        << on.status();
  }
  EXPECT_THAT(driver_.Read("web", data_.size()), IsOkAndHolds(data_));
}

}  // namespace
}  // namespace keysphere::faults
