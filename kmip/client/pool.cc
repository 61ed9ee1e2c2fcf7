#include "kmip/client/pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/detail.h"
#include "common/status/status.h"
#include "kmip/client/connection.h"
#include "kmip/net/socket.h"

namespace keysphere::kmip::client {
namespace {

// On simulated time, which stands still while a call is under way.
constexpr absl::Duration kRealGuard = absl::Seconds(30);

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

bool IsCutFault(const rpc::LinkFault& fault) { return fault.cut_request || fault.cut_reply; }

}  // namespace

Pool::Pool(KmipClientOptions options, net::SslCtxPtr tls, net::CertificateFacts own,
           net::Loop* loop, executor::Executor* executor, clock::Clock* clock)
    : options_(std::move(options)),
      tls_(std::move(tls)),
      own_(std::move(own)),
      loop_(loop),
      executor_(executor),
      clock_(clock),
      resolver_(loop) {}

Pool::~Pool() = default;

absl::optional<messages::Credential> Pool::credential() const {
  if (options_.username.empty()) return absl::nullopt;
  return messages::Credential{messages::CredentialType::kUsernameAndPassword, options_.username,
                              options_.password.view()};
}

absl::optional<ServerCertificate> Pool::last_certificate() {
  sync::MutexLock lock(&mutex_);
  return certificate_;
}

int Pool::handshakes() {
  sync::MutexLock lock(&mutex_);
  return handshakes_;
}

absl::StatusOr<std::unique_ptr<net::TlsStream>> Pool::NewStream(files::Descriptor socket) {
  return net::TlsStream::Client(tls_.get(), std::move(socket), options_.host, clock_->Now());
}

void Pool::OnHandshake(const net::TlsStream& stream) {
  sync::MutexLock lock(&mutex_);
  ++handshakes_;
  if (!stream.peer().has_value()) return;
  const net::CertificateFacts& facts = *stream.peer();
  certificate_ =
      ServerCertificate{facts.pem, facts.subject, facts.sha256, facts.not_before, facts.not_after};
}

// Calls, from their start to their end.

void Pool::Submit(std::unique_ptr<Call> call) {
  call->token = clock_->Busy("key server call");
  loop_->Post([self = shared_from_this(), call = CallPtr(std::move(call))] { self->Begin(call); });
}

clock::Clock::TimerId Pool::At(clock::Clock* clock, absl::Time when, const CallPtr& call,
                               void (Pool::*then)(const CallPtr&)) {
  return clock->RunAt(when, [weak = weak_from_this(), loop = loop_, busy = clock_, call, then] {
    // Time goes on only when the loop has done what is due.
    auto token = std::make_shared<clock::Clock::BusyToken>(busy->Busy("key server timer"));
    loop->Post([weak, call, then, token] {
      const std::shared_ptr<Pool> self = weak.lock();
      if (self != nullptr && !call->ended) ((*self).*then)(call);
    });
  });
}

rpc::LinkFault Pool::CurrentFault() {
  return options_.link_faults == nullptr ? rpc::LinkFault()
                                         : options_.link_faults->Current(options_.link_name);
}

void Pool::Begin(const CallPtr& call) {
  calls_.insert(call);
  if (closed_) {
    return Fail(call, status::Error(v1::REASON_CANCELLED, "the connection data were given up"));
  }
  if (calls_.size() > static_cast<size_t>(options_.max_calls)) {
    return Fail(call, status::Error(v1::REASON_OVERLOADED,
                                    absl::StrCat("more than ", options_.max_calls,
                                                 " calls to the key server are under way"))
                          .NextStep("Try again in a moment."));
  }
  const absl::Time now = clock_->Now();
  call->deadline = now + call->timeout;
  if (now < own_.not_before || now > own_.not_after) {
    const bool early = now < own_.not_before;
    return Fail(
        call,
        status::Error(
            v1::REASON_CERT_EXPIRED,
            absl::StrCat("our certificate for the key server is not valid now: it is valid ",
                         early ? "only from " : "only until ",
                         TimeText(early ? own_.not_before : own_.not_after), ", and it is now ",
                         TimeText(now)))
            .NextStep(early ? "Wait until then, or set a certificate that is valid now."
                            : "Set a new client certificate."),
        /*sent=*/false);
  }
  if (options_.link_faults != nullptr && listener_ == 0) {
    listener_ = options_.link_faults->AddListener([weak = weak_from_this(), loop = loop_] {
      loop->Post([weak] {
        if (const auto self = weak.lock()) self->OnLinksChanged();
      });
    });
  }
  rpc::LinkFault fault;
  if (options_.link_faults != nullptr) fault = options_.link_faults->Next(options_.link_name);
  if (fault.fail) {
    return Fail(call, status::Error(v1::REASON_UNREACHABLE, "the link failed (injected fault)"),
                /*sent=*/false);
  }
  call->deadline_timer = At(clock_, call->deadline, call, &Pool::OnDeadline);
  if (fault.delay > absl::ZeroDuration()) {
    call->delayed = true;
    call->delay_timer = At(clock_, now + fault.delay, call, &Pool::OnDelayed);
    call->token.Release();
    return;
  }
  TryStart(call);
}

void Pool::OnDelayed(const CallPtr& call) {
  call->delayed = false;
  TryStart(call);
}

void Pool::TryStart(const CallPtr& call) {
  if (call->started || call->delayed) return;
  call->parked = CurrentFault().cut_request;
  if (call->parked) {
    call->token.Release();
    return;
  }
  call->token = clock_->Busy("key server call");
  call->started = true;
  if (options_.wall != nullptr) {
    call->guard_timer = At(options_.wall, options_.wall->Now() + kRealGuard, call, &Pool::OnGuard);
  }
  waiting_.push_back(call);
  Pump();
}

void Pool::OnLinksChanged() {
  const rpc::LinkFault fault = CurrentFault();
  const std::vector<CallPtr> calls(calls_.begin(), calls_.end());
  for (const CallPtr& call : calls) {
    if (call->ended || call->delayed) continue;
    if (!call->started) {
      TryStart(call);
    } else if (IsCutFault(fault)) {
      call->parked = true;
      call->token.Release();
    } else if (call->parked) {
      call->parked = false;
      call->token = clock_->Busy("key server call");
      if (call->kept) Deliver(call, std::move(call->kept));
    }
  }
}

void Pool::End(const CallPtr& call, absl::AnyInvocable<void()> outcome) {
  if (call->ended || call->kept) return;
  if (call->started && IsCutFault(CurrentFault())) {
    call->parked = true;
    call->kept = std::move(outcome);
    call->token.Release();
    return;
  }
  Deliver(call, std::move(outcome));
}

void Pool::Deliver(const CallPtr& call, absl::AnyInvocable<void()> outcome) {
  if (call->ended) return;
  call->ended = true;
  if (call->deadline_timer != clock::Clock::kNoTimer) clock_->Cancel(call->deadline_timer);
  if (call->delay_timer != clock::Clock::kNoTimer) clock_->Cancel(call->delay_timer);
  if (call->guard_timer != clock::Clock::kNoTimer) options_.wall->Cancel(call->guard_timer);
  const auto place = std::find(waiting_.begin(), waiting_.end(), call);
  if (place != waiting_.end()) waiting_.erase(place);
  // The answer would come to somebody else's question.
  if (call->connection != nullptr) Drop(call->connection);
  calls_.erase(call);
  outcome();
  call->token.Release();
}

void Pool::Fail(const CallPtr& call, const absl::Status& why, bool sent) {
  status::ErrorDetail detail = status::DetailOf(why);
  if (detail.reason() == v1::REASON_UNREACHABLE) detail.set_reason(v1::REASON_KMS_UNREACHABLE);
  if (!sent) (*detail.mutable_metadata())["sent"] = "false";
  const absl::Status error = status::FromDetail(why.message(), detail);
  // The call may keep this: it must not keep the call.
  End(call, [call = call.get(), error] { call->failed(error); });
}

bool Pool::MayBeSent(const Call& call) {
  if (!call.started || call.attempts == 0) return false;
  // Requests follow the discovery of versions.
  const bool first = call.attempts == 1 && call.connection != nullptr;
  return !first || !call.connection->versions().empty();
}

void Pool::OnDeadline(const CallPtr& call) {
  // What an operation has left of its time is no round number.
  const absl::Duration waited = absl::Ceil(call->timeout, absl::Milliseconds(1));
  status::ErrorBuilder builder =
      status::Error(v1::REASON_DEADLINE_EXCEEDED,
                    absl::StrCat("no answer within ", absl::FormatDuration(waited)));
  if (!MayBeSent(*call)) builder.With("sent", "false");
  const absl::Status error = builder;
  Deliver(call, [call, error] { call->failed(error); });
  Pump();
}

void Pool::OnGuard(const CallPtr& call) {
  if (call->parked) return;
  OnDeadline(call);
}

// Connections.

void Pool::Drop(ClientConnection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  const std::shared_ptr<ClientConnection> owned = found->second;
  connections_.erase(found);
  idle_.erase(std::remove(idle_.begin(), idle_.end(), connection), idle_.end());
  Release(connection);
  owned->Close();
}

Pool::CallPtr Pool::Release(ClientConnection* connection) {
  const auto found = busy_.find(connection);
  if (found == busy_.end()) return nullptr;
  const CallPtr call = found->second;
  busy_.erase(found);
  call->connection = nullptr;
  return call;
}

void Pool::Pump() {
  while (!waiting_.empty() && !closed_) {
    if (!idle_.empty()) {
      ClientConnection* const connection = idle_.back();
      // A server whose certificate has ended meanwhile has to show another one.
      const absl::optional<ServerCertificate> shown = last_certificate();
      if (shown.has_value() && shown->not_after < clock_->Now()) {
        Drop(connection);
        continue;
      }
      idle_.pop_back();
      const CallPtr call = waiting_.front();
      waiting_.pop_front();
      Assign(call, connection);
      continue;
    }
    if (static_cast<int>(connections_.size()) >= std::max(options_.max_connections, 1)) return;
    if (ip_.empty()) {
      ResolveFirst();
      if (ip_.empty()) return;
    }
    const CallPtr call = waiting_.front();
    waiting_.pop_front();
    const auto connection = std::make_shared<ClientConnection>(this);
    connections_[connection.get()] = connection;
    busy_[connection.get()] = call;
    call->connection = connection.get();
    ++call->attempts;
    connection->Start();
  }
}

void Pool::ResolveFirst() {
  if (net::IsIpAddress(options_.host)) {
    ip_ = options_.host;
    return;
  }
  if (resolving_) return;
  resolving_ = true;
  resolver_.Resolve(options_.host, [weak = weak_from_this()](absl::StatusOr<std::string> ip) {
    const std::shared_ptr<Pool> self = weak.lock();
    if (self == nullptr) return;
    self->resolving_ = false;
    if (ip.ok()) {
      self->ip_ = *std::move(ip);
      return self->Pump();
    }
    const auto waiting = std::exchange(self->waiting_, {});
    for (const CallPtr& call : waiting) self->Fail(call, ip.status());
  });
}

void Pool::Assign(const CallPtr& call, ClientConnection* connection) {
  busy_[connection] = call;
  call->connection = connection;
  ++call->attempts;
  connection->Send(&call->exchange);
}

void Pool::OnIdle(ClientConnection* connection) {
  const auto found = busy_.find(connection);
  if (found == busy_.end()) {
    idle_.push_back(connection);
    return Pump();
  }
  // A new connection, and the call that it was made for.
  const CallPtr call = found->second;
  if (call->needs_exchange) return connection->Send(&call->exchange);
  Release(connection);
  End(call, call->answered(messages::Response(), connection->versions()));
  idle_.push_back(connection);
  Pump();
}

void Pool::OnAnswer(ClientConnection* connection, const messages::Response& response) {
  const CallPtr call = Release(connection);
  if (call == nullptr) return;
  const absl::Status checked = call->exchange.Check(response);
  if (checked.ok()) return End(call, call->answered(response, connection->versions()));
  // Whoever answers so is not to be trusted with the next question.
  if (status::ReasonOf(checked) == v1::REASON_KMS_BAD_RESPONSE) Drop(connection);
  Fail(call, checked);
}

void Pool::OnEnded(ClientConnection* connection, const absl::Status& why, bool answer_begun) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  const std::shared_ptr<ClientConnection> owned = found->second;
  connections_.erase(found);
  idle_.erase(std::remove(idle_.begin(), idle_.end(), connection), idle_.end());
  const CallPtr call = Release(connection);
  if (call != nullptr) {
    // The server may have ended an idle connection while the request was on its way.
    const bool again = call->may_repeat && call->attempts == 1 && owned->is_used() &&
                       !answer_begun && status::ReasonOf(why) == v1::REASON_UNREACHABLE;
    if (again) {
      waiting_.push_front(call);
    } else {
      // A name may have got another address.
      if (!net::IsIpAddress(options_.host)) ip_.clear();
      // Requests follow the discovery of versions.
      Fail(call, why, /*sent=*/!owned->versions().empty());
    }
  }
  Pump();
}

void Pool::Close() {
  loop_->RunAndWait([this] {
    closed_ = true;
    const std::vector<CallPtr> calls(calls_.begin(), calls_.end());
    for (const CallPtr& call : calls) {
      Deliver(call, [call] {
        call->failed(status::Error(v1::REASON_CANCELLED, "the connection data were given up"));
      });
    }
    const auto connections = std::exchange(connections_, {});
    idle_.clear();
    busy_.clear();
    for (const auto& [connection, owned] : connections) owned->Close();
  });
  // Both may wait for somebody who waits for the loop.
  if (listener_ != 0) options_.link_faults->RemoveListener(listener_);
  resolver_.Join();
  loop_->RunAndWait([] {});
}

}  // namespace keysphere::kmip::client
