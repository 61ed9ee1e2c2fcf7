// Other KEKs for encrypted VMs, between providers of both kinds.
#include <fstream>

#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A safe host with a native and a standard provider, and a VM "web" under the native one.
class RekeyTest : public HostTest {
 protected:
  RekeyTest() {
    UseProvider(nkp_);
    EXPECT_THAT(host().AddStandard(kms_, {kms_key_}), IsOk());
    EXPECT_THAT(host().CreateEncrypted("web", nkp_), IsOk());
    EXPECT_THAT(host().PowerOn("web"), IsOk());
    EXPECT_THAT(host().Write("web", "hello, guest"), IsOk());
  }

  absl::StatusOr<host::v1::HostVm> Rekey(const v1::CryptoKeyId& key,
                                         v1::RekeyDepth depth = v1::REKEY_DEPTH_SHALLOW,
                                         bool skip_hard_disks = false) {
    host::v1::RekeyHostVmRequest request;
    request.set_vm("web");
    request.set_depth(depth);
    *request.mutable_key() = key;
    request.set_skip_hard_disks(skip_hard_disks);
    return host().Manage(&HostAgent::RekeyHostVm, request);
  }
  v1::CryptoKeyId NativeKey(const std::string& id) const {
    v1::CryptoKeyId key;
    key.set_provider_id(nkp_.name);
    key.set_key_id(id);
    return key;
  }
  std::string File(const std::string& name) const {
    std::ifstream file(host_->datastore() + "/web/" + name, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  }
  std::string DiskBlocks() const {
    std::string name = host_->Vm("web").disks(0).file_name();
    name.resize(name.size() - std::string(".vmdk").size());
    return File(name + "-flat.vmdk");
  }
  absl::StatusOr<host::v1::ApplyKeysResponse> TickWithoutNative() {
    return host().TickStandard({kms_.State()});
  }

  const TestProvider nkp_ = TestProvider::Make("nkp");
  TestStandardProvider kms_{"kms"};
  const std::string kms_key_ = kms_.NewKey();
};

TEST_F(RekeyTest, S43_S46_S49_ARunningVmChangesItsProviderAndKeepsItsDataKeys) {
  const std::string blocks = DiskBlocks();
  ASSERT_FALSE(blocks.empty());
  const auto rekeyed = Rekey(kms_.Id(kms_key_));
  ASSERT_THAT(rekeyed, IsOk());
  EXPECT_EQ(rekeyed->vm().key_id().provider_id(), "kms");
  EXPECT_EQ(rekeyed->vm().disks(0).key_id().key_id(), kms_key_);
  EXPECT_EQ(rekeyed->vm().power_state(), v1::POWER_STATE_ON);
  EXPECT_EQ(DiskBlocks(), blocks);
  EXPECT_THAT(File("web.vmx"), HasSubstr("kms/" + kms_key_));
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
  // S49: nothing depends on the former provider.
  ASSERT_THAT(TickWithoutNative(), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
  // And back, as a VM that is off.
  ASSERT_THAT(host().Add({nkp_}), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(Rekey(NativeKey("k2")), IsOk());
  EXPECT_EQ(DiskBlocks(), blocks);
  EXPECT_EQ(host().Vm("web").disks(0).key_id().key_id(), "k2");
  ASSERT_THAT(host().TickStandard({}, {nkp_}), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(RekeyTest, S44_ADeepRekeyNeedsAPoweredOffVmAndEncryptsAnew) {
  const std::string blocks = DiskBlocks();
  EXPECT_THAT(Rekey(kms_.Id(kms_key_), v1::REKEY_DEPTH_DEEP),
              HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_EQ(host().Vm("web").key_id().provider_id(), "nkp");
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(Rekey(kms_.Id(kms_key_), v1::REKEY_DEPTH_DEEP), IsOk());
  EXPECT_NE(DiskBlocks(), blocks);
  EXPECT_EQ(host().Vm("web").key_id().key_id(), kms_key_);
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
}

TEST_F(RekeyTest, S153_S110_SkippedDisksStayUnderTheirOldKeyAndSaySo) {
  const std::string old_key = host().Vm("web").disks(0).key_id().key_id();
  const auto rekeyed = Rekey(kms_.Id(kms_key_), v1::REKEY_DEPTH_SHALLOW, /*skip=*/true);
  ASSERT_THAT(rekeyed, IsOk());
  EXPECT_EQ(rekeyed->vm().key_id().key_id(), kms_key_);
  EXPECT_EQ(rekeyed->vm().disks(0).key_id().provider_id(), "nkp");
  EXPECT_EQ(rekeyed->vm().disks(0).key_id().key_id(), old_key);
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  EXPECT_THAT(TickWithoutNative()->locked_vms(), ::testing::IsEmpty());
  EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
  const auto refused = host().PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(old_key));
  // Its disk's former KEK is needed to take it along.
  EXPECT_THAT(Rekey(kms_.Id(kms_key_)), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
}

TEST_F(RekeyTest, S156_WithoutTheFormerKeyARunningVmRunsOnAndIsNotRekeyed) {
  ASSERT_THAT(TickWithoutNative(), IsOk());
  const std::string before = File("web.vmx");
  EXPECT_THAT(Rekey(kms_.Id(kms_key_)), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_EQ(File("web.vmx"), before);
  EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
}

TEST_F(RekeyTest, S53_ANewKeyThatIsNotHereIsRefusedAndTheWayToANativeOneIsOpen) {
  ASSERT_THAT(Rekey(kms_.Id(kms_key_)), IsOk());
  host::v1::StandardProviderState down = kms_.State();
  down.set_kms_unreachable(true);
  ASSERT_THAT(host().TickStandard({down}, {nkp_}), IsOk());
  EXPECT_THAT(Rekey(kms_.Id("another")), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(Rekey(NativeKey("k2")), IsOk());
  EXPECT_EQ(host().Vm("web").key_id().provider_id(), "nkp");
}

TEST_F(RekeyTest, S107_OnlyWhatIsEncryptedCanBeRekeyed) {
  ASSERT_THAT(host().Create("plain"), IsOk());
  host::v1::RekeyHostVmRequest request;
  request.set_vm("plain");
  request.set_depth(v1::REKEY_DEPTH_SHALLOW);
  *request.mutable_key() = kms_.Id(kms_key_);
  EXPECT_THAT(host().Manage(&HostAgent::RekeyHostVm, request), HasReason(v1::REASON_INVALID_STATE));
  request.clear_depth();
  EXPECT_THAT(host().Manage(&HostAgent::RekeyHostVm, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_depth(v1::REKEY_DEPTH_SHALLOW);
  request.clear_key();
  EXPECT_THAT(host().Manage(&HostAgent::RekeyHostVm, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(RekeyTest, S157_ADirectUserCannotRekey) {
  host::v1::RekeyHostVmRequest request;
  request.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::RekeyHostVm, request),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
}

TEST_F(RekeyTest, S72_ALockedVmIsNotRekeyed) {
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(TickWithoutNative(), IsOk());
  EXPECT_THAT(Rekey(kms_.Id(kms_key_)), HasReason(v1::REASON_VM_LOCKED));
}

TEST_F(RekeyTest, S148_APowerLossInTheMiddleOfARekeyLosesNothing) {
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  for (const v1::RekeyDepth depth : {v1::REKEY_DEPTH_SHALLOW, v1::REKEY_DEPTH_DEEP}) {
    for (int tasks = 1; tasks < 8; ++tasks) {
      host::v1::RekeyHostVmRequest request;
      request.set_epoch(host().epoch());
      request.set_vm("web");
      request.set_depth(depth);
      *request.mutable_key() = NativeKey("k" + std::to_string(tasks));
      bool answered = false;
      host().agent().RekeyHostVm(
          ControllerId("vcenter-a"), request,
          [&answered](const absl::StatusOr<host::v1::HostVm>&) { answered = true; });
      int asked = 0;
      executor_.RunUntil([&asked, tasks] { return asked++ == tasks; }, absl::ZeroDuration());
      host().Kill();
      executor_.RunUntilIdle();
      ASSERT_THAT(host().Start(), IsOk());
      ASSERT_THAT(host().PowerOn("web"), IsOk());
      EXPECT_THAT(host().Read("web", 12), status::IsOkAndHolds("hello, guest"));
      ASSERT_THAT(host().PowerOff("web"), IsOk());
      if (answered) break;
    }
  }
}

}  // namespace
}  // namespace keysphere::hostagent::agent
