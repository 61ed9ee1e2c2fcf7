#include "controller/remediation/desired_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/keyset/keyset.h"
#include "common/status/matchers.h"
#include "common/status/status.h"

namespace keysphere::controller::remediation {
namespace {

using ::testing::ElementsAre;

HostFacts GoodHost() { return HostFacts{"esx-1", "cluster-a", "8.0.3", v1::TPM_VERSION_2_0}; }

providers::Provider GoodProvider(const std::string& name = "nkp-1") {
  providers::Provider provider;
  provider.name = name;
  provider.key_id = "0f8fad5b-d9cb-469f-a165-70867728950e";
  provider.key_check_value = "12345678";
  provider.has_backup = true;
  return provider;
}

TEST(EntitlementTest, S33_AHostThatMeetsAllIsEntitled) {
  EXPECT_TRUE(Entitlement(GoodHost(), GoodProvider()).ok());
}

TEST(EntitlementTest, S158_ANeverBackedUpProviderIsForNoHost) {
  providers::Provider provider = GoodProvider();
  provider.has_backup = false;
  EXPECT_EQ(status::ReasonOf(Entitlement(GoodHost(), provider)), v1::REASON_NOT_BACKED_UP);
}

TEST(EntitlementTest, S23_AStandaloneHostHasNoKeys) {
  HostFacts host = GoodHost();
  host.cluster = "";
  EXPECT_EQ(status::ReasonOf(Entitlement(host, GoodProvider())), v1::REASON_NOT_IN_CLUSTER);
}

TEST(EntitlementTest, S22_AnOldHostIsNotEntitledToANativeProvider) {
  HostFacts host = GoodHost();
  host.version = "7.0.1";
  EXPECT_EQ(status::ReasonOf(Entitlement(host, GoodProvider())), v1::REASON_VERSION_UNSUPPORTED);
}

TEST(EntitlementTest, S25_TpmRequiredKeepsTheKeyFromHostsWithoutTpm20) {
  providers::Provider provider = GoodProvider();
  provider.tpm_required = true;
  HostFacts host = GoodHost();
  EXPECT_TRUE(Entitlement(host, provider).ok());
  for (const v1::TpmVersion version : {v1::TPM_VERSION_NONE, v1::TPM_VERSION_1_2}) {  // S29
    host.tpm_version = version;
    EXPECT_EQ(status::ReasonOf(Entitlement(host, provider)), v1::REASON_TPM_REQUIRED);
  }
}

TEST(EntitlementTest, S154_TheFirstReasonInOrderWithTheOthersBehind) {
  providers::Provider provider = GoodProvider();
  provider.tpm_required = true;
  const HostFacts host{"esx-1", "", "6.7.0", v1::TPM_VERSION_NONE};
  const v1::ErrorDetail detail = status::DetailOf(Entitlement(host, provider));
  EXPECT_EQ(detail.reason(), v1::REASON_NOT_IN_CLUSTER);
  EXPECT_THAT(detail.others(),
              ElementsAre(v1::REASON_VERSION_UNSUPPORTED, v1::REASON_TPM_REQUIRED));
}

TEST(DesireTest, S33_EntriesForWhatIsAllowedAndReasonsForTheRest) {
  const providers::Provider open = GoodProvider("nkp-open");
  providers::Provider sealed = GoodProvider("nkp-sealed");
  sealed.tpm_required = true;
  HostFacts host = GoodHost();
  host.tpm_version = v1::TPM_VERSION_NONE;
  const DesiredState desired = Desire(host, {&open, &sealed});
  ASSERT_EQ(desired.entries.size(), 1);
  EXPECT_EQ(desired.entries[0].provider(), "nkp-open");
  ASSERT_EQ(desired.withheld.size(), 1);
  EXPECT_EQ(desired.withheld[0].entry().provider(), "nkp-sealed");
  EXPECT_EQ(desired.withheld[0].reason(), v1::REASON_TPM_REQUIRED);
  EXPECT_EQ(desired.Digest(), keyset::Digest(desired.entries, "cluster-a"));
}

}  // namespace
}  // namespace keysphere::controller::remediation
