#include "services/kms/control.h"

#include <utility>

#include "common/status/status.h"
#include "google/protobuf/util/time_util.h"
#include "kmip/messages/enums.h"

namespace keysphere::kms {
namespace {

constexpr absl::Duration kMaxLatency = absl::Hours(1);
constexpr char kAdministrator[] = "administrator";
constexpr char kSimulator[] = "simulator";

using kmip::server::ScriptedFaults;

absl::Status Invalid(absl::string_view message) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, message);
}

absl::StatusOr<absl::Duration> LatencyOf(const google::protobuf::Duration& duration) {
  const absl::Duration latency =
      absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  if (latency < absl::ZeroDuration() || latency > kMaxLatency) {
    return Invalid("latency, latency_jitter: 0 to an hour");
  }
  return latency;
}

absl::StatusOr<ScriptedFaults::Script> ScriptOf(const sim::v1::KmsFault& fault) {
  ScriptedFaults::Script script;
  script.hang = fault.mode() == sim::v1::KmsFault::MODE_HANG;
  KS_ASSIGN_OR_RETURN(script.latency, LatencyOf(fault.latency()));
  KS_ASSIGN_OR_RETURN(script.jitter, LatencyOf(fault.latency_jitter()));
  if (fault.drop_after_bytes() < 0) return Invalid("drop_after_bytes: 0 or more");
  if (fault.drop_after_bytes() > 0) script.drop_after_bytes = fault.drop_after_bytes();
  if (fault.fail_request() < 0) return Invalid("fail_request: 0 or more");
  script.fail_request = fault.fail_request();
  script.missing.insert(fault.missing_keys().begin(), fault.missing_keys().end());
  script.all_missing = fault.all_keys_missing();
  script.not_active.insert(fault.inactive_keys().begin(), fault.inactive_keys().end());
  script.die_after_create = fault.die_after_create();
  return script;
}

}  // namespace

std::unique_ptr<rpc::RuleTable> ControlRules() {
  auto rules = std::make_unique<rpc::RuleTable>();
  const auto owner = [](const rpc::CallInfo& call) -> absl::Status {
    if (call.caller.kind == identity::Kind::kUser &&
        (call.caller.name == kAdministrator || call.caller.name == kSimulator)) {
      return absl::OkStatus();
    }
    return status::Error(v1::REASON_NO_PERMISSION, "only the user that started the cluster may");
  };
  for (const std::string& method : rpc::MethodsOf("keysphere.sim.v1.KmsFaults")) {
    rules->Add(method, owner);
  }
  return rules;
}

absl::Status Control::Apply(const sim::v1::SetFaultRequest& request) {
  if (request.certificate_file().empty() != request.key_file().empty()) {
    return Invalid("certificate_file and key_file go together");
  }
  KS_ASSIGN_OR_RETURN(ScriptedFaults::Script script, ScriptOf(request.fault()));
  // One after the other.
  sync::MutexLock lock(&mutex_);
  if (!request.certificate_file().empty() || other_certificate_) {
    KS_RETURN_IF_ERROR(kms_->SetCertificate(request.certificate_file(), request.key_file()));
    other_certificate_ = !request.certificate_file().empty();
  }
  KS_RETURN_IF_ERROR(
      kms_->listener()->SetDown(request.fault().mode() == sim::v1::KmsFault::MODE_REFUSE));
  kms_->faults()->Set(std::move(script));
  fault_ = request.fault();
  return absl::OkStatus();
}

void Control::SetFault(const rpc::CallInfo&, const sim::v1::SetFaultRequest& request,
                       Callback<sim::v1::SetFaultResponse> done) {
  // It waits for the loop.
  kms_->executor()->Post([this, request, done = std::move(done)]() mutable {
    const absl::Status applied = Apply(request);
    if (applied.ok()) return done(sim::v1::SetFaultResponse());
    done(applied);
  });
}

absl::StatusOr<sim::v1::KmsStats> Control::Stats() {
  sim::v1::KmsStats stats;
  {
    sync::MutexLock lock(&mutex_);
    *stats.mutable_fault() = fault_;
  }
  for (const auto& [operation, count] : kms_->faults()->operations()) {
    (*stats.mutable_requests())[std::string(kmip::messages::OperationName(operation))] = count;
  }
  const kmip::server::Listener::Counters counters = kms_->listener()->counters();
  stats.set_connections(static_cast<int64_t>(counters.accepted));
  stats.set_handshakes_refused(static_cast<int64_t>(counters.refused));
  KS_ASSIGN_OR_RETURN(const int64_t objects, kms_->CountObjects());
  stats.set_objects(objects);
  return stats;
}

void Control::GetKmsStats(const rpc::CallInfo&, const sim::v1::GetKmsStatsRequest&,
                          Callback<sim::v1::KmsStats> done) {
  kms_->executor()->Post([this, done = std::move(done)]() mutable { done(Stats()); });
}

}  // namespace keysphere::kms
