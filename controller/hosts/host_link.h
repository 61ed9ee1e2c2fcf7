#ifndef KEYSPHERE_CONTROLLER_HOSTS_HOST_LINK_H_
#define KEYSPHERE_CONTROLLER_HOSTS_HOST_LINK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/status/callback.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/host/v1/host_status.pb.h"
#include "keysphere/host/v1/host_vms.pb.h"

namespace keysphere::controller::hosts {

// The controller's way to one host agent. Every call ends within its deadline (short ones 10 s,
// those that work on a VM's files 1 h) by calling back once, on any thread: callers post to their
// strand. UNAVAILABLE with HOST_NOT_RESPONDING, or DEADLINE_EXCEEDED, where the host does not
// answer. Fake: the in-process link of tests, which calls a HostAgent directly.
class HostLink {
 public:
  virtual ~HostLink() = default;

  // The host does not answer: ends all calls under way with `status`. Those on a VM's files would
  // else wait for an hour. A link whose calls are answered at once has none.
  virtual void GiveUp(const absl::Status& /*status*/) {}

  virtual void Attach(host::v1::AttachRequest request,
                      status::Callback<host::v1::AttachResponse> done) = 0;
  virtual void Detach(host::v1::DetachRequest request,
                      status::Callback<host::v1::DetachResponse> done) = 0;
  virtual void CheckKeys(host::v1::CheckKeysRequest request,
                         status::Callback<host::v1::CheckKeysResponse> done) = 0;
  virtual void ApplyKeys(host::v1::ApplyKeysRequest request,
                         status::Callback<host::v1::ApplyKeysResponse> done) = 0;
  virtual void SetCryptoMode(host::v1::SetCryptoModeRequest request,
                             status::Callback<host::v1::SetCryptoModeResponse> done) = 0;
  virtual void SetKeyPersistence(host::v1::SetKeyPersistenceRequest request,
                                 status::Callback<host::v1::SetKeyPersistenceResponse> done) = 0;
  virtual void WriteCoreDump(host::v1::WriteCoreDumpRequest request,
                             status::Callback<host::v1::WriteCoreDumpResponse> done) = 0;
  virtual void ReadCoreDump(host::v1::ReadCoreDumpRequest request,
                            status::Callback<host::v1::ReadCoreDumpResponse> done) = 0;
  virtual void UnlockAllHostVms(host::v1::UnlockAllHostVmsRequest request,
                                status::Callback<host::v1::UnlockAllHostVmsResponse> done) = 0;
  virtual void GetHostStatus(host::v1::GetHostStatusRequest request,
                             status::Callback<host::v1::GetHostStatusResponse> done) = 0;

  virtual void GetHostVm(host::v1::GetHostVmRequest request,
                         status::Callback<host::v1::HostVm> done) = 0;
  virtual void CreateHostVm(host::v1::CreateHostVmRequest request,
                            status::Callback<host::v1::HostVm> done) = 0;
  virtual void RegisterHostVm(host::v1::RegisterHostVmRequest request,
                              status::Callback<host::v1::HostVm> done) = 0;
  virtual void UnregisterHostVm(host::v1::UnregisterHostVmRequest request,
                                status::Callback<host::v1::UnregisterHostVmResponse> done) = 0;
  virtual void ReloadHostVm(host::v1::ReloadHostVmRequest request,
                            status::Callback<host::v1::HostVm> done) = 0;
  virtual void PowerOnHostVm(host::v1::PowerOnHostVmRequest request,
                             status::Callback<host::v1::HostVm> done) = 0;
  virtual void PowerOffHostVm(host::v1::PowerOffHostVmRequest request,
                              status::Callback<host::v1::HostVm> done) = 0;
  virtual void ResetHostVm(host::v1::ResetHostVmRequest request,
                           status::Callback<host::v1::HostVm> done) = 0;
  virtual void EncryptHostVm(host::v1::EncryptHostVmRequest request,
                             status::Callback<host::v1::HostVm> done) = 0;
  virtual void DecryptHostVm(host::v1::DecryptHostVmRequest request,
                             status::Callback<host::v1::HostVm> done) = 0;
  virtual void AddHostVmVtpm(host::v1::AddHostVmVtpmRequest request,
                             status::Callback<host::v1::HostVm> done) = 0;
  virtual void RekeyHostVm(host::v1::RekeyHostVmRequest request,
                           status::Callback<host::v1::HostVm> done) = 0;
  virtual void UnlockHostVm(host::v1::UnlockHostVmRequest request,
                            status::Callback<host::v1::HostVm> done) = 0;

  // One watch. `on_event` for each message, then `on_end` once (never after the handle is gone).
  // Destroying the handle ends the stream.
  class Watch {
   public:
    virtual ~Watch() = default;
  };
  virtual std::unique_ptr<Watch> WatchHost(host::v1::WatchHostRequest request,
                                           std::function<void(host::v1::HostEvent)> on_event,
                                           std::function<void(absl::Status)> on_end) = 0;
};

// Makes links. `name` is the NAME of the SPIFFE id that the peer must prove.
class HostLinkFactory {
 public:
  virtual ~HostLinkFactory() = default;
  virtual absl::StatusOr<std::unique_ptr<HostLink>> Connect(absl::string_view name,
                                                            absl::string_view address) = 0;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_HOST_LINK_H_
