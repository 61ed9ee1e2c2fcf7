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

  void Attach(host::v1::AttachRequest request,
              status::Callback<host::v1::AttachResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::Attach, std::move(request),
                     ShortCall(), std::move(done));
  }

  void Detach(host::v1::DetachRequest request,
              status::Callback<host::v1::DetachResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::Detach, std::move(request),
                     ShortCall(), std::move(done));
  }

  void CheckKeys(host::v1::CheckKeysRequest request,
                 status::Callback<host::v1::CheckKeysResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::CheckKeys, std::move(request),
                     ShortCall(), std::move(done));
  }

  void ApplyKeys(host::v1::ApplyKeysRequest request,
                 status::Callback<host::v1::ApplyKeysResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::ApplyKeys, std::move(request),
                     ShortCall(), std::move(done));
  }

  void SetCryptoMode(host::v1::SetCryptoModeRequest request,
                     status::Callback<host::v1::SetCryptoModeResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::SetCryptoMode, std::move(request),
                     ShortCall(), std::move(done));
  }

  void SetKeyPersistence(host::v1::SetKeyPersistenceRequest request,
                         status::Callback<host::v1::SetKeyPersistenceResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::SetKeyPersistence, std::move(request),
                     ShortCall(), std::move(done));
  }

  void WriteCoreDump(host::v1::WriteCoreDumpRequest request,
                     status::Callback<host::v1::WriteCoreDumpResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::WriteCoreDump, std::move(request),
                     LongCall(), std::move(done));
  }

  void UnlockAllHostVms(host::v1::UnlockAllHostVmsRequest request,
                        status::Callback<host::v1::UnlockAllHostVmsResponse> done) override {
    management_.Call(&host::v1::HostManagement::Stub::async::UnlockAllHostVms, std::move(request),
                     ShortCall(), std::move(done));
  }

  void GetHostStatus(host::v1::GetHostStatusRequest request,
                     status::Callback<host::v1::GetHostStatusResponse> done) override {
    status_.Call(&host::v1::HostStatus::Stub::async::GetHostStatus, std::move(request), ShortCall(),
                 std::move(done));
  }

  void CreateHostVm(host::v1::CreateHostVmRequest request,
                    status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::CreateHostVm, std::move(request), LongCall(),
              std::move(done));
  }

  void RegisterHostVm(host::v1::RegisterHostVmRequest request,
                      status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::RegisterHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void UnregisterHostVm(host::v1::UnregisterHostVmRequest request,
                        status::Callback<host::v1::UnregisterHostVmResponse> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::UnregisterHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void ReloadHostVm(host::v1::ReloadHostVmRequest request,
                    status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::ReloadHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void PowerOnHostVm(host::v1::PowerOnHostVmRequest request,
                     status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::PowerOnHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void PowerOffHostVm(host::v1::PowerOffHostVmRequest request,
                      status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::PowerOffHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void ResetHostVm(host::v1::ResetHostVmRequest request,
                   status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::ResetHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

  void EncryptHostVm(host::v1::EncryptHostVmRequest request,
                     status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::EncryptHostVm, std::move(request), LongCall(),
              std::move(done));
  }

  void DecryptHostVm(host::v1::DecryptHostVmRequest request,
                     status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::DecryptHostVm, std::move(request), LongCall(),
              std::move(done));
  }

  void AddHostVmVtpm(host::v1::AddHostVmVtpmRequest request,
                     status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::AddHostVmVtpm, std::move(request), LongCall(),
              std::move(done));
  }

  void RekeyHostVm(host::v1::RekeyHostVmRequest request,
                   status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::RekeyHostVm, std::move(request), LongCall(),
              std::move(done));
  }

  void UnlockHostVm(host::v1::UnlockHostVmRequest request,
                    status::Callback<host::v1::HostVm> done) override {
    vms_.Call(&host::v1::HostVms::Stub::async::UnlockHostVm, std::move(request), ShortCall(),
              std::move(done));
  }

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
