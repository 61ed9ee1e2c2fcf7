#ifndef KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_SERVE_H_
#define KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_SERVE_H_

#include <utility>

#include "hostagent/agent/host_agent.h"

// How the methods of HostAgent begin. Included by its source files alone.
namespace keysphere::hostagent::agent {

template <typename Response, typename Request, typename Body>
void HostAgent::Serve(const Caller& caller, Right right, const Request& request,
                      Callback<Response> done, Body body) {
  // What the host's strand does is quick: files are the business of other strands.
  host_.strand.Dispatch(
      [this, caller, right, request, done = std::move(done), body = std::move(body)]() mutable {
        absl::Status allowed = Admit(caller, right, request.epoch());
        if (allowed.ok()) allowed = CheckOpen();
        if (allowed.ok()) {
          body(std::move(request), std::move(done));
        } else {
          done(allowed);
        }
      });
}

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_SERVE_H_
