// Key servers: failover, health, keys that come and go.
#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::kKmsUnreachable;

class KmsTest : public StandardStage {};

TEST_F(KmsTest, S60_NodesTakeTurnsAndADeadOneIsPassedOver) {
  FakeKms& three = cluster.AddKms("three", 3);
  ASSERT_THAT(a.CreateSkp("skp-3", three), IsOk());
  for (int i = 0; i < 9; ++i) {
    ASSERT_THAT(Generate("skp-3"), IsOk());
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(three.node(i).calls()["Create"], 3) << i;
  }
  three.node(1).set_mode(FakeKms::Node::Mode::kDown);
  for (int i = 0; i < 6; ++i) {
    ASSERT_THAT(Generate("skp-3"), IsOk());
  }
  EXPECT_EQ(three.node(1).calls()["Create"], 3);
  EXPECT_EQ(three.keys().size(), 15u);
  three.SetDown();
  EXPECT_THAT(Generate("skp-3"), HasReason(v1::REASON_KMS_UNREACHABLE));
}

TEST_F(KmsTest, S60_ANodeThatHangsCostsOneTimeoutAndIsThenTriedLast) {
  UseSkp();
  kms.node(0).set_mode(FakeKms::Node::Mode::kHang);
  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(Generate("skp"), IsOk());
  }
  EXPECT_EQ(kms.node(1).calls()["Create"], 4);
}

TEST_F(KmsTest, S61_InSteadyStateOnlyHealthChecksAppear) {
  AddHostToA("esx-2");
  UseSkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  Tick();
  const int calls = kms.KeyCalls();
  const int checks = kms.Calls("DiscoverVersions");
  cluster.Advance(absl::Minutes(60));
  EXPECT_EQ(kms.KeyCalls(), calls);
  EXPECT_EQ(kms.Calls("DiscoverVersions"), checks + 12 * 2);
}

TEST_F(KmsTest, S63_HighLatencySlowsAndRefusesNothing) {
  UseSkp();
  kms.SetLatency(absl::Seconds(3));
  MakeVm("vm", /*running=*/true);
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Seconds(30));
  EXPECT_TRUE(esx1.Safe());
  EXPECT_FALSE(a.Locked("vm"));
  EXPECT_THAT(a.PowerOn("vm"), IsOk());
  ExpectData("vm");
}

TEST_F(KmsTest, S92_NoNodeAnswersIsToldAtTheCheckAndEndsWithIt) {
  UseSkp();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  kms.node(0).set_mode(FakeKms::Node::Mode::kDown);
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_YELLOW);
  EXPECT_FALSE(a.Shows(kKmsUnreachable, "provider/skp"));
  kms.SetDown();
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_RED);
  EXPECT_TRUE(a.Shows(kKmsUnreachable, "provider/skp"));
  EXPECT_THAT(a.Events("com.vmware.vc.kms.crypto.Unreachable"), SizeIs(1));
  cluster.Advance(absl::Minutes(20));
  EXPECT_THAT(a.Events("com.vmware.vc.kms.crypto.Unreachable"), SizeIs(1));
  kms.SetDown(false);
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_FALSE(a.Shows(kKmsUnreachable, "provider/skp"));
}

TEST_F(KmsTest, S94_CertificatesThatEndSoonAreWarnedOf) {
  UseSkp();
  kmip::client::ServerCertificate certificate;
  certificate.not_after = cluster.executor().Now() + absl::Hours(24 * 40);
  kms.node(0).set_certificate(certificate);
  Tick();
  EXPECT_THAT(a.Events("com.vmware.vc.kms.crypto.KMSServerCertExpirationEvent"), IsEmpty());
  cluster.Advance(absl::Hours(24 * 11));
  EXPECT_THAT(a.Events("com.vmware.vc.kms.crypto.KMSServerCertExpirationEvent"), SizeIs(1));
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_YELLOW);
  // Each server's end is told, and the alarm names them all.
  kms.node(1).set_certificate(certificate);
  Tick();
  Tick();
  const auto told = a.Events("com.vmware.vc.kms.crypto.KMSServerCertExpirationEvent");
  ASSERT_THAT(told, SizeIs(2));
  EXPECT_THAT(told[1].message(), AllOf(HasSubstr("kms-1"), HasSubstr("kms-2")));
  EXPECT_TRUE(a.Shows(controller::alarms::kKmsServerCertificate, "provider/skp"));
  certificate.not_after = cluster.executor().Now() + absl::Hours(24 * 300);
  kms.node(0).set_certificate(certificate);
  kms.node(1).set_certificate(certificate);
  Tick();
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_FALSE(a.Shows(controller::alarms::kKmsServerCertificate, "provider/skp"));
  // The threshold holds at once.
  ASSERT_THAT(a.SetOption("vpxd.kmscert.threshold", "365"), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_TRUE(a.Shows(controller::alarms::kKmsServerCertificate, "provider/skp"));
}

TEST_F(KmsTest, S124_S125_TheStateOfKeys) {
  using Status = v1::CryptoKeyStatus;
  UseSkp();
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  const auto key = Generate("skp");
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(StatusOf("skp", key->key_id()).reason(),
            Status::REASON_KEY_STATE_NOT_ACTIVE_OR_ENABLED);
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "vm"), IsOk());
  const std::string used = a.Vm("vm").key_id().key_id();
  EXPECT_TRUE(StatusOf("skp", used).key_available());
  EXPECT_THAT(StatusOf("skp", used).vms(), ElementsAre("vm"));
  EXPECT_EQ(StatusOf("skp", "nonsense").reason(), Status::REASON_KEY_STATE_MISSING_IN_KMS);
  EXPECT_EQ(StatusOf("nobody", used).reason(), Status::REASON_KEY_STATE_CLUSTER_INVALID);
  EXPECT_EQ(StatusOf("nkp", used).reason(), Status::REASON_KEY_STATE_MANAGED_BY_NKP);
  using kmip::client::KeyState;
  for (const KeyState state : {KeyState::kDeactivated, KeyState::kCompromised}) {
    kms.keys().SetState(key->key_id(), state);
    EXPECT_EQ(StatusOf("skp", key->key_id()).reason(),
              Status::REASON_KEY_STATE_NOT_ACTIVE_OR_ENABLED);
  }
  for (const KeyState state : {KeyState::kDestroyed, KeyState::kDestroyedCompromised}) {
    kms.keys().SetState(key->key_id(), state);
    EXPECT_EQ(StatusOf("skp", key->key_id()).reason(), Status::REASON_KEY_STATE_MISSING_IN_KMS);
  }
  // What the KMS will not tell is not missing.
  kms.keys().Refuse(used, absl::OkStatus(),
                    status::Error(v1::REASON_NO_PERMISSION, "Permission Denied"));
  EXPECT_EQ(StatusOf("skp", used).reason(), Status::REASON_KEY_STATE_CLUSTER_UNREACHABLE);
  kms.keys().Refuse(used, absl::OkStatus());
  EXPECT_TRUE(StatusOf("skp", used).key_available());
  kms.SetDown();
  EXPECT_EQ(StatusOf("skp", used).reason(), Status::REASON_KEY_STATE_CLUSTER_UNREACHABLE);
}

TEST_F(KmsTest, S124_S153_ADiskUsesItsKeyToo) {
  UseSkp();
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "vm"), IsOk());
  const std::string old_key = a.Vm("vm").key_id().key_id();
  ASSERT_THAT(a.RekeyVm("vm", "", /*deep=*/false, /*skip_hard_disks=*/true), IsOk());
  ASSERT_NE(a.Vm("vm").key_id().key_id(), old_key);
  EXPECT_THAT(StatusOf("skp", old_key).vms(), ElementsAre("vm"));
  EXPECT_THAT(StatusOf("other", old_key).vms(), IsEmpty());
}

TEST_F(KmsTest, S129_KeysBearVspheresAttributesAndAreActiveWhenUsed) {
  UseSkp();
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "vm"), IsOk());
  const std::string used = a.Vm("vm").key_id().key_id();
  EXPECT_EQ(kms.keys().Attribute(used, "x-Vendor"), "VMware, Inc.");
  EXPECT_EQ(kms.keys().Attribute(used, "x-Product"), "VMware vSphere");
  EXPECT_EQ(kms.keys().Attribute(used, "x-Product_Version"), "8.0.3");
  EXPECT_EQ(*kms.keys().State(used), kmip::client::KeyState::kActive);
}

TEST_F(KmsTest, S129_AKmsWithoutKmip11IsRedAndNamesWhatItHas) {
  kms.node(0).set_versions({{1, 0}});
  kms.node(1).set_versions({{1, 0}});
  UseSkp();
  cluster.Settle();
  const auto provider = a.Provider("skp");
  EXPECT_EQ(provider->standard_info().status(), v1::KMS_STATUS_RED);
  EXPECT_THAT(provider->standard_info().status_reason(), HasSubstr("1.0"));
}

TEST_F(KmsTest, ACreateWhoseAnswerIsLostIsCountedAndTheNextNodeMakesTheKey) {
  UseSkp();
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "first"), IsOk());
  for (size_t i = 0; i < kms.size(); ++i) {
    kms.node(i).FailNext(status::Error(v1::REASON_DEADLINE_EXCEEDED, "lost"),
                         /*done_first=*/i == 0);
  }
  const size_t keys = kms.keys().size();
  EXPECT_THAT(Generate("skp"), HasReason(v1::REASON_KMS_UNREACHABLE));
  EXPECT_EQ(kms.keys().size(), keys + 1);
  EXPECT_EQ(a.Provider("skp")->standard_info().unanswered_creates(), 2);
}

}  // namespace
}  // namespace keysphere::tests
