#include "services/simulator/kms_link.h"

#include "absl/strings/str_cat.h"
#include "common/rpc/client.h"
#include "common/status/status.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"

namespace keysphere::simulator {

void GrpcKmsLink::SetFault(const sim::v1::SimulatedProcess& node, sim::v1::SetFaultRequest request,
                           status::Callback<sim::v1::SetFaultResponse> done) {
  const auto peer = identity::Identity::Parse(node.spiffe_id());
  if (!peer.ok()) return done(peer.status());
  rpc::ChannelOptions options;
  options.target = absl::StrCat("ipv4:", node.control_address());
  options.peer = *peer;
  options.credentials = own_.Clone();
  options.clock = clock_;
  const auto channel = rpc::Channel::Create(std::move(options));
  if (!channel.ok()) return done(channel.status());
  rpc::Client<sim::v1::KmsFaults>(*channel).Call(&sim::v1::KmsFaults::Stub::async::SetFault,
                                                 std::move(request), rpc::CallOptions(),
                                                 std::move(done));
}

}  // namespace keysphere::simulator
