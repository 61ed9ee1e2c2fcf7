#ifndef KEYSPHERE_SERVICES_KMS_CONTROL_API_H_
#define KEYSPHERE_SERVICES_KMS_CONTROL_API_H_

#include "common/rpc/unary_handler.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"
#include "services/kms/control.h"

namespace keysphere::kms {

// keysphere.sim.v1.KmsFaults over gRPC.
class ControlApi : public sim::v1::KmsFaults::CallbackService {
 public:
  // Both outlive it.
  ControlApi(rpc::Gate* gate, Control* domain) : gate_(gate), domain_(domain) {}

  grpc::ServerUnaryReactor* SetFault(grpc::CallbackServerContext* context,
                                     const sim::v1::SetFaultRequest* request,
                                     sim::v1::SetFaultResponse* response) override {
    return rpc::HandleUnary(gate_, KS_RPC_METHOD(sim::v1::KmsFaults), context, request, response,
                            domain_, &Control::SetFault);
  }
  grpc::ServerUnaryReactor* GetKmsStats(grpc::CallbackServerContext* context,
                                        const sim::v1::GetKmsStatsRequest* request,
                                        sim::v1::KmsStats* response) override {
    return rpc::HandleUnary(gate_, KS_RPC_METHOD(sim::v1::KmsFaults), context, request, response,
                            domain_, &Control::GetKmsStats);
  }

 private:
  rpc::Gate* const gate_;
  Control* const domain_;
};

}  // namespace keysphere::kms

#endif  // KEYSPHERE_SERVICES_KMS_CONTROL_API_H_
