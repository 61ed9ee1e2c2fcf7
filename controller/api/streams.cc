// The streaming methods: downloads, and watches that last until the client goes.
#include <openssl/crypto.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "common/rpc/stream_handler.h"
#include "controller/api/events_api.h"
#include "controller/api/key_providers_api.h"
#include "controller/api/tasks_api.h"

namespace keysphere::controller::api {
namespace {

constexpr size_t kChunkBytes = 16 << 10;

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

}  // namespace

grpc::ServerWriteReactor<v1::Event>* EventsApi::WatchEvents(grpc::CallbackServerContext* context,
                                                            const v1::WatchEventsRequest* request) {
  rpc::StreamOptions options;
  // The log holds back before it is full.
  options.queue_limit = 2 * events::EventLog::kWatcherQueue;
  return ServeWatch<v1::Event>(
      gate_, vcenter_, KS_RPC_METHOD(v1::Events), context, request,
      [vcenter = vcenter_](const access::Caller&, const v1::WatchEventsRequest& body,
                           const SharedWriter<v1::Event>& writer) -> std::function<void()> {
        const std::weak_ptr<rpc::StreamWriter<v1::Event>> weak = writer;
        const events::EventLog::WatchId id =
            vcenter->events().Watch(body, [weak](absl::StatusOr<v1::Event> event) -> size_t {
              const auto stream = weak.lock();
              if (stream == nullptr) return 0;
              if (event.ok()) {
                stream->Write(*std::move(event));
              } else {
                stream->Finish(event.status());
              }
              return stream->Waiting();
            });
        // Kept events are held back while too many wait (a replay of all would not fit the queue).
        writer->OnDrained([vcenter, id]() {
          vcenter->strand()->Post([vcenter, id]() { vcenter->events().Resume(id); });
        });
        vcenter->events().Resume(id);  // should all have gone already
        return [vcenter, id]() { vcenter->events().CancelWatch(id); };
      },
      options);
}

grpc::ServerWriteReactor<v1::WaitForResponse>* EventsApi::WaitFor(
    grpc::CallbackServerContext* context, const v1::WaitForRequest* request) {
  return ServeWatch<v1::WaitForResponse>(
      gate_, vcenter_, KS_RPC_METHOD(v1::Events), context, request,
      [vcenter = vcenter_](
          const access::Caller&, const v1::WaitForRequest& body,
          const SharedWriter<v1::WaitForResponse>& writer) -> std::function<void()> {
        const std::weak_ptr<rpc::StreamWriter<v1::WaitForResponse>> weak = writer;
        const absl::StatusOr<vcenter::StateWaiter::WaitId> id =
            vcenter->waiter().WaitFor(body, [weak](const v1::WaitForResponse& state) {
              const auto stream = weak.lock();
              if (stream == nullptr) return;
              stream->Write(state);
              if (state.holds()) stream->Finish(absl::OkStatus());
            });
        if (!id.ok()) {
          writer->Finish(id.status());
          return nullptr;
        }
        return [vcenter, id = *id]() { vcenter->waiter().Cancel(id); };
      });
}

grpc::ServerWriteReactor<v1::Task>* TasksApi::WatchTask(grpc::CallbackServerContext* context,
                                                        const v1::WatchTaskRequest* request) {
  return ServeWatch<v1::Task>(
      gate_, vcenter_, KS_RPC_METHOD(v1::Tasks), context, request,
      [vcenter = vcenter_](const access::Caller&, const v1::WatchTaskRequest& body,
                           const SharedWriter<v1::Task>& writer) -> std::function<void()> {
        const std::weak_ptr<rpc::StreamWriter<v1::Task>> weak = writer;
        const absl::StatusOr<tasks::Tasks::WatchId> id =
            vcenter->tasks().Watch(body.id(), [weak](const v1::Task& task, bool last) {
              const auto stream = weak.lock();
              if (stream == nullptr) return;
              stream->Write(task);
              if (last) stream->Finish(absl::OkStatus());
            });
        if (!id.ok()) {
          writer->Finish(id.status());
          return nullptr;
        }
        return [vcenter, id = *id]() { vcenter->tasks().CancelWatch(id); };
      });
}

grpc::ServerWriteReactor<v1::DownloadKeyProviderResponse>* KeyProvidersApi::DownloadKeyProvider(
    grpc::CallbackServerContext* context, const v1::DownloadKeyProviderRequest* request) {
  using Message = v1::DownloadKeyProviderResponse;
  return ServeWatch<Message>(
      gate_, vcenter_, KS_RPC_METHOD(v1::KeyProviders), context, request,
      [vcenter = vcenter_](const access::Caller& caller, const v1::DownloadKeyProviderRequest& body,
                           const SharedWriter<Message>& writer) -> std::function<void()> {
        vcenter->providers().BeginDownload(
            caller, body,
            [vcenter, caller, name = body.name(), writer](absl::StatusOr<std::string> bundle) {
              if (!bundle.ok()) return writer->Finish(bundle.status());
              // Before anything is written, so that it hears of the end in any case.
              writer->OnGone([vcenter, caller, name, writer]() {
                vcenter->strand()->Post([vcenter, caller, name, complete = writer->Complete()]() {
                  vcenter->providers().DownloadFinished(caller, name, complete,
                                                        [](absl::Status) {});
                });
              });
              for (size_t at = 0; at < bundle->size(); at += kChunkBytes) {
                Message part;
                part.set_chunk(bundle->substr(at, kChunkBytes));
                writer->Write(std::move(part));
              }
              OPENSSL_cleanse(&(*bundle)[0], bundle->size());
              writer->Finish(absl::OkStatus());
            });
        return nullptr;
      });
}

}  // namespace keysphere::controller::api
