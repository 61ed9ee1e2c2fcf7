#ifndef KEYSPHERE_CONTROLLER_ALARMS_HOST_WATCHER_H_
#define KEYSPHERE_CONTROLLER_ALARMS_HOST_WATCHER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "controller/alarms/alarms.h"
#include "controller/events/event_log.h"
#include "controller/hosts/host_observer.h"
#include "controller/inventory/inventory.h"

namespace keysphere::controller::alarms {

// Turns what hosts tell into vSphere's events and alarms. Whether a lock was told already is what
// the alarm shows: so a lock that came while the host or this controller was away is told once, on
// reconnect (S89). Lives on the controller's strand.
class HostWatcher : public hosts::HostObserver {
 public:
  HostWatcher(events::EventLog* events, Alarms* alarms, inventory::Inventory* inventory)
      : events_(events), alarms_(alarms), inventory_(inventory) {}

  // Called after each change: who waits for a state looks again.
  void OnAnyChange(std::function<void()> listener) { listeners_.push_back(std::move(listener)); }

  // Called with each VM that a host tells.
  using OfVm = std::function<void(const std::string& host, const v1::Vm& vm)>;
  void OnVmTold(OfVm listener) { vm_told_ = std::move(listener); }

  // Called with how far an operation on a VM is.
  using OfProgress =
      std::function<void(const std::string& host, const std::string& vm, int percent)>;
  void OnVmAdvanced(OfProgress listener) { vm_advanced_ = std::move(listener); }
  void OnVmProgress(const std::string& host, const std::string& vm, int percent) override {
    if (vm_advanced_) vm_advanced_(host, vm, percent);
  }

  // Called where a host has lost its host key.
  using Done = absl::AnyInvocable<void()>;
  void OnKeyLost(std::function<void(const std::string&, Done)> listener) {
    key_lost_ = std::move(listener);
  }

  // Whether a host key that a host lost at its boot is given back by its KMS, as a rule: then it is
  // told only that it was not (S90).
  void SetRestorable(std::function<bool(const v1::CryptoKeyId&)> restorable) {
    restorable_ = std::move(restorable);
  }

  void OnHostConnected(const std::string& host) override;
  void OnHostKeyLost(const std::string& host, Done done) override {
    if (!key_lost_) return done();
    key_lost_(host, std::move(done));
  }
  void OnHostLost(const std::string& host, absl::string_view why) override;
  void OnHostStatus(const std::string& host,
                    const host::v1::GetHostStatusResponse& status) override;
  void OnKeyReport(const std::string& host, const host::v1::KeyReport& report) override;
  void OnVm(const std::string& host, const v1::Vm* before, const v1::Vm& now,
            const std::string& user) override;
  void OnVmGone(const std::string& host, const v1::Vm& before, const std::string& user) override;
  void OnVmsTold(const std::string& host,
                 const std::map<std::string, host::v1::HostVm>& vms) override;
  void OnHostForgotten(const std::string& host) override;
  void OnHostKeyHeld(const std::string& host) override;
  void OnHostKeyPurged(const std::string& host, bool missing_on_kms) override;

 private:
  int64_t Append(absl::string_view type, absl::string_view object, absl::string_view message,
                 const std::string& host, const std::string& user = "");
  void TellLock(const std::string& host, const v1::Vm& vm);
  void ClearVmAlarms(const std::string& host, const std::string& object);
  void Changed() const;

  events::EventLog* const events_;
  Alarms* const alarms_;
  inventory::Inventory* const inventory_;
  std::vector<std::function<void()>> listeners_;
  OfVm vm_told_;
  OfProgress vm_advanced_;
  std::function<void(const std::string&, Done)> key_lost_;
  std::function<bool(const v1::CryptoKeyId&)> restorable_;
};

}  // namespace keysphere::controller::alarms

#endif  // KEYSPHERE_CONTROLLER_ALARMS_HOST_WATCHER_H_
