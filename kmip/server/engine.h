#ifndef KEYSPHERE_KMIP_SERVER_ENGINE_H_
#define KEYSPHERE_KMIP_SERVER_ENGINE_H_

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/clock/clock.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"
#include "common/log/log.h"
#include "common/random/random.h"
#include "common/store/store.h"
#include "common/sync/mutex.h"
#include "kmip/messages/message.h"
#include "kmip/server/fault_injector.h"
#include "kmip/ttlv/buffer.h"
#include "kmip/ttlv/item.h"

namespace keysphere::kmip::server {

// User names with their passwords. Whoever gives a credential works in the partition of that user.
class Users {
 public:
  // Lines "NAME PASSWORD", each name once; '#' begins a comment. INVALID_ARGUMENT names the line.
  static absl::StatusOr<Users> Parse(absl::string_view text);
  Users() = default;
  Users(Users&&) = default;
  Users& operator=(Users&&) = default;

  bool Check(absl::string_view name, absl::string_view password) const;

 private:
  std::map<std::string, crypto::SecretKey> passwords_;
};

// Who sends requests over a connection.
struct Caller {
  // Of the client certificate: what names its holder.
  std::string certificate_owner;
};

// A key server apart from its sockets: the bytes of a request in, those of the answer out. Several
// engines (of several processes) may work on one store: none keeps anything in memory. An answer
// comes only when what it tells is committed. Thread safe.
class Engine {
 public:
  struct Options {
    ttlv::Limits limits;
    Users users;
    FaultInjector* faults = nullptr;
    log::Logger* logger = nullptr;  // of refused credentials; may be none
  };
  // All outlive the engine and its answers. `store` may refuse commits for a time.
  Engine(store::Store* store, executor::Executor* executor, clock::Clock* clock,
         random::Random* random, Options options);
  // Waits until all requests are answered.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  using Answer = absl::AnyInvocable<void(ttlv::Buffer answer)>;
  // `request` is one whole message as MessageBytes tells.
  void Handle(ttlv::Buffer request, const Caller& caller, Answer answer);

  // An answer that fails as a whole, for a request that was not carried out, in the request's
  // version if that is known and supported.
  ttlv::Buffer Failure(absl::Span<const uint8_t> request, messages::ResultReason reason,
                       absl::string_view message);

 private:
  friend class Batch;

  store::Store* const store_;
  executor::Executor* const executor_;
  clock::Clock* const clock_;
  random::Random* const random_;
  const Options options_;

  sync::Mutex mutex_;
  sync::CondVar ended_;
  int under_way_ ABSL_GUARDED_BY(mutex_) = 0;  // requests
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_ENGINE_H_
