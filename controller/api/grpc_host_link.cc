#include "controller/api/grpc_host_link.h"

#include <utility>

#include "common/rpc/client.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

rpc::CallOptions ShortCall() {
  rpc::CallOptions options;
  options.timeout = absl::Seconds(10);
  return options;
}

// Work on a VM's files: as long as its disks take.
rpc::CallOptions LongCall() {
  rpc::CallOptions options;
  options.timeout = absl::Hours(1);
  return options;
}

class GrpcWatch : public hosts::HostLink::Watch {
 public:
  explicit GrpcWatch(rpc::Subscription subscription) : subscription_(std::move(subscription)) {}

 private:
  rpc::Subscription subscription_;
};

class GrpcHostLink : public hosts::HostLink {
 public:
  explicit GrpcHostLink(const std::shared_ptr<rpc::Channel>& channel)
      : channel_(channel), management_(channel), vms_(channel), status_(channel) {}

  void GiveUp(const absl::Status& status) override { channel_->EndCalls(status); }

// STUB: whose method it is; CALL: how long it may take.
#define KS_FORWARD(STUB, SERVICE, METHOD, RESPONSE, CALL)                                   \
  void METHOD(host::v1::METHOD##Request request, status::Callback<host::v1::RESPONSE> done) \
      override {                                                                            \
    STUB##_.Call(&host::v1::SERVICE::Stub::async::METHOD, std::move(request), CALL(),       \
                 std::move(done));                                                          \
  }
  KS_FORWARD(management, HostManagement, Attach, AttachResponse, ShortCall)
  KS_FORWARD(management, HostManagement, Detach, DetachResponse, ShortCall)
  KS_FORWARD(management, HostManagement, CheckKeys, CheckKeysResponse, ShortCall)
  KS_FORWARD(management, HostManagement, ApplyKeys, ApplyKeysResponse, ShortCall)
  KS_FORWARD(management, HostManagement, SetCryptoMode, SetCryptoModeResponse, ShortCall)
  KS_FORWARD(management, HostManagement, SetKeyPersistence, SetKeyPersistenceResponse, ShortCall)
  KS_FORWARD(management, HostManagement, WriteCoreDump, WriteCoreDumpResponse, LongCall)
  KS_FORWARD(management, HostManagement, ReadCoreDump, ReadCoreDumpResponse, ShortCall)
  KS_FORWARD(management, HostManagement, UnlockAllHostVms, UnlockAllHostVmsResponse, ShortCall)
  KS_FORWARD(status, HostStatus, GetHostStatus, GetHostStatusResponse, ShortCall)
  KS_FORWARD(vms, HostVms, GetHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, CreateHostVm, HostVm, LongCall)
  KS_FORWARD(vms, HostVms, RegisterHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, UnregisterHostVm, UnregisterHostVmResponse, ShortCall)
  KS_FORWARD(vms, HostVms, ReloadHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, PowerOnHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, PowerOffHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, ResetHostVm, HostVm, ShortCall)
  KS_FORWARD(vms, HostVms, EncryptHostVm, HostVm, LongCall)
  KS_FORWARD(vms, HostVms, DecryptHostVm, HostVm, LongCall)
  KS_FORWARD(vms, HostVms, AddHostVmVtpm, HostVm, LongCall)
  KS_FORWARD(vms, HostVms, RekeyHostVm, HostVm, LongCall)
  KS_FORWARD(vms, HostVms, UnlockHostVm, HostVm, ShortCall)
#undef KS_FORWARD

  std::unique_ptr<Watch> WatchHost(host::v1::WatchHostRequest request,
                                   std::function<void(host::v1::HostEvent)> on_event,
                                   std::function<void(absl::Status)> on_end) override {
    return std::make_unique<GrpcWatch>(
        management_.Watch(&host::v1::HostManagement::Stub::async::WatchHost, std::move(request),
                          ShortCall(), std::move(on_event), std::move(on_end)));
  }

 private:
  const std::shared_ptr<rpc::Channel> channel_;
  const rpc::Client<host::v1::HostManagement> management_;
  const rpc::Client<host::v1::HostVms> vms_;
  const rpc::Client<host::v1::HostStatus> status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<hosts::HostLink>> GrpcHostLinkFactory::Connect(
    absl::string_view name, absl::string_view address) {
  KS_ASSIGN_OR_RETURN(
      const identity::Identity peer,
      identity::Identity::Create(daemon_->identity().trust_domain, identity::Kind::kHost, name));
  rpc::ChannelOptions options = daemon_->Channel(peer, address);
  options.unreachable = v1::REASON_HOST_NOT_RESPONDING;
  KS_ASSIGN_OR_RETURN(std::shared_ptr<rpc::Channel> channel,
                      rpc::Channel::Create(std::move(options)));
  return std::unique_ptr<hosts::HostLink>(std::make_unique<GrpcHostLink>(channel));
}

}  // namespace keysphere::controller::api
