// The services Controller and Access over the domain.
#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/services.h"
#include "keysphere/v1/controller.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

class ControllerApi final : public v1::Controller::CallbackService {
 public:
  ControllerApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* GetAbout(grpc::CallbackServerContext* context,
                                     const v1::GetAboutRequest* request,
                                     v1::About* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->about(), &vcenter::AboutVCenter::GetAbout);
  }
  grpc::ServerUnaryReactor* Remediate(grpc::CallbackServerContext* context,
                                      const v1::RemediateRequest* request,
                                      v1::RemediateResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->remediator(), &remediation::Remediator::Remediate);
  }
  grpc::ServerUnaryReactor* GetOption(grpc::CallbackServerContext* context,
                                      const v1::GetOptionRequest* request,
                                      v1::Option* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->options(), &options::Options::GetOption);
  }
  grpc::ServerUnaryReactor* ListOptions(grpc::CallbackServerContext* context,
                                        const v1::ListOptionsRequest* request,
                                        v1::ListOptionsResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->options(), &options::Options::ListOptions);
  }
  grpc::ServerUnaryReactor* SetOption(grpc::CallbackServerContext* context,
                                      const v1::SetOptionRequest* request,
                                      v1::Option* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->options(), &options::Options::SetOption);
  }
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const v1::GetStatsRequest* request,
                                     v1::ControllerStats* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Controller), context, request, response,
                 &vcenter_->about(), &vcenter::AboutVCenter::GetStats);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

class AccessApi final : public v1::Access::CallbackService {
 public:
  AccessApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* ListRoles(grpc::CallbackServerContext* context,
                                      const v1::ListRolesRequest* request,
                                      v1::ListRolesResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Access), context, request, response,
                 &vcenter_->access(), &access::Access::ListRoles);
  }
  grpc::ServerUnaryReactor* SetRole(grpc::CallbackServerContext* context,
                                    const v1::SetRoleRequest* request,
                                    v1::Role* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Access), context, request, response,
                 &vcenter_->access(), &access::Access::SetRole);
  }
  grpc::ServerUnaryReactor* DeleteRole(grpc::CallbackServerContext* context,
                                       const v1::DeleteRoleRequest* request,
                                       v1::DeleteRoleResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Access), context, request, response,
                 &vcenter_->access(), &access::Access::DeleteRole);
  }
  grpc::ServerUnaryReactor* ListUsers(grpc::CallbackServerContext* context,
                                      const v1::ListUsersRequest* request,
                                      v1::ListUsersResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Access), context, request, response,
                 &vcenter_->access(), &access::Access::ListUsers);
  }
  grpc::ServerUnaryReactor* SetUserRole(grpc::CallbackServerContext* context,
                                        const v1::SetUserRoleRequest* request,
                                        v1::User* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Access), context, request, response,
                 &vcenter_->access(), &access::Access::SetUserRole);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

}  // namespace

Service MakeControllerApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<ControllerApi>(gate, vcenter),
                 v1::Controller::service_full_name()};
}

Service MakeAccessApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<AccessApi>(gate, vcenter), v1::Access::service_full_name()};
}

}  // namespace keysphere::controller::api
