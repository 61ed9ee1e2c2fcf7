// The service Tasks over the domain.
#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/serve_watch.h"
#include "controller/api/services.h"
#include "keysphere/v1/tasks.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

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

}  // namespace

Service MakeTasksApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<TasksApi>(gate, vcenter), v1::Tasks::service_full_name()};
}

}  // namespace keysphere::controller::api
