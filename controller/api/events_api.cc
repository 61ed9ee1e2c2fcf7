// The services Events and Alarms over the domain.
#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/serve_watch.h"
#include "controller/api/services.h"
#include "keysphere/v1/events.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

class EventsApi final : public v1::Events::CallbackService {
 public:
  EventsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* ListEvents(grpc::CallbackServerContext* context,
                                       const v1::ListEventsRequest* request,
                                       v1::ListEventsResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Events), context, request, response,
                 &vcenter_->events(), &events::EventLog::ListEvents);
  }
  grpc::ServerWriteReactor<v1::Event>* WatchEvents(grpc::CallbackServerContext* context,
                                                   const v1::WatchEventsRequest* request) override;
  grpc::ServerWriteReactor<v1::WaitForResponse>* WaitFor(
      grpc::CallbackServerContext* context, const v1::WaitForRequest* request) override;

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

class AlarmsApi final : public v1::Alarms::CallbackService {
 public:
  AlarmsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* ListAlarms(grpc::CallbackServerContext* context,
                                       const v1::ListAlarmsRequest* request,
                                       v1::ListAlarmsResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Alarms), context, request, response,
                 &vcenter_->alarms(), &alarms::Alarms::ListAlarms);
  }
  grpc::ServerUnaryReactor* AcknowledgeAlarm(grpc::CallbackServerContext* context,
                                             const v1::AcknowledgeAlarmRequest* request,
                                             v1::Alarm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Alarms), context, request, response,
                 &vcenter_->alarms(), &alarms::Alarms::AcknowledgeAlarm);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

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

}  // namespace

Service MakeEventsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<EventsApi>(gate, vcenter), v1::Events::service_full_name()};
}

Service MakeAlarmsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<AlarmsApi>(gate, vcenter), v1::Alarms::service_full_name()};
}

}  // namespace keysphere::controller::api
