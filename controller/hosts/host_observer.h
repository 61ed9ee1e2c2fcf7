#ifndef KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_
#define KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_

#include <string>

#include "absl/strings/string_view.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/host/v1/host_status.pb.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::hosts {

// Hears of every change that hosts tell of. The one implementation turns them into events and
// alarms; a fake notes them. Called on the controller's strand.
class HostObserver {
 public:
  virtual ~HostObserver() = default;
  virtual void OnHostConnected(const std::string& host) = 0;
  virtual void OnHostLost(const std::string& host, absl::string_view why) = 0;
  // The first status after an attach too.
  virtual void OnHostStatus(const std::string& host,
                            const host::v1::GetHostStatusResponse& status) = 0;
  virtual void OnKeyReport(const std::string& host, const host::v1::KeyReport& report) = 0;
  // `before` is nullptr for a VM that was not known.
  virtual void OnVm(const std::string& host, const v1::Vm* before, const v1::Vm& now) = 0;
  virtual void OnVmGone(const std::string& host, const v1::Vm& before) = 0;
  // The host was safe, has booted without its host key, and its first sync has ended (S150).
  virtual void OnHostKeyLost(const std::string& /*host*/) {}
  // A pass took these providers from the host.
  virtual void OnPurged(const std::string& host, const host::v1::GetHostStatusResponse& status,
                        const host::v1::ApplyKeysResponse& result) = 0;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_
