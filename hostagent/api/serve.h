#ifndef KEYSPHERE_HOSTAGENT_API_SERVE_H_
#define KEYSPHERE_HOSTAGENT_API_SERVE_H_

#include <string>
#include <utility>

#include "common/rpc/unary_handler.h"
#include "hostagent/agent/host_agent.h"

namespace keysphere::hostagent::api {

// Hands one unary call to the host's method of that name.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* Serve(rpc::Gate* gate, std::string method,
                                grpc::CallbackServerContext* context, const Request* request,
                                Response* response, agent::HostAgent* agent,
                                void (agent::HostAgent::*handler)(const identity::Identity&,
                                                                  const Request&,
                                                                  agent::Callback<Response>)) {
  return rpc::HandleUnary(
      gate, std::move(method), context, request, response,
      [agent, handler](const rpc::CallInfo& call, const Request& body, rpc::Done<Response> done) {
        (agent->*handler)(call.caller, body, std::move(done));
      });
}

}  // namespace keysphere::hostagent::api

// A method of a service that the host has under the same name.
#define KS_HOST_METHOD(Service, Method, Request, Response)                                         \
  grpc::ServerUnaryReactor* Method(grpc::CallbackServerContext* context,                           \
                                   const host::v1::Request* request, host::v1::Response* response) \
      override {                                                                                   \
    return Serve(gate_, KS_RPC_METHOD(host::v1::Service), context, request, response, agent_,      \
                 &agent::HostAgent::Method);                                                       \
  }

#endif  // KEYSPHERE_HOSTAGENT_API_SERVE_H_
