// Standard key providers: keys of a KMS, cached by hosts.
#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

class StandardTest : public StandardStage {};

TEST_F(StandardTest, S38_AKeyForEachVmAndEachHost) {
  AddHostToA("esx-2");
  AddHostToA("esx-3");
  UseSkp();
  for (int i = 0; i < 10; ++i) {
    ASSERT_THAT(a.CreateEncryptedVm("esx-1", absl::StrCat("vm-", i)), IsOk());
  }
  EXPECT_EQ(kms.keys().size(), 10u + 3u);
  EXPECT_EQ(kms.Calls("Create"), 13);
}

TEST_F(StandardTest, S55_ANewKeyReachesEverySafeHostOfTheCluster) {
  AddHostToA("esx-2");
  UseSkp();
  MakeVm("vm", /*running=*/true);
  cluster.Settle();
  // The VM's key and both hosts' keys.
  EXPECT_EQ(a.Cached("esx-1", "skp"), 3);
  EXPECT_EQ(a.Cached("esx-2", "skp"), 3);
  EXPECT_EQ(esx1.Stats().cached_keys(), 3);
  EXPECT_EQ(cluster.FindHost("esx-2")->Stats().cached_keys(), 3);
}

TEST_F(StandardTest, S55_AHostThatRebootsIsGivenAllKeysOfItsCluster) {
  AddHostToA("esx-2");
  UseSkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  MakeVm("elsewhere", /*running=*/true, "esx-2");
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(5));

  EXPECT_TRUE(esx1.Safe());
  EXPECT_EQ(esx1.Stats().cached_keys(), 5);
  EXPECT_FALSE(a.Locked("on"));
  EXPECT_FALSE(a.Locked("off"));
  EXPECT_THAT(a.PowerOn("on"), IsOk());
  ExpectData("on");
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ExpectData("off");
  EXPECT_EQ(kms.Calls("Create"), 5);
  EXPECT_THAT(a.Alarms(), IsEmpty());
}

TEST_F(StandardTest, S52_S73_WithTheKmsDownHostsWorkFromTheirCaches) {
  UseSkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  kms.SetDown();
  cluster.Advance(absl::Minutes(31));

  EXPECT_THAT(a.PowerOff("on"), IsOk());
  EXPECT_THAT(a.PowerOn("on"), IsOk());
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ExpectData("on");
  ExpectData("off");
  EXPECT_FALSE(a.Locked("on"));
  EXPECT_FALSE(a.Locked("off"));
}

TEST_F(StandardTest, S53_WithTheKmsDownNothingNewIsEncryptedAndNothingIsLeftHalfDone) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  const size_t keys = kms.keys().size();
  kms.SetDown();

  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "new"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(a.EncryptVm("plain"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(a.AddVtpm("vm"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_THAT(a.RekeyVm("vm"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(a.Vm("new").name(), "");
  EXPECT_FALSE(a.Vm("plain").has_key_id());
  EXPECT_FALSE(a.Vm("vm").vtpm());
  EXPECT_EQ(kms.keys().size(), keys);
  EXPECT_THAT(a.PowerOn("plain"), IsOk());
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

}  // namespace
}  // namespace keysphere::tests
