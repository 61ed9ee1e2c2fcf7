#include "controller/access/access.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "controller/access/method_rules.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "keysphere/v1/crypto_manager.pb.h"
#include "keysphere/v1/events.pb.h"
#include "keysphere/v1/inventory.pb.h"
#include "keysphere/v1/key_providers.pb.h"
#include "keysphere/v1/tasks.pb.h"

namespace keysphere::controller::access {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Call;
using testing::Domain;
using testing::User;

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() { Load({"admin"}); }

  void Load(const std::vector<std::string>& administrators) {
    domain_.sim.RunUntilIdle();
    access_ = Access::Load(&domain_.store, &domain_.strand, administrators).value();
  }
  absl::StatusOr<v1::User> SetUserRole(const char* caller, const char* user, const char* role) {
    v1::SetUserRoleRequest request;
    request.set_user(user);
    request.set_role(role);
    return Call(&domain_, access_.get(), &Access::SetUserRole, User(caller), request);
  }
  absl::StatusOr<v1::Role> SetRole(const char* caller, const char* name,
                                   const std::vector<std::string>& privileges) {
    v1::SetRoleRequest request;
    request.mutable_role()->set_name(name);
    for (const auto& privilege : privileges) request.mutable_role()->add_privileges(privilege);
    return Call(&domain_, access_.get(), &Access::SetRole, User(caller), request);
  }
  absl::StatusOr<v1::DeleteRoleResponse> DeleteRole(const char* caller, const char* name) {
    v1::DeleteRoleRequest request;
    request.set_name(name);
    return Call(&domain_, access_.get(), &Access::DeleteRole, User(caller), request);
  }

  Domain domain_;
  std::unique_ptr<Access> access_;
};

// Every method of every service of the file that this message is of.
void CollectMethods(const google::protobuf::Descriptor* any, std::set<std::string>* methods) {
  const google::protobuf::FileDescriptor* const file = any->file();
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      methods->insert("/" + file->service(s)->full_name() + "/" +
                      file->service(s)->method(m)->name());
    }
  }
}

TEST_F(AccessTest, EveryMethodHasARuleAndItsPrivilegesAreKnown) {
  std::set<std::string> methods;
  CollectMethods(v1::About::descriptor(), &methods);
  CollectMethods(v1::GenerateKeyRequest::descriptor(), &methods);
  CollectMethods(v1::Event::descriptor(), &methods);
  CollectMethods(v1::Cluster::descriptor(), &methods);
  CollectMethods(v1::KeyProvider::descriptor(), &methods);
  CollectMethods(v1::Task::descriptor(), &methods);
  ASSERT_GT(methods.size(), 50u);
  const std::set<std::string> known(KnownPrivileges().begin(), KnownPrivileges().end());
  for (const std::string& method : methods) {
    const auto* const rule = RuleOf(method);
    ASSERT_NE(rule, nullptr) << method << " has no rule";
    ASSERT_FALSE(rule->empty()) << method;
    for (const std::string& privilege : *rule) EXPECT_EQ(known.count(privilege), 1u) << privilege;
    EXPECT_THAT(access_->AuthorizeMethod(User("admin"), method), IsOk());
    EXPECT_THAT(access_->AuthorizeMethod(User("stranger"), method),
                HasReason(v1::REASON_NO_PERMISSION));
  }
}

TEST_F(AccessTest, AMethodWithoutARuleIsRefusedToEverybody) {
  for (const char* user : {"admin", ""}) {
    EXPECT_THAT(access_->AuthorizeMethod(User(user), "/keysphere.v1.KeyProviders/Rename"),
                HasReason(v1::REASON_NO_PERMISSION));
  }
}

TEST_F(AccessTest, S128_NoCryptoAdministratorLacksAllOfCryptographer) {
  ASSERT_THAT(SetUserRole("admin", "nora", kNoCryptoAdministrator), IsOk());
  for (const std::string& privilege : KnownPrivileges()) {
    const bool crypto = privilege.rfind("Cryptographer.", 0) == 0;
    EXPECT_EQ(access_->Has(User("nora"), privilege), !crypto) << privilege;
  }
  const std::string providers = "/keysphere.v1.KeyProviders/";
  const absl::Status refused =
      access_->AuthorizeMethod(User("nora"), providers + "CreateKeyProvider");
  EXPECT_THAT(refused, HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_EQ(status::DetailOf(refused).metadata().at("privilege"), kManageKeyServers);
  EXPECT_THAT(access_->AuthorizeMethod(User("nora"), "/keysphere.v1.VirtualMachines/UnlockVm"),
              HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(access_->AuthorizeMethod(User("nora"), "/keysphere.v1.VirtualMachines/PowerOnVm"),
              IsOk());
}

TEST_F(AccessTest, S128_ReadOnlySeesAndChangesNothing) {
  ASSERT_THAT(SetUserRole("admin", "rita", kReadOnly), IsOk());
  EXPECT_THAT(access_->AuthorizeMethod(User("rita"), "/keysphere.v1.KeyProviders/ListKeyProviders"),
              IsOk());
  EXPECT_THAT(
      access_->AuthorizeMethod(User("rita"), "/keysphere.v1.KeyProviders/DeleteKeyProvider"),
      HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(access_->AuthorizeMethod(User("rita"), "/keysphere.v1.Controller/SetOption"),
              HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, TheLastAdministratorKeepsThatRole) {
  EXPECT_THAT(SetUserRole("admin", "admin", kReadOnly), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(SetUserRole("admin", "admin", ""), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(SetUserRole("admin", "eve", kAdministrator), IsOk());
  EXPECT_THAT(SetUserRole("eve", "admin", ""), IsOk());
  EXPECT_THAT(SetUserRole("eve", "eve", ""), HasReason(v1::REASON_INVALID_STATE));
}

TEST_F(AccessTest, TwoWhoTakeTheRoleFromEachOtherAtOnceLeaveOne) {
  ASSERT_THAT(SetUserRole("admin", "eve", kAdministrator), IsOk());
  int ok = 0;
  const auto take = [&](const char* caller, const char* user) {
    v1::SetUserRoleRequest request;
    request.set_user(user);
    access_->SetUserRole(User(caller), request,
                         [&ok](absl::StatusOr<v1::User> result) { ok += result.ok() ? 1 : 0; });
  };
  testing::OnStrand(&domain_, [&] {
    take("admin", "eve");
    take("eve", "admin");
  });
  EXPECT_EQ(ok, 1);
}

TEST_F(AccessTest, RolesAndUsersSurviveARestart) {
  ASSERT_THAT(SetRole("admin", "Backup", {kManageKeyServers, kReadKeyServersInfo}), IsOk());
  ASSERT_THAT(SetUserRole("admin", "bob", "Backup"), IsOk());
  ASSERT_THAT(SetUserRole("admin", "eve", kAdministrator), IsOk());
  ASSERT_THAT(SetUserRole("eve", "admin", ""), IsOk());
  Load({"admin"});
  EXPECT_THAT(access_->Require(User("bob"), kManageKeyServers), IsOk());
  EXPECT_THAT(access_->Require(User("bob"), kSystemView), IsOk());
  EXPECT_THAT(access_->Require(User("bob"), kManageKeys), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(access_->Require(User("admin"), kSystemView), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, EveryRoleImpliesSystemViewReadAndAnonymous) {
  const auto role = SetRole("admin", "Encryptor", {kEncryptNew});
  ASSERT_THAT(role, IsOk());
  EXPECT_THAT(role->privileges(),
              ::testing::ElementsAre(kEncryptNew, kSystemAnonymous, kSystemRead, kSystemView));
  ASSERT_THAT(SetUserRole("admin", "bob", "Encryptor"), IsOk());
  // He may see the task of his own work, and what came of it.
  for (const char* method : {"Tasks/GetTask", "Tasks/WatchTask", "VirtualMachines/GetVm"}) {
    EXPECT_THAT(access_->AuthorizeMethod(User("bob"), absl::StrCat("/keysphere.v1.", method)),
                IsOk())
        << method;
  }
  ASSERT_THAT(SetUserRole("admin", "bob", ""), IsOk());
  EXPECT_THAT(access_->Require(User("bob"), kSystemView), HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, NobodyGivesMoreThanHeHas) {
  ASSERT_THAT(SetUserRole("admin", "nora", kNoCryptoAdministrator), IsOk());
  EXPECT_THAT(SetUserRole("nora", "nora", kAdministrator), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(SetUserRole("nora", "admin", kReadOnly), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(SetRole("nora", "Sly", {kDecrypt}), HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(SetRole("nora", "Fine", {kVmPowerOn}), IsOk());
  EXPECT_THAT(SetUserRole("nora", "carl", "Fine"), IsOk());
}

TEST_F(AccessTest, RolesAreChecked) {
  EXPECT_THAT(SetRole("admin", "Administrator", {}), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(SetRole("admin", "X", {"No.Such"}), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(SetRole("admin", "", {}), HasReason(v1::REASON_INVALID_NAME));
  EXPECT_THAT(SetUserRole("admin", "bob", "X"), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(SetRole("admin", "X", {kSystemView}), IsOk());
  ASSERT_THAT(SetUserRole("admin", "bob", "X"), IsOk());
  EXPECT_THAT(DeleteRole("admin", "X"), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(DeleteRole("admin", "ReadOnly"), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(SetUserRole("admin", "bob", ""), IsOk());
  EXPECT_THAT(DeleteRole("admin", "X"), IsOk());
  EXPECT_THAT(DeleteRole("admin", "X"), HasReason(v1::REASON_NOT_FOUND));
}

}  // namespace
}  // namespace keysphere::controller::access
