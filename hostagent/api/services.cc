#include "hostagent/api/services.h"

#include <string>
#include <utility>

#include "common/rpc/stream_handler.h"
#include "hostagent/api/serve.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"

namespace keysphere::hostagent::api {
namespace {

class StatusService : public host::v1::HostStatus::CallbackService {
 public:
  StatusService(rpc::Gate* gate, agent::HostAgent* agent) : gate_(gate), agent_(agent) {}

  KS_HOST_METHOD(HostStatus, GetHostStatus, GetHostStatusRequest, GetHostStatusResponse)
  KS_HOST_METHOD(HostStatus, GetHostStats, GetHostStatsRequest, HostStats)
  KS_HOST_METHOD(HostStatus, ProvideRecoveryKey, ProvideRecoveryKeyRequest, GetHostStatusResponse)

 private:
  rpc::Gate* const gate_;
  agent::HostAgent* const agent_;
};

class ManagementService : public host::v1::HostManagement::CallbackService {
 public:
  ManagementService(rpc::Gate* gate, agent::HostAgent* agent) : gate_(gate), agent_(agent) {}

  KS_HOST_METHOD(HostManagement, Attach, AttachRequest, AttachResponse)
  KS_HOST_METHOD(HostManagement, Detach, DetachRequest, DetachResponse)
  KS_HOST_METHOD(HostManagement, CheckKeys, CheckKeysRequest, CheckKeysResponse)
  KS_HOST_METHOD(HostManagement, ApplyKeys, ApplyKeysRequest, ApplyKeysResponse)
  KS_HOST_METHOD(HostManagement, SetCryptoMode, SetCryptoModeRequest, SetCryptoModeResponse)
  KS_HOST_METHOD(HostManagement, UnlockAllHostVms, UnlockAllHostVmsRequest,
                 UnlockAllHostVmsResponse)
  KS_HOST_METHOD(HostManagement, SetKeyPersistence, SetKeyPersistenceRequest,
                 SetKeyPersistenceResponse)
  KS_HOST_METHOD(HostManagement, WriteCoreDump, WriteCoreDumpRequest, WriteCoreDumpResponse)
  KS_HOST_METHOD(HostManagement, ReadCoreDump, ReadCoreDumpRequest, ReadCoreDumpResponse)

  grpc::ServerWriteReactor<host::v1::HostEvent>* WatchHost(
      grpc::CallbackServerContext* context, const host::v1::WatchHostRequest* request) override {
    using Writer = rpc::StreamWriter<host::v1::HostEvent>;
    return rpc::HandleStream<host::v1::HostEvent>(
        gate_, KS_RPC_METHOD(host::v1::HostManagement), context, request,
        [agent = agent_](const rpc::CallInfo& call, const host::v1::WatchHostRequest& body,
                         Writer stream) {
          auto writer = std::make_shared<Writer>(std::move(stream));
          agent::WatchSink sink;
          sink.on_event = [writer](const host::v1::HostEvent& event) {
            return writer->Write(event);
          };
          sink.on_end = [writer](const absl::Status& why) { writer->Finish(why); };
          const agent::HostAgent::WatchId id = agent->WatchHost(call.caller, body, std::move(sink));
          writer->OnGone([agent, id] { agent->CancelWatch(id); });
        });
  }

 private:
  rpc::Gate* const gate_;
  agent::HostAgent* const agent_;
};

class VmsService : public host::v1::HostVms::CallbackService {
 public:
  VmsService(rpc::Gate* gate, agent::HostAgent* agent) : gate_(gate), agent_(agent) {}

  KS_HOST_METHOD(HostVms, ListHostVms, ListHostVmsRequest, ListHostVmsResponse)
  KS_HOST_METHOD(HostVms, GetHostVm, GetHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, CreateHostVm, CreateHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, RegisterHostVm, RegisterHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, UnregisterHostVm, UnregisterHostVmRequest, UnregisterHostVmResponse)
  KS_HOST_METHOD(HostVms, ReloadHostVm, ReloadHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, PowerOnHostVm, PowerOnHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, PowerOffHostVm, PowerOffHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, ResetHostVm, ResetHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, EncryptHostVm, EncryptHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, DecryptHostVm, DecryptHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, AddHostVmVtpm, AddHostVmVtpmRequest, HostVm)
  KS_HOST_METHOD(HostVms, RekeyHostVm, RekeyHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, UnlockHostVm, UnlockHostVmRequest, HostVm)
  KS_HOST_METHOD(HostVms, ReadGuestDisk, ReadGuestDiskRequest, ReadGuestDiskResponse)
  KS_HOST_METHOD(HostVms, WriteGuestDisk, WriteGuestDiskRequest, WriteGuestDiskResponse)

 private:
  rpc::Gate* const gate_;
  agent::HostAgent* const agent_;
};

}  // namespace

std::unique_ptr<rpc::RuleTable> HostRules() {
  using identity::Kind;
  const rpc::RuleTable::Rule controllers = rpc::RuleTable::OnlyKinds({Kind::kController});
  const rpc::RuleTable::Rule users = rpc::RuleTable::OnlyKinds({Kind::kUser});
  const rpc::RuleTable::Rule both = rpc::RuleTable::OnlyKinds({Kind::kController, Kind::kUser});
  auto rules = std::make_unique<rpc::RuleTable>();
  const auto add = [&rules](const char* service, const char* method,
                            const rpc::RuleTable::Rule& rule) {
    rules->Add(rpc::MethodName(service, method), rule);
  };
  const char* const status = host::v1::HostStatus::service_full_name();
  add(status, "GetHostStatus", both);
  add(status, "GetHostStats", both);
  add(status, "ProvideRecoveryKey", users);
  const char* const management = host::v1::HostManagement::service_full_name();
  for (const char* method : {"Attach", "Detach", "CheckKeys", "ApplyKeys", "WatchHost"}) {
    add(management, method, controllers);
  }
  // A user with the host role hears that only the controller can do it.
  for (const char* method :
       {"SetCryptoMode", "UnlockAllHostVms", "SetKeyPersistence", "WriteCoreDump", "ReadCoreDump"})
    add(management, method, both);
  const char* const vms = host::v1::HostVms::service_full_name();
  for (const char* method : {"ListHostVms", "GetHostVm", "CreateHostVm", "RegisterHostVm",
                             "UnregisterHostVm", "ReloadHostVm", "PowerOnHostVm", "PowerOffHostVm",
                             "ResetHostVm", "EncryptHostVm", "DecryptHostVm", "AddHostVmVtpm",
                             "RekeyHostVm", "UnlockHostVm", "ReadGuestDisk", "WriteGuestDisk"}) {
    add(vms, method, both);
  }
  return rules;
}

struct Services::Implementations {
  Implementations(rpc::Gate* gate, agent::HostAgent* agent)
      : status(gate, agent), management(gate, agent), vms(gate, agent) {}
  StatusService status;
  ManagementService management;
  VmsService vms;
};

Services::Services(rpc::Gate* gate, agent::HostAgent* agent)
    : implementations_(std::make_unique<Implementations>(gate, agent)) {}

Services::~Services() = default;

std::vector<rpc::ServiceEntry> Services::Entries() {
  return {rpc::Serving<host::v1::HostStatus>(&implementations_->status),
          rpc::Serving<host::v1::HostManagement>(&implementations_->management),
          rpc::Serving<host::v1::HostVms>(&implementations_->vms)};
}

}  // namespace keysphere::hostagent::api
