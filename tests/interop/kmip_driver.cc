// Asks a key server what the controller asks (S129):
//   kmip_driver CERT KEY CA --wait PORT           until it answers
//   kmip_driver CERT KEY CA --life PORT OTHER     the life of a key, on two nodes
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/clock/system_clock.h"
#include "common/crypto/secret_key.h"
#include "common/executor/real_executor.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "kmip/client/kmip_client.h"

namespace keysphere::interop {
namespace {

using kmip::client::KeyServer;
using kmip::client::KeyState;
using kmip::client::KmipClient;

constexpr absl::Duration kTimeout = absl::Seconds(20);

template <typename T>
class Waiter {
 public:
  status::Callback<T> done() {
    return [this](absl::StatusOr<T> result) {
      sync::MutexLock lock(&mutex_);
      result_ = std::move(result);
      changed_.SignalAll();
    };
  }
  status::DoneCallback done_without_value() {
    return [done = done()](absl::Status status) mutable {
      done(status.ok() ? absl::StatusOr<T>(T()) : absl::StatusOr<T>(status));
    };
  }
  absl::StatusOr<T> Wait() {
    sync::MutexLock lock(&mutex_);
    while (!result_.has_value()) changed_.Wait(&mutex_);
    return *std::move(result_);
  }

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  absl::optional<absl::StatusOr<T>> result_ ABSL_GUARDED_BY(mutex_);
};

#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      std::fprintf(stderr, "line %d: not %s\n", __LINE__, #condition); \
      return 1;                                                        \
    }                                                                  \
  } while (false)

absl::StatusOr<kmip::client::Health> Health(KeyServer* server) {
  Waiter<kmip::client::Health> waiter;
  server->CheckHealth(kTimeout, waiter.done());
  return waiter.Wait();
}

absl::StatusOr<KeyServer::Keys> Get(KeyServer* server, std::vector<std::string> uids) {
  Waiter<KeyServer::Keys> waiter;
  server->GetKeys(std::move(uids), kTimeout, waiter.done());
  return waiter.Wait();
}

absl::StatusOr<KeyState> State(KeyServer* server, const std::string& uid) {
  Waiter<KeyServer::States> waiter;
  server->GetStates({uid}, kTimeout, waiter.done());
  absl::StatusOr<KeyServer::States> states = waiter.Wait();
  if (!states.ok()) return states.status();
  return (*states)[0];
}

absl::Status Activate(KeyServer* server, const std::string& uid) {
  Waiter<int> waiter;
  server->Activate(uid, kTimeout, waiter.done_without_value());
  return waiter.Wait().status();
}

int Life(KeyServer* node, KeyServer* twin) {
  const auto health = Health(node);
  if (!health.ok()) std::fprintf(stderr, "%s\n", status::ToString(health.status()).c_str());
  EXPECT(health.ok());
  EXPECT(!health->versions.empty());
  Waiter<std::string> created;
  node->CreateKey(kTimeout, created.done());
  const absl::StatusOr<std::string> uid = created.Wait();
  EXPECT(uid.ok());
  // PyKMIP's server has no Add Attribute; the key serves without.
  Waiter<int> added;
  node->AddAttributes(*uid, {{"x-Vendor", "keysphere"}}, kTimeout, added.done_without_value());
  const absl::Status outcome = added.Wait().status();
  if (!outcome.ok()) std::fprintf(stderr, "%s\n", status::ToString(outcome).c_str());
  EXPECT(outcome.ok() || status::ReasonOf(outcome) == v1::REASON_UNSUPPORTED);
  EXPECT(State(node, *uid).value() == KeyState::kPreActive);
  const auto keys = Get(node, {*uid, "12345"});
  EXPECT(keys.ok());
  EXPECT((*keys)[0].ok());
  EXPECT((*keys)[0]->size() == 32);
  EXPECT(status::ReasonOf((*keys)[1].status()) == v1::REASON_NOT_FOUND);
  EXPECT(Activate(node, *uid).ok());
  EXPECT(State(node, *uid).value() == KeyState::kActive);
  EXPECT(status::ReasonOf(Activate(node, *uid)) == v1::REASON_INVALID_STATE);
  // Its twin on the same database has the same key
  const auto of_twin = Get(twin, {*uid});
  EXPECT(of_twin.ok());
  EXPECT((*of_twin)[0]->Equals(*(*keys)[0]));
  EXPECT(node->LastCertificate().has_value());
  std::printf("life of a key: ok\n");
  return 0;
}

int Run(int argc, char** argv) {
  if (argc < 6 || !crypto::InitKeyMemory(1 << 18).ok()) return 2;
  clock::SystemClock clock;
  executor::RealExecutor executor(&clock);
  const auto loop = kmip::net::Loop::Create().value();
  const auto client = [&](int port) {
    kmip::client::KmipClientOptions options;
    options.host = "127.0.0.1";
    options.port = port;
    options.certificate_pem = std::string(identity::ReadPemFile(argv[1])->view());
    options.key_pem = identity::ReadPemFile(argv[2]).value();
    options.trusted_pem = std::string(identity::ReadPemFile(argv[3])->view());
    return KmipClient::Create(std::move(options), loop.get(), &executor, &clock).value();
  };
  const auto node = client(std::atoi(argv[5]));
  if (std::string(argv[4]) == "--life") return Life(node.get(), client(std::atoi(argv[6])).get());
  const absl::Time until = clock.Now() + absl::Seconds(30);
  absl::Status last;
  while (clock.Now() < until) {
    last = Health(node.get()).status();
    if (last.ok()) return 0;
    // Nobody listens yet: a little patience between two attempts.
    Waiter<int> pause;
    clock.RunAfter(absl::Milliseconds(100), [done = pause.done()]() mutable { done(0); });
    pause.Wait().value();
  }
  std::fprintf(stderr, "%s\n", status::ToString(last).c_str());
  return 1;
}

}  // namespace
}  // namespace keysphere::interop

int main(int argc, char** argv) { return keysphere::interop::Run(argc, argv); }
