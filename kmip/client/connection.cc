#include "kmip/client/connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/client/pool.h"
#include "kmip/net/socket.h"

namespace keysphere::kmip::client {
namespace {

using Io = net::TlsStream::Io;

constexpr size_t kReadFirst = 2 << 10;
constexpr size_t kReadAtOnce = 16 << 10;
// A batch of keys with all that a server may add to them.
constexpr size_t kMaxAnswerBytes = 1 << 20;

absl::Status EndedByServer(const net::TlsStream& stream) {
  if (!stream.error().ok()) return stream.error();
  return status::Error(v1::REASON_UNREACHABLE, "the server has closed the connection");
}

}  // namespace

ClientConnection::~ClientConnection() { Close(); }

void ClientConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (watch_ != 0) pool_->loop()->Unwatch(watch_, fd_);
  stream_.reset();
  socket_.Close();
  in_.Release();
}

void ClientConnection::End(const absl::Status& why) {
  if (state_ == State::kClosed) return;
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  const bool answer_begun = !in_.empty();
  Close();
  pool_->OnEnded(this, why, answer_begun);
}

void ClientConnection::Start() {
  auto socket = net::BeginConnect(pool_->ip(), pool_->options().port);
  if (!socket.ok()) {
    pool_->loop()->Post([weak = weak_from_this(), why = socket.status()] {
      if (const auto self = weak.lock()) self->End(why);
    });
    return;
  }
  socket_ = *std::move(socket);
  fd_ = socket_.get();
  waits_for_ = EPOLLOUT;
  watch_ = pool_->loop()->Watch(fd_, EPOLLOUT, this);
}

void ClientConnection::Wait(uint32_t events) {
  if (waits_for_ == events) return;
  waits_for_ = events;
  pool_->loop()->Change(watch_, fd_, events);
}

void ClientConnection::OnReady(uint32_t /*events*/) {
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  switch (state_) {
    case State::kConnecting:
      return Connected();
    case State::kHandshake:
      return ContinueHandshake();
    case State::kDiscovering:
    case State::kIdle:
    case State::kExchange:
      return ContinueExchange();
    case State::kClosed:
      return;
  }
}

void ClientConnection::Connected() {
  const absl::Status connected = net::EndConnect(fd_);
  if (!connected.ok()) return End(connected);
  auto stream = pool_->NewStream(std::move(socket_));
  if (!stream.ok()) return End(stream.status());
  stream_ = *std::move(stream);
  state_ = State::kHandshake;
  ContinueHandshake();
}

void ClientConnection::ContinueHandshake() {
  switch (stream_->Handshake()) {
    case Io::kDone:
      break;
    case Io::kAgain:
      return Wait(stream_->events());
    case Io::kClosed:
    case Io::kFailed:
      pool_->OnHandshake(*stream_);
      return End(EndedByServer(*stream_));
  }
  pool_->OnHandshake(*stream_);
  discover_ = Exchange(messages::Operation::kDiscoverVersions, pool_->credential(), 1,
                       [](size_t, ttlv::Writer*) {});
  exchange_ = &discover_;
  state_ = State::kDiscovering;
  ContinueExchange();
}

void ClientConnection::Send(const Exchange* exchange) {
  KS_CHECK(state_ == State::kIdle);
  exchange_ = exchange;
  sent_ = 0;
  state_ = State::kExchange;
  ContinueExchange();
}

absl::Status ClientConnection::WriteSome(bool* wait) {
  const absl::Span<const uint8_t> request = exchange_->request().span();
  while (sent_ < request.size()) {
    size_t written = 0;
    switch (stream_->Write(request.subspan(sent_), &written)) {
      case Io::kDone:
        sent_ += written;
        break;
      case Io::kAgain:
        *wait = true;
        Wait(stream_->events());
        return absl::OkStatus();
      case Io::kClosed:
      case Io::kFailed:
        return EndedByServer(*stream_);
    }
  }
  return absl::OkStatus();
}

absl::Status ClientConnection::ReadSome(bool* wait) {
  switch (stream_->Read(&in_, in_.empty() ? kReadFirst : kReadAtOnce)) {
    case Io::kDone:
      return absl::OkStatus();
    case Io::kAgain:
      *wait = true;
      Wait(stream_->events());
      return absl::OkStatus();
    case Io::kClosed:
    case Io::kFailed:
      break;
  }
  return EndedByServer(*stream_);
}

void ClientConnection::ContinueExchange() {
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  absl::Status status;
  bool wait = false;
  if (exchange_ != nullptr) status = WriteSome(&wait);
  while (status.ok() && !wait && state_ != State::kClosed) {
    bool taken = false;
    status = TakeAnswer(&taken);
    // A further exchange has been begun meanwhile, or none.
    if (taken || !status.ok()) break;
    status = ReadSome(&wait);
  }
  if (!status.ok()) End(status);
}

absl::Status ClientConnection::TakeAnswer(bool* taken) {
  if (state_ == State::kIdle && !in_.empty()) {
    return BadResponse("bytes that nobody asked for");
  }
  if (in_.size() < ttlv::kHeaderBytes) return absl::OkStatus();
  ttlv::Limits limits;
  limits.max_bytes = kMaxAnswerBytes;
  const auto size = ttlv::MessageBytes(in_.span(), ttlv::Tag::kResponseMessage, limits);
  if (!size.ok()) return BadResponse(size.status().message());
  if (in_.size() < *size) return absl::OkStatus();
  if (in_.size() > *size) return BadResponse("bytes behind it");
  const auto message = ttlv::Parse(in_.span(), limits);
  if (!message.ok()) return BadResponse(message.status().message());
  const auto response = messages::ReadResponse(*message);
  if (!response.ok()) return BadResponse(response.status().message());
  *taken = true;
  return OnMessage(*response);
}

absl::Status ClientConnection::OnMessage(const messages::Response& response) {
  exchange_ = nullptr;
  sent_ = 0;
  if (state_ == State::kDiscovering) {
    KS_ASSIGN_OR_RETURN(versions_, VersionsOf(response));
  } else {
    used_ = true;
    pool_->OnAnswer(this, response);
    if (state_ == State::kClosed) return absl::OkStatus();
  }
  // Views into it have been used.
  in_.Release();
  state_ = State::kIdle;
  Wait(EPOLLIN);
  pool_->OnIdle(this);
  return absl::OkStatus();
}

}  // namespace keysphere::kmip::client
