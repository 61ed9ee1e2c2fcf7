#include "hostagent/agent/access.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::hostagent::agent {
namespace {

absl::Status NoPermission(const identity::Identity& caller) {
  return status::Error(v1::REASON_NO_PERMISSION, "the caller has no role on this host")
      .Object(identity::KindName(caller.kind), caller.name);
}

absl::Status CheckController(const AccessPolicy& policy, const config::Attachment& attachment,
                             const identity::Identity& caller, Right right, int64_t epoch) {
  if (right == Right::kAttach) {
    const bool allowed = policy.allowed_controllers.count("*") > 0 ||
                         policy.allowed_controllers.count(caller.name) > 0;
    if (allowed) return absl::OkStatus();
    return status::Error(v1::REASON_NO_PERMISSION,
                         "the host does not allow this controller to attach it")
        .Object("controller", caller.name)
        .NextStep("add the controller to the host's --allowed-controllers");
  }
  if (right == Right::kRecovery) return NoPermission(caller);
  if (attachment.controller_spiffe_id() != caller.ToUri()) {
    return status::Error(v1::REASON_STALE_EPOCH, attachment.controller_spiffe_id().empty()
                                                     ? "the host is not attached to this controller"
                                                     : "the host obeys another controller now")
        .Object("controller", caller.name)
        .NextStep("attach the host");
  }
  if (epoch != kAnyEpoch && epoch != static_cast<int64_t>(attachment.epoch())) {
    return status::Error(v1::REASON_STALE_EPOCH, absl::StrCat("the attachment epoch is ",
                                                              attachment.epoch(), ", not ", epoch))
        .Object("controller", caller.name)
        .NextStep("attach the host again");
  }
  return absl::OkStatus();
}

absl::Status CheckUser(const AccessPolicy& policy, const identity::Identity& caller, Right right) {
  if (policy.administrators.count(caller.name) == 0) return NoPermission(caller);
  switch (right) {
    case Right::kOperate:
    case Right::kRecovery:
      return absl::OkStatus();
    case Right::kEncrypt:
      return status::Error(v1::REASON_CONTROLLER_UNAVAILABLE,
                           "only the host's controller can change encryption")
          .NextStep("ask the controller, once it is available");
    case Right::kAttach:
    case Right::kManage:
      break;
  }
  return NoPermission(caller);
}

}  // namespace

absl::Status CheckAccess(const AccessPolicy& policy, const config::Attachment& attachment,
                         const identity::Identity& caller, Right right, int64_t epoch) {
  switch (caller.kind) {
    case identity::Kind::kController:
      return CheckController(policy, attachment, caller, right, epoch);
    case identity::Kind::kUser:
      return CheckUser(policy, caller, right);
    case identity::Kind::kHost:
    case identity::Kind::kKms:
      break;
  }
  return NoPermission(caller);
}

}  // namespace keysphere::hostagent::agent
