// The service CryptoManager over the domain.
#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/services.h"
#include "keysphere/v1/crypto_manager.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

class CryptoManagerApi final : public v1::CryptoManager::CallbackService {
 public:
  CryptoManagerApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* GenerateKey(grpc::CallbackServerContext* context,
                                        const v1::GenerateKeyRequest* request,
                                        v1::GenerateKeyResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::CryptoManager), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::GenerateKey);
  }
  grpc::ServerUnaryReactor* QueryCryptoKeyStatus(
      grpc::CallbackServerContext* context, const v1::QueryCryptoKeyStatusRequest* request,
      v1::QueryCryptoKeyStatusResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::CryptoManager), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::QueryCryptoKeyStatus);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

}  // namespace

Service MakeCryptoManagerApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<CryptoManagerApi>(gate, vcenter),
                 v1::CryptoManager::service_full_name()};
}

}  // namespace keysphere::controller::api
