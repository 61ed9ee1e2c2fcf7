#include "tests/cluster/wire.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::tests {
namespace {

using controller::hosts::HostLink;
using hostagent::agent::HostAgent;

constexpr absl::Duration kShort = absl::Seconds(10);
constexpr absl::Duration kLong = absl::Hours(1);

}  // namespace

// A controller's way to the host: calls the agent's methods with the controller's identity.
class WireLink : public HostLink {
 public:
  WireLink(std::shared_ptr<Wire> wire, absl::string_view controller, const Life& life)
      : wire_(std::move(wire)),
        identity_{"keysphere.test", identity::Kind::kController, std::string(controller)},
        life_(life) {}

#define KS_FORWARD(Method, Response, deadline)                                              \
  void Method(host::v1::Method##Request request, status::Callback<host::v1::Response> done) \
      override {                                                                            \
    Call(#Method, &HostAgent::Method, std::move(request), deadline, std::move(done));       \
  }
  KS_FORWARD(Attach, AttachResponse, kShort)
  KS_FORWARD(Detach, DetachResponse, kShort)
  KS_FORWARD(CheckKeys, CheckKeysResponse, kShort)
  KS_FORWARD(ApplyKeys, ApplyKeysResponse, kShort)
  KS_FORWARD(SetCryptoMode, SetCryptoModeResponse, kShort)
  KS_FORWARD(SetKeyPersistence, SetKeyPersistenceResponse, kShort)
  KS_FORWARD(WriteCoreDump, WriteCoreDumpResponse, kLong)
  KS_FORWARD(ReadCoreDump, ReadCoreDumpResponse, kShort)
  KS_FORWARD(UnlockAllHostVms, UnlockAllHostVmsResponse, kShort)
  KS_FORWARD(GetHostStatus, GetHostStatusResponse, kShort)
  KS_FORWARD(GetHostVm, HostVm, kShort)
  KS_FORWARD(CreateHostVm, HostVm, kLong)
  KS_FORWARD(RegisterHostVm, HostVm, kShort)
  KS_FORWARD(UnregisterHostVm, UnregisterHostVmResponse, kShort)
  KS_FORWARD(ReloadHostVm, HostVm, kShort)
  KS_FORWARD(PowerOnHostVm, HostVm, kShort)
  KS_FORWARD(PowerOffHostVm, HostVm, kShort)
  KS_FORWARD(ResetHostVm, HostVm, kShort)
  KS_FORWARD(EncryptHostVm, HostVm, kLong)
  KS_FORWARD(DecryptHostVm, HostVm, kLong)
  KS_FORWARD(AddHostVmVtpm, HostVm, kLong)
  KS_FORWARD(RekeyHostVm, HostVm, kLong)
  KS_FORWARD(UnlockHostVm, HostVm, kShort)
#undef KS_FORWARD

  std::unique_ptr<Watch> WatchHost(host::v1::WatchHostRequest request,
                                   std::function<void(host::v1::HostEvent)> on_event,
                                   std::function<void(absl::Status)> on_end) override;

 private:
  class WireWatch;

  // Ends once: with the host's answer, a failure of the wire, or at its deadline. The timer of the
  // deadline owns it, so that what a test leaves waiting goes with the executor; the call that it
  // holds, and what that leaves behind on its way, only refer to it.
  template <typename Response>
  struct Pending {
    status::Callback<Response> done;
    clock::Clock::TimerId timer = clock::Clock::kNoTimer;
    std::shared_ptr<Wire::Call> call;
  };

  template <typename Request, typename Response>
  void Call(const std::string& name,
            void (HostAgent::*method)(const identity::Identity&, const Request&,
                                      hostagent::agent::Callback<Response>),
            Request request, absl::Duration deadline, status::Callback<Response> done) {
    auto pending = std::make_shared<Pending<Response>>();
    pending->done = std::move(done);
    const auto finish = [life = life_, executor = wire_->executor_,
                         weak = std::weak_ptr(pending)](absl::StatusOr<Response> answer) {
      const auto pending = weak.lock();
      if (pending == nullptr || !pending->done) return;
      executor->Cancel(pending->timer);
      pending->call.reset();
      status::Callback<Response> callback = std::move(pending->done);
      pending->done = nullptr;
      if (life.alive()) callback(std::move(answer));
    };
    auto call = std::make_shared<Wire::Call>();
    pending->call = call;
    call->fail = finish;
    call->send = [weak_wire = std::weak_ptr(wire_), identity = identity_, method,
                  request = std::move(request), weak = std::weak_ptr(pending),
                  finish](HostAgent* agent) {
      const auto pending = weak.lock();
      if (pending == nullptr || !pending->done) return;  // given up
      (agent->*method)(
          identity, request, [weak_wire, finish](absl::StatusOr<Response> answer) mutable {
            const auto wire = weak_wire.lock();
            if (wire == nullptr) return;
            wire->Return(
                [finish, answer = std::move(answer)]() mutable { finish(std::move(answer)); });
          });
    };
    pending->timer = wire_->executor_->RunAfter(deadline, [wire = wire_, name, finish, pending] {
      finish(wire->NotResponding(absl::StrCat(name, " was not answered in time")));
    });
    wire_->Submit(name, std::move(call));
  }

  const std::shared_ptr<Wire> wire_;
  const identity::Identity identity_;
  const Life life_;
};

// Owns its state: the call, and events on their way, only refer to it.
class WireLink::WireWatch : public HostLink::Watch {
 public:
  struct State {
    std::function<void(host::v1::HostEvent)> on_event;
    std::function<void(absl::Status)> on_end;
    bool open = true;
    std::shared_ptr<Wire::Call> call;
  };
  explicit WireWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~WireWatch() override {
    state_->open = false;
    state_->call.reset();
  }

 private:
  const std::shared_ptr<State> state_;
};

std::unique_ptr<HostLink::Watch> WireLink::WatchHost(
    host::v1::WatchHostRequest request, std::function<void(host::v1::HostEvent)> on_event,
    std::function<void(absl::Status)> on_end) {
  auto state = std::make_shared<WireWatch::State>();
  state->on_event = std::move(on_event);
  state->on_end = std::move(on_end);
  const auto end = [life = life_, weak = std::weak_ptr(state)](absl::Status why) {
    const auto state = weak.lock();
    if (state == nullptr || !state->open) return;
    state->open = false;
    state->call.reset();
    if (life.alive()) state->on_end(std::move(why));
  };
  auto call = std::make_shared<Wire::Call>();
  state->call = call;
  call->fail = end;
  call->send = [weak_wire = std::weak_ptr(wire_), life = life_, identity = identity_,
                request = std::move(request), weak = std::weak_ptr(state), end](HostAgent* agent) {
    hostagent::agent::WatchSink sink;
    sink.on_event = [weak_wire, life, weak](const host::v1::HostEvent& event) {
      const auto state = weak.lock();
      const auto wire = weak_wire.lock();
      if (state == nullptr || wire == nullptr || !state->open || !life.alive()) return false;
      wire->Return([weak, life, event] {
        const auto state = weak.lock();
        if (state != nullptr && state->open && life.alive()) state->on_event(event);
      });
      return true;
    };
    sink.on_end = [weak_wire, end](absl::Status why) {
      const auto wire = weak_wire.lock();
      if (wire != nullptr) wire->Return([end, why = std::move(why)] { end(why); });
    };
    agent->WatchHost(identity, request, std::move(sink));
  };
  auto watch = std::make_unique<WireWatch>(state);
  wire_->Submit("WatchHost", std::move(call));
  return watch;
}

std::unique_ptr<HostLink> Wire::Connect(absl::string_view controller, const Life& life) {
  return std::make_unique<WireLink>(shared_from_this(), controller, life);
}

absl::Status Wire::NotResponding(absl::string_view why) const {
  return status::Error(v1::REASON_HOST_NOT_RESPONDING, why).Object("host", host_);
}

int Wire::all_calls() const {
  int sum = 0;
  for (const auto& [method, count] : calls_) sum += count;
  return sum;
}

void Wire::Submit(const std::string& method, CallPtr call) {
  ++calls_[method];
  if (delay_ == absl::ZeroDuration()) {
    executor_->Post([self = shared_from_this(), call = std::move(call)] { self->Send(call); });
  } else {
    executor_->RunAfter(delay_,
                        [self = shared_from_this(), call = std::move(call)] { self->Send(call); });
  }
}

void Wire::Send(CallPtr call) {
  if (!reachable()) {
    parked_.push_back(std::move(call));
    return;
  }
  under_way_.push_back(call);
  call->send(agent_);
}

void Wire::Return(absl::AnyInvocable<void()> deliver) {
  if (cut_) {
    held_back_.push_back(std::move(deliver));
  } else if (delay_ == absl::ZeroDuration()) {
    deliver();
  } else {
    executor_->RunAfter(delay_, std::move(deliver));
  }
}

void Wire::SetAgent(HostAgent* agent) {
  agent_ = agent;
  std::vector<std::weak_ptr<Call>> under_way;
  under_way.swap(under_way_);
  for (const std::weak_ptr<Call>& weak : under_way) {
    if (const CallPtr call = weak.lock()) call->fail(NotResponding("the connection broke"));
  }
  if (agent == nullptr) held_back_.clear();
  SetCut(cut_);
}

void Wire::SetCut(bool cut) {
  cut_ = cut;
  if (!reachable()) return;
  std::vector<absl::AnyInvocable<void()>> held_back;
  held_back.swap(held_back_);
  for (auto& deliver : held_back) deliver();
  std::vector<CallPtr> parked;
  parked.swap(parked_);
  for (CallPtr& call : parked) Send(std::move(call));
}

}  // namespace keysphere::tests
