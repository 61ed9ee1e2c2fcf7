#ifndef KEYSPHERE_TESTS_PROCESSES_CALLER_H_
#define KEYSPHERE_TESTS_PROCESSES_CALLER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "common/sync/mutex.h"

namespace keysphere::processes {

inline rpc::CallOptions Within(absl::Duration timeout) {
  rpc::CallOptions options;
  options.timeout = timeout;
  return options;
}

// Somebody with a certificate and a connection to one process. Thread safe; copies share both.
class Caller {
 public:
  explicit Caller(std::shared_ptr<rpc::Channel> channel) : channel_(std::move(channel)) {}

  // One call, until its answer:
  //   caller.Call<v1::Hosts>(&v1::Hosts::Stub::async::GetHost, request)
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      rpc::internal::UnaryMethod<class Service::Stub::async, Request, Response> method,
      const Request& request, absl::Duration timeout = absl::Seconds(30)) const {
    return rpc::Client<Service>(channel_).CallSync(method, request, Within(timeout));
  }

  // Without waiting; `done` runs on a thread of gRPC or of the clock.
  template <typename Service, typename Request, typename Response>
  void Start(rpc::internal::UnaryMethod<class Service::Stub::async, Request, Response> method,
             const Request& request,
             rpc::internal::NonDeduced<absl::AnyInvocable<void(absl::StatusOr<Response>)>> done,
             absl::Duration timeout = absl::Seconds(30)) const {
    rpc::Client<Service>(channel_).Call(method, request, Within(timeout), std::move(done));
  }

  // All messages of a server stream, until it ends; an error if it ends with one, or has not ended
  // within `timeout` (DEADLINE_EXCEEDED).
  template <typename Service, typename Request, typename Message>
  absl::StatusOr<std::vector<Message>> Read(
      rpc::internal::StreamMethod<class Service::Stub::async, Request, Message> method,
      const Request& request, absl::Duration timeout = absl::Seconds(30)) const {
    struct Stream {
      sync::Mutex mutex;
      std::vector<Message> messages ABSL_GUARDED_BY(mutex);
      rpc::internal::Waiter<bool> end;
    };
    auto stream = std::make_shared<Stream>();
    const rpc::Subscription subscription = rpc::Client<Service>(channel_).Watch(
        method, request, Within(timeout),
        [stream](Message message) {
          sync::MutexLock lock(&stream->mutex);
          stream->messages.push_back(std::move(message));
        },
        [stream](absl::Status status) {
          stream->end.Set(status.ok() ? absl::StatusOr<bool>(true) : status);
        });
    const clock::Clock::TimerId guard = channel_->clock()->RunAfter(timeout, [stream]() {
      stream->end.Set(absl::DeadlineExceededError("the stream did not end"));
    });
    const absl::Status end = stream->end.Wait().status();
    channel_->clock()->Cancel(guard);
    if (!end.ok()) return end;
    sync::MutexLock lock(&stream->mutex);
    return stream->messages;
  }

  const std::shared_ptr<rpc::Channel>& channel() const { return channel_; }

 private:
  std::shared_ptr<rpc::Channel> channel_;
};

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_CALLER_H_
