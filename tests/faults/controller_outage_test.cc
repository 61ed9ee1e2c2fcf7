// A vCenter that is away, and hosts that do not answer it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/status/matchers.h"
#include "tests/processes/controller_driver.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::ControllerDriver;
using processes::ControllerProcess;
using processes::HostDriver;
using processes::HostProcess;
using processes::Lab;
using status::HasReason;
using status::IsOk;
using status::IsOkAndHolds;

class ControllerOutageTest : public ::testing::Test {
 protected:
  ControllerOutageTest()
      : controller_(lab_.AddController("vcenter-a")),
        driver_(&controller_),
        host_(AddHost("esx-1", "2.0")),
        other_(AddHost("esx-2", "none")),
        at_host_(&host_),
        at_other_(&other_) {
    KS_CHECK(controller_.Start().ok());
    KS_CHECK(driver_.CreateCluster("cluster").ok());
    KS_CHECK(driver_.CreateProvider("nkp").ok());
    KS_CHECK(driver_.Backup("nkp").ok());
    KS_CHECK(driver_.SetDefault("nkp").ok());
    for (HostProcess* const host : {&host_, &other_}) {
      KS_CHECK(host->Start().ok());
      KS_CHECK(driver_.AddHost(*host, "cluster").ok());
    }
    MakeVm("web", at_host_);
    MakeVm("db", at_other_);
  }
  HostProcess& AddHost(const std::string& name, const std::string& tpm) {
    processes::HostSettings settings;
    settings.name = name;
    settings.tpm = tpm;
    return lab_.AddHost(settings);
  }
  void MakeVm(const std::string& vm, HostDriver& host) {
    KS_CHECK(driver_.CreateVm(host.host().name(), vm).ok());
    KS_CHECK(driver_.EncryptVm(vm).ok());
    KS_CHECK(host.PowerOn(vm).ok());
    KS_CHECK(host.Write(vm, data_).ok());
  }

  Lab lab_;
  ControllerProcess& controller_;
  ControllerDriver driver_;
  HostProcess& host_;
  HostProcess& other_;
  HostDriver at_host_;
  HostDriver at_other_;
  const std::string data_ = processes::GuestData(41);
};

TEST_F(ControllerOutageTest, S50_S51_S157_WithoutAControllerHostsPowerAndRebootAndDoNotEncrypt) {
  controller_.Kill();
  for (HostDriver* const host : {&at_host_, &at_other_}) {
    const std::string vm = host == &at_host_ ? "web" : "db";
    EXPECT_THAT(host->Read(vm, data_.size()), IsOkAndHolds(data_));
    ASSERT_THAT(host->PowerOff(vm), IsOk());
    EXPECT_THAT(host->OpenAndRead(vm, data_.size()), IsOkAndHolds(data_));
    ASSERT_THAT(host->host().Reboot(), IsOk());
    EXPECT_EQ(host->Status()->crypto_state(), v1::CRYPTO_STATE_SAFE);
    EXPECT_THAT(host->OpenAndRead(vm, data_.size()), IsOkAndHolds(data_));
    host::v1::DecryptHostVmRequest decrypt;
    decrypt.set_vm(vm);
    EXPECT_THAT(
        host->AsUser().Call<processes::HostVms>(&processes::VmCalls::DecryptHostVm, decrypt),
        HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  }
  ASSERT_THAT(at_host_.Unregister("web"), IsOk());
  ASSERT_THAT(at_host_.Register("[ds1] web/web.vmx"), IsOk());
  // The controller comes back and finds everything.
  ASSERT_THAT(controller_.Start(), IsOk());
  for (const char* const name : {"esx-1", "esx-2"}) {
    EXPECT_THAT(driver_.WaitForHost(name, v1::CONNECTION_STATE_CONNECTED), IsOk());
  }
  for (const char* const vm : {"web", "db"}) {
    EXPECT_TRUE(processes::Eventually([&] { return driver_.GetVm(vm).ok(); })) << vm;
    EXPECT_THAT(driver_.PowerOn(vm), IsOk());
  }
}

TEST_F(ControllerOutageTest, AHungHostFailsItsOwnCallsInTimeAndNoOthers) {
  ASSERT_THAT(driver_.PowerOff("web"), IsOk());
  host_.child().Pause();
  // The caller's deadline is longer than the controller's patience with a host.
  const auto refused = driver_.PowerOn("web", absl::Seconds(25));
  EXPECT_THAT(refused, ::testing::AnyOf(HasReason(v1::REASON_HOST_NOT_RESPONDING),
                                        HasReason(v1::REASON_DEADLINE_EXCEEDED)));
  // Others are not affected.
  EXPECT_THAT(driver_.PowerOff("db"), IsOk());
  EXPECT_THAT(driver_.PowerOn("db", absl::Seconds(5)), IsOk());
  EXPECT_THAT(driver_.CreateProvider("another"), IsOk());
  EXPECT_THAT(driver_.Backup("another"), IsOk());
  // A pass ends, and says which host did not answer.
  const auto pass = driver_.Admin().Call<v1::Controller>(&processes::ControllerCalls::Remediate,
                                                         v1::RemediateRequest());
  ASSERT_THAT(pass, IsOk());
  for (const v1::RemediateResponse::HostResult& result : pass->hosts()) {
    EXPECT_EQ(result.outcome() == v1::RemediateResponse::HostResult::OUTCOME_NOT_RESPONDING,
              result.host() == "esx-1")
        << result.host();
  }
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_NOT_RESPONDING), IsOk());
  v1::EncryptVmRequest encrypt;
  encrypt.set_vm("web");
  EXPECT_THAT(
      driver_.Admin().Call<v1::VirtualMachines>(&processes::MachineCalls::EncryptVm, encrypt),
      ::testing::Not(IsOk()));

  host_.child().Resume();
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_CONNECTED), IsOk());
  // The power-on may have been carried out late; either way the VM is whole.
  if (at_host_.Get("web")->power_state() != v1::POWER_STATE_ON) {
    ASSERT_THAT(at_host_.PowerOn("web"), IsOk());
  }
  EXPECT_THAT(at_host_.Read("web", data_.size()), IsOkAndHolds(data_));
  // What it missed has come.
  EXPECT_EQ(at_host_.Status()->controller(), "vcenter-a");
  EXPECT_TRUE(
      processes::Eventually([&] { return driver_.GetHost("esx-1")->held_providers_size() == 2; }));
}

TEST_F(ControllerOutageTest, AHungHostFailsTheTaskThatWaitsForIt) {
  ASSERT_THAT(driver_.CreateVm("esx-1", "plain"), IsOk());
  host_.child().Pause();
  v1::EncryptVmRequest encrypt;
  encrypt.set_vm("plain");
  const auto task =
      driver_.Admin().Call<v1::VirtualMachines>(&processes::MachineCalls::EncryptVm, encrypt);
  ASSERT_THAT(task, IsOk());
  // Work on files takes as long as it takes; a pass finds that the host is silent.
  ASSERT_THAT(driver_.Remediate(), IsOk());
  EXPECT_THAT(driver_.Await(task), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  host_.child().Resume();
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_CONNECTED), IsOk());
  // Carried out late or not at all: the VM is whole, and what the controller tells is true.
  EXPECT_TRUE(processes::Eventually([&] { return at_host_.PowerOn("plain").ok(); }));
  const auto vm = at_host_.Get("plain");
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ(vm->key_id().key_id(), vm->disks(0).key_id().key_id());
  EXPECT_TRUE(processes::Eventually(
      [&] { return driver_.GetVm("plain")->key_id().key_id() == vm->key_id().key_id(); }));
}

TEST_F(ControllerOutageTest, ADeadHostIsNoticedAndComesBack) {
  host_.Kill();
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_NOT_RESPONDING), IsOk());
  EXPECT_THAT(driver_.PowerOff("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(driver_.PowerOff("db"), IsOk());
  ASSERT_THAT(host_.Start(), IsOk());
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_CONNECTED), IsOk());
  ASSERT_THAT(driver_.PowerOn("web"), IsOk());
  EXPECT_THAT(at_host_.Read("web", data_.size()), IsOkAndHolds(data_));
}

TEST_F(ControllerOutageTest, AHungControllerHoldsNobodyUp) {
  controller_.child().Pause();
  v1::GetHostRequest request;
  request.set_name("esx-1");
  EXPECT_THAT(
      driver_.Admin().Call<v1::Hosts>(&processes::HostCalls::GetHost, request, absl::Seconds(1)),
      HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_THAT(at_host_.PowerOff("web"), IsOk());
  EXPECT_THAT(at_host_.OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
  controller_.child().Resume();
  EXPECT_THAT(driver_.PowerOff("db"), IsOk());
}

}  // namespace
}  // namespace keysphere::faults
