#ifndef KEYSPHERE_CONTROLLER_API_SERVE_H_
#define KEYSPHERE_CONTROLLER_API_SERVE_H_

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/rpc/stream_handler.h"
#include "common/rpc/unary_handler.h"
#include "common/status/callback.h"
#include "controller/access/caller.h"
#include "controller/vcenter/vcenter.h"

// How the controller's services reach its domain: on the strand, authorised, once a request id.
namespace keysphere::controller::api {

inline access::Caller CallerOf(const rpc::CallInfo& call) {
  return access::Caller{call.caller.name, call.authority};
}

// Overwrites the fields marked (keysphere.secret) of a message that is needed no more.
void WipeSecrets(google::protobuf::Message* message);

template <typename Request, typename = void>
struct HasRequestId : std::false_type {};
template <typename Request>
struct HasRequestId<Request, std::void_t<decltype(std::declval<Request>().request_id())>>
    : std::true_type {};

// Whether the method of this name ("/SERVICE/METHOD") only tells.
inline bool OnlyTells(absl::string_view method) {
  method.remove_prefix(method.rfind('/') + 1);
  for (const char* const verb : {"Get", "List", "Query", "Explain"}) {
    if (absl::StartsWith(method, verb)) return true;
  }
  return false;
}

// Answers a unary call by a method of the domain:
//   return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
//                &vcenter_->hosts(), &hosts::Hosts::GetHost);
template <typename Request, typename Response, typename Domain>
grpc::ServerUnaryReactor* Serve(rpc::Gate* gate, vcenter::VCenter* vcenter, std::string method,
                                grpc::CallbackServerContext* context, const Request* request,
                                Response* response, Domain* domain,
                                void (Domain::*handler)(const access::Caller&, const Request&,
                                                        status::Callback<Response>)) {
  return rpc::HandleUnary(
      gate, std::move(method), context, request, response,
      [vcenter, domain, handler](const rpc::CallInfo& call, const Request& body,
                                 rpc::Done<Response> done) {
        auto copy = std::make_shared<Request>(body);
        vcenter->strand()->Post([vcenter, domain, handler, caller = CallerOf(call),
                                 method = call.method, copy, done = std::move(done)]() mutable {
          absl::Status allowed = vcenter->access().AuthorizeMethod(caller, method);
          if (!allowed.ok()) {
            WipeSecrets(copy.get());
            return done(std::move(allowed));
          }
          if (!OnlyTells(method)) done = vcenter->AfterItsEvents<Response>(std::move(done));
          auto run = [domain, handler, caller, copy](status::Callback<Response> answer) {
            (domain->*handler)(caller, *copy, std::move(answer));
          };
          if constexpr (HasRequestId<Request>::value) {
            vcenter->requests().Run<Request, Response>(caller, method, *copy, std::move(done),
                                                       std::move(run));
          } else {
            run(std::move(done));
          }
          WipeSecrets(copy.get());
        });
      });
}

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_SERVE_H_
