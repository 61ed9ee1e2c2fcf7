#ifndef KEYSPHERE_CONTROLLER_API_SERVE_WATCH_H_
#define KEYSPHERE_CONTROLLER_API_SERVE_WATCH_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "common/rpc/stream_handler.h"
#include "controller/api/serve.h"

// How the controller's streaming methods reach its domain.
namespace keysphere::controller::api {

template <typename Message>
using SharedWriter = std::shared_ptr<rpc::StreamWriter<Message>>;

// Runs `open` on the strand if the caller may; it returns what ends the watch, or an empty function
// when the stream has ended by itself.
template <typename Message, typename Request, typename Open>
grpc::ServerWriteReactor<Message>* ServeWatch(rpc::Gate* gate, vcenter::VCenter* vcenter,
                                              std::string method,
                                              grpc::CallbackServerContext* context,
                                              const Request* request, Open open,
                                              const rpc::StreamOptions& options = {}) {
  return rpc::HandleStream<Message>(
      gate, std::move(method), context, request,
      [vcenter, open = std::move(open)](const rpc::CallInfo& call, const Request& body,
                                        rpc::StreamWriter<Message> stream) {
        auto writer = std::make_shared<rpc::StreamWriter<Message>>(std::move(stream));
        vcenter->strand()->Post(
            [vcenter, open, caller = CallerOf(call), method = call.method, body, writer]() {
              const absl::Status allowed = vcenter->access().AuthorizeMethod(caller, method);
              if (!allowed.ok()) return writer->Finish(allowed);
              std::function<void()> close = open(caller, body, writer);
              if (!close) return;
              // Holds the writer until the client has gone.
              writer->OnGone([strand = vcenter->strand(), close = std::move(close), writer]() {
                strand->Post([close, writer]() { close(); });
              });
            });
      },
      options);
}

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_SERVE_WATCH_H_
