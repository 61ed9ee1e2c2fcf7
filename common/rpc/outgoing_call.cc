#include "common/rpc/outgoing_call.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/client.h"
#include "common/rpc/metadata.h"
#include "common/status/grpc.h"
#include "common/status/status.h"

namespace keysphere::rpc::internal {
namespace {

// Under simulated time gRPC's deadline only guards against a defect: virtual time stands still
// while a call is under way.
constexpr absl::Duration kRealGuard = absl::Seconds(30);
// For work on files, which takes its real time.
constexpr absl::Duration kLongRealGuard = absl::Minutes(2);
// Nothing waits for ever: what takes longer is a task or a stream.
constexpr absl::Duration kMaxTimeout = absl::Hours(1);

bool IsCut(const LinkFault& fault) { return fault.cut_request || fault.cut_reply; }

absl::Duration RealGuard(absl::Duration timeout) {
  return timeout > absl::Minutes(1) ? kLongRealGuard : kRealGuard;
}

absl::Status TimedOut(const Channel& channel, absl::Duration timeout) {
  const identity::Identity& peer = channel.options().peer;
  return status::Error(v1::REASON_DEADLINE_EXCEEDED,
                       absl::StrCat("no answer from ", status::Quote(peer.name), " within ",
                                    absl::FormatDuration(timeout)))
      .Object(identity::KindName(peer.kind), peer.name)
      .NextStep("See whether it runs and is reachable; the call may have been carried out.");
}

}  // namespace

OutgoingCall::OutgoingCall(std::shared_ptr<Channel> channel, absl::Duration timeout,
                           bool wait_for_ready)
    : channel_(std::move(channel)), timeout_(std::min(timeout, kMaxTimeout)) {
  context_.set_wait_for_ready(wait_for_ready);
}

bool OutgoingCall::HasTimer() const {
  return IsStream() || channel_->options().simulated_time ||
         channel_->options().link_faults != nullptr;
}

void OutgoingCall::Start() {
  clock::Clock* const clock = channel_->clock();
  const absl::Status own = channel_->CheckOwnCertificate();
  const LinkFault fault = own.ok() ? channel_->NextFault() : LinkFault();
  deadline_ = clock->Now() + timeout_;
  if (!own.ok() || fault.fail) {
    const absl::Status refusal =
        !own.ok() ? own
                  : absl::Status(status::Error(channel_->options().unreachable,
                                               "the link failed (injected fault)"));
    // Never inside Start.
    clock->RunAt(clock->Now(), [self = shared_from_this(), refusal] { self->End(refusal); });
    return;
  }
  channel_->AddCall(shared_from_this());
  const std::weak_ptr<OutgoingCall> weak = weak_from_this();
  {
    sync::MutexLock lock(&mutex_);
    if (HasTimer()) {
      // The timer owns the call: while it is parked, nobody else does.
      deadline_timer_ =
          clock->RunAt(deadline_, [self = shared_from_this()] { self->OnDeadline(); });
    }
    if (fault.delay > absl::ZeroDuration()) {
      delayed_ = true;
      delay_timer_ = clock->RunAfter(fault.delay, [weak] {
        const std::shared_ptr<OutgoingCall> self = weak.lock();
        if (self == nullptr) return;
        {
          sync::MutexLock lock(&self->mutex_);
          self->delayed_ = false;
        }
        self->TrySend();
      });
      return;
    }
  }
  TrySend();
}

void OutgoingCall::Prepare() {
  const bool simulated = channel_->options().simulated_time;
  const absl::Duration real =
      simulated ? RealGuard(timeout_) : deadline_ - channel_->clock()->Now();
  // A span counts from now. A stream lives on: its beginning is guarded by a timer on the Clock.
  if (!IsStream()) {
    context_.set_deadline(
        gpr_time_from_micros(std::max<int64_t>(absl::ToInt64Microseconds(real), 0), GPR_TIMESPAN));
  }
  if (simulated) context_.AddMetadata(kDeadlineKey, absl::StrCat(absl::ToUnixMicros(deadline_)));
}

void OutgoingCall::TrySend() {
  const bool cut = channel_->CurrentFault().cut_request;
  {
    sync::MutexLock lock(&mutex_);
    if (ended_ || sent_ || delayed_) return;
    parked_ = cut;
    if (cut) return;
    sent_ = true;
    token_ = channel_->clock()->Busy("outgoing call");
  }
  Prepare();
  Send(&context_);
}

void OutgoingCall::Completed(const grpc::Status& status) {
  // The peer's own deadlines come with their detail.
  const bool timed_out =
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && status.error_details().empty();
  const bool simulated = channel_->options().simulated_time;
  const absl::Status outcome = timed_out
                                   ? TimedOut(*channel_, simulated ? RealGuard(timeout_) : timeout_)
                                   : status::FromGrpc(status, channel_->options().unreachable);
  const bool held = channel_->CurrentFault().cut_reply;
  {
    sync::MutexLock lock(&mutex_);
    if (ended_) return;
    if (held) {
      parked_ = true;
      kept_ = outcome;
      token_.Release();
      return;
    }
  }
  End(outcome);
}

void OutgoingCall::Began() {
  clock::Clock::BusyToken token;
  sync::MutexLock lock(&mutex_);
  began_ = true;
  channel_->clock()->Cancel(deadline_timer_);
  deadline_timer_ = clock::Clock::kNoTimer;
  token = std::move(token_);
}

bool OutgoingCall::HoldsReplies() {
  const bool held = channel_->CurrentFault().cut_reply;
  sync::MutexLock lock(&mutex_);
  parked_ = parked_ || held;
  return held;
}

void OutgoingCall::OnFaultsChanged() {
  const LinkFault fault = channel_->CurrentFault();
  absl::optional<absl::Status> outcome;
  bool send = false;
  {
    sync::MutexLock lock(&mutex_);
    if (ended_) return;
    if (!sent_) {
      send = parked_ && !fault.cut_request;
    } else if (IsCut(fault)) {
      parked_ = true;
      token_.Release();
      return;
    } else if (parked_) {
      parked_ = false;
      if (!began_ || kept_.has_value()) token_ = channel_->clock()->Busy("outgoing call");
      outcome = std::move(kept_);
      kept_.reset();
    } else {
      return;
    }
  }
  if (send) {
    TrySend();
    return;
  }
  OnHealed();
  if (outcome.has_value()) End(*outcome);
}

void OutgoingCall::OnDeadline() { EndUnanswered(TimedOut(*channel_, timeout_)); }

void OutgoingCall::Cancel() {
  EndUnanswered(status::Error(v1::REASON_CANCELLED, "cancelled by the caller"));
}

void OutgoingCall::EndUnanswered(const absl::Status& status) {
  const std::shared_ptr<OutgoingCall> self = shared_from_this();
  End(status);  // first: it is this status that is reported, not gRPC's CANCELLED
  context_.TryCancel();
}

void OutgoingCall::End(const absl::Status& status) {
  // What is released here may own this object.
  const std::shared_ptr<OutgoingCall> self = shared_from_this();
  clock::Clock::BusyToken token;
  clock::Clock::TimerId deadline_timer;
  clock::Clock::TimerId delay_timer;
  {
    sync::MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    const bool held = sent_ && !parked_ && !began_;
    token = std::move(token_);
    // What a parked call or a stream reports is work too.
    if (!held) token = channel_->clock()->Busy("outgoing call");
    deadline_timer = deadline_timer_;
    delay_timer = delay_timer_;
  }
  channel_->RemoveCall(this);
  if (deadline_timer != clock::Clock::kNoTimer) channel_->clock()->Cancel(deadline_timer);
  if (delay_timer != clock::Clock::kNoTimer) channel_->clock()->Cancel(delay_timer);
  Deliver(status);
}

uint64_t StartCounting(const Channel& channel, grpc::ClientContext* context) {
  if (channel.options().stream_counters == nullptr) return 0;
  const uint64_t number = channel.options().stream_counters->OpenStream();
  if (number != 0) context->AddMetadata(kStreamKey, absl::StrCat(number));
  return number;
}

}  // namespace keysphere::rpc::internal
