#include "controller/alarms/host_watcher.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::alarms {
namespace {

std::string VmObject(const v1::Vm& vm) { return absl::StrCat("vm/", vm.name()); }
std::string HostObject(const std::string& host) { return absl::StrCat("host/", host); }

const char* LockEvent(v1::LockCause cause) {
  switch (cause) {
    case v1::LOCK_CAUSE_KEY_MISSING_ON_KMS:
      return events::kVmLockedKeyMissingOnKms;
    case v1::LOCK_CAUSE_KMS_CLUSTER_ERROR:
      return events::kVmLockedKmsClusterError;
    case v1::LOCK_CAUSE_KEY_MISSING_ON_HOST:
      return events::kVmLockedKeyMissingOnHost;
    default:  // no key is missing: its files cannot be used (S89)
      return events::kVmConfigMissing;
  }
}

// Those of a VM that hold until the host says otherwise.
constexpr const char* kVmAlarms[] = {kVmLocked, kVmFilesUnusable};

bool HasMode(v1::CryptoState state) {
  return state == v1::CRYPTO_STATE_SAFE || state == v1::CRYPTO_STATE_PENDING_INCAPABLE;
}

}  // namespace

int64_t HostWatcher::Append(absl::string_view type, absl::string_view object,
                            absl::string_view message, const std::string& host,
                            const std::string& user) {
  v1::Event event;
  event.set_type(std::string(type));
  event.set_object(std::string(object));
  event.set_user(user);
  event.set_message(std::string(message));
  (*event.mutable_arguments())["host"] = host;
  return events_->Append(std::move(event));
}

void HostWatcher::Changed() const {
  for (const auto& listener : listeners_) listener();
}

void HostWatcher::OnHostConnected(const std::string& host) {
  Append(events::kHostConnected, HostObject(host), absl::StrCat("Host ", host, " is connected"),
         host);
  Changed();
}

void HostWatcher::OnHostLost(const std::string& host, absl::string_view why) {
  Append(events::kHostConnectionLost, HostObject(host),
         absl::StrCat("Host ", host, " is not responding: ", why.substr(0, 200)), host);
  Changed();
}

void HostWatcher::OnHostStatus(const std::string& host,
                               const host::v1::GetHostStatusResponse& status) {
  const inventory::HostRecord* const record = inventory_->FindHost(host);
  if (record == nullptr) return Changed();  // it is just being added
  const bool before = HasMode(record->last_crypto_state());
  const bool now = HasMode(status.crypto_state());
  const std::string object = HostObject(host);
  if (!before && now) {
    Append(events::kHostCryptoEnabled, object,
           absl::StrCat("Encryption mode of host ", host, " is enabled"), host);
    alarms_->Clear(kHostRequiresEncryption, object);
  }
  const bool disabled = status.crypto_state() == v1::CRYPTO_STATE_PENDING_INCAPABLE &&
                        record->last_crypto_state() == v1::CRYPTO_STATE_SAFE;
  if (disabled) {
    Append(events::kHostCryptoDisabled, object,
           absl::StrCat("Encryption mode of host ", host, " is disabled; it ends with a reboot"),
           host);
  }
  const bool restored = restorable_ && restorable_(status.host_key());
  if (record->last_crypto_state() == v1::CRYPTO_STATE_SAFE && !now && !restored) {
    // It booted and could not have its host key (S90, S150).
    const int64_t revision = Append(
        events::kReqEnableKmsClusterError, object,
        absl::StrCat("Host ", host, " requires encryption mode; its host key is not available"),
        host);
    alarms_->Raise(kHostRequiresEncryption, object, v1::Alarm::SEVERITY_RED,
                   absl::StrCat("Host ", host, " requires encryption mode: re-enable it"),
                   revision);
  }
  if (record->last_crypto_state() != status.crypto_state() ||
      record->last_host_key().key_id() != status.host_key().key_id() ||
      record->last_host_key_check_value() != status.host_key_check_value()) {
    inventory_->NoteCryptoState(host, status.crypto_state(), status.host_key(),
                                status.host_key_check_value());
  }
  Changed();
}

void HostWatcher::OnKeyReport(const std::string& host, const host::v1::KeyReport& report) {
  const std::string object = HostObject(host);
  if (report.collisions().empty()) {
    alarms_->Clear(kKeyCollision, object);
    return Changed();
  }
  if (!alarms_->Shows(kKeyCollision, object)) {
    const std::string message =
        absl::StrCat("Host ", host, " holds another key under the name of provider ",
                     status::Quote(report.collisions(0).provider()),
                     "; the next pass of the remediation loop swaps it");
    const int64_t revision = Append(events::kKeyCollision, object, message, host);
    alarms_->Raise(kKeyCollision, object, v1::Alarm::SEVERITY_YELLOW, message, revision);
  }
  Changed();
}

void HostWatcher::TellLock(const std::string& host, const v1::Vm& vm) {
  const std::string object = VmObject(vm);
  const bool told = alarms_->ShowsOn(host, kVmLocked, object);
  if (vm.lock_state() == v1::LOCK_STATE_LOCKED) {
    const bool files = vm.lock().cause() == v1::LOCK_CAUSE_UNSPECIFIED;
    if (told || (files && alarms_->ShowsOn(host, kVmFilesUnusable, object))) {
      alarms_->Renew(told ? kVmLocked : kVmFilesUnusable, object, vm.lock().summary());
      return;
    }
    if (!files) alarms_->ClearOn(host, kVmFilesUnusable, object);
    v1::Event event;
    event.set_type(LockEvent(vm.lock().cause()));
    event.set_object(object);
    event.set_message(
        absl::StrCat("Virtual machine ", vm.name(),
                     files ? " cannot be used: " : " is locked: ", vm.lock().summary()));
    auto& arguments = *event.mutable_arguments();
    arguments["host"] = host;
    arguments["key_id"] = vm.lock().key_id().key_id();
    arguments["provider"] = vm.lock().key_id().provider_id();
    arguments["reason"] = v1::Reason_Name(vm.lock().reason());
    const int64_t revision = events_->Append(std::move(event));
    alarms_->RaiseOn(host, files ? kVmFilesUnusable : kVmLocked, object, v1::Alarm::SEVERITY_RED,
                     vm.lock().summary(), revision);
  }
  if (vm.lock_state() != v1::LOCK_STATE_UNLOCKED) return;
  if (told) {
    Append(events::kVmUnlocked, object, absl::StrCat("Virtual machine ", vm.name(), " is unlocked"),
           host);
  }
  ClearVmAlarms(host, object);
}

void HostWatcher::ClearVmAlarms(const std::string& host, const std::string& object) {
  for (const char* const alarm : kVmAlarms) alarms_->ClearOn(host, alarm, object);
}

void HostWatcher::OnVm(const std::string& host, const v1::Vm* before, const v1::Vm& now,
                       const std::string& user) {
  TellLock(host, now);
  if (vm_told_) vm_told_(host, now);
  if (before != nullptr && before->power_state() != now.power_state()) {
    const bool on = now.power_state() == v1::POWER_STATE_ON;
    Append(on ? events::kVmPoweredOn : events::kVmPoweredOff, VmObject(now),
           absl::StrCat("Virtual machine ", now.name(), on ? " is powered on" : " is powered off"),
           host, user);
  }
  Changed();
}

void HostWatcher::OnVmGone(const std::string& host, const v1::Vm& before, const std::string& user) {
  Append(events::kVmRemoved, VmObject(before),
         absl::StrCat("Virtual machine ", before.name(), " is no longer registered on ", host),
         host, user);
  ClearVmAlarms(host, VmObject(before));
  Changed();
}

void HostWatcher::OnVmsTold(const std::string& host,
                            const std::map<std::string, host::v1::HostVm>& vms) {
  // VMs that went while this process was away left their alarms.
  for (const char* const alarm : kVmAlarms) {
    for (const std::string& object : alarms_->ObjectsOn(host, alarm)) {
      if (vms.count(object.substr(object.find('/') + 1)) == 0) {
        alarms_->ClearOn(host, alarm, object);
      }
    }
  }
}

void HostWatcher::OnHostForgotten(const std::string& host) {
  for (const char* const alarm : {kHostRequiresEncryption, kKeyCollision}) {
    alarms_->Clear(alarm, HostObject(host));
  }
  for (const char* const alarm : kVmAlarms) {
    for (const std::string& object : alarms_->ObjectsOn(host, alarm)) {
      alarms_->ClearOn(host, alarm, object);
    }
  }
  Changed();
}

void HostWatcher::OnHostKeyHeld(const std::string& host) {
  alarms_->Clear(kHostRequiresEncryption, HostObject(host));
}

void HostWatcher::OnHostKeyPurged(const std::string& host, bool missing_on_kms) {
  const std::string message =
      absl::StrCat(missing_on_kms ? "The KMS does not have the host key of host "
                                  : "This vCenter does not provide the host key of host ",
                   host, ": the host stays in encryption mode until it reboots");
  const int64_t revision =
      Append(missing_on_kms ? events::kReqEnableKeyMissingOnKms : events::kReqEnableKmsClusterError,
             HostObject(host), message, host);
  alarms_->Raise(kHostRequiresEncryption, HostObject(host), v1::Alarm::SEVERITY_YELLOW, message,
                 revision);
}

}  // namespace keysphere::controller::alarms
