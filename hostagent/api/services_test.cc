#include "hostagent/api/services.h"

#include "gtest/gtest.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"

namespace keysphere::hostagent::api {
namespace {

rpc::CallInfo CallOf(identity::Kind kind) {
  rpc::CallInfo call;
  call.caller = {"keysphere.test", kind, "somebody"};
  return call;
}

TEST(HostRulesTest, EveryMethodHasARuleAndHostsMayCallNone) {
  const auto rules = HostRules();
  int methods = 0;
  for (const char* service :
       {host::v1::HostStatus::service_full_name(), host::v1::HostManagement::service_full_name(),
        host::v1::HostVms::service_full_name()}) {
    for (const std::string& method : rpc::MethodsOf(service)) {
      ++methods;
      EXPECT_TRUE(rules->HasRule(method)) << method;
      EXPECT_FALSE(rules->Authorize(CallOf(identity::Kind::kHost), method).ok()) << method;
    }
  }
  EXPECT_EQ(methods, 29);
}

TEST(HostRulesTest, S140_UsersDoNotManage) {
  const auto rules = HostRules();
  const std::string apply =
      rpc::MethodName(host::v1::HostManagement::service_full_name(), "ApplyKeys");
  EXPECT_FALSE(rules->Authorize(CallOf(identity::Kind::kUser), apply).ok());
  EXPECT_TRUE(rules->Authorize(CallOf(identity::Kind::kController), apply).ok());
}

}  // namespace
}  // namespace keysphere::hostagent::api
