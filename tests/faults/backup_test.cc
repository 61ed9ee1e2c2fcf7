// Backups over real connections: by which name, for which token, and what is no backup.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/status/matchers.h"
#include "tests/processes/controller_driver.h"

namespace keysphere::faults {
namespace {

using processes::Caller;
using processes::ControllerDriver;
using processes::ControllerProcess;
using processes::KeyProviderCalls;
using status::HasReason;
using status::IsOk;

class BackupTest : public ::testing::Test {
 protected:
  BackupTest() : controller_(lab_.AddController("vcenter-a")), driver_(&controller_) {
    KS_CHECK(controller_.Start().ok());
    KS_CHECK(driver_.CreateProvider("nkp").ok());
  }
  bool HasBackup() { return driver_.GetProvider("nkp")->native_info().has_backup(); }
  static v1::DownloadKeyProviderRequest Ticket(const v1::ExportKeyProviderResponse& ticket) {
    v1::DownloadKeyProviderRequest request;
    request.set_name("nkp");
    request.set_token(ticket.token());
    return request;
  }
  absl::Status Download(const Caller& caller, const v1::DownloadKeyProviderRequest& request) {
    return caller.Read<v1::KeyProviders>(&KeyProviderCalls::DownloadKeyProvider, request).status();
  }

  processes::Lab lab_;
  ControllerProcess& controller_;
  ControllerDriver driver_;
};

TEST_F(BackupTest, S3_ABackupNeedsAFullyQualifiedDomainName) {
  const auto good = driver_.Export("nkp", "", controller_.fqdn());
  ASSERT_THAT(good, IsOk());
  const std::string ip = controller_.address().substr(0, controller_.address().find(':'));
  for (const std::string& authority :
       {controller_.address(), ip, std::string("vcenter-a"), std::string("localhost"),
        std::string("vcenter-b.keysphere.test"),
        std::string("vcenter-a.keysphere.test.evil.example"), std::string("[::1]:443")}) {
    SCOPED_TRACE(authority);
    EXPECT_THAT(driver_.Export("nkp", "", authority), HasReason(v1::REASON_FQDN_REQUIRED));
    const Caller caller = controller_.As(identity::Kind::kUser, "admin", authority);
    EXPECT_THAT(Download(caller, Ticket(*good)), HasReason(v1::REASON_FQDN_REQUIRED));
    EXPECT_FALSE(HasBackup());
    // Other calls work.
    EXPECT_THAT(caller.Call<v1::KeyProviders>(&KeyProviderCalls::ListKeyProviders,
                                              v1::ListKeyProvidersRequest()),
                IsOk());
  }
  // The token is still good, with or without the port in the name.
  EXPECT_THAT(Download(driver_.Admin(), Ticket(*good)), IsOk());
  EXPECT_TRUE(HasBackup());
  EXPECT_THAT(driver_.Export("nkp", "", controller_.fqdn() + ":443"), IsOk());
}

TEST_F(BackupTest, S2_OnlyADownloadThatEndedCountsAsABackup) {
  const auto ticket = driver_.Export("nkp", "", controller_.fqdn());
  ASSERT_THAT(ticket, IsOk());
  EXPECT_FALSE(HasBackup());
  v1::DownloadKeyProviderRequest wrong = Ticket(*ticket);
  wrong.set_token("AAAA" + wrong.token().substr(4));
  EXPECT_THAT(Download(driver_.Admin(), wrong), HasReason(v1::REASON_TOKEN_INVALID));
  EXPECT_FALSE(HasBackup());
  // One that goes away at once.
  {
    const rpc::Subscription aborted =
        rpc::Client<v1::KeyProviders>(driver_.Admin().channel())
            .Watch(
                &KeyProviderCalls::DownloadKeyProvider, Ticket(*ticket), {},
                [](v1::DownloadKeyProviderResponse) {}, [](const absl::Status&) {});
  }
  EXPECT_FALSE(HasBackup());
  const auto again = driver_.Export("nkp", "", controller_.fqdn());
  ASSERT_THAT(again, IsOk());
  ASSERT_THAT(Download(driver_.Admin(), Ticket(*again)), IsOk());
  EXPECT_TRUE(HasBackup());
  // S117: once.
  EXPECT_THAT(Download(driver_.Admin(), Ticket(*again)), HasReason(v1::REASON_TOKEN_INVALID));
  // It survives the controller.
  controller_.Kill();
  ASSERT_THAT(controller_.Start(), IsOk());
  EXPECT_TRUE(HasBackup());
}

TEST_F(BackupTest, S4_AFileThatIsNoBackupIsRefusedAndNothingIsCreated) {
  const auto bundle = driver_.Backup("nkp", "correct horse");
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(driver_.DeleteProvider("nkp"), IsOk());
  EXPECT_THAT(driver_.Import(*bundle), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(driver_.Import(*bundle, "wrong horse"), HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(driver_.Import("", "correct horse"), HasReason(v1::REASON_BUNDLE_INVALID));
  EXPECT_THAT(driver_.Import("not a file of this kind", "correct horse"),
              HasReason(v1::REASON_BUNDLE_INVALID));
  for (const size_t keep : {size_t{1}, bundle->size() / 2, bundle->size() - 1}) {
    EXPECT_THAT(driver_.Import(bundle->substr(0, keep), "correct horse"),
                HasReason(v1::REASON_BUNDLE_INVALID))
        << keep;
  }
  std::string changed = *bundle;
  changed[changed.size() / 2] ^= 1;
  const auto damaged = driver_.Import(changed, "correct horse");
  EXPECT_THAT(damaged, ::testing::AnyOf(HasReason(v1::REASON_BUNDLE_INVALID),
                                        HasReason(v1::REASON_WRONG_PASSWORD)));
  EXPECT_FALSE(driver_.Import(std::string(128 << 10, '0')).ok());
  EXPECT_THAT(driver_.Import(std::string(64 << 20, '0')), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_EQ(driver_.ListProviders()->key_providers_size(), 0);
  EXPECT_THAT(driver_.Import(*bundle, "correct horse"), IsOk());
  // S6.
  EXPECT_THAT(driver_.Import(*bundle, "correct horse"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_TRUE(controller_.Running());
}

}  // namespace
}  // namespace keysphere::faults
