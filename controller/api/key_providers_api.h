#ifndef KEYSPHERE_CONTROLLER_API_KEY_PROVIDERS_API_H_
#define KEYSPHERE_CONTROLLER_API_KEY_PROVIDERS_API_H_

#include "common/rpc/gate.h"
#include "controller/api/serve.h"
#include "controller/vcenter/vcenter.h"
#include "keysphere/v1/key_providers.grpc.pb.h"

// The service KeyProviders over the domain: a line a method.
namespace keysphere::controller::api {

class KeyProvidersApi final : public v1::KeyProviders::CallbackService {
 public:
  KeyProvidersApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* CreateKeyProvider(grpc::CallbackServerContext* context,
                                              const v1::CreateKeyProviderRequest* request,
                                              v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::CreateKeyProvider);
  }
  grpc::ServerUnaryReactor* GetKeyProvider(grpc::CallbackServerContext* context,
                                           const v1::GetKeyProviderRequest* request,
                                           v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::GetKeyProvider);
  }
  grpc::ServerUnaryReactor* ListKeyProviders(grpc::CallbackServerContext* context,
                                             const v1::ListKeyProvidersRequest* request,
                                             v1::ListKeyProvidersResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::ListKeyProviders);
  }
  grpc::ServerUnaryReactor* ListKmsClusters(grpc::CallbackServerContext* context,
                                            const v1::ListKmsClustersRequest* request,
                                            v1::ListKmsClustersResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::ListKmsClusters);
  }
  grpc::ServerUnaryReactor* UpdateKeyProvider(grpc::CallbackServerContext* context,
                                              const v1::UpdateKeyProviderRequest* request,
                                              v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::UpdateKeyProvider);
  }
  grpc::ServerUnaryReactor* DeleteKeyProvider(grpc::CallbackServerContext* context,
                                              const v1::DeleteKeyProviderRequest* request,
                                              v1::DeleteKeyProviderResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::DeleteKeyProvider);
  }
  grpc::ServerUnaryReactor* SetDefaultKeyProvider(
      grpc::CallbackServerContext* context, const v1::SetDefaultKeyProviderRequest* request,
      v1::SetDefaultKeyProviderResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::SetDefaultKeyProvider);
  }
  grpc::ServerUnaryReactor* ExportKeyProvider(grpc::CallbackServerContext* context,
                                              const v1::ExportKeyProviderRequest* request,
                                              v1::ExportKeyProviderResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::ExportKeyProvider);
  }
  grpc::ServerWriteReactor<v1::DownloadKeyProviderResponse>* DownloadKeyProvider(
      grpc::CallbackServerContext* context, const v1::DownloadKeyProviderRequest* request) override;
  grpc::ServerUnaryReactor* ImportKeyProvider(grpc::CallbackServerContext* context,
                                              const v1::ImportKeyProviderRequest* request,
                                              v1::ImportKeyProviderResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::ImportKeyProvider);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_KEY_PROVIDERS_API_H_
