#ifndef KEYSPHERE_COMMON_RPC_UNARY_HANDLER_H_
#define KEYSPHERE_COMMON_RPC_UNARY_HANDLER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/rpc/call_info.h"
#include "common/rpc/gate.h"

namespace keysphere::rpc {

// How a domain answers: once, from any thread. Dropped unused, it answers INTERNAL.
template <typename Response>
using Done = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

namespace internal {

// A unary call from its arrival until both gRPC and the handler have let go of it.
class UnaryCall : public grpc::ServerUnaryReactor {
 public:
  UnaryCall() = default;

  // Whether the caller of this is the one that answers. The response may be written between a
  // successful Claim and Answer: gRPC keeps it until then.
  bool Claim() { return !claimed_.exchange(true, std::memory_order_acq_rel); }
  void Answer(const absl::Status& status);
  void Unref();

  void OnCancel() override;
  void OnDone() override { Unref(); }

 private:
  ~UnaryCall() override = default;

  // gRPC's word for: OnDone is quick and takes no lock, so that it may run where the answer was
  // given. Else each call costs two more changes of thread.
  bool InternalInlineable() override { return true; }

  std::atomic<bool> claimed_{false};
  std::atomic<int> refs_{2};  // gRPC's until OnDone, the handler's until its Reply goes
};

absl::Status NoAnswer();

// The handler's hold on a call.
template <typename Response>
class Reply {
 public:
  Reply(UnaryCall* call, Response* response) : call_(call), response_(response) {}
  Reply(Reply&& other) noexcept
      : call_(std::exchange(other.call_, nullptr)), response_(other.response_) {}
  Reply& operator=(Reply&&) = delete;
  ~Reply() {
    if (call_ == nullptr) return;
    if (call_->Claim()) call_->Answer(NoAnswer());
    call_->Unref();
  }

  void operator()(absl::StatusOr<Response> result) {
    if (!call_->Claim()) return;  // cancelled meanwhile, or answered before
    if (result.ok()) *response_ = *std::move(result);
    call_->Answer(result.status());
  }

 private:
  UnaryCall* call_;
  Response* const response_;
};

}  // namespace internal

// Serves one unary call: admits it, hands it to `handler`, answers. In an api adapter, a line a
// method:
//
//   grpc::ServerUnaryReactor* GetHost(grpc::CallbackServerContext* context,
//                                     const v1::GetHostRequest* request,
//                                     v1::Host* response) override {
//     return rpc::HandleUnary(gate_, KS_RPC_METHOD(v1::Hosts), context, request, response,
//                             [this](const rpc::CallInfo& call, const v1::GetHostRequest& request,
//                                    rpc::Done<v1::Host> done) {
//                               hosts_->Get(call, request, std::move(done));
//                             });
//   }
//
// The handler runs on a thread of gRPC: it posts to a strand and returns. `call` and `request` last
// only until it returns: it copies what it needs later. A caller that has gone is not told to it.
//
// Time stands still while the handler runs; then what it has posted and called keeps it so. The
// call itself does not: one that waits for a peer that is stopped or cut off ends at a virtual
// deadline.
template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* HandleUnary(Gate* gate, std::string method,
                                      grpc::CallbackServerContext* context, const Request* request,
                                      Response* response, Handler&& handler) {
  const clock::Clock::BusyToken token = gate->clock()->Busy("incoming call");
  auto* call = new internal::UnaryCall;
  internal::Reply<Response> reply(call, response);
  absl::StatusOr<CallInfo> info = gate->Admit(context, std::move(method));
  if (info.ok()) {
    handler(static_cast<const CallInfo&>(*info), *request, Done<Response>(std::move(reply)));
  } else {
    reply(std::move(info).status());
  }
  return call;
}

// The same where the domain's method has the handler's signature:
//   return rpc::HandleUnary(gate_, KS_RPC_METHOD(v1::Hosts), context, request, response,
//                           hosts_, &Hosts::Get);
template <typename Request, typename Response, typename Domain>
grpc::ServerUnaryReactor* HandleUnary(Gate* gate, std::string method,
                                      grpc::CallbackServerContext* context, const Request* request,
                                      Response* response, Domain* domain,
                                      void (Domain::*handler)(const CallInfo&, const Request&,
                                                              Done<Response>)) {
  return HandleUnary(
      gate, std::move(method), context, request, response,
      [domain, handler](const CallInfo& call, const Request& body, Done<Response> done) {
        (domain->*handler)(call, body, std::move(done));
      });
}

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_UNARY_HANDLER_H_
