#ifndef KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_
#define KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_

#include <map>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/host/v1/host_status.pb.h"
#include "keysphere/host/v1/host_vms.pb.h"
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
  // `before` is nullptr for a VM that was not known. `user`: whose operation it was; empty:
  // nobody's that is known.
  virtual void OnVm(const std::string& host, const v1::Vm* before, const v1::Vm& now,
                    const std::string& user) = 0;
  virtual void OnVmGone(const std::string& host, const v1::Vm& before, const std::string& user) = 0;
  // How far the host is with an operation that copies the VM's disks, 0 to 100.
  virtual void OnVmProgress(const std::string& /*host*/, const std::string& /*vm*/,
                            int /*percent*/) {}
  // The host has told all its VMs, by name, each by OnVm already: it has no other.
  virtual void OnVmsTold(const std::string& host,
                         const std::map<std::string, host::v1::HostVm>& vms) = 0;
  // The host is this vCenter's no more.
  virtual void OnHostForgotten(const std::string& host) = 0;
  // The host was safe, has booted without its host key, and has the native providers' keys (S150).
  // `done` when it has a host key again, or cannot have one: keys of standard providers follow.
  virtual void OnHostKeyLost(const std::string& /*host*/, absl::AnyInvocable<void()> done) {
    done();
  }
  // The host is safe, and holds its host key or the KDK of it.
  virtual void OnHostKeyHeld(const std::string& host) = 0;
  // A pass took from the safe host its host key, or the KDK of it (S150): because its KMS answers
  // and does not have it (S152), or because of its provider.
  virtual void OnHostKeyPurged(const std::string& host, bool missing_on_kms) = 0;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_HOST_OBSERVER_H_
