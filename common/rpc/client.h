#ifndef KEYSPHERE_COMMON_RPC_CLIENT_H_
#define KEYSPHERE_COMMON_RPC_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/channel.h"
#include "common/rpc/outgoing_call.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc {

struct CallOptions {
  // On the Clock. For a stream: until the server has taken it.
  absl::Duration timeout = absl::Seconds(10);
  // Wait for a peer that is starting, until the deadline; else fail at once when nobody listens.
  bool wait_for_ready = true;
};

namespace internal {

// A parameter that takes no part in deduction, so that a lambda may stand for it.
template <typename T>
struct NonDeducedType {
  using Type = T;
};
template <typename T>
using NonDeduced = typename NonDeducedType<T>::Type;

template <typename Async, typename Request, typename Response>
using UnaryMethod = void (Async::*)(grpc::ClientContext*, const Request*, Response*,
                                    std::function<void(grpc::Status)>);
template <typename Async, typename Request, typename Message>
using StreamMethod = void (Async::*)(grpc::ClientContext*, const Request*,
                                     grpc::ClientReadReactor<Message>*);

// Opens a stream where streams are counted, and tells the server its number; else 0.
uint64_t StartCounting(const Channel& channel, grpc::ClientContext* context);

template <typename Async, typename Request, typename Response>
class OutgoingUnary : public OutgoingCall {
 public:
  using Callback = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

  OutgoingUnary(std::shared_ptr<Channel> channel, std::shared_ptr<Async> stub,
                UnaryMethod<Async, Request, Response> method, Request request,
                const CallOptions& options, Callback callback)
      : OutgoingCall(std::move(channel), options.timeout, options.wait_for_ready),
        stub_(std::move(stub)),
        method_(method),
        request_(std::move(request)),
        callback_(std::move(callback)) {}

 protected:
  void Send(grpc::ClientContext* context) override {
    ((*stub_).*method_)(context, &request_, &response_,
                        [this, self = this->shared_from_this()](const grpc::Status& status) {
                          this->Completed(status);
                        });
  }
  void Deliver(const absl::Status& status) override {
    Callback callback = std::move(callback_);
    if (status.ok()) {
      callback(std::move(response_));
    } else {
      callback(status);
    }
  }

 private:
  const std::shared_ptr<Async> stub_;
  const UnaryMethod<Async, Request, Response> method_;
  const Request request_;
  Response response_;
  Callback callback_;
};

// A stream read: gRPC's reactor, which the call owns until OnDone.
template <typename Async, typename Request, typename Message>
class OutgoingStream : public OutgoingCall, private grpc::ClientReadReactor<Message> {
 public:
  OutgoingStream(std::shared_ptr<Channel> channel, std::shared_ptr<Async> stub,
                 StreamMethod<Async, Request, Message> method, Request request,
                 const CallOptions& options, std::function<void(Message)> on_message,
                 absl::AnyInvocable<void(absl::Status)> on_end)
      : OutgoingCall(std::move(channel), options.timeout, options.wait_for_ready),
        stub_(std::move(stub)),
        method_(method),
        request_(std::move(request)),
        on_message_(std::move(on_message)),
        on_end_(std::move(on_end)) {}

 protected:
  bool IsStream() const override { return true; }

  void Send(grpc::ClientContext* context) override {
    in_grpc_ = this->shared_from_this();
    counter_ = StartCounting(*this->channel(), context);
    ((*stub_).*method_)(context, &request_, this);
    this->StartRead(&message_);
    this->StartCall();
  }

  void Deliver(const absl::Status& status) override {
    absl::AnyInvocable<void(absl::Status)> on_end = std::move(on_end_);
    on_end(status);
  }

  void OnHealed() override {
    sync::MutexLock lock(&messages_mutex_);
    DeliverKept();
  }

 private:
  void OnReadInitialMetadataDone(bool ok) override {
    if (ok) this->Began();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    {
      const clock::Clock::BusyToken token = this->channel()->clock()->Busy("stream message");
      if (counter_ != 0) this->channel()->options().stream_counters->StreamHandled(counter_);
      sync::MutexLock lock(&messages_mutex_);
      // In a simulation what comes over a cut link waits; it is handled as far as quiet goes.
      kept_.push_back(std::move(message_));
      message_ = Message();
      if (!this->HoldsReplies()) DeliverKept();
    }
    this->StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<OutgoingCall> self = std::move(in_grpc_);
    const clock::Clock::BusyToken token = this->channel()->clock()->Busy("stream end");
    if (counter_ != 0) this->channel()->options().stream_counters->CloseStream(counter_);
    this->Completed(status);
  }

  void DeliverKept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(messages_mutex_) {
    while (!kept_.empty()) {
      Message message = std::move(kept_.front());
      kept_.pop_front();
      on_message_(std::move(message));
    }
  }

  const std::shared_ptr<Async> stub_;
  const StreamMethod<Async, Request, Message> method_;
  const Request request_;
  Message message_;
  std::shared_ptr<OutgoingCall> in_grpc_;
  uint64_t counter_ = 0;
  sync::Mutex messages_mutex_;  // keeps the order of messages that a healed link lets through
  std::deque<Message> kept_ ABSL_GUARDED_BY(messages_mutex_);
  const std::function<void(Message)> on_message_;
  absl::AnyInvocable<void(absl::Status)> on_end_;
};

// Waits for a callback of an asynchronous call.
template <typename Response>
class Waiter {
 public:
  void Set(absl::StatusOr<Response> result) {
    sync::MutexLock lock(&mutex_);
    result_ = std::move(result);
    done_ = true;
    changed_.Signal();
  }
  absl::StatusOr<Response> Wait() {
    sync::MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return std::move(result_);
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<Response> result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal

// A stream that is being read. When it goes, the stream is cancelled.
class Subscription {
 public:
  Subscription() = default;
  explicit Subscription(std::shared_ptr<internal::OutgoingCall> call) : call_(std::move(call)) {}
  Subscription(Subscription&&) = default;
  Subscription& operator=(Subscription&& other) {
    Cancel();
    call_ = std::move(other.call_);
    return *this;
  }
  ~Subscription() { Cancel(); }

  // The end is reported as CANCELLED, inside this call, if it was not before. A message may still
  // be reported on another thread.
  void Cancel() {
    if (call_ != nullptr) std::exchange(call_, nullptr)->Cancel();
  }

 private:
  std::shared_ptr<internal::OutgoingCall> call_;
};

// Calls of one generated service, e.g. Client<v1::Hosts>, on a channel. Thread safe. Callbacks run
// on a thread of gRPC or of the clock, never inside Call or Watch: they post to a strand.
template <typename Service>
class Client {
 public:
  // "class": a function of the stub has the same name.
  using Async = class Service::Stub::async;

  explicit Client(std::shared_ptr<Channel> channel)
      : channel_(std::move(channel)),
        stub_(std::make_shared<typename Service::Stub>(channel_->grpc_channel())) {}

  const std::shared_ptr<Channel>& channel() const { return channel_; }

  // Calls `callback` exactly once, with the answer or an error: the server's; DEADLINE_EXCEEDED on
  // the Clock; CERT_UNTRUSTED, CERT_EXPIRED; the channel's `unreachable`.
  //   hosts.Call(&v1::Hosts::Stub::async::GetHost, request, {}, [](absl::StatusOr<v1::Host> host)
  //   {…});
  template <typename Request, typename Response>
  void Call(
      internal::UnaryMethod<Async, Request, Response> method, Request request,
      const CallOptions& options,
      internal::NonDeduced<absl::AnyInvocable<void(absl::StatusOr<Response>)>> callback) const {
    Begin<Request, Response>(method, std::move(request), options, std::move(callback));
  }

  // The same for callers that may block: the CLI and tests. Never on a strand.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallSync(internal::UnaryMethod<Async, Request, Response> method,
                                    Request request, const CallOptions& options = {}) const {
    auto waiter = std::make_shared<internal::Waiter<Response>>();
    Begin<Request, Response>(
        method, std::move(request), options,
        [waiter](absl::StatusOr<Response> result) { waiter->Set(std::move(result)); });
    return waiter->Wait();
  }

  // Reads a server stream: `on_message` for each message, one after another, then `on_end` once.
  // Connecting again is the domain's.
  template <typename Request, typename Message>
  Subscription Watch(internal::StreamMethod<Async, Request, Message> method, Request request,
                     const CallOptions& options,
                     internal::NonDeduced<std::function<void(Message)>> on_message,
                     absl::AnyInvocable<void(absl::Status)> on_end) const {
    using Stream = internal::OutgoingStream<Async, Request, Message>;
    auto call = std::make_shared<Stream>(channel_, async(), method, std::move(request), options,
                                         std::move(on_message), std::move(on_end));
    call->Start();
    return Subscription(std::move(call));
  }

 private:
  // Shares the stub's ownership: a call may wait longer than its client lives.
  std::shared_ptr<Async> async() const { return std::shared_ptr<Async>(stub_, stub_->async()); }

  template <typename Request, typename Response>
  void Begin(internal::UnaryMethod<Async, Request, Response> method, Request request,
             const CallOptions& options,
             absl::AnyInvocable<void(absl::StatusOr<Response>)> callback) const {
    using Unary = internal::OutgoingUnary<Async, Request, Response>;
    std::make_shared<Unary>(channel_, async(), method, std::move(request), options,
                            std::move(callback))
        ->Start();
  }

  std::shared_ptr<Channel> channel_;
  std::shared_ptr<typename Service::Stub> stub_;
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_CLIENT_H_
