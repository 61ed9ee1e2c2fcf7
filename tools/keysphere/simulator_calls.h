#ifndef KEYSPHERE_TOOLS_KEYSPHERE_SIMULATOR_CALLS_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_SIMULATOR_CALLS_H_

#include <string>
#include <utility>

#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "tools/keysphere/command.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {

template <typename Request, typename Response>
absl::StatusOr<Response> AskSimulator(
    Session* session,
    rpc::internal::UnaryMethod<rpc::Client<sim::v1::Simulator>::Async, Request, Response> method,
    rpc::internal::NonDeduced<Request> request, absl::Duration timeout = kCallTimeout) {
  KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Simulator());
  return session->AskAt<sim::v1::Simulator>(channel, method, std::move(request), timeout);
}

// start, kill, reboot, pause and resume below `group`, whose name is `word` ("host").
void AddProcessActions(Command* group, const std::string& word, const std::string& example);

absl::Status ShowProcess(Session* session, const sim::v1::SimulatedProcess& process);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_SIMULATOR_CALLS_H_
