#ifndef KEYSPHERE_CONTROLLER_API_EVENTS_API_H_
#define KEYSPHERE_CONTROLLER_API_EVENTS_API_H_

#include "common/rpc/gate.h"
#include "controller/api/serve.h"
#include "controller/vcenter/vcenter.h"
#include "keysphere/v1/events.grpc.pb.h"

// The services Events and Alarms over the domain.
namespace keysphere::controller::api {

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

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_EVENTS_API_H_
