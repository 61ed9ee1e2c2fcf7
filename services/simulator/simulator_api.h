#ifndef KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_API_H_
#define KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_API_H_

#include "common/rpc/unary_handler.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "services/simulator/simulator.h"

namespace keysphere::simulator {

// keysphere.sim.v1.Simulator over gRPC.
class SimulatorApi : public sim::v1::Simulator::CallbackService {
 public:
  // Both outlive it.
  SimulatorApi(rpc::Gate* gate, Simulator* domain) : gate_(gate), domain_(domain) {}

#define KS_SIMULATOR_METHOD(Method, Response)                                                     \
  grpc::ServerUnaryReactor* Method(grpc::CallbackServerContext* context,                          \
                                   const sim::v1::Method##Request* request,                       \
                                   sim::v1::Response* response) override {                        \
    return rpc::HandleUnary(gate_, KS_RPC_METHOD(sim::v1::Simulator), context, request, response, \
                            domain_, &Simulator::Method);                                         \
  }
  KS_SIMULATOR_METHOD(GetCluster, SimulatedCluster)
  KS_SIMULATOR_METHOD(StartProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(KillProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(StopProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(RebootProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(PauseProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(ResumeProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(AddHostProcess, SimulatedProcess)
  KS_SIMULATOR_METHOD(SetLinkFault, SetLinkFaultResponse)
  KS_SIMULATOR_METHOD(SetKmsFault, SetKmsFaultResponse)
  KS_SIMULATOR_METHOD(GetClock, ClockState)
  KS_SIMULATOR_METHOD(AdvanceClock, ClockState)
  KS_SIMULATOR_METHOD(StopClock, ClockState)
  KS_SIMULATOR_METHOD(SetClockRate, ClockState)
  KS_SIMULATOR_METHOD(IssueUserCertificate, IssueUserCertificateResponse)
  KS_SIMULATOR_METHOD(Shutdown, ShutdownResponse)
#undef KS_SIMULATOR_METHOD

 private:
  rpc::Gate* const gate_;
  Simulator* const domain_;
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_SIMULATOR_API_H_
