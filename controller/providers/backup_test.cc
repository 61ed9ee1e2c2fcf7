#include <map>
#include <string>
#include <vector>

#include "common/crypto/bundle.h"
#include "controller/providers/providers_fixture.h"

// Backups of native providers: export, download, import, and reminders of missing ones.
namespace keysphere::controller::providers {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(BackupTest, S2_OnlyACompleteDownloadIsABackup) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const auto exported = vcenter.Export("p");
  ASSERT_THAT(exported, IsOk());
  EXPECT_EQ(exported->location(), "vcenter-a.keysphere.test:7443/p");
  EXPECT_FALSE(vcenter.Get("p")->native_info().has_backup());
  ASSERT_THAT(vcenter.Download("p", exported->token()), IsOk());
  EXPECT_FALSE(vcenter.Get("p")->native_info().has_backup());
  EXPECT_THAT(vcenter.Finish("p", false), IsOk());
  EXPECT_FALSE(vcenter.Get("p")->native_info().has_backup());
  // The token of a download that was cut off is still good.
  ASSERT_THAT(vcenter.Download("p", exported->token()), IsOk());
  EXPECT_THAT(vcenter.listener.heard, IsEmpty());
  EXPECT_THAT(vcenter.Finish("p", true), IsOk());
  EXPECT_TRUE(vcenter.Get("p")->native_info().has_backup());
  EXPECT_EQ(vcenter.Get("p")->health().status(), v1::ProviderHealth::STATUS_OK);
  EXPECT_THAT(vcenter.listener.heard, ElementsAre("usable p"));  // S132
  vcenter.Restart();
  EXPECT_TRUE(vcenter.Get("p")->native_info().has_backup());
  vcenter.BackUp("p");  // a second one tells nobody
  EXPECT_THAT(vcenter.listener.heard, ElementsAre("usable p"));
}

TEST(BackupTest, S3_ExportAndDownloadNeedAFullyQualifiedName) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string token = vcenter.Export("p")->token();
  const std::string fqdn = vcenter.caller.authority;
  for (const char* authority : {"127.0.0.1:7443", "[::1]:7443", "vcenter-a", "localhost:7443"}) {
    vcenter.caller.authority = authority;
    EXPECT_THAT(vcenter.Export("p"), HasReason(v1::REASON_FQDN_REQUIRED)) << authority;
    EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_FQDN_REQUIRED)) << authority;
    EXPECT_FALSE(vcenter.Get("p")->native_info().has_backup());  // other calls work
  }
  vcenter.caller.authority = fqdn;
  EXPECT_THAT(vcenter.Download("p", token), IsOk());
}

TEST(BackupTest, S4_APasswordIsNeededAgain) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string with = vcenter.BackUp("p", "correct horse");
  const std::string without = vcenter.BackUp("p");
  Vcenter other;
  EXPECT_THAT(other.Import(with), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(other.Import(with, "battery staple"), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(other.Get("p"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(other.Import(with, "correct horse"), IsOk());
  ASSERT_THAT(other.Delete("p"), IsOk());
  EXPECT_THAT(other.Import(without), IsOk());
  EXPECT_THAT(other.Import(std::string(2000, 'x'), std::string(1025, 'x')),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(BackupTest, S5_S16_TheBundleBringsTheSameKeyBack) {
  Vcenter vcenter;
  const auto created = vcenter.Create("p", true);
  const std::string bundle = vcenter.BackUp("p");
  const auto read = crypto::ReadBundle(bundle, nullptr);
  ASSERT_THAT(read, IsOk());
  EXPECT_TRUE(read->kdk.Equals(vcenter.providers->Find("p")->kdk));
  EXPECT_EQ(read->export_time, vcenter.domain.sim.Now());

  ASSERT_THAT(vcenter.Delete("p"), IsOk());
  const auto imported = vcenter.Import(bundle);
  ASSERT_THAT(imported, IsOk());
  const v1::NativeProviderInfo& info = imported->provider().native_info();
  EXPECT_EQ(info.key_id(), created->native_info().key_id());
  EXPECT_EQ(info.key_check_value(), created->native_info().key_check_value());
  EXPECT_TRUE(info.has_backup());                  // S158
  EXPECT_TRUE(info.constraints().tpm_required());  // S120
  EXPECT_EQ(imported->export_time().seconds(), absl::ToUnixSeconds(read->export_time));
  EXPECT_THAT(vcenter.listener.heard, ElementsAre("usable p", "deleted p", "usable p"));
}

TEST(BackupTest, S30_S120_AnImportMayChooseAnotherConstraint) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p", true), IsOk());
  const std::string bundle = vcenter.BackUp("p");
  ASSERT_THAT(vcenter.Delete("p"), IsOk());
  v1::ImportKeyProviderRequest request = Vcenter::ImportRequest(bundle);
  request.mutable_constraints()->set_tpm_required(false);
  const auto imported = vcenter.Ask(&Providers::ImportKeyProvider, request);
  ASSERT_THAT(imported, IsOk());
  EXPECT_FALSE(imported->provider().native_info().constraints().tpm_required());
}

TEST(BackupTest, S119_ADryRunCreatesNothing) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string bundle = vcenter.BackUp("p", "pw");
  Vcenter other;
  v1::ImportKeyProviderRequest request = Vcenter::ImportRequest(bundle, "pw");
  request.set_dry_run(true);
  const auto tried = other.Ask(&Providers::ImportKeyProvider, request);
  ASSERT_THAT(tried, IsOk());
  EXPECT_EQ(tried->provider().name(), "p");
  EXPECT_EQ(tried->provider().native_info().key_id(), vcenter.Get("p")->native_info().key_id());
  EXPECT_TRUE(tried->has_export_time());
  EXPECT_THAT(other.List().key_providers(), IsEmpty());
  EXPECT_THAT(other.EventTypes(), IsEmpty());
  // Where the import would fail, it fails.
  request = Vcenter::ImportRequest(bundle, "pw");
  request.set_dry_run(true);
  EXPECT_THAT(vcenter.Ask(&Providers::ImportKeyProvider, request),
              HasReason(v1::REASON_ALREADY_EXISTS));
}

TEST(BackupTest, S69_ImportBesideASameNamedProviderIsRefused) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string bundle = vcenter.BackUp("p");
  Vcenter other;
  const auto own = other.Create("p");
  EXPECT_THAT(other.Import(bundle), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(other.Get("p")->native_info().key_id(), own->native_info().key_id());
}

TEST(BackupTest, BadBundlesAreRefused) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string bundle = vcenter.BackUp("p");
  ASSERT_THAT(vcenter.Delete("p"), IsOk());
  EXPECT_THAT(vcenter.Import(""), HasReason(v1::REASON_BUNDLE_INVALID));
  EXPECT_THAT(vcenter.Import(bundle.substr(0, bundle.size() / 2)),
              HasReason(v1::REASON_BUNDLE_INVALID));
  EXPECT_THAT(vcenter.Import(std::string(65'537, 'x')), HasReason(v1::REASON_BUNDLE_INVALID));
  std::string damaged = bundle;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  EXPECT_FALSE(vcenter.Import(damaged).ok());
  EXPECT_THAT(vcenter.List().key_providers(), IsEmpty());
  Vcenter old("6.7.0");
  EXPECT_THAT(old.Import(bundle), HasReason(v1::REASON_VERSION_UNSUPPORTED));  // S22
}

TEST(BackupTest, S117_TheTokenDiesByTheClockAndTheOption) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const auto exported = vcenter.Export("p").value();
  EXPECT_EQ(exported.token_expire_time().seconds(),
            absl::ToUnixSeconds(vcenter.domain.sim.Now() + absl::Minutes(5)));
  vcenter.domain.sim.AdvanceBy(absl::Seconds(299));
  ASSERT_THAT(vcenter.Download("p", exported.token()), IsOk());
  EXPECT_THAT(vcenter.Finish("p", false), IsOk());
  vcenter.domain.sim.AdvanceBy(absl::Seconds(1));
  EXPECT_THAT(vcenter.Download("p", exported.token()), HasReason(v1::REASON_TOKEN_INVALID));
  vcenter.SetOption(options::kExportTokenExpiry, "10");
  const std::string token = vcenter.Export("p")->token();
  vcenter.domain.sim.AdvanceBy(absl::Seconds(10));
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
}

TEST(BackupTest, S117_ADownloadThatBeganInTimeCounts) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string token = vcenter.Export("p")->token();
  vcenter.domain.sim.AdvanceBy(absl::Seconds(299));
  ASSERT_THAT(vcenter.Download("p", token), IsOk());
  vcenter.domain.sim.AdvanceBy(absl::Seconds(60));
  EXPECT_THAT(vcenter.Finish("p", true), IsOk());
  EXPECT_TRUE(vcenter.Get("p")->native_info().has_backup());
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
}

TEST(BackupTest, S117_ATokenIsThatOfAProviderAndAUserAndGoodOnce) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  ASSERT_THAT(vcenter.Create("q"), IsOk());
  const std::string token = vcenter.Export("p")->token();
  ASSERT_THAT(vcenter.Export("q"), IsOk());
  EXPECT_THAT(vcenter.Download("q", token), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(vcenter.Download("p", ""), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(vcenter.Download("p", token + "x"), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(vcenter.Download("none", token), HasReason(v1::REASON_NOT_FOUND));
  vcenter.caller.user = "mallory";
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
  vcenter.caller.user = "admin";
  ASSERT_THAT(vcenter.Download("p", token), IsOk());
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));  // it goes on
  EXPECT_THAT(vcenter.Finish("p", true), IsOk());
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(vcenter.Finish("p", true), Not(IsOk()));
}

TEST(BackupTest, S117_TwoAdministratorsExportsStandSideBySide) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string first = vcenter.Export("p", "old")->token();
  const std::string second = vcenter.Export("p", "new")->token();
  EXPECT_NE(first, second);
  // Each with its password, once.
  for (const auto& [token, password] :
       std::map<std::string, std::string>{{first, "old"}, {second, "new"}}) {
    const auto bundle = vcenter.Download("p", token);
    ASSERT_THAT(bundle, IsOk());
    EXPECT_THAT(vcenter.Finish("p", true), IsOk());
    EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
    Vcenter other;
    EXPECT_THAT(other.Import(*bundle, password), IsOk());
  }
}

TEST(BackupTest, S117_OfTooManyExportsTheOldestTokenGoes) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  std::vector<std::string> tokens;
  for (int i = 0; i < 17; ++i) tokens.push_back(vcenter.Export("p")->token());
  EXPECT_THAT(vcenter.Download("p", tokens[0]), HasReason(v1::REASON_TOKEN_INVALID));
  for (size_t i = 1; i < tokens.size(); ++i) {
    EXPECT_THAT(vcenter.Download("p", tokens[i]), IsOk()) << i;
    EXPECT_THAT(vcenter.Finish("p", true), IsOk());
  }
}

TEST(BackupTest, S117_ADeletedProviderTakesItsTokensWithIt) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string token = vcenter.Export("p")->token();
  ASSERT_THAT(vcenter.Download("p", token), IsOk());
  ASSERT_THAT(vcenter.Delete("p"), IsOk());
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  EXPECT_THAT(vcenter.Finish("p", true), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_FALSE(vcenter.Get("p")->native_info().has_backup());
  EXPECT_THAT(vcenter.Download("p", token), HasReason(v1::REASON_TOKEN_INVALID));
}

TEST(BackupTest, S118_AnUnknownNameIsNotFound) {
  Vcenter vcenter;
  EXPECT_THAT(vcenter.Export("none"), HasReason(v1::REASON_NOT_FOUND));
}

TEST(BackupTest, S121_HealthWarnsWhileHostsLackTheKey) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  vcenter.BackUp("p");
  vcenter.use.lacking = {"h1", "h2", "h3", "h4", "h5", "h6"};
  const auto health = vcenter.Get("p")->health();
  EXPECT_EQ(health.status(), v1::ProviderHealth::STATUS_WARNING);
  EXPECT_THAT(health.details(), ElementsAre(HasSubstr("h1, h2, h3, h4, h5 and 1 more")));
  vcenter.use.lacking.clear();
  EXPECT_EQ(vcenter.Get("p")->health().status(), v1::ProviderHealth::STATUS_OK);
}

TEST(BackupTest, S88_RemindersComeAgainEvenIfAcknowledged) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 1);
  EXPECT_TRUE(vcenter.alarms->Shows(alarms::kNotBackedUp, "provider/p"));
  v1::AcknowledgeAlarmRequest request;
  request.set_name(alarms::kNotBackedUp);
  request.set_object("provider/p");
  ASSERT_THAT(testing::Call(&vcenter.domain, vcenter.alarms.get(),
                            &alarms::Alarms::AcknowledgeAlarm, vcenter.caller, request),
              IsOk());
  vcenter.domain.sim.AdvanceBy(absl::Hours(24) - absl::Seconds(1));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 1);
  vcenter.domain.sim.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 2);
  const auto alarms =
      testing::Call(&vcenter.domain, vcenter.alarms.get(), &alarms::Alarms::ListAlarms,
                    vcenter.caller, v1::ListAlarmsRequest());
  EXPECT_FALSE(alarms->alarms(0).acknowledged());
  vcenter.domain.sim.AdvanceBy(absl::Hours(48));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 4);

  vcenter.BackUp("p");
  EXPECT_EQ(vcenter.Count(events::kAllBackedUp), 1);
  EXPECT_FALSE(vcenter.alarms->Shows(alarms::kNotBackedUp, "provider/p"));
  vcenter.domain.sim.AdvanceBy(absl::Hours(100));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp) - vcenter.Count(events::kNotBackedUpAfterUpdate),
            4);
}

TEST(BackupTest, S88_TheIntervalIsAnOptionAndGoesOnOverARestart) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  vcenter.domain.sim.AdvanceBy(absl::Minutes(30));
  vcenter.SetOption(options::kBackupCheckInterval, "60");
  vcenter.domain.sim.AdvanceBy(absl::Minutes(20));
  vcenter.Restart();
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 1);
  vcenter.domain.sim.AdvanceBy(absl::Minutes(10));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 2);
  // Shorter than what has passed: at once.
  vcenter.domain.sim.AdvanceBy(absl::Minutes(10));
  vcenter.SetOption(options::kBackupCheckInterval, "5");
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 3);
}

TEST(BackupTest, S88_AllBackedUpOnlyWhenNoneIsLeft) {
  Vcenter vcenter;
  ASSERT_THAT(vcenter.Create("a"), IsOk());
  ASSERT_THAT(vcenter.Create("b"), IsOk());
  vcenter.BackUp("a");
  EXPECT_EQ(vcenter.Count(events::kAllBackedUp), 0);
  ASSERT_THAT(vcenter.Delete("b"), IsOk());
  EXPECT_EQ(vcenter.Count(events::kAllBackedUp), 1);
  vcenter.domain.sim.AdvanceBy(absl::Hours(30));
  EXPECT_EQ(vcenter.Count(events::kNotBackedUp), 2);
}

TEST(BackupTest, S146_S162_NoSecretIsInAnEventAnErrorOrTheDatabase) {
  Vcenter vcenter;
  v1::CreateKeyProviderRequest create;
  create.set_name("p");
  create.set_key_derivation_key("0123456789SECRETKEYBYTES01234567");
  ASSERT_THAT(vcenter.Ask(&Providers::CreateKeyProvider, create), IsOk());
  v1::ExportKeyProviderRequest request;
  request.set_name("p");
  request.set_password("SECRETPASSWORD");
  const auto exported = vcenter.Ask(&Providers::ExportKeyProvider, request);
  ASSERT_THAT(exported, IsOk());
  EXPECT_EQ(request.password(), std::string(14, '\0'));
  const auto bundle = vcenter.Download("p", exported->token());
  ASSERT_THAT(vcenter.Finish("p", true), IsOk());
  v1::ImportKeyProviderRequest import = Vcenter::ImportRequest(*bundle, "SECRETOTHER");
  const auto refused = vcenter.Ask(&Providers::ImportKeyProvider, import);
  EXPECT_THAT(status::ToString(refused.status()), Not(HasSubstr("SECRET")));
  EXPECT_EQ(import.bundle(), std::string(bundle->size(), '\0'));
  EXPECT_EQ(import.password(), std::string(11, '\0'));
  const auto entries = vcenter.domain.store.Range("", "", 1000);
  ASSERT_GT(entries->size(), 4u);
  for (const store::Entry& entry : *entries) {
    EXPECT_THAT(entry.value, Not(HasSubstr("SECRET"))) << entry.key;
    EXPECT_THAT(entry.value, Not(HasSubstr(exported->token()))) << entry.key;
  }
}

TEST(BackupTest, WithoutAnExecutorBundlesAreMadeOnTheStrand) {
  Vcenter vcenter("8.0.3", /*own_work=*/false);
  ASSERT_THAT(vcenter.Create("p"), IsOk());
  const std::string bundle = vcenter.BackUp("p", "pw");
  ASSERT_THAT(vcenter.Delete("p"), IsOk());
  EXPECT_THAT(vcenter.Import(bundle, "pw"), IsOk());
}

}  // namespace
}  // namespace keysphere::controller::providers
