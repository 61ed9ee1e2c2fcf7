#include "controller/providers/providers.h"

#include <string>

#include "controller/providers/providers_fixture.h"

namespace keysphere::controller::providers {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kUuid[] = "0f8fad5b-d9cb-469f-a165-70867728950e";

TEST(ProvidersTest, S1_S158_ANewProviderIsNotBackedUp) {
  Vcenter vcenter;
  const auto created = vcenter.Create("p");
  ASSERT_THAT(created, IsOk());
  EXPECT_FALSE(created->native_info().has_backup());
  EXPECT_EQ(created->health().status(), v1::ProviderHealth::STATUS_ERROR);
  EXPECT_FALSE(vcenter.providers->Find("p")->has_backup);
  EXPECT_THAT(vcenter.listener.heard, IsEmpty());  // no host may hold its key
  EXPECT_THAT(vcenter.SetDefault("p"), IsOk());    // it may be the default
}

TEST(ProvidersTest, S116_S37_KeyIdAndKeyAreMadeOrGiven) {
  Vcenter vcenter;
  const auto made = vcenter.Create("made");
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(made->type(), v1::PROVIDER_TYPE_NATIVE);
  EXPECT_THAT(made->native_info().key_id(), ::testing::SizeIs(36));
  EXPECT_EQ(vcenter.providers->Find("made")->kdk.size(), 32u);

  v1::CreateKeyProviderRequest request;
  request.set_name("given");
  request.set_key_id("0F8FAD5B-d9cb-469f-a165-70867728950e");
  request.set_key_derivation_key(std::string(32, 'k'));
  const auto given = vcenter.Ask(&Providers::CreateKeyProvider, request);
  ASSERT_THAT(given, IsOk());
  EXPECT_EQ(given->native_info().key_id(), kUuid);
  const auto bytes = vcenter.providers->Find("given")->kdk.bytes(crypto::SecretKeyAccess::Token());
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), std::string(32, 'k'));
  EXPECT_EQ(request.key_derivation_key(), std::string(32, '\0'));  // wiped
}

TEST(ProvidersTest, BadInputIsRefusedAndChangesNothing) {
  Vcenter vcenter;
  v1::CreateKeyProviderRequest request;
  const auto create = [&] { return vcenter.Ask(&Providers::CreateKeyProvider, request); };
  EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_NAME));
  request.set_name(std::string(10'000, 'x'));
  EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_NAME));
  request.set_name("a\nb");
  EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_NAME));
  request.set_name("p");
  request.set_key_derivation_key(std::string(31, 'k'));
  EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_key_derivation_key(std::string(33, 'k'));
  EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.clear_key_derivation_key();
  for (const char* id :
       {"x", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5bd9cb469fa16570867728950e",
        "0f8fad5b-d9cb-469f-a165-70867728950g"}) {
    request.set_key_id(id);
    EXPECT_THAT(create(), HasReason(v1::REASON_INVALID_ARGUMENT)) << id;
  }
  EXPECT_THAT(vcenter.List().key_providers(), IsEmpty());
  EXPECT_THAT(vcenter.EventTypes(), IsEmpty());
}

TEST(ProvidersTest, S6_ANameThatIsTakenIsRefusedAndNothingChanges) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string before = vcenter.Get("p")->SerializeAsString();
  EXPECT_THAT(vcenter.Create("p"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(vcenter.Get("p")->SerializeAsString(), before);
  vcenter.Restart();
  EXPECT_EQ(vcenter.Get("p")->SerializeAsString(), before);
}

TEST(ProvidersTest, S6_OfTwoAtOnceOneWins) {
  Vcenter vcenter;
  int ok = 0;
  int exists = 0;
  v1::CreateKeyProviderRequest request;
  request.set_name("p");
  testing::OnStrand(&vcenter.domain, [&] {
    for (int i = 0; i < 5; ++i) {
      vcenter.providers->CreateKeyProvider(
          vcenter.caller, request, [&](absl::StatusOr<v1::KeyProvider> result) {
            ok += result.ok() ? 1 : 0;
            exists += status::ReasonOf(result.status()) == v1::REASON_ALREADY_EXISTS ? 1 : 0;
          });
    }
  });
  EXPECT_EQ(ok, 1);
  EXPECT_EQ(exists, 4);
}

TEST(ProvidersTest, S7_S18_TwoVcentersShareNothingButTheName) {
  Vcenter a;
  Vcenter b;
  ASSERT_THAT(a.Create("p"), IsOk());
  EXPECT_THAT(b.Get("p"), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(b.Create("p"), IsOk());
  EXPECT_NE(a.Get("p")->native_info().key_check_value(),
            b.Get("p")->native_info().key_check_value());
}

TEST(ProvidersTest, S8_S9_NothingRenamesOrRotates) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const auto before = vcenter.Get("p")->native_info();
  vcenter.domain.sim.AdvanceBy(absl::Hours(24 * 400));
  EXPECT_THAT(vcenter.Get("p")->native_info(), status::EqualsProto(before));
  const auto* const service = v1::KeyProvider::descriptor()->file()->service(0);
  for (int i = 0; i < service->method_count(); ++i) {
    EXPECT_THAT(service->method(i)->name(), Not(HasSubstr("Rename")));
  }
}

TEST(ProvidersTest, S10_The33rdIsRefused) {
  Vcenter vcenter;
  for (int i = 0; i < 32; ++i) ASSERT_THAT(vcenter.Create("p" + std::to_string(i)), IsOk());
  EXPECT_THAT(vcenter.Create("one more"), HasReason(v1::REASON_TOO_LARGE));
  ASSERT_THAT(vcenter.Delete("p7"), IsOk());
  EXPECT_THAT(vcenter.Create("one more"), IsOk());
}

TEST(ProvidersTest, S11_AtMostOneGlobalDefault) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a"), IsOk());
  EXPECT_EQ(vcenter.SetDefault("b")->former_default(), "a");
  EXPECT_FALSE(vcenter.Get("a")->is_default());
  EXPECT_TRUE(vcenter.Get("b")->is_default());
  vcenter.Restart();
  EXPECT_EQ(vcenter.providers->GlobalDefault(), "b");
  EXPECT_THAT(vcenter.SetDefault("none"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_EQ(vcenter.Count(events::kDefaultChanged), 2);
}

TEST(ProvidersTest, S12_S13_TheDefaultIsNotHandedOn) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a"), IsOk());
  ASSERT_THAT(vcenter.Delete("a"), IsOk());
  EXPECT_EQ(vcenter.providers->GlobalDefault(), "");
  EXPECT_THAT(vcenter.providers->EffectiveDefault("c1"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  vcenter.Restart();
  EXPECT_THAT(vcenter.providers->EffectiveDefault(""), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  ASSERT_THAT(vcenter.SetDefault("b"), IsOk());
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c1").value(), "b");
}

TEST(ProvidersTest, S15_DeletionIsNotBlockedByUse) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  vcenter.use.vms = 17;
  EXPECT_EQ(vcenter.Delete("p")->vms_in_inventory(), 17);
  EXPECT_THAT(vcenter.Delete("p"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(vcenter.listener.heard, ElementsAre("deleted p"));
  EXPECT_FALSE(vcenter.domain.store.Get("provider-kdk/p").value().has_value());
}

TEST(ProvidersTest, S22_AnOldVcenterRefusesToMakeOne) {
  Vcenter old("7.0.1");
  EXPECT_THAT(old.Create("p"), HasReason(v1::REASON_VERSION_UNSUPPORTED));
  Vcenter first("7.0.2");
  EXPECT_THAT(first.Create("p"), IsOk());
}

TEST(ProvidersTest, S24_ConstraintsAreThoseAsked) {
  Vcenter vcenter;
  EXPECT_FALSE(vcenter.Create("a")->native_info().constraints().tpm_required());
  EXPECT_TRUE(vcenter.Create("b", true)->native_info().constraints().tpm_required());
}

TEST(ProvidersTest, S31_TheConstraintIsFixed) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p", true), IsOk());
  v1::UpdateKeyProviderRequest request;
  request.set_name("p");
  request.set_key_id(kUuid);
  request.mutable_constraints();
  EXPECT_THAT(vcenter.Ask(&Providers::UpdateKeyProvider, request),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_NE(vcenter.Get("p")->native_info().key_id(), kUuid);
}

TEST(ProvidersTest, S93_S160_WarningsOfTheList) {
  Vcenter vcenter;
  EXPECT_THAT(vcenter.List().warnings(), ElementsAre(HasSubstr("no default")));
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a"), IsOk());
  EXPECT_THAT(vcenter.List().warnings(), IsEmpty());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  EXPECT_THAT(vcenter.List().warnings(), ElementsAre(HasSubstr("2 native key providers")));
}

TEST(ProvidersTest, S126_S127_AClustersOwnDefaultWins) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a", true), IsOk());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("b", "c1"), IsOk());
  EXPECT_THAT(vcenter.SetDefault("b", "nowhere"), HasReason(v1::REASON_NOT_FOUND));
  vcenter.Restart();
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c1").value(), "b");
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c2").value(), "a");
  EXPECT_THAT(vcenter.Get("b")->default_for_clusters(), ElementsAre("c1"));

  v1::ListKmsClustersRequest request;
  request.set_cluster("c1");
  const auto clusters = vcenter.Ask(&Providers::ListKmsClusters, request);
  ASSERT_THAT(clusters, IsOk());
  ASSERT_EQ(clusters->clusters_size(), 2);
  const v1::KmipClusterInfo& a = clusters->clusters(0);
  EXPECT_EQ(a.cluster_id(), "a");
  EXPECT_EQ(a.management_type(), "nativeProvider");
  EXPECT_TRUE(a.tpm_required());
  EXPECT_FALSE(a.has_backup());
  EXPECT_TRUE(a.use_as_default());
  EXPECT_FALSE(a.use_as_entity_default());
  EXPECT_TRUE(clusters->clusters(1).use_as_entity_default());
  request.set_cluster("nowhere");
  EXPECT_THAT(vcenter.Ask(&Providers::ListKmsClusters, request), HasReason(v1::REASON_NOT_FOUND));

  EXPECT_EQ(vcenter.SetDefault("", "c1")->former_default(), "b");
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c1").value(), "a");
}

TEST(ProvidersTest, S160_AClusterWhoseDefaultIsGoneHasNoneUntilItIsSetOrCleared) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("b", "c1"), IsOk());
  ASSERT_THAT(vcenter.Delete("b"), IsOk());
  EXPECT_EQ(vcenter.providers->ClusterDefault("c1"), "b");
  EXPECT_THAT(vcenter.providers->EffectiveDefault("c1"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c2").value(), "a");
  EXPECT_THAT(vcenter.List().warnings(), ElementsAre(HasSubstr("cluster c1")));
  ASSERT_THAT(vcenter.SetDefault("", "c1"), IsOk());
  EXPECT_EQ(vcenter.providers->EffectiveDefault("c1").value(), "a");
}

TEST(ProvidersTest, ADeletedClusterTakesItsDefaultWithIt) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.SetDefault("a", "c1"), IsOk());
  vcenter.use.clusters.erase("c1");
  testing::OnStrand(&vcenter.domain, [&] { vcenter.providers->ForgetCluster("c1"); });
  EXPECT_EQ(vcenter.providers->ClusterDefault("c1"), "");
  vcenter.Restart();
  EXPECT_EQ(vcenter.providers->ClusterDefault("c1"), "");
}

TEST(ProvidersTest, S122_AnotherKeyIdLeavesTheKeyAndSuggestsABackup) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  vcenter.BackUp("p");
  const auto before = vcenter.Get("p").value();
  vcenter.listener.heard.clear();
  ASSERT_THAT(vcenter.Update("p", kUuid), IsOk());
  vcenter.Restart();
  const auto after = vcenter.Get("p").value();
  EXPECT_EQ(after.native_info().key_id(), kUuid);
  EXPECT_EQ(after.native_info().key_check_value(), before.native_info().key_check_value());
  EXPECT_TRUE(after.native_info().has_backup());
  EXPECT_TRUE(after.native_info().backup_suggested());
  EXPECT_EQ(after.health().status(), v1::ProviderHealth::STATUS_OK);
  EXPECT_THAT(vcenter.listener.heard, ElementsAre("usable p"));  // hosts take it at once
  EXPECT_EQ(vcenter.Count(events::kNotBackedUpAfterUpdate), 1);
  EXPECT_FALSE(vcenter.alarms->Shows(alarms::kNotBackedUp, "provider/p"));
  vcenter.BackUp("p");
  EXPECT_FALSE(vcenter.Get("p")->native_info().backup_suggested());
}

TEST(ProvidersTest, AnEtagOfAnOlderStateIsAConflict) {
  Vcenter vcenter;
  const std::string etag = vcenter.Create("p")->etag();
  EXPECT_THAT(vcenter.Update("p", kUuid, "7777"), HasReason(v1::REASON_CONFLICT));
  ASSERT_THAT(vcenter.Update("p", kUuid, etag), IsOk());
  EXPECT_THAT(vcenter.Delete("p", etag), HasReason(v1::REASON_CONFLICT));
  vcenter.Restart();
  EXPECT_THAT(vcenter.Delete("p", vcenter.Get("p")->etag()), IsOk());
  EXPECT_THAT(vcenter.Update("p", kUuid), HasReason(v1::REASON_NOT_FOUND));
}

TEST(ProvidersTest, S148_WhatAClientWasToldSurvives) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p", true), IsOk());
  vcenter.BackUp("p");
  ASSERT_THAT(vcenter.SetDefault("p"), IsOk());
  const auto before = vcenter.Get("p").value();
  const auto key = vcenter.providers->Find("p")->kdk.Clone().value();
  vcenter.Restart();
  EXPECT_THAT(vcenter.Get("p").value(), status::EqualsProto(before));
  EXPECT_TRUE(vcenter.providers->Find("p")->kdk.Equals(key));
}

TEST(ProvidersTest, AFullDiskChangesNothing) {
  Vcenter vcenter;
  const absl::Status full = status::Error(v1::REASON_STORAGE_FULL, "full");
  vcenter.domain.store.FailCommits(full);
  EXPECT_THAT(vcenter.Create("p"), HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_THAT(vcenter.Get("p"), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  vcenter.domain.store.FailCommits(full);
  EXPECT_THAT(vcenter.SetDefault("p"), HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_EQ(vcenter.providers->GlobalDefault(), "");
  vcenter.domain.store.FailCommits(full);
  EXPECT_THAT(vcenter.Delete("p"), HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_THAT(vcenter.Get("p"), IsOk());
}

TEST(ProvidersTest, ListsByNameInPages) {
  Vcenter vcenter;
  for (const char* name : {"c", "a", "b"}) ASSERT_THAT(vcenter.Create(name), IsOk());
  v1::ListKeyProvidersRequest request;
  request.set_page_size(2);
  auto page = vcenter.Ask(&Providers::ListKeyProviders, request).value();
  ASSERT_EQ(page.key_providers_size(), 2);
  EXPECT_EQ(page.key_providers(0).name(), "a");
  request.set_page_token(page.next_page_token());
  page = vcenter.Ask(&Providers::ListKeyProviders, request).value();
  ASSERT_EQ(page.key_providers_size(), 1);
  EXPECT_EQ(page.key_providers(0).name(), "c");
  EXPECT_EQ(page.next_page_token(), "");
}

}  // namespace
}  // namespace keysphere::controller::providers
