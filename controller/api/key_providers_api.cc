// The service KeyProviders over the domain: a line a method.
#include <openssl/crypto.h>

#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/serve_watch.h"
#include "controller/api/services.h"
#include "keysphere/v1/key_providers.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

constexpr size_t kChunkBytes = 16 << 10;

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
  grpc::ServerUnaryReactor* CheckKmsServers(grpc::CallbackServerContext* context,
                                            const v1::CheckKmsServersRequest* request,
                                            v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::CheckKmsServers);
  }
  grpc::ServerUnaryReactor* RetrieveKmsServerCertificate(
      grpc::CallbackServerContext* context, const v1::RetrieveKmsServerCertificateRequest* request,
      v1::RetrieveKmsServerCertificateResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::RetrieveKmsServerCertificate);
  }
  grpc::ServerUnaryReactor* TrustKmsServer(grpc::CallbackServerContext* context,
                                           const v1::TrustKmsServerRequest* request,
                                           v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::TrustKmsServer);
  }
  grpc::ServerUnaryReactor* GenerateKmsClientCsr(
      grpc::CallbackServerContext* context, const v1::GenerateKmsClientCsrRequest* request,
      v1::GenerateKmsClientCsrResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::GenerateKmsClientCsr);
  }
  grpc::ServerUnaryReactor* SetKmsClientCertificate(
      grpc::CallbackServerContext* context, const v1::SetKmsClientCertificateRequest* request,
      v1::KeyProvider* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request, response,
                 &vcenter_->providers(), &providers::Providers::SetKmsClientCertificate);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

grpc::ServerWriteReactor<v1::DownloadKeyProviderResponse>* KeyProvidersApi::DownloadKeyProvider(
    grpc::CallbackServerContext* context, const v1::DownloadKeyProviderRequest* request) {
  using Message = v1::DownloadKeyProviderResponse;
  return ServeWatch<Message>(
      gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request,
      [vcenter = vcenter_](const access::Caller& caller, const v1::DownloadKeyProviderRequest& body,
                           const SharedWriter<Message>& writer) -> std::function<void()> {
        vcenter->providers().BeginDownload(
            caller, body, [vcenter, caller, body, writer](absl::StatusOr<std::string> bundle) {
              if (!bundle.ok()) return writer->Finish(bundle.status());
              for (size_t at = 0; at < bundle->size(); at += kChunkBytes) {
                Message part;
                part.set_chunk(bundle->substr(at, kChunkBytes));
                writer->Write(std::move(part));
              }
              OPENSSL_cleanse(&(*bundle)[0], bundle->size());
              // The backup is noted before the client hears that it has it all: what it asks next
              // may need it.
              writer->WhenSent([vcenter, caller, body, writer](bool sent) {
                vcenter->strand()->Post([vcenter, caller, body, writer, sent]() {
                  vcenter->providers().DownloadFinished(
                      caller, body, sent,
                      [writer](const absl::Status& noted) { writer->Finish(noted); });
                });
              });
            });
        return nullptr;
      });
}

}  // namespace

Service MakeKeyProvidersApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<KeyProvidersApi>(gate, vcenter),
                 v1::KeyProviders::service_full_name()};
}

}  // namespace keysphere::controller::api
