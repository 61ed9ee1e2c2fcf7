#ifndef KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_
#define KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "google/protobuf/message.h"

namespace keysphere::controller::requests {

// Makes a mutation happen once for one request id, so that a client may send again what it does not
// know the end of. Per caller and method; the answer is kept 24 h, over restarts too, unless the
// request or the answer holds a secret: then in memory only. A refusal is not kept: the same
// request may succeed later. Lives on the controller's strand.
class RequestLog {
 public:
  static constexpr absl::Duration kKept = absl::Hours(24);
  static constexpr size_t kMaxIdBytes = 64;
  // More of them push out the oldest.
  static constexpr size_t kMaxKept = 100'000;

  static absl::StatusOr<std::unique_ptr<RequestLog>> Load(store::Store* store,
                                                          executor::Strand* strand,
                                                          clock::Clock* clock);

  // Without a request id: runs. With a new one: runs and notes the answer. With a known one: the
  // noted answer, or that of the one still running; REQUEST_ID_REUSED for another payload.
  template <typename Request, typename Response>
  void Run(const access::Caller& caller, absl::string_view method, const Request& request,
           status::Callback<Response> done,
           absl::AnyInvocable<void(status::Callback<Response>)> run) {
    if (request.request_id().empty()) return run(std::move(done));
    Begin(
        caller, method, request.request_id(), request,
        [done = std::move(done)](absl::StatusOr<std::string> answer) mutable {
          if (!answer.ok()) return done(answer.status());
          Response response;
          response.ParseFromString(*answer);
          done(std::move(response));
        },
        [run = std::move(run)](Finish finish) mutable {
          run([finish = std::move(finish)](absl::StatusOr<Response> response) mutable {
            if (!response.ok()) return finish(response.status(), false);
            finish(response->SerializeAsString(), HoldsSecret(*response));
          });
        });
  }

 private:
  using Waiter = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  using Finish = absl::AnyInvocable<void(absl::StatusOr<std::string>, bool secret)>;
  struct Entry {
    std::string payload_digest;
    bool running = true;
    std::string response;
    absl::Time time;
    std::vector<Waiter> waiters;
  };

  RequestLog(store::Store* store, executor::Strand* strand, clock::Clock* clock)
      : store_(store), strand_(strand), clock_(clock) {}

  // Whether a field marked (keysphere.secret) is set.
  static bool HoldsSecret(const google::protobuf::Message& message);
  void Begin(const access::Caller& caller, absl::string_view method, const std::string& id,
             const google::protobuf::Message& request, Waiter waiter,
             absl::AnyInvocable<void(Finish)> run);
  void End(const std::string& key, absl::StatusOr<std::string> answer, bool keep_in_memory_only);
  void Answer(const std::string& key, const absl::StatusOr<std::string>& answer);
  void Forget(absl::Time before);

  store::Store* const store_;
  executor::Strand* const strand_;
  clock::Clock* const clock_;
  std::map<std::string, Entry> entries_;
  std::deque<std::pair<absl::Time, std::string>> order_;  // ended ones, by time
};

}  // namespace keysphere::controller::requests

#endif  // KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_
