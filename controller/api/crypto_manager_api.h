#ifndef KEYSPHERE_CONTROLLER_API_CRYPTO_MANAGER_API_H_
#define KEYSPHERE_CONTROLLER_API_CRYPTO_MANAGER_API_H_

#include "common/rpc/gate.h"
#include "controller/api/serve.h"
#include "controller/vcenter/vcenter.h"
#include "keysphere/v1/crypto_manager.grpc.pb.h"

// The service CryptoManager over the domain.
namespace keysphere::controller::api {

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

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_CRYPTO_MANAGER_API_H_
