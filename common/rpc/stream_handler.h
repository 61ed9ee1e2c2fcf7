#ifndef KEYSPHERE_COMMON_RPC_STREAM_HANDLER_H_
#define KEYSPHERE_COMMON_RPC_STREAM_HANDLER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/rpc/call_info.h"
#include "common/rpc/gate.h"
#include "common/rpc/link_faults.h"
#include "common/status/grpc.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc {

namespace internal {

// What the streams of all message types have in common.
absl::Status TooSlow(size_t limit);
absl::Status StreamCancelled();
absl::Status StreamDropped();
absl::Status StreamDrained();
// 0: the client counts nothing.
uint64_t StreamNumber(const grpc::CallbackServerContext& context);

// One server stream: a queue of messages in front of gRPC, which takes one at a time.
template <typename Message>
class ServerStream : public grpc::ServerWriteReactor<Message>, public DrainableStream {
 public:
  ServerStream(Gate* gate, uint64_t number, size_t limit)
      : gate_(gate), number_(number), limit_(limit) {}

  // The client's wait for the stream's beginning ends here.
  void Open() {
    if (!gate_->AddStream(this)) {
      End(StreamDrained());
      return;
    }
    registered_ = true;
    this->StartSendInitialMetadata();
  }

  bool Write(Message message) {
    {
      sync::MutexLock lock(&mutex_);
      if (end_.has_value() || ended_) return false;
      if (queue_.size() < limit_) {
        if (counters() != nullptr) counters()->StreamSent(number_);
        queue_.push_back(std::move(message));
        StartNextLocked();
        return true;
      }
    }
    End(TooSlow(limit_));
    return false;
  }

  // Ends after what is queued when OK; else at once: what is queued is dropped.
  void End(const absl::Status& status) {
    sync::MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    end_ = status;
    if (counters() != nullptr) counters()->StreamSent(number_);
    if (!status.ok()) queue_.clear();
    StartNextLocked();
  }

  size_t Waiting() {
    sync::MutexLock lock(&mutex_);
    return queue_.size();
  }

  void OnDrained(std::function<void()> callback) {
    sync::MutexLock lock(&mutex_);
    on_drained_ = std::move(callback);
  }

  // Runs when the client has gone, or at once when it has already.
  void OnGone(absl::AnyInvocable<void()> callback) {
    {
      sync::MutexLock lock(&mutex_);
      if (!gone_) {
        on_gone_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // Runs once all that was written until now has gone out, or, with false, when it will not.
  void WhenSent(absl::AnyInvocable<void(bool)> callback) {
    bool sent = false;
    {
      sync::MutexLock lock(&mutex_);
      if (!gone_ && !end_.has_value()) {
        if (writing_ || !queue_.empty()) {
          on_sent_ = std::move(callback);
          return;
        }
        sent = true;
      }
    }
    callback(sent);
  }

  // Whether all that was written, and an OK end, went out before the client left.
  bool Complete() {
    sync::MutexLock lock(&mutex_);
    return complete_;
  }

  // The domain's handle has gone.
  void ReleaseWriter() {
    End(StreamDropped());
    absl::AnyInvocable<void()> dropped;
    absl::AnyInvocable<void(bool)> dropped_sent;
    {
      sync::MutexLock lock(&mutex_);
      dropped = std::move(on_gone_);
      on_gone_ = nullptr;
      dropped_sent = std::move(on_sent_);
      on_sent_ = nullptr;
    }
    Unref();
  }

  void Drain() override { End(StreamDrained()); }

  void OnWriteDone(bool ok) override {
    std::function<void()> drained;
    absl::AnyInvocable<void(bool)> on_sent;
    bool sent = false;
    {
      sync::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok && !end_.has_value()) {
        end_ = StreamCancelled();
        queue_.clear();
      }
      sent = !gone_ && !end_.has_value();
      if (queue_.empty()) {
        on_sent = std::move(on_sent_);
        on_sent_ = nullptr;
      }
      StartNextLocked();
      if (queue_.empty()) drained = on_drained_;
    }
    if (drained) drained();
    if (on_sent) on_sent(sent);
  }

  void OnCancel() override {
    absl::AnyInvocable<void()> on_gone;
    absl::AnyInvocable<void(bool)> on_sent;
    {
      sync::MutexLock lock(&mutex_);
      gone_ = true;
      on_gone = std::move(on_gone_);
      on_gone_ = nullptr;
      on_sent = std::move(on_sent_);
      on_sent_ = nullptr;
    }
    End(StreamCancelled());
    if (on_gone) on_gone();
    if (on_sent) on_sent(false);
  }

  void OnDone() override {
    if (registered_) gate_->RemoveStream(this);
    absl::AnyInvocable<void()> on_gone;
    {
      sync::MutexLock lock(&mutex_);
      complete_ = !gone_ && ended_ && end_->ok();
      gone_ = true;
      on_gone = std::move(on_gone_);
      on_gone_ = nullptr;
    }
    if (on_gone) on_gone();
    Unref();
  }

 private:
  ~ServerStream() override = default;

  StreamCounters* counters() const { return number_ == 0 ? nullptr : gate_->stream_counters(); }

  void Unref() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // gRPC takes StartWrite and Finish under our lock: it never calls back inside them.
  void StartNextLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_) return;
    if (!queue_.empty()) {
      current_ = std::move(queue_.front());
      queue_.pop_front();
      writing_ = true;
      this->StartWrite(&current_);
    } else if (end_.has_value()) {
      ended_ = true;
      this->Finish(status::ToGrpc(*end_));
    }
  }

  Gate* const gate_;
  const uint64_t number_;
  const size_t limit_;
  bool registered_ = false;   // set in Open, before the call is bound
  std::atomic<int> refs_{2};  // gRPC's until OnDone, the domain's until its StreamWriter goes
  sync::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  Message current_ ABSL_GUARDED_BY(mutex_);  // gRPC reads it while writing_
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool complete_ ABSL_GUARDED_BY(mutex_) = false;
  absl::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void()> on_gone_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_drained_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void(bool)> on_sent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal

// A domain's end of a server stream. Move-only; when it goes, the stream ends with SHUTTING_DOWN
// unless it has ended. Its methods are thread safe.
template <typename Message>
class StreamWriter {
 public:
  explicit StreamWriter(internal::ServerStream<Message>* stream) : stream_(stream) {}
  StreamWriter(StreamWriter&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  StreamWriter& operator=(StreamWriter&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~StreamWriter() {
    if (stream_ != nullptr) stream_->ReleaseWriter();
  }

  // Queues a message. False: the stream has ended (the client has gone, or reads too slowly: then
  // it was told RESUME_FROM), and nothing more need be written.
  bool Write(Message message) { return stream_->Write(std::move(message)); }

  // Ends the stream: OK after all that is queued, an error at once.
  void Finish(const absl::Status& status) { stream_->End(status); }

  // Calls `callback` once when the client has gone or all is sent; at once if that is so already.
  // Not after this writer has gone. On a thread of gRPC: post to a strand.
  void OnGone(absl::AnyInvocable<void()> callback) { stream_->OnGone(std::move(callback)); }

  // Messages that wait for the client.
  size_t Waiting() const { return stream_->Waiting(); }
  // Calls `callback`, on a thread of gRPC, whenever all that waited has gone to the client.
  void OnDrained(std::function<void()> callback) { stream_->OnDrained(std::move(callback)); }
  // Calls `callback` once: with true when all that was written until now has been handed to the
  // network, with false when the stream ended before. On a thread of gRPC, or inside this call:
  // post to a strand. At most one at a time.
  void WhenSent(absl::AnyInvocable<void(bool)> callback) { stream_->WhenSent(std::move(callback)); }

  // Once OnGone's callback runs: whether the client was sent everything, with an OK end.
  bool Complete() const { return stream_->Complete(); }

 private:
  internal::ServerStream<Message>* stream_;
};

struct StreamOptions {
  // Messages that wait for a slow client before it is dropped with RESUME_FROM.
  size_t queue_limit = 1000;
};

// Serves one server stream: admits it, then hands `handler` a StreamWriter, on a thread of gRPC:
// void(const CallInfo&, const Request&, StreamWriter<Message>).
template <typename Message, typename Request, typename Handler>
grpc::ServerWriteReactor<Message>* HandleStream(Gate* gate, std::string method,
                                                grpc::CallbackServerContext* context,
                                                const Request* request, Handler&& handler,
                                                const StreamOptions& options = {}) {
  const clock::Clock::BusyToken token = gate->clock()->Busy("incoming stream");
  auto* stream = new internal::ServerStream<Message>(gate, internal::StreamNumber(*context),
                                                     options.queue_limit);
  StreamWriter<Message> writer(stream);
  absl::StatusOr<CallInfo> info = gate->Admit(context, std::move(method));
  if (!info.ok()) {
    writer.Finish(info.status());
    return stream;
  }
  stream->Open();
  handler(static_cast<const CallInfo&>(*info), *request, std::move(writer));
  return stream;
}

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_STREAM_HANDLER_H_
