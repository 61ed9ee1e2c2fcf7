// What a host takes, refuses and reports of keys.
#include <filesystem>
#include <fstream>

#include "common/keyset/keyset.h"
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using KeysTest = HostTest;

TestHost::Settings Without(tpm::TpmVersion version) {
  TestHost::Settings settings;
  settings.tpm = version;
  return settings;
}

TEST_F(KeysTest, S132_AddsRemoveNothingAndATickLeavesExactlyWhatIsWanted) {
  const TestProvider a = TestProvider::Make("a");
  const TestProvider b = TestProvider::Make("b");
  ASSERT_THAT(host().Add({a}), IsOk());
  const auto added = host().Add({b});
  EXPECT_EQ(added->keys().held_size(), 2);
  EXPECT_EQ(added->keys().digest(), keyset::Digest({a.Entry(), b.Entry()}, "cluster-a"));
  const auto tick = host().Tick({b});
  EXPECT_THAT(tick->removed_providers(), ElementsAre("a"));
  ASSERT_EQ(tick->keys().held_size(), 1);
  EXPECT_EQ(tick->keys().held(0).provider(), "b");
  // What the controller knows to be there need not be sent again.
  host::v1::ApplyKeysRequest request = host().KeysRequest({});
  request.set_allow_removal(true);
  *request.add_held() = b.Entry();
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request)->removed_providers(), IsEmpty());
  host::v1::CheckKeysRequest check;
  EXPECT_EQ(host().Manage(&HostAgent::CheckKeys, check)->digest(),
            keyset::Digest({b.Entry()}, "cluster-a"));
}

// A key that was purged lies in no file of the host any more, not even under the configuration key.
TEST_F(KeysTest, S33_APurgedKeyIsTakenOutOfTheFiles) {
  const std::string journal = host().state_dir() + "/config.journal";
  const TestProvider a = TestProvider::Make("a");
  ASSERT_THAT(host().Add({a}), IsOk());
  ASSERT_TRUE(std::filesystem::exists(journal));
  ASSERT_THAT(host().Tick({}), IsOk());
  EXPECT_FALSE(std::filesystem::exists(journal));
  // Likewise one that another takes the place of.
  ASSERT_THAT(host().Add({a}), IsOk());
  ASSERT_TRUE(std::filesystem::exists(journal));
  ASSERT_THAT(host().Tick({TestProvider::Make("a")}), IsOk());
  EXPECT_FALSE(std::filesystem::exists(journal));
}

TEST_F(KeysTest, AnOlderDesiredStateIsStaleAndTheSameIsTakenAgain) {
  const TestProvider a = TestProvider::Make("a");
  host::v1::ApplyKeysRequest request = host().KeysRequest({a});
  ASSERT_THAT(host().Manage(&HostAgent::ApplyKeys, request), IsOk());
  const auto again = host().Manage(&HostAgent::ApplyKeys, request);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->keys().held_size(), 1);
  ASSERT_THAT(host().Add({}), IsOk());
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request),
              HasReason(v1::REASON_STALE_GENERATION));
}

TEST_F(KeysTest, AKeyThatIsNotWhatItsCheckValueNamesChangesNothing) {
  const TestProvider a = TestProvider::Make("a");
  const TestProvider b = TestProvider::Make("b");
  host::v1::ApplyKeysRequest request = host().KeysRequest({a, b});
  request.mutable_keys(1)->mutable_entry()->set_key_check_value("notright");
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request),
              HasReason(v1::REASON_CHECK_VALUE_MISMATCH));
  EXPECT_EQ(host().Attach("vcenter-a")->keys().held_size(), 0);
}

TEST_F(KeysTest, AKeyOpensOnlyInItsBootAndForItsHost) {
  const TestProvider a = TestProvider::Make("a");
  host::v1::ApplyKeysRequest request = host().KeysRequest({a});
  host().Reboot();
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  request = host().KeysRequest({a});
  request.mutable_keys(0)->mutable_entry()->set_provider("b");
  EXPECT_THAT(host().Manage(&HostAgent::ApplyKeys, request),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(KeysTest, S25_S29_AHostWithoutTpm20RefusesATpmOnlyKeyByItself) {
  const TestProvider nkp = TestProvider::Make("nkp", /*tpm_required=*/true);
  for (const tpm::TpmVersion version : {tpm::TpmVersion::kNone, tpm::TpmVersion::k12}) {
    TestHost bare(&executor_, Without(version));
    ASSERT_THAT(bare.Start(), IsOk());
    ASSERT_THAT(bare.Attach("vcenter-a"), IsOk());
    const auto response = bare.Add({nkp});
    ASSERT_THAT(response, IsOk());
    EXPECT_THAT(response->keys().held(), IsEmpty());
    ASSERT_EQ(response->keys().refused_size(), 1);
    EXPECT_EQ(response->keys().refused(0).reason(), v1::REASON_TPM_REQUIRED);
  }
  ASSERT_THAT(host().Add({nkp}), IsOk());
  EXPECT_EQ(host().Attach("vcenter-a")->keys().held_size(), 1);
}

TEST_F(KeysTest, S26_ACryptoOpWithoutTheTpmSaysTpmRequired) {
  const TestProvider nkp = TestProvider::Make("nkp", /*tpm_required=*/true);
  const TestProvider other = TestProvider::Make("other");
  TestHost bare(&executor_, Without(tpm::TpmVersion::kNone));
  ASSERT_THAT(bare.Start(), IsOk());
  ASSERT_THAT(bare.Attach("vcenter-a"), IsOk());
  ASSERT_THAT(bare.Add({other, nkp}), IsOk());
  ASSERT_THAT(bare.MakeSafe(other), IsOk());
  ASSERT_THAT(bare.Create("web"), IsOk());
  const auto refused = bare.Encrypt("web", nkp);
  EXPECT_THAT(refused, HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_THAT(status::DetailOf(refused.status()).others(),
              ElementsAre(v1::REASON_KEY_MISSING_ON_HOST));
}

TEST_F(KeysTest, S22_AHostOlderThan702TakesNoNativeKey) {
  TestHost::Settings settings;
  settings.version = "7.0.1";
  TestHost old_host(&executor_, settings);
  ASSERT_THAT(old_host.Start(), IsOk());
  ASSERT_THAT(old_host.Attach("vcenter-a"), IsOk());
  const auto response = old_host.Add({TestProvider::Make("nkp")});
  EXPECT_THAT(response->keys().held(), IsEmpty());
  EXPECT_EQ(response->keys().refused(0).reason(), v1::REASON_VERSION_UNSUPPORTED);
  EXPECT_TRUE(keys::SupportsNativeKeys("7.0.2"));
  EXPECT_TRUE(keys::SupportsNativeKeys("8.0"));
  EXPECT_FALSE(keys::SupportsNativeKeys("6.7.3"));
  EXPECT_FALSE(keys::SupportsNativeKeys("new"));
}

TEST_F(KeysTest, S23_AHostThatLeftItsClusterWorksUntilTheTick) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().Attach("vcenter-a", /*cluster=*/""), IsOk());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().PowerOff("web"), IsOk());
  host::v1::ApplyKeysRequest tick = host().KeysRequest({});
  tick.set_allow_removal(true);
  tick.clear_cluster();
  host::v1::WithheldProvider* withheld = tick.add_withheld();
  *withheld->mutable_entry() = nkp.Entry();
  withheld->set_reason(v1::REASON_NOT_IN_CLUSTER);
  ASSERT_THAT(host().Manage(&HostAgent::ApplyKeys, tick), IsOk());
  const auto refused = host().PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_NOT_IN_CLUSTER));
  EXPECT_THAT(status::DetailOf(refused.status()).others(),
              ElementsAre(v1::REASON_VM_LOCKED, v1::REASON_KEY_MISSING_ON_HOST));
  ASSERT_THAT(host().Create("db"), IsOk());
  EXPECT_THAT(host().Encrypt("db", nkp), HasReason(v1::REASON_NOT_IN_CLUSTER));
}

TEST_F(KeysTest, S122_ANewKeyIdForTheSameKeyIsTakenAtOnce) {
  TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  nkp.key_id = "another-id";
  const auto added = host().Add({nkp});
  ASSERT_THAT(added, IsOk());
  EXPECT_THAT(added->keys().collisions(), IsEmpty());
  EXPECT_EQ(added->keys().held(0).key_id(), "another-id");
  EXPECT_THAT(host().PowerOn("web"), IsOk());
  // It is durable.
  host().Reboot();
  EXPECT_EQ(host().Attach("vcenter-a")->keys().held(0).key_id(), "another-id");
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(KeysTest, S33_AQuietPassWritesNothing) {
  const TestProvider nkp = TestProvider::Make("nkp");
  ASSERT_THAT(host().Add({nkp}), IsOk());
  const auto writes = [this] {
    return host()
        .Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest())
        ->configuration_writes();
  };
  const int64_t before = writes();
  ASSERT_THAT(host().Tick({nkp}), IsOk());
  EXPECT_EQ(writes(), before);
}

TEST_F(KeysTest, ChangesThatComeTogetherShareAWrite) {
  int done = 0;
  for (int i = 0; i < 20; ++i) {
    host::v1::CreateHostVmRequest request;
    request.set_name("vm-" + std::to_string(i));
    host().agent().CreateHostVm(UserId("root"), request,
                                [&done](const absl::StatusOr<host::v1::HostVm>& vm) {
                                  EXPECT_THAT(vm, IsOk());
                                  ++done;
                                });
  }
  executor_.RunUntilIdle();
  EXPECT_EQ(done, 20);
  const auto stats = host().Direct(&HostAgent::GetHostStats, host::v1::GetHostStatsRequest());
  EXPECT_EQ(stats->vms(), 20);
  EXPECT_LT(stats->configuration_writes(), 20);
}

TEST_F(KeysTest, S144_NoKeyLiesInTheClearInTheStateFolder) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  const auto bytes = nkp.kdk->bytes(crypto::SecretKeyAccess::Token());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(host().state_dir())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)),
                              std::istreambuf_iterator<char>());
    for (const size_t half : {0, 16}) {
      EXPECT_EQ(content.find(std::string(reinterpret_cast<const char*>(bytes.data()) + half, 16)),
                std::string::npos)
          << entry.path();
    }
  }
}

}  // namespace
}  // namespace keysphere::hostagent::agent
