#include "services/simulator/topology.h"

#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(TopologyTest, TheFirstControllerHasAllHostsAndTheFirstHostsATpm) {
  TopologyRequest request;
  request.controllers = 2;
  request.hosts = 3;
  request.tpm = 2;
  const auto topology = MakeTopology(request);
  ASSERT_THAT(topology, IsOk());
  EXPECT_THAT(topology->controllers, ElementsAre("vcenter-a", "vcenter-b"));
  ASSERT_THAT(topology->hosts, SizeIs(3));
  EXPECT_EQ(topology->hosts[2].name, "esx-3");
  EXPECT_EQ(topology->hosts[2].controller, "vcenter-a");
  EXPECT_TRUE(topology->hosts[1].tpm);
  EXPECT_FALSE(topology->hosts[2].tpm);
}

TEST(TopologyTest, ASpreadGivesEachControllerItsHosts) {
  TopologyRequest request;
  request.spread = "vcenter-a=3,west=1";
  request.tpm = 4;
  const auto topology = MakeTopology(request);
  ASSERT_THAT(topology, IsOk());
  EXPECT_THAT(topology->controllers, ElementsAre("vcenter-a", "west"));
  ASSERT_THAT(topology->hosts, SizeIs(4));
  EXPECT_EQ(topology->hosts[3].name, "esx-4");
  EXPECT_EQ(topology->hosts[3].controller, "west");
}

TEST(TopologyTest, ControllersHaveLettersForEver) {
  EXPECT_EQ(ControllerName(0), "vcenter-a");
  EXPECT_EQ(ControllerName(25), "vcenter-z");
  EXPECT_EQ(ControllerName(26), "vcenter-aa");
  EXPECT_EQ(ControllerName(27), "vcenter-ab");
}

class BadTopologyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadTopologyTest, IsRefused) {
  TopologyRequest request;
  request.spread = GetParam();
  EXPECT_FALSE(MakeTopology(request).ok());
}

INSTANTIATE_TEST_SUITE_P(All, BadTopologyTest,
                         ::testing::Values("vcenter-a", "vcenter-a=", "vcenter-a=x", "=3",
                                           "vcenter-a=-1", "vcenter-a=1,vcenter-a=1",
                                           "vcenter-a=1,", "vcenter-a=2501",
                                           "vcenter-a=2000,vcenter-b=501", "a\nb=1", "esx-1=1"));

TEST(TopologyTest, KmsNodesHaveNamesOfTheirOwn) {
  TopologyRequest request;
  EXPECT_TRUE(MakeTopology(request).value().kms.empty());
  request.kms = 2;
  EXPECT_EQ(MakeTopology(request).value().kms, (std::vector<std::string>{"kms-1", "kms-2"}));
  request.spread = "kms-2=1";
  EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.kms = 1;
  EXPECT_THAT(MakeTopology(request), status::IsOk());
  request.kms = 17;
  EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(TopologyTest, AVersionIsNumbers) {
  TopologyRequest request;
  for (const char* version : {"8.0.3", "7.0", "9", "8.0.3.1"}) {
    request.host_version = version;
    EXPECT_THAT(MakeTopology(request), status::IsOk()) << version;
  }
  for (const char* version : {"abc", "", "8.", ".8", "8.0.x", "8 0", "-8", "8.0.3.1.2"}) {
    request.host_version = version;
    EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT)) << version;
  }
}

TEST(TopologyTest, NumbersHaveRanges) {
  TopologyRequest request;
  request.controllers = 0;
  EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request = TopologyRequest();
  request.hosts = -1;
  EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request = TopologyRequest();
  request.tpm = 4;  // of three hosts
  EXPECT_THAT(MakeTopology(request), HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::simulator
