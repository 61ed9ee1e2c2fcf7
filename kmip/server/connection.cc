#include "kmip/server/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "common/status/status.h"
#include "kmip/net/certificate.h"

namespace keysphere::kmip::server {
namespace {

using Io = net::TlsStream::Io;

// Most messages are small.
constexpr size_t kReadFirst = 2 << 10;
constexpr size_t kReadAtOnce = 16 << 10;
// Buffers of an idle connection are given back when they have grown beyond it.
constexpr size_t kKeptBytes = 4 << 10;

}  // namespace

Connection::Connection(Context* context, Host* host, std::unique_ptr<net::TlsStream> stream)
    : context_(context), host_(host), stream_(std::move(stream)) {}

Connection::~Connection() { KS_CHECK(state_ == State::kClosed); }

void Connection::Start() {
  watch_ = context_->loop->Watch(stream_->fd(), EPOLLIN, this);
  waits_for_ = EPOLLIN;
  SetTimer(context_->options.handshake_timeout);
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  // What is released here may own this object.
  const std::shared_ptr<Connection> self = shared_from_this();
  state_ = State::kClosed;
  CancelTimer();
  context_->loop->Unwatch(watch_, stream_->fd());
  host_->Ended(this);
}

absl::optional<uint64_t> Connection::idle_since() const {
  if (state_ != State::kReading || !in_.empty() || stream_->HasBegun()) return absl::nullopt;
  return idle_since_;
}

bool Connection::HasUnread() const {
  uint8_t byte = 0;
  return recv(stream_->fd(), &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Connection::BecomeIdle() {
  state_ = State::kReading;
  idle_since_ = ++context_->times_idle;
  Wait(EPOLLIN);
}

void Connection::Refuse(const absl::Status& why) {
  ++context_->counters.refused;
  context_->logger->Warning("kmip.connection_refused", {{"error", why}});
  Close();
}

void Connection::SetTimer(absl::Duration timeout) {
  CancelTimer();
  const uint64_t number = ++timer_number_;
  timer_ = context_->wall->RunAfter(timeout, [weak = weak_from_this(), loop = context_->loop,
                                              number] {
    loop->Post([weak, number] {
      const std::shared_ptr<Connection> self = weak.lock();
      if (self == nullptr || self->timer_number_ != number) return;
      self->Refuse(status::Error(v1::REASON_DEADLINE_EXCEEDED, "a client did not go on in time"));
    });
  });
}

void Connection::CancelTimer() {
  ++timer_number_;
  if (timer_ != clock::Clock::kNoTimer) context_->wall->Cancel(timer_);
  timer_ = clock::Clock::kNoTimer;
}

void Connection::Wait(uint32_t events) {
  if (waits_for_ == events) return;
  waits_for_ = events;
  context_->loop->Change(watch_, stream_->fd(), events);
}

void Connection::OnReady(uint32_t events) {
  const std::shared_ptr<Connection> self = shared_from_this();
  switch (state_) {
    case State::kHandshake:
      return ContinueHandshake();
    case State::kReading:
      return ContinueReading();
    case State::kHandling:
      if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) return Close();
      // The next request has to wait: from here on only the end of the connection is reported.
      return Wait(EPOLLRDHUP);
    case State::kWriting:
      return ContinueWriting();
    case State::kClosed:
      return;
  }
}

void Connection::ContinueHandshake() {
  switch (stream_->Handshake()) {
    case Io::kDone:
      break;
    case Io::kAgain:
      return Wait(stream_->events());
    case Io::kClosed:
    case Io::kFailed:
      return Refuse(stream_->error());
  }
  CancelTimer();
  if (!stream_->peer().has_value()) return Close();
  owner_ = net::HolderOf(*stream_->peer());
  if (!host_->Admit(this)) return Close();
  BecomeIdle();
  ContinueReading();
}

void Connection::ContinueReading() {
  while (state_ == State::kReading) {
    if (TakeMessage()) return;
    if (state_ != State::kReading) return;
    // A message has a length: no more of it is taken than that, and little of the next one.
    switch (stream_->Read(&in_, in_.empty() ? kReadFirst : kReadAtOnce)) {
      case Io::kDone:
        continue;
      case Io::kAgain:
        // From the message's first byte on, and not anew with each further one.
        if ((!in_.empty() || stream_->HasBegun()) && timer_ == clock::Clock::kNoTimer) {
          SetTimer(context_->options.message_timeout);
        }
        return Wait(stream_->events());
      case Io::kClosed:
      case Io::kFailed:
        return Close();
    }
  }
}

bool Connection::TakeMessage() {
  if (in_.size() < ttlv::kHeaderBytes) return false;
  const auto size =
      ttlv::MessageBytes(in_.span(), ttlv::Tag::kRequestMessage, context_->options.limits);
  if (!size.ok()) {
    // Where the next message begins is not known any more.
    Refuse(size.status());
    return true;
  }
  if (in_.size() < *size) return false;
  CancelTimer();
  ttlv::Buffer message;
  if (in_.size() == *size) {
    message = std::move(in_);
  } else {
    message.Append(in_.span().subspan(0, *size));
    in_.Consume(*size);
  }
  ++context_->counters.requests;
  state_ = State::kHandling;
  FaultInjector::MessageFault fault;
  if (context_->options.faults != nullptr) fault = context_->options.faults->OnMessage();
  auto answer = [weak = weak_from_this(), loop = context_->loop, fault](ttlv::Buffer bytes) {
    loop->Post([weak, fault, bytes = std::move(bytes)]() mutable {
      const std::shared_ptr<Connection> self = weak.lock();
      if (self != nullptr) self->Answered(std::move(bytes), fault);
    });
  };
  if (fault.fail) {
    answer(context_->engine->Failure(message.span(), messages::ResultReason::kGeneralFailure,
                                     "injected fault"));
  } else {
    context_->engine->Handle(std::move(message), Caller{owner_}, std::move(answer));
  }
  return true;
}

void Connection::Answered(ttlv::Buffer answer, FaultInjector::MessageFault fault) {
  if (state_ != State::kHandling) return;
  if (fault.delay == absl::InfiniteDuration()) return;
  if (fault.delay > absl::ZeroDuration()) {
    const absl::Duration delay = std::exchange(fault.delay, absl::ZeroDuration());
    auto held = std::make_shared<ttlv::Buffer>(std::move(answer));
    context_->wall->RunAfter(delay, [weak = weak_from_this(), loop = context_->loop, held, fault] {
      loop->Post([weak, held, fault] {
        const std::shared_ptr<Connection> self = weak.lock();
        if (self != nullptr) self->Answered(std::move(*held), fault);
      });
    });
    return;
  }
  out_ = std::move(answer);
  sent_ = 0;
  drop_after_ = fault.drop_after_bytes;
  state_ = State::kWriting;
  ContinueWriting();
}

void Connection::ContinueWriting() {
  const size_t end = std::min(out_.size(), drop_after_.value_or(out_.size()));
  while (sent_ < end) {
    size_t written = 0;
    switch (stream_->Write(out_.span().subspan(sent_, end - sent_), &written)) {
      case Io::kDone:
        sent_ += written;
        continue;
      case Io::kAgain:
        if (timer_ == clock::Clock::kNoTimer) SetTimer(context_->options.write_timeout);
        return Wait(stream_->events());
      case Io::kClosed:
      case Io::kFailed:
        return Close();
    }
  }
  if (drop_after_.has_value()) return Close();
  CancelTimer();
  if (out_.size() > kKeptBytes) {
    out_.Release();
  } else {
    out_.Clear();
  }
  BecomeIdle();
  // A further request may be here already.
  if (!in_.empty() || stream_->HasPending()) ContinueReading();
}

}  // namespace keysphere::kmip::server
