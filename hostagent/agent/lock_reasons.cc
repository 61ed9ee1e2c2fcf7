#include "hostagent/agent/lock_reasons.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/keyset/keyset.h"
#include "common/status/detail.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"

namespace keysphere::hostagent::agent {
namespace {

std::string Metadata(const absl::Status& status, const std::string& name) {
  const v1::ErrorDetail detail = status::DetailOf(status);
  const auto it = detail.metadata().find(name);
  return it == detail.metadata().end() ? "" : it->second;
}

// One sentence each; the provider is `p`, quoted; `standard`: it is known to be a standard one.
std::string WhatIsWrong(v1::Reason reason, const std::string& p, bool standard) {
  switch (reason) {
    case v1::REASON_NOT_BACKED_UP:
      return absl::StrCat("provider ", p, " was never backed up, so no host is given its key");
    case v1::REASON_NOT_IN_CLUSTER:
      return "the host is in no cluster";
    case v1::REASON_VERSION_UNSUPPORTED:
      return absl::StrCat("the host is older than 7.0 U2 and cannot use native provider ", p);
    case v1::REASON_TPM_REQUIRED:
      return absl::StrCat("provider ", p, " wants a TPM 2.0, which the host does not have");
    case v1::REASON_HOST_NOT_SAFE:
      return "encryption mode of the host is off";
    case v1::REASON_KEY_MISMATCH:
      return absl::StrCat("the host holds another key under the name ", p,
                          " than the one that encrypted the VM");
    case v1::REASON_KEY_MISSING_ON_HOST:
      return absl::StrCat("the host does not hold the key of ", standard ? "standard " : "",
                          "provider ", p);
    case v1::REASON_KEY_MISSING_ON_KMS:
      return absl::StrCat("the KMS of provider ", p, " does not have the key");
    case v1::REASON_KMS_UNREACHABLE:
      return absl::StrCat("no server of the KMS of provider ", p,
                          " answers, and the host does not hold the key");
    default:
      return absl::StrCat("the key of provider ", p, " cannot be used here");
  }
}

constexpr absl::string_view kThenUnlock =
    "then re-enable encryption mode of the host or unlock the VM";

std::string WhatToDo(v1::Reason reason, const std::string& p, bool standard) {
  switch (reason) {
    case v1::REASON_NOT_BACKED_UP:
      return absl::StrCat("back up provider ", p, ", then unlock the VM");
    case v1::REASON_NOT_IN_CLUSTER:
      return "move the host into a cluster, then re-enable its encryption mode";
    case v1::REASON_VERSION_UNSUPPORTED:
      return "register the VM on a host of 7.0 U2 or newer";
    case v1::REASON_TPM_REQUIRED:
      return absl::StrCat("register the VM on a host with a TPM 2.0, or restore provider ", p,
                          " without the TPM constraint");
    case v1::REASON_HOST_NOT_SAFE:
      return "enable encryption mode of the host";
    case v1::REASON_KEY_MISSING_ON_KMS:
      return absl::StrCat("restore the key on the KMS of provider ", p,
                          ", or name the KMS that has it, ", kThenUnlock);
    case v1::REASON_KMS_UNREACHABLE:
      return absl::StrCat("bring the KMS of provider ", p, " back, ", kThenUnlock);
    case v1::REASON_KEY_MISMATCH:
      if (standard) {
        return absl::StrCat("let provider ", p,
                            " name the KMS that made the key, let a remediation pass run, ",
                            kThenUnlock);
      }
      return absl::StrCat("delete the controller's provider ", p,
                          ", import the backup of the right one, let a remediation pass run, ",
                          kThenUnlock);
    default:
      if (standard) {
        return "re-enable encryption mode of the host or unlock the VM: either fetches the key";
      }
      return absl::StrCat("import the backup of provider ", p,
                          " into the host's controller (a standard provider: create it there), ",
                          kThenUnlock);
  }
}

absl::Status Cause(const HostContext& host, v1::Reason reason, const vm::KeyId& key) {
  const std::string p = status::Quote(key.provider);
  const bool standard = host.keys.standard().Knows(key.provider);
  return status::Error(reason, WhatIsWrong(reason, p, standard))
      .Object("provider", key.provider)
      .With("provider", key.provider)
      .With("key_id", key.key_id)
      .NextStep(WhatToDo(reason, p, standard));
}

v1::LockCause CauseOf(const HostContext& host, const vm::KeyId& key) {
  if (host.keys.HoldsKey(key.provider, key.key_id)) return v1::LOCK_CAUSE_KEY_MISSING_ON_HOST;
  return keyset::LockCauseOf(host.keys.WhyMissing(key.provider, key.key_id));
}

}  // namespace

Failure Classify(const absl::Status& failure) {
  if (failure.ok()) return Failure::kNone;
  switch (status::ReasonOf(failure)) {
    case v1::REASON_KEY_MISSING_ON_HOST:
      return Failure::kKeyMissing;
    case v1::REASON_CIPHERTEXT_CORRUPT:
      // A key safe that does not open names its key; a damaged ciphertext does not.
      return Metadata(failure, "provider").empty() ? Failure::kFiles : Failure::kWrongKey;
    default:
      return Failure::kFiles;
  }
}

std::vector<absl::Status> CausesOfMissingKey(const HostContext& host, const vm::KeyId& key,
                                             bool wrong_key) {
  std::vector<absl::Status> causes;
  if (host.cluster().empty()) causes.push_back(Cause(host, v1::REASON_NOT_IN_CLUSTER, key));
  for (const v1::Reason reason : host.keys.WhyWithheld(key.provider)) {
    causes.push_back(Cause(host, reason, key));
  }
  if (!host.safe()) causes.push_back(Cause(host, v1::REASON_HOST_NOT_SAFE, key));
  if (!host.keys.HoldsKey(key.provider, key.key_id)) {
    causes.push_back(Cause(host, host.keys.WhyMissing(key.provider, key.key_id), key));
  } else if (wrong_key) {
    causes.push_back(Cause(host, v1::REASON_KEY_MISMATCH, key));
  }
  return causes;
}

absl::Status RefusalOf(const HostContext& host, const absl::Status& unwrap_failure) {
  const Failure failure = Classify(unwrap_failure);
  if (failure == Failure::kNone || failure == Failure::kFiles) return unwrap_failure;
  const vm::KeyId key{Metadata(unwrap_failure, "provider"), Metadata(unwrap_failure, "key_id")};
  std::vector<absl::Status> causes = CausesOfMissingKey(host, key, failure == Failure::kWrongKey);
  // The key came or went while the operation ran: what it met counts.
  if (causes.empty()) causes.push_back(Cause(host, v1::REASON_KEY_MISSING_ON_HOST, key));
  const absl::Status first = status::First(causes);
  const std::string disk = Metadata(unwrap_failure, "disk");
  if (disk.empty()) return first;
  v1::ErrorDetail detail = status::DetailOf(first);
  detail.set_object(absl::StrCat("disk/", disk));
  detail.clear_metadata();
  (*detail.mutable_metadata())["disk"] = disk;
  (*detail.mutable_metadata())["provider"] = key.provider;
  (*detail.mutable_metadata())["key_id"] = key.key_id;
  return status::FromDetail(
      absl::StrCat("disk ", status::Quote(disk), ", key ", status::Quote(key.key_id), ": ",
                   std::string(first.message())),
      detail);
}

v1::LockExplanation ExplainLock(const HostContext& host, const vm::KeyId& key, bool wrong_key) {
  std::vector<absl::Status> causes = CausesOfMissingKey(host, key, wrong_key);
  causes.push_back(status::Error(v1::REASON_VM_LOCKED, "the VM is locked"));
  const v1::ErrorDetail detail = status::DetailOf(status::First(causes));
  v1::LockExplanation lock;
  lock.set_cause(CauseOf(host, key));
  lock.set_reason(detail.reason());
  *lock.mutable_others() = detail.others();
  lock.mutable_key_id()->set_provider_id(key.provider);
  lock.mutable_key_id()->set_key_id(key.key_id);
  lock.set_host(host.options.name);
  const std::string where = absl::StrCat(" (key ", status::Quote(key.key_id), ", host ",
                                         status::Quote(host.options.name), ").");
  if (causes.size() == 1) {
    lock.set_summary(absl::StrCat("The host holds a key of provider ", status::Quote(key.provider),
                                  " now", where));
    lock.set_next_step("Re-enable encryption mode of the host, or unlock the VM.");
    return lock;
  }
  // VM_LOCKED says nothing to a person: the first thing that is wrong does.
  causes.pop_back();
  // Where a standard provider's key is missing, too, that tells more than that encryption mode is
  // off: the host lost both at its boot, and the same step brings both back.
  if (host.keys.standard().Knows(key.provider)) {
    const auto rest =
        std::stable_partition(causes.begin(), causes.end(), [](const absl::Status& cause) {
          return status::ReasonOf(cause) != v1::REASON_HOST_NOT_SAFE;
        });
    if (rest != causes.begin()) causes.erase(rest, causes.end());
  }
  const absl::Status first = status::First(causes);
  std::string summary(first.message());
  std::string next_step = status::DetailOf(first).next_step();
  summary[0] = absl::ascii_toupper(summary[0]);
  if (!next_step.empty()) next_step[0] = absl::ascii_toupper(next_step[0]);
  lock.set_summary(absl::StrCat(summary, where));
  lock.set_next_step(absl::StrCat(next_step, "."));
  return lock;
}

v1::LockExplanation ExplainFiles(const HostContext& host, const absl::Status& problem) {
  v1::LockExplanation lock;
  lock.set_reason(status::ReasonOf(problem));
  lock.set_host(host.options.name);
  lock.set_summary(std::string(problem.message()));
  lock.set_next_step(status::DetailOf(FilesRefusal(problem)).next_step());
  return lock;
}

absl::Status LockedRefusal(const HostContext& host, const v1::Vm& vm, bool wrong_key) {
  const vm::KeyId key{vm.key_id().provider_id(), vm.key_id().key_id()};
  std::vector<absl::Status> causes = CausesOfMissingKey(host, key, wrong_key);
  causes.push_back(
      status::Error(v1::REASON_VM_LOCKED, absl::StrCat("VM ", status::Quote(vm.name()),
                                                       " is locked: ", vm.lock().summary()))
          .Object("vm", vm.name())
          .With("provider", key.provider)
          .With("key_id", key.key_id)
          .NextStep(vm.lock().next_step()));
  return status::First(causes);
}

}  // namespace keysphere::hostagent::agent
