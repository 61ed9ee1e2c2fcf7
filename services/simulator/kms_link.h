#ifndef KEYSPHERE_SERVICES_SIMULATOR_KMS_LINK_H_
#define KEYSPHERE_SERVICES_SIMULATOR_KMS_LINK_H_

#include <utility>

#include "common/clock/clock.h"
#include "common/identity/credentials.h"
#include "services/simulator/simulator.h"

namespace keysphere::simulator {

// The way to KMS nodes over gRPC. Thread safe.
class GrpcKmsLink : public Simulator::KmsLink {
 public:
  // `own`: the simulator's certificate. `clock` is real and outlives all calls.
  GrpcKmsLink(identity::Credentials own, clock::Clock* clock)
      : own_(std::move(own)), clock_(clock) {}

  void SetFault(const sim::v1::SimulatedProcess& node, sim::v1::SetFaultRequest request,
                status::Callback<sim::v1::SetFaultResponse> done) override;

 private:
  const identity::Credentials own_;
  clock::Clock* const clock_;
};

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_KMS_LINK_H_
