// Bad input to a vCenter, and callers without the right.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "tests/processes/controller_driver.h"

namespace keysphere::faults {
namespace {

using processes::Caller;
using processes::ControllerDriver;
using processes::ControllerProcess;
using processes::KeyProviderCalls;
using processes::MachineCalls;
using status::HasReason;
using status::IsOk;

class ControllerInputTest : public ::testing::Test {
 protected:
  ControllerInputTest() : controller_(lab_.AddController("vcenter-a")), driver_(&controller_) {
    KS_CHECK(controller_.Start().ok());
    KS_CHECK(driver_.CreateProvider("nkp").ok());
  }
  ~ControllerInputTest() override {
    EXPECT_TRUE(controller_.Running());
    EXPECT_EQ(driver_.ListProviders()->key_providers_size(), 1);
  }
  Caller User(const std::string& name) {
    return controller_.As(identity::Kind::kUser, name, controller_.fqdn());
  }
  void GiveRole(const std::string& user, const std::string& role) {
    v1::SetUserRoleRequest request;
    request.set_user(user);
    request.set_role(role);
    ASSERT_THAT(driver_.Admin().Call<v1::Access>(&processes::AccessCalls::SetUserRole, request),
                IsOk());
  }
  static v1::CreateKeyProviderRequest Named(const std::string& name) {
    v1::CreateKeyProviderRequest request;
    request.set_name(name);
    return request;
  }
  absl::Status Create(const Caller& caller, const v1::CreateKeyProviderRequest& request) {
    return caller.Call<v1::KeyProviders>(&KeyProviderCalls::CreateKeyProvider, request).status();
  }

  processes::Lab lab_;
  ControllerProcess& controller_;
  ControllerDriver driver_;
};

TEST_F(ControllerInputTest, S6_NamesThatAreNoneOrTakenAreRefused) {
  for (const std::string& name :
       {std::string(), std::string(81, 'n'), std::string(10'000, 'n'), std::string("line\nbreak"),
        std::string("nul\0byte", 8), std::string("bell\a")}) {
    const absl::Status refused = Create(driver_.Admin(), Named(name));
    EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_NAME)) << name.size();
    EXPECT_LT(refused.message().size(), 500u);
    EXPECT_THAT(driver_.CreateCluster(name), HasReason(v1::REASON_INVALID_NAME)) << name.size();
  }
  EXPECT_THAT(Create(driver_.Admin(), Named("nkp")), HasReason(v1::REASON_ALREADY_EXISTS));
  ASSERT_THAT(driver_.CreateCluster("c"), IsOk());
  EXPECT_THAT(driver_.CreateCluster("c"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(driver_.GetProvider("../nkp"), HasReason(v1::REASON_NOT_FOUND));
  // A name is a name, whatever it looks like (S131: percent-encoded where it is written).
  ASSERT_THAT(Create(driver_.Admin(), Named("../a/b c")), IsOk());
  ASSERT_THAT(driver_.Backup("../a/b c"), IsOk());
  EXPECT_THAT(driver_.DeleteProvider("../a/b c"), IsOk());
}

TEST_F(ControllerInputTest, S116_KeysAndIdsOutOfTheirRangeAreRefused) {
  v1::CreateKeyProviderRequest request = Named("other");
  request.set_key_derivation_key("short");
  EXPECT_THAT(Create(driver_.Admin(), request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_key_derivation_key(std::string(33, 'k'));
  EXPECT_THAT(Create(driver_.Admin(), request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.clear_key_derivation_key();
  request.set_key_id("no uuid");
  EXPECT_THAT(Create(driver_.Admin(), request), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(ControllerInputTest, S128_WhoLacksThePrivilegeIsRefusedWithItsName) {
  GiveRole("reader", "ReadOnly");
  GiveRole("operator", "NoCryptoAdministrator");
  const absl::Status nobody = Create(User("nobody"), Named("x"));
  EXPECT_THAT(nobody, HasReason(v1::REASON_NO_PERMISSION));
  for (const char* const user : {"reader", "operator"}) {
    SCOPED_TRACE(user);
    const absl::Status refused = Create(User(user), Named("x"));
    EXPECT_THAT(refused, HasReason(v1::REASON_NO_PERMISSION));
    EXPECT_THAT(std::string(refused.message()),
                ::testing::HasSubstr("Cryptographer.ManageKeyServers"));
    v1::EncryptVmRequest encrypt;
    encrypt.set_vm("web");
    EXPECT_THAT(User(user).Call<v1::VirtualMachines>(&MachineCalls::EncryptVm, encrypt),
                HasReason(v1::REASON_NO_PERMISSION));
    v1::ExportKeyProviderRequest backup;
    backup.set_name("nkp");
    EXPECT_THAT(User(user).Call<v1::KeyProviders>(&KeyProviderCalls::ExportKeyProvider, backup),
                HasReason(v1::REASON_NO_PERMISSION));
    v1::SetUserRoleRequest rise;
    rise.set_user(user);
    rise.set_role("Administrator");
    EXPECT_THAT(User(user).Call<v1::Access>(&processes::AccessCalls::SetUserRole, rise),
                HasReason(v1::REASON_NO_PERMISSION));
  }
  EXPECT_THAT(
      User("reader").Call<v1::VirtualMachines>(&MachineCalls::ListVms, v1::ListVmsRequest()),
      IsOk());
  // A host and another controller are no users.
  for (const identity::Kind kind : {identity::Kind::kHost, identity::Kind::kController}) {
    EXPECT_THAT(Create(controller_.As(kind, "admin"), Named("x")),
                HasReason(v1::REASON_NO_PERMISSION));
  }
}

TEST_F(ControllerInputTest, S128_AMethodWithoutARuleIsNobodys) {
  // A method that the server does not have, and one of a host's services.
  for (const char* const method : {"/keysphere.v1.KeyProviders/StealKeyProvider",
                                   "/keysphere.host.v1.HostManagement/ApplyKeys"}) {
    grpc::GenericStub stub(driver_.Admin().channel()->grpc_channel());
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(processes::RealClock()->Now() + absl::Seconds(20)));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, &queue);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_FALSE(status.ok()) << method;
  }
}

TEST_F(ControllerInputTest, A64MegabyteMessageIsRefused) {
  EXPECT_THAT(Create(driver_.Admin(), Named(std::string(64 << 20, 'n'))),
              HasReason(v1::REASON_TOO_LARGE));
}

TEST_F(ControllerInputTest, ARequestIdMeansOneRequest) {
  v1::CreateKeyProviderRequest request = Named("once");
  request.set_request_id("request-1");
  ASSERT_THAT(Create(driver_.Admin(), request), IsOk());
  // The answer was lost with the controller; asked again, it is the same answer.
  controller_.Kill();
  ASSERT_THAT(controller_.Start(), IsOk());
  EXPECT_THAT(Create(driver_.Admin(), request), IsOk());
  request.set_name("twice");
  EXPECT_THAT(Create(driver_.Admin(), request), HasReason(v1::REASON_REQUEST_ID_REUSED));
  EXPECT_THAT(driver_.DeleteProvider("once"), IsOk());
}

}  // namespace
}  // namespace keysphere::faults
