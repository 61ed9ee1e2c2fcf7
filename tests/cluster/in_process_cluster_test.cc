#include "tests/cluster/in_process_cluster.h"

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::tests {
namespace {

using status::HasReason;
using status::IsOk;

class InProcessClusterTest : public ::testing::Test {
 protected:
  InProcessClusterTest() : a_(cluster_.AddVCenter("vcenter-a")), esx_(cluster_.AddHost("esx-1")) {
    EXPECT_THAT(a_.CreateCluster("cluster-a"), IsOk());
  }

  InProcessCluster cluster_;
  VCenterNode& a_;
  HostNode& esx_;
};

TEST_F(InProcessClusterTest, AnEncryptedVmKeepsItsDataOverItsHostsReboot) {
  ASSERT_THAT(a_.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(a_.SetDefault("nkp"), IsOk());
  ASSERT_THAT(a_.AddHost("esx-1", "cluster-a"), IsOk());
  ASSERT_THAT(a_.CreateEncryptedVm("esx-1", "web"), IsOk());
  ASSERT_THAT(a_.PowerOn("web"), IsOk());
  ASSERT_THAT(esx_.Write("web", "what the guest wrote"), IsOk());

  ASSERT_THAT(esx_.Reboot(), IsOk());
  cluster_.Advance(absl::Seconds(30));

  EXPECT_EQ(a_.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  ASSERT_THAT(a_.PowerOn("web"), IsOk());
  EXPECT_EQ(esx_.Read("web", 20).value_or(""), "what the guest wrote");
}

TEST_F(InProcessClusterTest, AHostThatIsDownAnswersNobodyUntilTheDeadline) {
  ASSERT_THAT(a_.AddHost("esx-1", "cluster-a"), IsOk());
  ASSERT_THAT(a_.CreateVm("esx-1", "web"), IsOk());
  esx_.wire().SetCut(true);
  const absl::Time before = cluster_.executor().Now();

  EXPECT_THAT(a_.PowerOn("web"), HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_EQ(cluster_.executor().Now() - before, absl::Seconds(10));
}

TEST_F(InProcessClusterTest, ADelayedLinkIsSlowAndWorks) {
  ASSERT_THAT(a_.AddHost("esx-1", "cluster-a"), IsOk());
  esx_.wire().SetDelay(absl::Seconds(1));
  const absl::Time before = cluster_.executor().Now();

  EXPECT_THAT(a_.CreateVm("esx-1", "web"), IsOk());
  EXPECT_EQ(cluster_.executor().Now() - before, absl::Seconds(2));
}

TEST_F(InProcessClusterTest, AVCenterThatIsKilledLosesNothingThatItAnswered) {
  ASSERT_THAT(a_.AddHost("esx-1", "cluster-a"), IsOk());
  ASSERT_THAT(a_.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(a_.SetDefault("nkp"), IsOk());

  a_.Crash();
  cluster_.Advance(absl::Minutes(1));
  ASSERT_THAT(a_.Start(), IsOk());
  cluster_.Advance(absl::Seconds(1));

  EXPECT_TRUE(a_.Provider("nkp")->is_default());
  EXPECT_EQ(a_.Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_THAT(a_.CreateEncryptedVm("esx-1", "web"), IsOk());
}

}  // namespace
}  // namespace keysphere::tests
