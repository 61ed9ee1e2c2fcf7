#ifndef KEYSPHERE_TOOLS_BENCH_LOAD_H_
#define KEYSPHERE_TOOLS_BENCH_LOAD_H_

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/sync/mutex.h"

namespace keysphere::bench {

// Ends a call: whether it was answered OK.
using CallDone = std::function<void(const grpc::Status&)>;
// Makes the next call of a slot (0 .. concurrency-1), which has no other call under way.
using StartCall = std::function<void(int slot, CallDone done)>;

struct LoadResult {
  int64_t calls = 0;
  int64_t failed = 0;
  absl::Duration elapsed;
  grpc::Status failure;  // the first
  double rate() const { return static_cast<double>(calls) / absl::ToDoubleSeconds(elapsed); }
};

// Keeps `concurrency` calls under way for `duration`, each slot one after another.
LoadResult RunLoad(clock::Clock* clock, int concurrency, absl::Duration duration,
                   const StartCall& start);

// One call in each slot at once, and the time until the last is answered.
LoadResult RunBurst(clock::Clock* clock, int calls, const StartCall& start);

// A unary call on a bare stub: the client is the same for all that is compared.
//   Send(stub.async(), &Echo::Stub::async::Unary, &request, done);
template <typename Async, typename Request, typename Response>
void Send(Async* async,
          void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                std::function<void(grpc::Status)>),
          const Request* request, CallDone done,
          std::function<void(const Response&)> on_answer = nullptr) {
  struct Call {
    grpc::ClientContext context;
    Response response;
  };
  auto call = std::make_shared<Call>();
  call->context.set_wait_for_ready(true);
  call->context.set_deadline(gpr_time_from_seconds(30, GPR_TIMESPAN));  // from now
  (async->*method)(
      &call->context, request, &call->response,
      [call, done = std::move(done), on_answer = std::move(on_answer)](const grpc::Status& status) {
        if (status.ok() && on_answer) on_answer(call->response);
        done(status);
      });
}

// Waits for a call.
template <typename Async, typename Request, typename Response>
grpc::Status SendAndWait(Async* async,
                         void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                               std::function<void(grpc::Status)>),
                         const Request& request, Response* response) {
  sync::Mutex mutex;
  sync::CondVar changed;
  bool done = false;
  grpc::Status result;
  Send<Async, Request, Response>(
      async, method, &request,
      [&](const grpc::Status& status) {
        sync::MutexLock lock(&mutex);
        result = status;
        done = true;
        changed.Signal();
      },
      [response](const Response& answer) { *response = answer; });
  sync::MutexLock lock(&mutex);
  while (!done) changed.Wait(&mutex);
  return result;
}

}  // namespace keysphere::bench

#endif  // KEYSPHERE_TOOLS_BENCH_LOAD_H_
