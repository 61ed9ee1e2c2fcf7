#ifndef KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_
#define KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/write_behind.h"
#include "google/protobuf/message.h"

namespace keysphere::controller::requests {

// Mutations by their request ids, so that one that is sent again is done once: within 24 hours the
// same id of the same caller and method answers as the first call did, also while that one still
// runs; with another payload it is refused. What failed is forgotten: sent again, it is done again.
// Durable, but for answers with secret fields, which are not kept: there the call is done again.
// Lives on the strand.
class RequestLog {
 public:
  static constexpr absl::Duration kKept = absl::Hours(24);
  static constexpr size_t kMaxKept = 10'000;  // the oldest go first
  static constexpr size_t kMaxIdCharacters = 64;
  static constexpr size_t kMaxResponseBytes = 64 << 10;  // a larger one is not kept

  static absl::StatusOr<std::unique_ptr<RequestLog>> Load(store::Store* store,
                                                          executor::Strand* strand,
                                                          clock::Clock* clock);

  // Runs `run`, before it returns, unless the request was done, runs, or is refused
  // (REQUEST_ID_REUSED; INVALID_ARGUMENT for an id that is too long). Without a request id it only
  // runs. `method` as "/keysphere.v1.KeyProviders/CreateKeyProvider".
  template <typename Request, typename Response>
  void Run(const access::Caller& caller, absl::string_view method, const Request& request,
           status::Callback<Response> done,
           absl::AnyInvocable<void(status::Callback<Response>)> run) {
    if (request.request_id().empty()) return run(std::move(done));
    auto answer = [done = std::move(done)](absl::StatusOr<Message> message) mutable {
      if (!message.ok()) return done(message.status());
      done(static_cast<const Response&>(**message));
    };
    const absl::StatusOr<std::string> key = Begin(caller, method, request.request_id(), request,
                                                  Response::default_instance(), std::move(answer));
    if (!key.ok() || key->empty()) return;  // it is answered, or will be
    run([this, key = *key](absl::StatusOr<Response> response) {
      if (!response.ok()) return End(key, response.status());
      End(key, std::make_shared<const Response>(*std::move(response)));
    });
  }

  size_t kept() const { return entries_.size(); }

 private:
  using Message = std::shared_ptr<const google::protobuf::Message>;
  using Answer = absl::AnyInvocable<void(absl::StatusOr<Message>)>;
  struct Entry {
    std::string payload_mac;
    absl::Time time;
    bool running = false;
    absl::optional<std::string> response;  // none: not kept
    std::vector<Answer> waiting;
  };

  RequestLog(store::Store* store, executor::Strand* strand, clock::Clock* clock)
      : clock_(clock), writes_(store, strand, clock) {}

  // The key under which the request must be run now; empty: it need not.
  absl::StatusOr<std::string> Begin(const access::Caller& caller, absl::string_view method,
                                    const std::string& id, const google::protobuf::Message& request,
                                    const google::protobuf::Message& prototype, Answer answer);
  void End(const std::string& key, absl::StatusOr<Message> response);
  absl::StatusOr<std::string> MacOf(const google::protobuf::Message& request) const;
  void Keep(const std::string& key, Entry* entry, const google::protobuf::Message& response);
  void Forget();

  clock::Clock* const clock_;
  changes::WriteBehind writes_;
  crypto::SecretKey mac_key_;
  std::map<std::string, Entry> entries_;
  std::set<std::pair<absl::Time, std::string>> by_time_;  // those that have ended
};

}  // namespace keysphere::controller::requests

#endif  // KEYSPHERE_CONTROLLER_REQUESTS_REQUEST_LOG_H_
