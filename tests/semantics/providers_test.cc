// A. Providers: lifecycle, naming, default. K. Detail: API behaviour.
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/bundle.h"
#include "common/crypto/kdf.h"
#include "keysphere/options.pb.h"
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::encryption::VmEncryption;
using controller::providers::Providers;
using Health = v1::ProviderHealth;

class ProvidersTest : public Stage {
 protected:
  v1::NativeProviderInfo Info(const std::string& name) { return a.Provider(name)->native_info(); }
};

TEST_F(ProvidersTest, S1_ANeverBackedUpProviderIsRefusedEverywhere) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());

  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_THAT(a.AddVtpm("web"), HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "db"), HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_THAT(a.ConfigureCryptoKey("esx-1"), HasReason(v1::REASON_NOT_BACKED_UP));
  EXPECT_EQ(a.Provider("nkp")->health().status(), Health::STATUS_ERROR);
  EXPECT_FALSE(Info("nkp").has_backup());
  EXPECT_FALSE(a.Vm("web").has_key_id());
  EXPECT_EQ(a.Vm("db").name(), "");
  EXPECT_FALSE(esx1.Safe());
}

TEST_F(ProvidersTest, S2_OnlyACompletedDownloadIsABackup) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  v1::ExportKeyProviderRequest request;
  request.set_name("nkp");
  const auto exported = a.Call(&VCenter::providers, &Providers::ExportKeyProvider, request);
  ASSERT_THAT(exported, IsOk());
  EXPECT_FALSE(Info("nkp").has_backup());

  v1::DownloadKeyProviderRequest download;
  download.set_name("nkp");
  download.set_token(exported->token());
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::BeginDownload, download), IsOk());
  EXPECT_FALSE(Info("nkp").has_backup());
  a.OnStrand([this, download](VCenter& vcenter) {
    vcenter.providers().DownloadFinished(a.caller, download, /*complete=*/false,
                                         [](absl::Status) {});
  });
  EXPECT_FALSE(Info("nkp").has_backup());

  ASSERT_THAT(a.BackUp("nkp"), IsOk());
  EXPECT_TRUE(Info("nkp").has_backup());
}

TEST_F(ProvidersTest, S3_ExportWantsAFullyQualifiedNameAndAllElseDoesNot) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  v1::ExportKeyProviderRequest request;
  request.set_name("nkp");
  const auto token = a.Call(&VCenter::providers, &Providers::ExportKeyProvider, request);
  ASSERT_THAT(token, IsOk());
  v1::DownloadKeyProviderRequest download;
  download.set_name("nkp");
  download.set_token(token->token());
  for (const char* authority : {"127.0.0.1", "127.0.0.1:7443", "[::1]:7443", "[::1]", "vcenter-a",
                                "vcenter-a:7443", "localhost:7443", ""}) {
    a.caller.authority = authority;
    EXPECT_THAT(a.BackUp("nkp"), HasReason(v1::REASON_FQDN_REQUIRED)) << authority;
    EXPECT_THAT(a.Call(&VCenter::providers, &Providers::BeginDownload, download),
                HasReason(v1::REASON_FQDN_REQUIRED))
        << authority;
    EXPECT_FALSE(Info("nkp").has_backup());
    EXPECT_THAT(a.SetDefault("nkp"), IsOk());
  }
  for (const std::string& authority : {a.Fqdn(), a.Fqdn() + ":7443"}) {
    a.caller.authority = authority;
    EXPECT_THAT(a.BackUp("nkp"), IsOk()) << authority;
  }
  EXPECT_TRUE(Info("nkp").has_backup());
}

TEST_F(ProvidersTest, S4_ABundleOpensWithItsPasswordOnly) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  const auto sealed = a.BackUp("nkp", "correct horse");
  const auto plain = a.BackUp("nkp");
  ASSERT_THAT(sealed, IsOk());
  ASSERT_THAT(plain, IsOk());

  EXPECT_THAT(b.Import(*sealed), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(b.Import(*sealed, "wrong"), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(b.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(b.Import(*sealed, "correct horse"), IsOk());
  ASSERT_THAT(b.DeleteProvider("nkp"), IsOk());
  EXPECT_THAT(b.Import(*plain), IsOk());
  EXPECT_EQ(b.Provider("nkp")->native_info().key_check_value(), Info("nkp").key_check_value());
}

TEST_F(ProvidersTest, S5_TheBundleHoldsTheKdkAndWhatImportReports) {
  const std::string kdk(32, 'k');
  v1::CreateKeyProviderRequest request;
  request.set_name("nkp");
  request.set_key_derivation_key(kdk);
  request.mutable_constraints()->set_tpm_required(true);
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::CreateKeyProvider, request), IsOk());
  const auto p12 = a.BackUp("nkp");
  ASSERT_THAT(p12, IsOk());

  const auto bundle = crypto::ReadBundle(*p12, nullptr);
  ASSERT_THAT(bundle, IsOk());
  const auto bytes = bundle->kdk.bytes(crypto::SecretKeyAccess::Token());
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), kdk);
  EXPECT_EQ(bundle->provider, "nkp");
  EXPECT_EQ(bundle->key_id, Info("nkp").key_id());
  EXPECT_TRUE(bundle->tpm_required);
  EXPECT_EQ(absl::ToUnixSeconds(bundle->export_time),
            absl::ToUnixSeconds(cluster.executor().Now()));
}

TEST_F(ProvidersTest, S6_ATakenNameIsRefusedAndNothingChanges) {
  const std::string bundle = UseNkpWithBundle();
  const v1::KeyProvider before = *a.Provider("nkp");

  EXPECT_THAT(a.CreateNkp("nkp"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(a.Import(bundle), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(*a.Provider("nkp"), status::EqualsProto(before));
}

TEST_F(ProvidersTest, S7_SameNameInTwoVCentersIsNotTheSameProvider) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(b.CreateUsableNkp("nkp"), IsOk());
  EXPECT_NE(Info("nkp").key_id(), b.Provider("nkp")->native_info().key_id());
  EXPECT_NE(Info("nkp").key_check_value(), b.Provider("nkp")->native_info().key_check_value());

  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = cluster.AddHost("esx-2");
  ASSERT_THAT(b.AddHost("esx-2", "cluster-b"), IsOk());
  ASSERT_THAT(b.Register("esx-2", "web"), IsOk());
  EXPECT_TRUE(b.Locked("web"));
  EXPECT_FALSE(esx2.PowerOn("web").ok());
}

TEST_F(ProvidersTest, S8_ThereIsNoRename) {
  const auto* file = v1::KeyProvider::descriptor()->file();
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      EXPECT_FALSE(absl::StrContains(file->service(s)->method(m)->name(), "Rename"));
    }
  }
  std::set<std::string> fields;
  const auto* update = v1::UpdateKeyProviderRequest::descriptor();
  for (int i = 0; i < update->field_count(); ++i) fields.insert(update->field(i)->name());
  // `name` says which provider; what a standard one is made of has no name of it.
  EXPECT_EQ(fields, (std::set<std::string>{"name", "key_id", "constraints", "etag", "standard",
                                           "update_mask", "request_id"}));
  EXPECT_EQ(v1::StandardProviderSpec::descriptor()->FindFieldByName("name"), nullptr);

  // What is left: a new provider, set default. New VMs use it.
  UseNkp();
  ASSERT_THAT(a.CreateUsableNkp("other name"), IsOk());
  ASSERT_THAT(a.SetDefault("other name"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  EXPECT_EQ(a.Vm("web").key_id().provider_id(), "other name");
}

TEST_F(ProvidersTest, S9_NothingIsRotatedByTime) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  const v1::NativeProviderInfo info = Info("nkp");
  const v1::Vm vm = a.Vm("web");
  const std::string vmx = esx1.Vmx("web");
  const v1::CryptoKeyId host_key = a.Host("esx-1").host_key();
  ASSERT_THAT(a.SetOption("vpxd.KMS.remediationInterval", "1440"), IsOk());
  ASSERT_THAT(b.SetOption("vpxd.KMS.remediationInterval", "1440"), IsOk());

  cluster.Advance(absl::Hours(24 * 365));

  EXPECT_THAT(Info("nkp"), status::EqualsProto(info));
  EXPECT_THAT(a.Vm("web"), status::EqualsProto(vm));
  EXPECT_EQ(esx1.Vmx("web"), vmx);
  EXPECT_THAT(a.Host("esx-1").host_key(), status::EqualsProto(host_key));
}

TEST_F(ProvidersTest, S11_AtMostOneProviderIsTheDefault) {
  ASSERT_THAT(a.CreateNkp("one"), IsOk());
  ASSERT_THAT(a.CreateNkp("two"), IsOk());
  ASSERT_THAT(a.SetDefault("one"), IsOk());
  EXPECT_TRUE(a.Provider("one")->is_default());
  ASSERT_THAT(a.SetDefault("two"), IsOk());
  EXPECT_FALSE(a.Provider("one")->is_default());
  EXPECT_TRUE(a.Provider("two")->is_default());
}

TEST_F(ProvidersTest, S12_ADeletedDefaultHasNoSuccessor) {
  ASSERT_THAT(a.CreateUsableNkp("one"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("two"), IsOk());
  ASSERT_THAT(a.SetDefault("one"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());

  ASSERT_THAT(a.DeleteProvider("one"), IsOk());
  EXPECT_FALSE(a.Provider("two")->is_default());
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  // Nor does one that is created now become it.
  ASSERT_THAT(a.CreateUsableNkp("one"), IsOk());
  EXPECT_FALSE(a.Provider("one")->is_default());
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  ASSERT_THAT(a.SetDefault("two"), IsOk());
  EXPECT_THAT(a.EncryptVm("web"), IsOk());
}

TEST_F(ProvidersTest, S13_WithoutADefaultAProviderMustBeNamed) {
  ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());

  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_THAT(a.AddVtpm("web"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_THAT(a.AddVtpm("web", /*encrypt=*/false), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  EXPECT_FALSE(a.Vm("web").has_key_id());
  EXPECT_THAT(a.EncryptVm("web", "nkp"), IsOk());
}

TEST_F(ProvidersTest, S14_ANewDefaultIsForNewObjectsOnly) {
  UseNkp();
  MakeVm("old", /*running=*/false);
  ASSERT_THAT(a.CreateUsableNkp("nkp2"), IsOk());
  ASSERT_THAT(a.SetDefault("nkp2"), IsOk());
  Tick();
  MakeVm("new", /*running=*/false);

  EXPECT_EQ(a.Vm("old").key_id().provider_id(), "nkp");
  EXPECT_EQ(a.Vm("new").key_id().provider_id(), "nkp2");
  EXPECT_THAT(a.PowerOn("old"), IsOk());
  EXPECT_THAT(a.PowerOn("new"), IsOk());
  ExpectData("old");
  ExpectData("new");
}

TEST_F(ProvidersTest, S15_UseDoesNotBlockDeletion) {
  UseNkp();
  MakeVm("on", /*running=*/true);
  MakeVm("off", /*running=*/false);
  v1::DeleteKeyProviderRequest request;
  request.set_name("nkp");
  const auto deleted = a.Call(&VCenter::providers, &Providers::DeleteKeyProvider, request);
  ASSERT_THAT(deleted, IsOk());
  EXPECT_EQ(deleted->vms_in_inventory(), 2);
  EXPECT_THAT(a.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(ProvidersTest, S16_AnImportBringsTheSameProviderBack) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("unlocked", /*running=*/false);
  const v1::NativeProviderInfo before = Info("nkp");
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  ASSERT_THAT(a.Import(bundle), IsOk());
  EXPECT_EQ(Info("nkp").key_id(), before.key_id());
  EXPECT_EQ(Info("nkp").key_check_value(), before.key_check_value());
  EXPECT_THAT(a.PowerOn("unlocked"), IsOk());
  ASSERT_THAT(a.PowerOff("unlocked"), IsOk());

  // Now with a tick between, and another constraint.
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  EXPECT_TRUE(a.Locked("unlocked"));
  v1::ImportKeyProviderRequest request;
  request.set_bundle(bundle);
  request.mutable_constraints()->set_tpm_required(true);
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::ImportKeyProvider, request), IsOk());
  EXPECT_TRUE(Info("nkp").constraints().tpm_required());
  EXPECT_EQ(Info("nkp").key_check_value(), before.key_check_value());
  EXPECT_TRUE(a.Locked("unlocked"));
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_THAT(a.PowerOn("unlocked"), IsOk());
  ExpectData("unlocked");
}

TEST_F(ProvidersTest, S18_AProviderServesItsOwnVCenterOnly) {
  UseNkp();
  cluster.AddHost("esx-2");
  ASSERT_THAT(b.AddHost("esx-2", "cluster-b"), IsOk());
  Tick();
  EXPECT_THAT(b.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_TRUE(a.Holds("esx-1", "nkp"));
  EXPECT_FALSE(b.Holds("esx-2", "nkp"));
  EXPECT_THAT(b.CreateEncryptedVm("esx-2", "web", "nkp"), HasReason(v1::REASON_PROVIDER_MISSING));
}

// No answer of the controller's API can carry a key but an export's own payload.
TEST_F(ProvidersTest, S20_NothingButAnExportHandsOutAKey) {
  std::set<std::string> secrets;
  std::set<const google::protobuf::Descriptor*> seen;
  const std::function<void(const google::protobuf::Descriptor*)> walk =
      [&](const google::protobuf::Descriptor* message) {
        if (!seen.insert(message).second) return;
        for (int i = 0; i < message->field_count(); ++i) {
          const auto* field = message->field(i);
          if (field->options().GetExtension(keysphere::secret)) secrets.insert(field->full_name());
          if (field->message_type() != nullptr) walk(field->message_type());
          // Of a standard provider's servers it may be told which versions they speak.
          const bool of_standard = message == v1::KmsServerStatus::descriptor();
          EXPECT_TRUE(of_standard ||
                      !absl::StrContains(absl::AsciiStrToLower(field->name()), "kmip"))
              << field->full_name();
        }
      };
  for (const auto* file :
       {v1::KeyProvider::descriptor()->file(), v1::CryptoKeyStatus::descriptor()->file(),
        v1::Vm::descriptor()->file(), v1::Task::descriptor()->file(),
        v1::Event::descriptor()->file(), v1::About::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(file->service(s)->name()), "kmip"));
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        walk(file->service(s)->method(m)->output_type());
      }
    }
  }
  EXPECT_EQ(secrets, (std::set<std::string>{"keysphere.v1.DownloadKeyProviderResponse.chunk",
                                            "keysphere.v1.ExportKeyProviderResponse.token"}));
}

TEST_F(ProvidersTest, S93_MoreThanOneNativeProviderIsWarnedOf) {
  const auto warnings = [this] {
    const auto listed =
        a.Call(&VCenter::providers, &Providers::ListKeyProviders, v1::ListKeyProvidersRequest());
    return std::vector<std::string>(listed->warnings().begin(), listed->warnings().end());
  };
  UseNkp();
  EXPECT_THAT(warnings(), IsEmpty());
  ASSERT_THAT(a.CreateNkp("nkp2"), IsOk());
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("native")));
}

TEST_F(ProvidersTest, S116_CreateMakesANativeProviderOrTakesWhatIsGiven) {
  const auto made = a.CreateNkp("made");
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(made->type(), v1::PROVIDER_TYPE_NATIVE);
  EXPECT_THAT(made->native_info().key_id(),
              ::testing::MatchesRegex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));

  v1::CreateKeyProviderRequest request;
  request.set_name("given");
  request.set_key_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  request.set_key_derivation_key(std::string(32, 'x'));
  const auto given = a.Call(&VCenter::providers, &Providers::CreateKeyProvider, request);
  ASSERT_THAT(given, IsOk());
  EXPECT_EQ(given->native_info().key_id(), "0f8fad5b-d9cb-469f-a165-70867728950e");
  const auto kdk = crypto::SecretKey::CopyOf(absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(request.key_derivation_key().data()), 32));
  EXPECT_EQ(given->native_info().key_check_value(),
            absl::BytesToHexString(*crypto::KeyCheckValue(*kdk)));
  request.set_name("bad");
  request.set_key_id("no uuid");
  EXPECT_THAT(a.Call(&VCenter::providers, &Providers::CreateKeyProvider, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(ProvidersTest, S37_KeysAre256BitsAndNothingElseCanBeAsked) {
  for (const size_t size : {1, 16, 24, 31, 33, 64}) {
    v1::CreateKeyProviderRequest request;
    request.set_name("nkp");
    request.set_key_derivation_key(std::string(size, 'x'));
    EXPECT_THAT(a.Call(&VCenter::providers, &Providers::CreateKeyProvider, request),
                HasReason(v1::REASON_INVALID_ARGUMENT))
        << size;
  }
  for (const auto* message : {v1::CreateKeyProviderRequest::descriptor(),
                              v1::CryptoSpec::descriptor(), v1::GenerateKeyRequest::descriptor()}) {
    for (int i = 0; i < message->field_count(); ++i) {
      const std::string name = message->field(i)->name();
      for (const char* word : {"length", "bits", "size", "algorithm", "cipher"}) {
        EXPECT_FALSE(absl::StrContains(name, word)) << name;
      }
    }
  }
}

TEST_F(ProvidersTest, S117_ATokenDiesAfterFiveMinutesAndServesOnce) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  v1::ExportKeyProviderRequest request;
  request.set_name("nkp");
  const auto download = [this](const std::string& token, const std::string& name = "nkp") {
    v1::DownloadKeyProviderRequest wanted;
    wanted.set_name(name);
    wanted.set_token(token);
    return a.Call(&VCenter::providers, &Providers::BeginDownload, wanted).status();
  };
  const auto exported = a.Call(&VCenter::providers, &Providers::ExportKeyProvider, request);
  ASSERT_THAT(exported, IsOk());
  EXPECT_THAT(exported->location(), HasSubstr(a.Fqdn()));
  EXPECT_THAT(download(""), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(download("guessed"), HasReason(v1::REASON_TOKEN_INVALID));
  cluster.Advance(absl::Seconds(301));
  EXPECT_THAT(download(exported->token()), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_FALSE(Info("nkp").has_backup());

  ASSERT_THAT(a.SetOption("vpxd.KMS.exportTokenExpiry", "600"), IsOk());
  const auto again = a.Call(&VCenter::providers, &Providers::ExportKeyProvider, request);
  ASSERT_THAT(again, IsOk());
  ASSERT_THAT(a.CreateNkp("other"), IsOk());
  cluster.Advance(absl::Seconds(590));
  EXPECT_THAT(download(again->token(), "other"), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_THAT(download(again->token()), IsOk());
  EXPECT_THAT(download(again->token()), HasReason(v1::REASON_TOKEN_INVALID));
}

TEST_F(ProvidersTest, S118_AnExportOfAnUnknownProviderIsNotFound) {
  EXPECT_THAT(a.BackUp("nobody"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(ProvidersTest, S119_ADryRunTellsAllAndCreatesNothing) {
  const std::string bundle = UseNkpWithBundle();
  v1::ImportKeyProviderRequest request;
  request.set_bundle(bundle);
  request.set_dry_run(true);
  const auto result = b.Call(&VCenter::providers, &Providers::ImportKeyProvider, request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->provider().name(), "nkp");
  EXPECT_EQ(result->provider().native_info().key_id(), Info("nkp").key_id());
  EXPECT_FALSE(result->provider().native_info().constraints().tpm_required());
  EXPECT_EQ(result->export_time().seconds(), absl::ToUnixSeconds(cluster.executor().Now()));
  EXPECT_THAT(b.Provider("nkp"), HasReason(v1::REASON_NOT_FOUND));
  // It checks as well as an import does.
  EXPECT_THAT(a.Call(&VCenter::providers, &Providers::ImportKeyProvider, request),
              HasReason(v1::REASON_ALREADY_EXISTS));
}

TEST_F(ProvidersTest, S120_WithoutConstraintsThoseOfTheFileApply) {
  ASSERT_THAT(a.CreateNkp("strict", /*tpm_required=*/true), IsOk());
  const auto bundle = a.BackUp("strict");
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(b.Import(*bundle), IsOk());
  EXPECT_TRUE(b.Provider("strict")->native_info().constraints().tpm_required());
  ASSERT_THAT(b.DeleteProvider("strict"), IsOk());

  v1::ImportKeyProviderRequest request;
  request.set_bundle(*bundle);
  request.mutable_constraints()->set_tpm_required(false);
  ASSERT_THAT(b.Call(&VCenter::providers, &Providers::ImportKeyProvider, request), IsOk());
  EXPECT_FALSE(b.Provider("strict")->native_info().constraints().tpm_required());
}

TEST_F(ProvidersTest, S121_HealthWarnsUntilEveryEntitledHostHasTheKey) {
  const std::string bundle = UseNkpWithBundle();
  // Without a host there is nobody to wait for.
  ASSERT_THAT(b.Import(bundle), IsOk());
  EXPECT_EQ(b.Provider("nkp")->health().status(), Health::STATUS_OK);

  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  esx1.wire().SetDelay(absl::Seconds(2));
  ASSERT_THAT(a.Import(bundle), IsOk());
  EXPECT_EQ(a.Provider("nkp")->health().status(), Health::STATUS_WARNING);
  cluster.Advance(absl::Seconds(5));
  EXPECT_EQ(a.Provider("nkp")->health().status(), Health::STATUS_OK);
}

TEST_F(ProvidersTest, S122_AnotherKeyIdIsTheSameKey) {
  const std::string old_bundle = UseNkpWithBundle();
  MakeVm("off", /*running=*/false);
  MakeVm("on", /*running=*/true);
  const v1::NativeProviderInfo before = Info("nkp");
  v1::UpdateKeyProviderRequest request;
  request.set_name("nkp");
  request.set_key_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::UpdateKeyProvider, request), IsOk());

  EXPECT_EQ(Info("nkp").key_check_value(), before.key_check_value());
  EXPECT_TRUE(Info("nkp").has_backup());
  EXPECT_TRUE(Info("nkp").backup_suggested());
  ASSERT_THAT(a.Host("esx-1").held_providers(), SizeIs(1));
  EXPECT_EQ(a.Host("esx-1").held_providers(0).key_id(), request.key_id());
  EXPECT_FALSE(a.Shows(controller::alarms::kKeyCollision, "host/esx-1"));
  EXPECT_THAT(a.Events(controller::events::kNotBackedUpAfterUpdate), Not(IsEmpty()));
  EXPECT_THAT(a.PowerOn("off"), IsOk());
  ExpectData("off");
  ExpectData("on");
  MakeVm("new", /*running=*/true);
  // The old file holds the key that still opens them.
  ASSERT_THAT(b.Import(old_bundle), IsOk());
  MoveToB();
  Tick();
  ASSERT_THAT(b.PowerOff("off"), IsOk());
  EXPECT_THAT(b.PowerOn("off"), IsOk());
  ExpectData("off");
}

TEST_F(ProvidersTest, S31_TpmRequiredCannotBeChanged) {
  UseNkp();
  v1::UpdateKeyProviderRequest request;
  request.set_name("nkp");
  request.mutable_constraints()->set_tpm_required(true);
  EXPECT_THAT(a.Call(&VCenter::providers, &Providers::UpdateKeyProvider, request),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_FALSE(Info("nkp").constraints().tpm_required());
}

TEST_F(ProvidersTest, S24_AnApiCreateWithoutConstraintsHasNone) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  EXPECT_FALSE(Info("nkp").constraints().tpm_required());
}

TEST_F(ProvidersTest, S123_ANativeProviderGeneratesNoKey) {
  UseNkp();
  v1::GenerateKeyRequest request;
  request.set_provider("nkp");
  EXPECT_THAT(a.Call(&VCenter::vm_encryption, &VmEncryption::GenerateKey, request),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_THAT(a.Call(&VCenter::vm_encryption, &VmEncryption::GenerateKey, v1::GenerateKeyRequest()),
              HasReason(v1::REASON_UNSUPPORTED));

  // An empty key id with the provider's name is the way, a given one is not.
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  v1::EncryptVmRequest encrypt;
  encrypt.set_vm("web");
  encrypt.mutable_crypto()->mutable_key()->set_provider_id("nkp");
  encrypt.mutable_crypto()->mutable_key()->set_key_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  EXPECT_THAT(a.Await(a.Call(&VCenter::vm_encryption, &VmEncryption::EncryptVm, encrypt)),
              HasReason(v1::REASON_UNSUPPORTED));
  EXPECT_THAT(a.EncryptVm("web", "nkp"), IsOk());
  EXPECT_NE(a.Vm("web").key_id().key_id(), "");
}

TEST_F(ProvidersTest, S125_QueryTellsTheStateOfNativeAndUnknownKeys) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  v1::QueryCryptoKeyStatusRequest request;
  *request.add_keys() = a.Vm("web").key_id();
  request.add_keys()->set_provider_id("nobody");
  EXPECT_THAT(a.Call(&VCenter::vm_encryption, &VmEncryption::QueryCryptoKeyStatus, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  // The id of a key that is in use, under another provider.
  request.mutable_keys(1)->set_key_id(a.Vm("web").key_id().key_id());
  const auto answer = a.Call(&VCenter::vm_encryption, &VmEncryption::QueryCryptoKeyStatus, request);
  ASSERT_THAT(answer, IsOk());
  ASSERT_EQ(answer->statuses_size(), 2);
  EXPECT_EQ(answer->statuses(0).reason(), v1::CryptoKeyStatus::REASON_KEY_STATE_MANAGED_BY_NKP);
  EXPECT_THAT(answer->statuses(0).vms(), ElementsAre("web"));
  EXPECT_EQ(answer->statuses(1).reason(), v1::CryptoKeyStatus::REASON_KEY_STATE_CLUSTER_INVALID);
  EXPECT_THAT(answer->statuses(1).vms(), IsEmpty());
}

TEST_F(ProvidersTest, S126_AClustersDefaultWinsOverTheGlobalOne) {
  ASSERT_THAT(a.CreateUsableNkp("global"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("own"), IsOk());
  ASSERT_THAT(a.SetDefault("global"), IsOk());
  ASSERT_THAT(a.SetDefault("own", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateCluster("elsewhere"), IsOk());
  cluster.AddHost("esx-2");
  ASSERT_THAT(a.AddHost("esx-2", "elsewhere"), IsOk());

  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "one"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-2", "two"), IsOk());
  EXPECT_EQ(a.Vm("one").key_id().provider_id(), "own");
  EXPECT_EQ(a.Vm("two").key_id().provider_id(), "global");
  ASSERT_THAT(a.SetDefault("", "cluster-a"), IsOk());
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "three"), IsOk());
  EXPECT_EQ(a.Vm("three").key_id().provider_id(), "global");
}

TEST_F(ProvidersTest, S127_KmsClustersCarryVSpheresFacts) {
  ASSERT_THAT(a.CreateUsableNkp("one"), IsOk());
  ASSERT_THAT(a.CreateNkp("two", /*tpm_required=*/true), IsOk());
  ASSERT_THAT(a.SetDefault("one"), IsOk());
  ASSERT_THAT(a.SetDefault("two", "cluster-a"), IsOk());
  v1::ListKmsClustersRequest request;
  request.set_cluster("cluster-a");
  const auto listed = a.Call(&VCenter::providers, &Providers::ListKmsClusters, request);
  ASSERT_THAT(listed, IsOk());
  ASSERT_EQ(listed->clusters_size(), 2);
  const v1::KmipClusterInfo& one = listed->clusters(0);
  EXPECT_EQ(one.cluster_id(), "one");
  EXPECT_EQ(one.management_type(), "nativeProvider");
  EXPECT_TRUE(one.has_backup());
  EXPECT_FALSE(one.tpm_required());
  EXPECT_TRUE(one.use_as_default());
  EXPECT_FALSE(one.use_as_entity_default());
  const v1::KmipClusterInfo& two = listed->clusters(1);
  EXPECT_FALSE(two.has_backup());
  EXPECT_TRUE(two.tpm_required());
  EXPECT_FALSE(two.use_as_default());
  EXPECT_TRUE(two.use_as_entity_default());
}

TEST_F(ProvidersTest, S158_AnImportIsABackupAndANeverBackedUpKeyStaysHome) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  Tick();
  EXPECT_THAT(a.Host("esx-1").held_providers(), IsEmpty());
  EXPECT_EQ(esx1.Stats().held_keys(), 0);
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NOT_BACKED_UP));

  const auto bundle = a.BackUp("nkp");
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(b.Import(*bundle), IsOk());
  EXPECT_TRUE(b.Provider("nkp")->native_info().has_backup());
}

TEST_F(ProvidersTest, S160_ADeletedClusterDefaultIsNotReplacedByTheGlobalOne) {
  ASSERT_THAT(a.CreateUsableNkp("global"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("own"), IsOk());
  ASSERT_THAT(a.SetDefault("global"), IsOk());
  ASSERT_THAT(a.SetDefault("own", "cluster-a"), IsOk());
  ASSERT_THAT(a.DeleteProvider("own"), IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());

  EXPECT_THAT(a.EncryptVm("web"), HasReason(v1::REASON_NO_DEFAULT_PROVIDER));
  v1::GetClusterRequest request;
  request.set_name("cluster-a");
  EXPECT_TRUE(a.Call(&VCenter::inventory, &controller::inventory::Inventory::GetCluster, request)
                  ->default_provider_missing());
  ASSERT_THAT(a.SetDefault("", "cluster-a"), IsOk());
  EXPECT_THAT(a.EncryptVm("web"), IsOk());

  ASSERT_THAT(a.SetDefault(""), IsOk());
  const auto listed =
      a.Call(&VCenter::providers, &Providers::ListKeyProviders, v1::ListKeyProvidersRequest());
  EXPECT_THAT(listed->warnings(), ElementsAre(HasSubstr("default")));
}

TEST_F(ProvidersTest, S160_AnotherProviderOfTheNameDoesNotReviveAClustersDeletedDefault) {
  ASSERT_THAT(a.CreateUsableNkp("global"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("own"), IsOk());
  ASSERT_THAT(a.SetDefault("global"), IsOk());
  ASSERT_THAT(a.SetDefault("own", "cluster-a"), IsOk());
  const auto bundle = a.BackUp("own");
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  v1::GetClusterRequest cluster_a;
  cluster_a.set_name("cluster-a");
  const auto gone = [&] {
    const auto described =
        a.Call(&VCenter::inventory, &controller::inventory::Inventory::GetCluster, cluster_a);
    EXPECT_EQ(described->default_provider(), "own");
    EXPECT_EQ(a.Provider("own")->default_for_clusters_size(), 0);
    return described->default_provider_missing() &&
           status::ReasonOf(a.EncryptVm("web")) == v1::REASON_NO_DEFAULT_PROVIDER;
  };

  // Created anew: another one.
  ASSERT_THAT(a.DeleteProvider("own"), IsOk());
  ASSERT_THAT(a.CreateUsableNkp("own"), IsOk());
  EXPECT_TRUE(gone());
  // Also after a restart.
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Settle();
  EXPECT_TRUE(gone());
  // Nor does the very same key come back as the default.
  ASSERT_THAT(a.DeleteProvider("own"), IsOk());
  ASSERT_THAT(a.Import(*bundle), IsOk());
  EXPECT_TRUE(gone());

  // Until it is set, by the same name too, and for good.
  ASSERT_THAT(a.SetDefault("own", "cluster-a"), IsOk());
  EXPECT_THAT(a.Provider("own")->default_for_clusters(), ElementsAre("cluster-a"));
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Settle();
  ASSERT_THAT(a.EncryptVm("web"), IsOk());
  EXPECT_EQ(a.Vm("web").key_id().provider_id(), "own");
}

TEST_F(ProvidersTest, S128_EveryCryptoOperationWantsItsPrivilege) {
  ASSERT_THAT(a.GiveRole("plain", "NoCryptoAdministrator"), IsOk());
  for (const char* method :
       {"KeyProviders/CreateKeyProvider", "KeyProviders/UpdateKeyProvider",
        "KeyProviders/DeleteKeyProvider", "KeyProviders/SetDefaultKeyProvider",
        "KeyProviders/ExportKeyProvider", "KeyProviders/DownloadKeyProvider",
        "KeyProviders/ImportKeyProvider", "KeyProviders/GetKeyProvider",
        "CryptoManager/GenerateKey", "CryptoManager/QueryCryptoKeyStatus",
        "VirtualMachines/EncryptVm", "VirtualMachines/DecryptVm", "VirtualMachines/UnlockVm",
        "Hosts/ConfigureCryptoKey", "Hosts/PrepareCrypto", "Hosts/EnableCrypto",
        "Hosts/DisableCrypto", "Hosts/ChangeKey", "Hosts/AddKey"}) {
    EXPECT_THAT(a.Authorize("plain", method), HasReason(v1::REASON_NO_PERMISSION)) << method;
    EXPECT_THAT(a.Authorize("stranger", method), HasReason(v1::REASON_NO_PERMISSION)) << method;
    EXPECT_THAT(a.Authorize("administrator", method), IsOk()) << method;
  }
  EXPECT_THAT(a.Authorize("plain", "VirtualMachines/PowerOnVm"), IsOk());

  ASSERT_THAT(a.SetRole("KeyReader", {"Cryptographer.ReadKeyServersInfo"}), IsOk());
  ASSERT_THAT(a.GiveRole("reader", "KeyReader"), IsOk());
  EXPECT_THAT(a.Authorize("reader", "KeyProviders/GetKeyProvider"), IsOk());
  EXPECT_THAT(a.Authorize("reader", "KeyProviders/CreateKeyProvider"),
              HasReason(v1::REASON_NO_PERMISSION));
}

}  // namespace
}  // namespace keysphere::tests
