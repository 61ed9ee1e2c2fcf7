// Why VMs are locked or would not power on, as far as the vCenter knows more than the host.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/remediation/desired_state.h"
#include "controller/vms/vms.h"

namespace keysphere::controller::vms {
namespace {

using hosts::HostSession;

// The key is on no way to the host: what is wrong, and what helps.
absl::Status MissingKey(v1::Reason reason, const v1::CryptoKeyId& key) {
  const std::string p = status::Quote(key.provider_id());
  switch (reason) {
    case v1::REASON_KEY_MISSING_ON_KMS:
      return status::Error(reason,
                           absl::StrCat("the KMS of provider ", p, " does not have the key"))
          .NextStep(absl::StrCat("Restore the key on the KMS of provider ", p,
                                 ", or name the KMS that has it."));
    case v1::REASON_KMS_UNREACHABLE:
      return status::Error(reason, absl::StrCat("no server of the KMS of provider ", p,
                                                " answers, and the host does not hold the key"))
          .NextStep(absl::StrCat("Bring the KMS of provider ", p, " back."));
    case v1::REASON_KEY_MISMATCH:
      return status::Error(reason, absl::StrCat("the host holds another key under the name ", p,
                                                " until the next pass"))
          .NextStep("Run a pass of the remediation loop: it swaps the key.");
    default:
      return status::Error(reason, absl::StrCat("the host does not hold the key of provider ", p))
          .NextStep(absl::StrCat("Import the backup of provider ", p,
                                 " into this vCenter (a standard provider: create it again)."));
  }
}

}  // namespace

absl::Status Vms::Enrich(const HostSession& host, const v1::Vm& vm,
                         const absl::Status& refused) const {
  const v1::Reason reason = status::ReasonOf(refused);
  const bool about_keys =
      reason == v1::REASON_VM_LOCKED || reason == v1::REASON_KEY_MISSING_ON_HOST;
  const providers::Provider* const provider = providers_->Find(vm.key_id().provider_id());
  if (!about_keys || provider == nullptr) return refused;
  const absl::Status entitled = remediation::Entitlement(host.Facts(), *provider);
  return status::First({entitled, refused});
}

absl::Status Vms::WhyNotHad(const HostSession& host, const v1::CryptoKeyId& key) const {
  if (host.Caches(needs_->Name(key))) return absl::OkStatus();
  for (const host::v1::KeyEntry& collision : host.keys().collisions()) {
    if (collision.provider() == key.provider_id()) {
      return MissingKey(v1::REASON_KEY_MISMATCH, key);
    }
  }
  for (const host::v1::KeyEntry& held : host.keys().held()) {
    if (held.provider() == key.provider_id()) return absl::OkStatus();
  }
  const providers::Provider* const provider = providers_->Find(key.provider_id());
  if (provider == nullptr) return MissingKey(v1::REASON_KEY_MISSING_ON_HOST, key);
  KS_RETURN_IF_ERROR(remediation::Entitlement(host.Facts(), *provider));
  if (provider->type != v1::PROVIDER_TYPE_STANDARD) return absl::OkStatus();
  const v1::Reason reason = keys_->WhyNotFetched(key);
  return reason == v1::REASON_UNSPECIFIED ? absl::OkStatus() : MissingKey(reason, key);
}

absl::optional<v1::LockExplanation> Vms::ExplainDisks(const HostSession& host,
                                                      const v1::Vm& vm) const {
  if (vm.power_state() == v1::POWER_STATE_ON) return absl::nullopt;
  for (const v1::VmDisk& disk : vm.disks()) {
    if (!disk.has_key_id()) continue;
    const absl::Status why = WhyNotHad(host, disk.key_id());
    if (why.ok()) continue;
    v1::LockExplanation missing;
    missing.set_reason(status::ReasonOf(why));
    missing.set_cause(keyset::LockCauseOf(missing.reason()));
    *missing.mutable_key_id() = disk.key_id();
    missing.set_host(host.name());
    missing.set_summary(absl::StrCat("Disk ", status::Quote(disk.file_name()),
                                     " cannot be opened: ", std::string(why.message()), " (key ",
                                     status::Quote(disk.key_id().key_id()), ", host ",
                                     status::Quote(host.name()), ")."));
    missing.set_next_step(status::DetailOf(why).next_step());
    return missing;
  }
  return absl::nullopt;
}

namespace {

// Of a VM whose host obeys nobody here, or does not answer: that comes before what was known of the
// VM when its host told it last.
void ExplainAway(const HostSession& host, const v1::Vm& vm, v1::LockExplanation* explanation) {
  const absl::Status away = host.NotResponding();
  explanation->set_reason(status::ReasonOf(away));
  if (!vm.key_id().key_id().empty()) *explanation->mutable_key_id() = vm.key_id();
  explanation->set_host(host.name());
  explanation->set_summary(absl::StrCat("VM ", status::Quote(vm.name()),
                                        " cannot be powered on here: ", std::string(away.message()),
                                        "."));
  explanation->set_next_step(status::DetailOf(away).next_step());
  if (vm.lock_state() != v1::LOCK_STATE_LOCKED) return;
  explanation->set_cause(vm.lock().cause());
  explanation->add_others(vm.lock().reason());
  explanation->mutable_others()->MergeFrom(vm.lock().others());
  absl::StrAppend(explanation->mutable_summary(),
                  " When the host told it last, it was locked: ", vm.lock().summary());
}

}  // namespace

void Vms::ExplainVm(const access::Caller&, const v1::ExplainVmRequest& request,
                    status::Callback<v1::ExplainVmResponse> done) {
  auto found = hosts_->FindVm(request.vm(), request.host());
  if (!found.ok()) return done(found.status());
  v1::ExplainVmResponse response;
  const v1::Vm& vm = found->vm;
  if (!found->host->connected()) {
    ExplainAway(*found->host, vm, response.mutable_explanation());
    *response.mutable_vm() = std::move(found->vm);
    return done(std::move(response));
  }
  if (vm.lock_state() == v1::LOCK_STATE_LOCKED) {
    *response.mutable_explanation() = vm.lock();
    // Of damaged or missing files the host has told all: no key and no provider brings those back.
    const std::string& name = vm.lock().key_id().provider_id();
    const providers::Provider* const provider = providers_->Find(name);
    const absl::Status entitled = provider == nullptr
                                      ? absl::OkStatus()
                                      : remediation::Entitlement(found->host->Facts(), *provider);
    if (!entitled.ok() && response.explanation().reason() != status::ReasonOf(entitled)) {
      response.mutable_explanation()->add_others(response.explanation().reason());
      response.mutable_explanation()->set_reason(status::ReasonOf(entitled));
    }
    if (provider == nullptr && !name.empty()) {
      response.mutable_explanation()->set_next_step(absl::StrCat(
          "Import the backup of provider ", status::Quote(name),
          " into this vCenter (a standard provider: create it again), then re-enable encryption "
          "mode on host ",
          status::Quote(found->host->name()), " or unlock the VM."));
    }
  } else if (const auto missing = ExplainDisks(*found->host, vm); missing.has_value()) {
    *response.mutable_explanation() = *missing;
  }
  *response.mutable_vm() = std::move(found->vm);
  done(std::move(response));
}

}  // namespace keysphere::controller::vms
