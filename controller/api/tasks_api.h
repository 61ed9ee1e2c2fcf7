#ifndef KEYSPHERE_CONTROLLER_API_TASKS_API_H_
#define KEYSPHERE_CONTROLLER_API_TASKS_API_H_

#include "common/rpc/gate.h"
#include "controller/api/serve.h"
#include "controller/vcenter/vcenter.h"
#include "keysphere/v1/tasks.grpc.pb.h"

// The service Tasks over the domain.
namespace keysphere::controller::api {

class TasksApi final : public v1::Tasks::CallbackService {
 public:
  TasksApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* context,
                                    const v1::GetTaskRequest* request,
                                    v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Tasks), context, request, response,
                 &vcenter_->tasks(), &tasks::Tasks::GetTask);
  }
  grpc::ServerUnaryReactor* ListTasks(grpc::CallbackServerContext* context,
                                      const v1::ListTasksRequest* request,
                                      v1::ListTasksResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Tasks), context, request, response,
                 &vcenter_->tasks(), &tasks::Tasks::ListTasks);
  }
  grpc::ServerWriteReactor<v1::Task>* WatchTask(grpc::CallbackServerContext* context,
                                                const v1::WatchTaskRequest* request) override;
  grpc::ServerUnaryReactor* CancelTask(grpc::CallbackServerContext* context,
                                       const v1::CancelTaskRequest* request,
                                       v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Tasks), context, request, response,
                 &vcenter_->tasks(), &tasks::Tasks::CancelTask);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_TASKS_API_H_
