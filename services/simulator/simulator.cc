#include "services/simulator/simulator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "google/protobuf/util/time_util.h"
#include "services/simulator/topology.h"

namespace keysphere::simulator {
namespace {

constexpr absl::Duration kMaxAdvance = absl::Hours(24 * 3653);  // ten years
constexpr absl::Duration kMaxDelay = absl::Hours(24);
constexpr double kMaxRate = 100'000;

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Status Invalid(absl::string_view message) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, message);
}

// What was asked for, for people. Empty: no fault.
std::string InWords(const sim::v1::SetKmsFaultRequest& request) {
  const sim::v1::KmsFault& fault = request.fault();
  std::vector<std::string> words;
  const auto add = [&words](bool holds, const auto&... parts) {
    if (holds) words.push_back(absl::StrCat(parts...));
  };
  const auto lasts = [](const google::protobuf::Duration& value) {
    return ToDuration(value) > absl::ZeroDuration();
  };
  const auto duration = [](const google::protobuf::Duration& value) {
    return absl::FormatDuration(ToDuration(value));
  };
  add(fault.mode() == sim::v1::KmsFault::MODE_REFUSE, "refuse");
  add(fault.mode() == sim::v1::KmsFault::MODE_HANG, "hang");
  add(lasts(fault.latency()), "latency ", duration(fault.latency()));
  add(lasts(fault.latency_jitter()), "jitter ", duration(fault.latency_jitter()));
  add(fault.drop_after_bytes() > 0, "drop after ", fault.drop_after_bytes(), " bytes");
  add(fault.fail_request() > 0, "request ", fault.fail_request(), " fails");
  add(fault.missing_keys_size() > 0, fault.missing_keys_size(), " keys missing");
  add(fault.all_keys_missing(), "all keys missing");
  add(fault.inactive_keys_size() > 0, fault.inactive_keys_size(), " keys inactive");
  add(fault.die_after_create(), "die after create");
  add(lasts(request.certificate_ends_in()), "certificate ends in ",
      duration(request.certificate_ends_in()));
  return absl::StrJoin(words, ", ");
}

}  // namespace

std::unique_ptr<rpc::RuleTable> SimulatorRules() {
  auto rules = std::make_unique<rpc::RuleTable>();
  const auto owner = [](const rpc::CallInfo& call) -> absl::Status {
    if (call.caller.kind == identity::Kind::kUser && call.caller.name == kAdministrator) {
      return absl::OkStatus();
    }
    return status::Error(v1::REASON_NO_PERMISSION, "only the user that started the cluster may")
        .NextStep(absl::StrCat("Use the certificate of the user ", kAdministrator, "."));
  };
  for (const std::string& method : rpc::MethodsOf("keysphere.sim.v1.Simulator")) {
    rules->Add(method, owner);
  }
  return rules;
}

// Processes.

void Simulator::GetCluster(const rpc::CallInfo&, const sim::v1::GetClusterRequest&,
                           Callback<sim::v1::SimulatedCluster> done) {
  sim::v1::SimulatedCluster cluster = deps_.cluster->Describe();
  sync::MutexLock lock(&mutex_);
  for (sim::v1::SimulatedProcess& process : *cluster.mutable_processes()) {
    const auto fault = kms_faults_.find(process.name());
    const bool lives = process.state() == sim::v1::PROCESS_STATE_RUNNING ||
                       process.state() == sim::v1::PROCESS_STATE_PAUSED;
    if (lives && fault != kms_faults_.end()) process.set_kms_fault(fault->second);
  }
  done(std::move(cluster));
}

void Simulator::StartProcess(const rpc::CallInfo&, const sim::v1::StartProcessRequest& request,
                             Callback<sim::v1::SimulatedProcess> done) {
  // One that ended by itself has its fault yet; one that runs keeps it, and is not started.
  const absl::StatusOr<sim::v1::SimulatedProcess> now = deps_.cluster->Get(request.name());
  if (now.ok() && now->state() == sim::v1::PROCESS_STATE_ENDED) EndKmsFault(request.name());
  deps_.cluster->Start(request.name(), std::move(done));
}

void Simulator::KillProcess(const rpc::CallInfo&, const sim::v1::KillProcessRequest& request,
                            Callback<sim::v1::SimulatedProcess> done) {
  EndKmsFault(request.name());
  deps_.cluster->Kill(request.name(), std::move(done));
}

void Simulator::StopProcess(const rpc::CallInfo&, const sim::v1::StopProcessRequest& request,
                            Callback<sim::v1::SimulatedProcess> done) {
  EndKmsFault(request.name());
  deps_.cluster->Stop(request.name(), std::move(done));
}

void Simulator::RebootProcess(const rpc::CallInfo&, const sim::v1::RebootProcessRequest& request,
                              Callback<sim::v1::SimulatedProcess> done) {
  EndKmsFault(request.name());
  deps_.cluster->Reboot(request.name(), std::move(done));
}

void Simulator::PauseProcess(const rpc::CallInfo&, const sim::v1::PauseProcessRequest& request,
                             Callback<sim::v1::SimulatedProcess> done) {
  deps_.cluster->Pause(request.name(), std::move(done));
}

void Simulator::ResumeProcess(const rpc::CallInfo&, const sim::v1::ResumeProcessRequest& request,
                              Callback<sim::v1::SimulatedProcess> done) {
  deps_.cluster->Resume(request.name(), std::move(done));
}

void Simulator::AddHostProcess(const rpc::CallInfo&, const sim::v1::AddHostProcessRequest& request,
                               Callback<sim::v1::SimulatedProcess> done) {
  HostPlan plan;
  plan.name = request.name();
  plan.tpm = request.tpm();
  plan.boot_key_wait = deps_.host_boot_key_wait;
  plan.version = request.version().empty() ? deps_.host_version : request.version();
  if (!plan.version.empty()) {
    if (const absl::Status version = CheckVersion(plan.version); !version.ok()) {
      return done(version);
    }
  }
  const absl::StatusOr<std::string> name = deps_.cluster->AddHost(plan);
  if (!name.ok()) {
    done(name.status());
    return;
  }
  deps_.cluster->Start(*name, std::move(done));
}

// Links.

void Simulator::SetLinkFault(const rpc::CallInfo&, const sim::v1::SetLinkFaultRequest& request,
                             Callback<sim::v1::SetLinkFaultResponse> done) {
  const absl::Status set = SetFault(request);
  if (set.ok()) {
    done(sim::v1::SetLinkFaultResponse());
  } else {
    done(set);
  }
}

absl::Status Simulator::SetFault(const sim::v1::SetLinkFaultRequest& request) {
  KS_RETURN_IF_ERROR(NeedSimulatedTime());
  clock::page::LinkFault fault;
  fault.cut = request.cut();
  fault.delay = ToDuration(request.delay());
  if (fault.delay < absl::ZeroDuration() || fault.delay > kMaxDelay) {
    return Invalid("delay: 0 to 24 hours");
  }
  if (request.fail_next() < 0) return Invalid("fail_next: 0 or more");
  fault.fail_next = request.fail_next();
  KS_ASSIGN_OR_RETURN(const int from, deps_.cluster->SlotOf(request.from()));
  KS_ASSIGN_OR_RETURN(const int to, deps_.cluster->SlotOf(request.to()));
  return deps_.master->SetLink(from, to, fault);
}

// KMS nodes.

void Simulator::SetKmsFault(const rpc::CallInfo&, const sim::v1::SetKmsFaultRequest& request,
                            Callback<sim::v1::SetKmsFaultResponse> done) {
  const absl::StatusOr<sim::v1::SimulatedProcess> node = deps_.cluster->Get(request.name());
  if (!node.ok()) return done(node.status());
  absl::StatusOr<sim::v1::SetFaultRequest> told = KmsFaultFor(*node, request);
  if (!told.ok()) return done(told.status());
  {
    sync::MutexLock lock(&mutex_);
    kms_faults_[node->name()] = InWords(request);
  }
  deps_.kms->SetFault(
      *node, *std::move(told),
      [done = std::move(done)](const absl::StatusOr<sim::v1::SetFaultResponse>& set) mutable {
        if (!set.ok()) return done(set.status());
        done(sim::v1::SetKmsFaultResponse());
      });
}

absl::StatusOr<sim::v1::SetFaultRequest> Simulator::KmsFaultFor(
    const sim::v1::SimulatedProcess& node, const sim::v1::SetKmsFaultRequest& request) {
  if (node.kind() != sim::v1::PROCESS_KIND_KMS || deps_.kms == nullptr) {
    return Invalid(absl::StrCat("name: ", status::Quote(node.name()), " is no KMS node"));
  }
  if (node.state() != sim::v1::PROCESS_STATE_RUNNING) {
    return status::Error(v1::REASON_INVALID_STATE, "the KMS node does not run")
        .Object("process", node.name())
        .NextStep(absl::StrCat("keysphere kms start ", node.name()));
  }
  const absl::Duration latency = ToDuration(request.fault().latency());
  if (latency < absl::ZeroDuration() || latency > kMaxDelay)
    return Invalid("latency: 0 to 24 hours");
  sim::v1::SetFaultRequest told;
  *told.mutable_fault() = request.fault();
  if (deps_.master != nullptr) {
    if (request.fault().has_latency_jitter()) {
      return status::Error(v1::REASON_UNSUPPORTED, "latency_jitter works on real time only")
          .Object("process", node.name())
          .NextStep("Leave the jitter out, or start a cluster without --simulated-time.");
    }
    // A call under way holds time back: what is to take time waits at the caller.
    const bool hangs = request.fault().mode() == sim::v1::KmsFault::MODE_HANG;
    KS_RETURN_IF_ERROR(SetKmsLinks(node, latency, hangs));
    told.mutable_fault()->clear_latency();
    if (hangs) told.mutable_fault()->clear_mode();
  }
  const absl::Duration ends_in = ToDuration(request.certificate_ends_in());
  if (ends_in == absl::ZeroDuration()) return told;
  identity::Validity validity = identity::Validity::From(std::min(Now(), deps_.clock->Now()));
  validity.not_after = Now() + ends_in;
  validity.not_before = std::min(validity.not_before, validity.not_after - absl::Hours(1));
  KS_ASSIGN_OR_RETURN(
      const identity::CredentialFiles files,
      deps_.folder->Issue(identity::Kind::kKms, node.name(), IpOf(node.address()), validity));
  told.set_certificate_file(files.certificate);
  told.set_key_file(files.key);
  return told;
}

void Simulator::EndKmsFault(const std::string& name) {
  const absl::StatusOr<sim::v1::SimulatedProcess> node = deps_.cluster->Get(name);
  if (!node.ok() || node->kind() != sim::v1::PROCESS_KIND_KMS) return;
  {
    sync::MutexLock lock(&mutex_);
    kms_faults_.erase(name);
  }
  if (deps_.master == nullptr) return;
  SetKmsLinks(*node, absl::ZeroDuration(), /*hangs=*/false).IgnoreError();  // both have slots
}

absl::Status Simulator::SetKmsLinks(const sim::v1::SimulatedProcess& node, absl::Duration latency,
                                    bool hangs) {
  sync::MutexLock lock(&mutex_);
  const bool faulty = hangs || latency > absl::ZeroDuration();
  // Links that somebody else has broken are left alone.
  if (!faulty && kms_links_.erase(node.name()) == 0) return absl::OkStatus();
  if (faulty) kms_links_.insert(node.name());
  KS_ASSIGN_OR_RETURN(const int kms, deps_.cluster->SlotOf(node.name()));
  const sim::v1::SimulatedCluster cluster = deps_.cluster->Describe();
  for (const sim::v1::SimulatedProcess& process : cluster.processes()) {
    if (process.kind() != sim::v1::PROCESS_KIND_CONTROLLER) continue;
    KS_ASSIGN_OR_RETURN(const int controller, deps_.cluster->SlotOf(process.name()));
    clock::page::LinkFault there;
    there.delay = latency;
    clock::page::LinkFault back;
    back.cut = hangs;
    KS_RETURN_IF_ERROR(deps_.master->SetLink(controller, kms, there));
    KS_RETURN_IF_ERROR(deps_.master->SetLink(kms, controller, back));
  }
  return absl::OkStatus();
}

// Time.

absl::Time Simulator::Now() const {
  return deps_.master == nullptr ? deps_.clock->Now() : deps_.master->Now();
}

absl::Status Simulator::NeedSimulatedTime() const {
  if (deps_.master != nullptr) return absl::OkStatus();
  return status::Error(v1::REASON_UNSUPPORTED, "this cluster runs on real time")
      .NextStep("Start it with --simulated-time.");
}

sim::v1::ClockState Simulator::StateOfClock() const {
  sim::v1::ClockState state;
  *state.mutable_now() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(Now()));
  state.set_simulated(deps_.master != nullptr);
  state.set_rate(deps_.master == nullptr ? 1 : deps_.master->rate());
  if (deps_.master != nullptr) state.set_steps(deps_.master->steps());
  const sync::MutexLock lock(&mutex_);
  if (advancing_to_.has_value()) {
    *state.mutable_advancing_to() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(*advancing_to_));
  }
  return state;
}

void Simulator::GetClock(const rpc::CallInfo&, const sim::v1::GetClockRequest&,
                         Callback<sim::v1::ClockState> done) {
  done(StateOfClock());
}

void Simulator::AdvanceClock(const rpc::CallInfo&, const sim::v1::AdvanceClockRequest& request,
                             Callback<sim::v1::ClockState> done) {
  const absl::Duration by = ToDuration(request.by());
  absl::Status refused = NeedSimulatedTime();
  if (refused.ok() && (by <= absl::ZeroDuration() || by > kMaxAdvance)) {
    refused = Invalid("by: more than 0, ten years at most");
  }
  if (!refused.ok()) {
    done(refused);
    return;
  }
  const absl::Time target = Now() + by;
  {
    const sync::MutexLock lock(&mutex_);
    if (advancing_to_.has_value()) {
      refused = status::Error(v1::REASON_INVALID_STATE, "time is being advanced already")
                    .NextStep("`keysphere clock show` says how far it is, `clock stop` ends it.");
    } else {
      advancing_to_ = target;
      stop_advance_ = false;
    }
  }
  if (!refused.ok()) {
    done(refused);
    return;
  }
  deps_.time_executor->Post([this, target, done = std::move(done)]() mutable {
    const absl::Status moved = deps_.master->AdvanceTo(target, &stop_advance_);
    {
      const sync::MutexLock lock(&mutex_);
      advancing_to_.reset();
    }
    if (moved.ok()) {
      done(StateOfClock());
    } else {
      done(moved);
    }
  });
}

void Simulator::StopClock(const rpc::CallInfo&, const sim::v1::StopClockRequest&,
                          Callback<sim::v1::ClockState> done) {
  absl::Status stopped = NeedSimulatedTime();
  if (stopped.ok()) stopped = deps_.master->SetRate(0);
  if (!stopped.ok()) {
    done(stopped);
    return;
  }
  stop_advance_ = true;
  done(StateOfClock());
}

void Simulator::SetClockRate(const rpc::CallInfo&, const sim::v1::SetClockRateRequest& request,
                             Callback<sim::v1::ClockState> done) {
  absl::Status set = NeedSimulatedTime();
  if (set.ok() && !(request.rate() >= 0 && request.rate() <= kMaxRate)) {
    set = Invalid("rate: 0 to 100,000");
  }
  if (set.ok()) set = deps_.master->SetRate(request.rate());
  if (set.ok()) {
    done(StateOfClock());
  } else {
    done(set);
  }
}

// Users.

void Simulator::IssueUserCertificate(const rpc::CallInfo&,
                                     const sim::v1::IssueUserCertificateRequest& request,
                                     Callback<sim::v1::IssueUserCertificateResponse> done) {
  done(Issue(request));
}

absl::StatusOr<sim::v1::IssueUserCertificateResponse> Simulator::Issue(
    const sim::v1::IssueUserCertificateRequest& request) {
  KS_RETURN_IF_ERROR(files::ValidateName(request.user()));
  if (request.user() == kSimulatorName) {
    return Invalid("user: this name is the simulator's own");
  }
  // TLS itself looks at the machine's time, which virtual time is ahead of.
  identity::Validity validity = identity::Validity::From(std::min(Now(), deps_.clock->Now()));
  if (request.has_not_after()) {
    validity.not_after = absl::FromUnixNanos(
        google::protobuf::util::TimeUtil::TimestampToNanoseconds(request.not_after()));
    // One that has expired already is of use to tests.
    validity.not_before = std::min(validity.not_before, validity.not_after - absl::Hours(1));
  }
  KS_ASSIGN_OR_RETURN(
      const identity::CredentialFiles files,
      deps_.folder->Issue(identity::Kind::kUser, request.user(), /*ip=*/"", validity));
  sim::v1::IssueUserCertificateResponse response;
  response.set_certificate_file(files.certificate);
  response.set_key_file(files.key);
  return response;
}

// The end.

void Simulator::Shutdown(const rpc::CallInfo&, const sim::v1::ShutdownRequest&,
                         Callback<sim::v1::ShutdownResponse> done) {
  // Who hears the answer may end this object before the next line runs.
  deps_.cluster->EndAll(deps_.orderly_end,
                        [on_shutdown = deps_.on_shutdown, done = std::move(done)]() mutable {
                          done(sim::v1::ShutdownResponse());
                          on_shutdown();
                        });
}

}  // namespace keysphere::simulator
