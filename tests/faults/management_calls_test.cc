// Calls of a controller that come late, twice, or from somebody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/status/matchers.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::HostDriver;
using processes::HostProcess;
using processes::NativeProvider;
using status::HasReason;
using status::IsOk;

class ManagementCallsTest : public ::testing::Test {
 protected:
  ManagementCallsTest() : host_(lab_.AddHost({})), driver_(&host_) {
    KS_CHECK(host_.Start().ok());
    KS_CHECK(driver_.Prepare(nkp_).ok());
    KS_CHECK(driver_.CreateEncrypted("web", nkp_, data_).ok());
  }

  absl::Status Apply(const host::v1::ApplyKeysRequest& request,
                     const std::string& controller = "vcenter-a") {
    return host_.As(identity::Kind::kController, controller)
        .Call<processes::HostManagement>(&processes::ManagementCalls::ApplyKeys, request)
        .status();
  }
  void ExpectUnharmed() {
    EXPECT_TRUE(host_.Running());
    EXPECT_THAT(driver_.OpenAndRead("web", data_.size()), status::IsOkAndHolds(data_));
  }

  processes::Lab lab_;
  HostProcess& host_;
  HostDriver driver_;
  const NativeProvider nkp_ = NativeProvider::Make("nkp");
  const std::string data_ = processes::GuestData(7);
};

TEST_F(ManagementCallsTest, S140_AFormerControllerIsStale) {
  host::v1::ApplyKeysRequest take_away;
  take_away.set_epoch(driver_.epoch());
  take_away.set_generation(driver_.generation() + 1);
  take_away.set_allow_removal(true);
  HostDriver other(&host_, "vcenter-b");
  EXPECT_THAT(other.Attach(), HasReason(v1::REASON_HOST_ATTACHED));
  ASSERT_THAT(other.Attach(/*force=*/true), IsOk());
  EXPECT_THAT(Apply(take_away), HasReason(v1::REASON_STALE_EPOCH));
  EXPECT_THAT(driver_.Create("new"), HasReason(v1::REASON_STALE_EPOCH));
  // Nor does the new epoch help who is not the host's controller.
  take_away.set_epoch(other.epoch());
  EXPECT_THAT(Apply(take_away), HasReason(v1::REASON_STALE_EPOCH));
  ExpectUnharmed();
}

TEST_F(ManagementCallsTest, S140_ACallOfAnEarlierEpochOfTheSameControllerIsStale) {
  host::v1::ApplyKeysRequest old;
  old.set_epoch(driver_.epoch());
  old.set_generation(driver_.generation() + 1);
  old.set_allow_removal(true);
  host::v1::AttachRequest anew;
  anew.set_new_epoch(true);
  anew.set_cluster("cluster-a");
  const auto attached = driver_.AsController().Call<processes::HostManagement>(
      &processes::ManagementCalls::Attach, anew);
  ASSERT_THAT(attached, IsOk());
  EXPECT_GT(attached->epoch(), old.epoch());
  EXPECT_THAT(Apply(old), HasReason(v1::REASON_STALE_EPOCH));
  ExpectUnharmed();
}

TEST_F(ManagementCallsTest, S140_AnOlderDesiredStateIsStaleAndAReplayChangesNothing) {
  auto earlier = driver_.KeysRequest({nkp_});
  ASSERT_THAT(earlier, IsOk());
  auto later = driver_.KeysRequest({nkp_, NativeProvider::Make("second")});
  ASSERT_THAT(later, IsOk());
  later->set_allow_removal(true);
  ASSERT_THAT(Apply(*later), IsOk());
  EXPECT_THAT(Apply(*earlier), HasReason(v1::REASON_STALE_GENERATION));
  // The same message again: taken, and the same state.
  EXPECT_THAT(Apply(*later), IsOk());
  // What was changed under it is durable, and so is the generation.
  host_.Kill();
  ASSERT_THAT(host_.Start(), IsOk());
  EXPECT_THAT(Apply(*earlier), HasReason(v1::REASON_STALE_GENERATION));
  ExpectUnharmed();
}

TEST_F(ManagementCallsTest, S141_AKeySealedToAnotherBootHostOrNameDoesNotOpen) {
  const NativeProvider late = NativeProvider::Make("late");
  auto replay = driver_.KeysRequest({late});
  ASSERT_THAT(replay, IsOk());
  ASSERT_THAT(host_.Reboot(), IsOk());
  // It was sealed to the former boot's transport key.
  replay->set_generation(++driver_.generation());
  EXPECT_FALSE(Apply(*replay).ok());
  // Sealed to this boot, but as the key of another provider.
  auto renamed = driver_.KeysRequest({late});
  ASSERT_THAT(renamed, IsOk());
  renamed->mutable_keys(0)->mutable_entry()->set_provider("other");
  EXPECT_FALSE(Apply(*renamed).ok());
  // A bit of the sealed key is changed.
  auto damaged = driver_.KeysRequest({late});
  ASSERT_THAT(damaged, IsOk());
  (*damaged->mutable_keys(0)->mutable_sealed())[40] ^= 1;
  EXPECT_FALSE(Apply(*damaged).ok());
  // The key under another's check value.
  auto mistaken = driver_.KeysRequest({late});
  ASSERT_THAT(mistaken, IsOk());
  mistaken->mutable_keys(0)->mutable_entry()->set_key_check_value(nkp_.Entry().key_check_value());
  EXPECT_THAT(Apply(*mistaken), HasReason(v1::REASON_CHECK_VALUE_MISMATCH));

  const auto status = driver_.Attach();
  ASSERT_THAT(status, IsOk());
  ASSERT_EQ(status->keys().held_size(), 1);
  EXPECT_EQ(status->keys().held(0).provider(), "nkp");
  ExpectUnharmed();
  EXPECT_THAT(driver_.Add({late}), IsOk());
}

TEST_F(ManagementCallsTest, S140_StrangersMayNothing) {
  host::v1::ApplyKeysRequest request;
  request.set_epoch(driver_.epoch());
  request.set_generation(99);
  request.set_allow_removal(true);
  const auto as = [&](identity::Kind kind, const std::string& name) {
    return host_.As(kind, name)
        .Call<processes::HostManagement>(&processes::ManagementCalls::ApplyKeys, request)
        .status();
  };
  EXPECT_THAT(as(identity::Kind::kUser, "root"), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(as(identity::Kind::kUser, "mallory"), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(as(identity::Kind::kHost, "esx-2"), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(as(identity::Kind::kController, "vcenter-x"), HasReason(v1::REASON_STALE_EPOCH));
  host::v1::PowerOnHostVmRequest power_on;
  power_on.set_vm("web");
  EXPECT_THAT(host_.As(identity::Kind::kUser, "mallory")
                  .Call<processes::HostVms>(&processes::VmCalls::PowerOnHostVm, power_on),
              HasReason(v1::REASON_NO_PERMISSION));
  // S157: what changes encryption is the controller's.
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  EXPECT_THAT(
      driver_.AsUser().Call<processes::HostVms>(&processes::VmCalls::DecryptHostVm, decrypt),
      HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  ExpectUnharmed();
}

}  // namespace
}  // namespace keysphere::faults
