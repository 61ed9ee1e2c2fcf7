// Standard key providers as such: create, change, credentials, certificates.
#include "common/crypto/secret_key.h"
#include "common/identity/authority.h"
#include "controller/kms/certificates.h"
#include "tests/semantics/standard_stage.h"

namespace keysphere::tests {
namespace {

using controller::providers::Providers;

class StandardProvidersTest : public StandardStage {
 protected:
  v1::CreateKeyProviderRequest Request(const std::string& name = "skp") {
    v1::CreateKeyProviderRequest request;
    request.set_name(name);
    for (const std::string& address : kms.addresses()) {
      request.mutable_standard()->add_servers()->set_address(address);
    }
    return request;
  }
  absl::StatusOr<v1::KeyProvider> Create(const v1::CreateKeyProviderRequest& request) {
    return a.Call(&VCenter::providers, &Providers::CreateKeyProvider, request);
  }
  absl::StatusOr<v1::KeyProvider> Update(const v1::UpdateKeyProviderRequest& request) {
    return a.Call(&VCenter::providers, &Providers::UpdateKeyProvider, request);
  }
  absl::StatusOr<std::string> Csr() {
    v1::GenerateKmsClientCsrRequest request;
    request.set_name("skp");
    auto made = a.Call(&VCenter::providers, &Providers::GenerateKmsClientCsr, request);
    if (!made.ok()) return made.status();
    return made->csr();
  }
};

TEST_F(StandardProvidersTest, S10_The33rdProviderOfAnyKindIsRefused) {
  for (int i = 0; i < 16; ++i) {
    ASSERT_THAT(a.CreateNkp(absl::StrCat("nkp-", i)), IsOk());
    ASSERT_THAT(a.CreateSkp(absl::StrCat("skp-", i), kms), IsOk());
  }
  EXPECT_THAT(a.CreateSkp("one-more", kms), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(a.CreateNkp("one-more"), HasReason(v1::REASON_TOO_LARGE));
}

TEST_F(StandardProvidersTest, S6_S19_ANameIsTakenOnceAKmsAnyNumberOfTimes) {
  ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
  EXPECT_THAT(a.CreateSkp("skp", kms), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(a.CreateSkp("again", kms), IsOk());
}

TEST_F(StandardProvidersTest, AProviderIsMadeWhileItsKmsDoesNotAnswer) {
  kms.SetDown();
  ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
  cluster.Settle();
  EXPECT_EQ(a.Provider("skp")->health().status(), v1::ProviderHealth::STATUS_ERROR);
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_RED);
}

TEST_F(StandardProvidersTest, S130_ThePortIs5696UnlessAnotherIsNamed) {
  v1::CreateKeyProviderRequest request = Request();
  request.mutable_standard()->clear_servers();
  request.mutable_standard()->add_servers()->set_address("kms-1");
  request.mutable_standard()->add_servers()->set_address("kms-2:1234");
  const auto made = Create(request);
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(made->standard_info().servers(0).address(), "kms-1:5696");
  EXPECT_EQ(made->standard_info().servers(1).address(), "kms-2:1234");
}

TEST_F(StandardProvidersTest, WhatIsNotAServerIsRefused) {
  for (const std::string address : {"", "host:0", "host:65536", "host:x", "a b:5696"}) {
    v1::CreateKeyProviderRequest request = Request();
    request.mutable_standard()->mutable_servers(0)->set_address(address);
    EXPECT_THAT(Create(request), HasReason(v1::REASON_INVALID_ARGUMENT)) << address;
  }
  v1::CreateKeyProviderRequest request = Request();
  *request.mutable_standard()->add_servers() = request.standard().servers(0);
  EXPECT_THAT(Create(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request = Request();
  request.mutable_constraints()->set_tpm_required(true);
  EXPECT_THAT(Create(request), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(StandardProvidersTest, S146_ThePasswordIsInNoAnswerEventOrPlainValue) {
  constexpr char kPassword[] = "correct horse battery staple";
  v1::CreateKeyProviderRequest request = Request();
  request.mutable_standard()->set_user_name("vcenter");
  request.mutable_standard()->set_password(kPassword);
  const auto made = Create(request);
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(made->standard_info().user_name(), "vcenter");
  EXPECT_THAT(made->SerializeAsString(), Not(HasSubstr(kPassword)));
  for (const v1::Event& event : a.Events("")) {
    EXPECT_THAT(event.SerializeAsString(), Not(HasSubstr(kPassword)));
  }
  const auto entries = a.store().Range("", "", 1000);
  ASSERT_THAT(entries, IsOk());
  for (const store::Entry& entry : *entries) EXPECT_THAT(entry.value, Not(HasSubstr(kPassword)));
  EXPECT_THAT(a.store().GetSecret("provider-password/skp"), IsOk());
  // It goes with the provider.
  ASSERT_THAT(a.DeleteProvider("skp"), IsOk());
  EXPECT_THAT(a.store().GetSecret("provider-password/skp"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(StandardProvidersTest, AnUpdateChangesWhatItsMaskNames) {
  UseSkp();
  v1::UpdateKeyProviderRequest request;
  request.set_name("skp");
  request.mutable_standard()->set_user_name("somebody");
  request.mutable_standard()->add_servers()->set_address("kms-2:5696");
  EXPECT_THAT(Update(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.mutable_update_mask()->add_paths("standard.servers");
  auto updated = Update(request);
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->standard_info().servers_size(), 1);
  EXPECT_EQ(updated->standard_info().user_name(), "");
  request.mutable_update_mask()->add_paths("standard.user_name");
  request.mutable_update_mask()->add_paths("standard.password");
  request.mutable_standard()->set_password("secret");
  updated = Update(request);
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->standard_info().user_name(), "somebody");
  request.mutable_update_mask()->add_paths("standard.client_certificate");
  EXPECT_THAT(Update(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  request.set_name("nkp");
  EXPECT_THAT(Update(request), HasReason(v1::REASON_UNSUPPORTED));
}

TEST_F(StandardProvidersTest, AUserAndItsPasswordComeAndGoTogether) {
  UseSkp();
  const auto update = [this](const std::string& user, const std::string& password,
                             const std::vector<std::string>& mask) {
    v1::UpdateKeyProviderRequest request;
    request.set_name("skp");
    request.mutable_standard()->set_user_name(user);
    request.mutable_standard()->set_password(password);
    for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
    return Update(request).status();
  };
  const std::vector<std::string> user = {"standard.user_name"};
  const std::vector<std::string> password = {"standard.password"};
  const std::vector<std::string> both = {"standard.user_name", "standard.password"};
  for (const absl::Status& refused : {update("u", "", user), update("", "p", password)}) {
    EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_FALSE(status::DetailOf(refused).next_step().empty());
  }
  v1::CreateKeyProviderRequest create = Request("another");
  create.mutable_standard()->set_user_name("u");
  EXPECT_THAT(Create(create), HasReason(v1::REASON_INVALID_ARGUMENT));

  ASSERT_THAT(update("u", "p", both), IsOk());
  EXPECT_THAT(a.store().GetSecret("provider-password/skp"), IsOk());
  ASSERT_THAT(update("v", "", user), IsOk());  // the password stays
  EXPECT_THAT(update("", "", user), HasReason(v1::REASON_INVALID_ARGUMENT));
  ASSERT_THAT(update("", "", both), IsOk());
  EXPECT_EQ(a.Provider("skp")->standard_info().user_name(), "");
  EXPECT_THAT(a.store().GetSecret("provider-password/skp"), HasReason(v1::REASON_NOT_FOUND));
}

// A KMS shows each client its own keys (S40: a partition).
TEST_F(StandardProvidersTest, S152_AnotherUserOrCertificateIsVerifiedAnew) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  cluster.Advance(absl::Minutes(11));
  const int gets = kms.Calls("Get");
  cluster.Advance(absl::Minutes(11));
  EXPECT_EQ(kms.Calls("Get"), gets);

  v1::UpdateKeyProviderRequest update;
  update.set_name("skp");
  update.mutable_standard()->set_user_name("another");
  update.mutable_standard()->set_password("secret");
  update.mutable_update_mask()->add_paths("standard.user_name");
  update.mutable_update_mask()->add_paths("standard.password");
  ASSERT_THAT(Update(update), IsOk());
  cluster.Advance(absl::Minutes(6));
  const int then = kms.Calls("Get");
  EXPECT_GT(then, gets);

  const absl::Time now = cluster.executor().Now();
  const auto authority = identity::Authority::Create("kms.test", identity::Validity::From(now));
  ASSERT_THAT(authority, IsOk());
  identity::Authority::Request wanted;
  wanted.name = "vcenter-a";
  wanted.validity = identity::Validity::From(now);
  const auto issued = (*authority)->Issue(wanted);
  ASSERT_THAT(issued, IsOk());
  v1::SetKmsClientCertificateRequest certificate;
  certificate.set_name("skp");
  certificate.set_certificate(issued->certificate_pem);
  certificate.set_private_key(std::string(issued->key_pem.view()));
  ASSERT_THAT(a.Call(&VCenter::providers, &Providers::SetKmsClientCertificate, certificate),
              IsOk());
  const std::string key_id = a.Vm("vm").key_id().key_id();
  kms.keys().Remove(key_id);  // this client does not see it
  cluster.Advance(absl::Minutes(6));
  EXPECT_GT(kms.Calls("Get"), then);
  EXPECT_TRUE(a.Locked("vm"));
}

TEST_F(StandardProvidersTest, AnUnansweredCreateStaysCounted) {
  UseSkp();
  kms.node(0).FailNext(status::Error(v1::REASON_KMS_UNREACHABLE, "gone"), /*done_first=*/true);
  kms.node(1).FailNext(status::Error(v1::REASON_KMS_UNREACHABLE, "gone"), /*done_first=*/true);
  EXPECT_FALSE(Generate("skp").ok());
  ASSERT_EQ(a.Provider("skp")->standard_info().unanswered_creates(), 2);
  ASSERT_THAT(Csr(), IsOk());
  EXPECT_EQ(a.Provider("skp")->standard_info().unanswered_creates(), 2);
}

TEST_F(StandardProvidersTest, WhatIsNoCertificateOrNoPairIsAMistakeOfTheCaller) {
  UseSkp();
  const auto made = controller::kms::MakeRequest("vcenter-a");
  ASSERT_THAT(made, IsOk());
  const auto key = made->key_pem.bytes(crypto::SecretKeyAccess::Token());
  v1::CreateKeyProviderRequest create = Request("another");
  create.mutable_standard()->set_trusted_certificates("root:x:0:0:root:/root:/bin/bash");
  absl::Status refused = Create(create).status();
  EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("trusted_certificates"));
  EXPECT_FALSE(status::DetailOf(refused).next_step().empty());
  create.mutable_standard()->clear_trusted_certificates();
  create.mutable_standard()->set_client_certificate("nonsense");
  create.mutable_standard()->set_client_private_key(key.data(), key.size());
  EXPECT_THAT(Create(create), HasReason(v1::REASON_INVALID_ARGUMENT));
  v1::UpdateKeyProviderRequest update;
  update.set_name("skp");
  update.mutable_standard()->set_trusted_certificates("nonsense");
  update.mutable_update_mask()->add_paths("standard.trusted_certificates");
  EXPECT_THAT(Update(update), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(StandardProvidersTest, WithFewerServersTheVmsStay) {
  UseSkp();
  MakeVm("vm", /*running=*/false);
  v1::UpdateKeyProviderRequest request;
  request.set_name("skp");
  request.mutable_standard()->add_servers()->set_address("kms-2:5696");
  request.mutable_update_mask()->add_paths("standard.servers");
  ASSERT_THAT(Update(request), IsOk());
  cluster.Advance(absl::Minutes(11));
  EXPECT_FALSE(a.Locked("vm"));
  EXPECT_EQ(kms.node(1).calls()["Get"] > 0, true);  // S152: other servers are asked for the keys
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "another"), IsOk());
}

TEST_F(StandardProvidersTest, ACertificateForTheLastRequestOrWithItsOwnKey) {
  UseSkp();
  v1::SetKmsClientCertificateRequest request;
  request.set_name("skp");
  request.set_certificate("nonsense");
  EXPECT_THAT(a.Call(&VCenter::providers, &Providers::SetKmsClientCertificate, request),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  const auto csr = Csr();
  ASSERT_THAT(csr, IsOk());
  EXPECT_THAT(*csr, HasSubstr("BEGIN CERTIFICATE REQUEST"));
  EXPECT_THAT(a.store().GetSecret("provider-csr-key/skp"), IsOk());
}

TEST_F(StandardProvidersTest, ARestartedVCenterKnowsItsProviders) {
  UseSkp();
  MakeVm("vm", /*running=*/true);
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(6));
  EXPECT_EQ(a.Provider("skp")->standard_info().servers_size(), 2);
  EXPECT_EQ(a.Provider("skp")->standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_EQ(a.Cached("esx-1", "skp"), 2);
  EXPECT_THAT(a.CreateEncryptedVm("esx-1", "another"), IsOk());
  EXPECT_THAT(a.Alarms(), IsEmpty());
}

TEST_F(StandardProvidersTest, S118_ThereIsNothingToExport) {
  UseSkp();
  EXPECT_THAT(a.BackUp("skp"), HasReason(v1::REASON_UNSUPPORTED));
}

TEST_F(StandardProvidersTest, S23_AStandaloneHostHasNoStandardProvider) {
  UseSkp();
  cluster.AddHost("alone");
  ASSERT_THAT(a.AddHost("alone", ""), IsOk());
  EXPECT_THAT(a.CreateEncryptedVm("alone", "vm"), HasReason(v1::REASON_NOT_IN_CLUSTER));
  EXPECT_EQ(kms.keys().size(), 0u);
}

TEST_F(StandardProvidersTest, S32_AHostWithoutTpmIsAsGood) {
  AddHostToA("no-tpm", TpmVersion::kNone);
  UseSkp();
  MakeVm("vm", /*running=*/true, "no-tpm");
  ExpectData("vm", "no-tpm");
}

}  // namespace
}  // namespace keysphere::tests
