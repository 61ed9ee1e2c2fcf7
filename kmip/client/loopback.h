#ifndef KEYSPHERE_KMIP_CLIENT_LOOPBACK_H_
#define KEYSPHERE_KMIP_CLIENT_LOOPBACK_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "common/clock/system_clock.h"
#include "common/executor/real_executor.h"
#include "common/identity/authority.h"
#include "common/log/log.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "common/store/memory_store.h"
#include "common/sync/mutex.h"
#include "kmip/client/kmip_client.h"
#include "kmip/server/engine.h"
#include "kmip/server/listener.h"

namespace keysphere::kmip::client {

// A key server and clients of it over TLS on 127.0.0.1, for tests.
class Loopback : public ::testing::Test {
 protected:
  Loopback()
      : loop_(net::Loop::Create().value()),
        authority_(Authority()),
        server_credentials_(Issue(identity::Kind::kHost, "kms-1")),
        client_credentials_(Issue(identity::Kind::kController, "vc")) {}

  static std::unique_ptr<identity::Authority> Authority() {
    clock::SystemClock clock;
    return identity::Authority::Create("keysphere.test", identity::Validity::From(clock.Now()))
        .value();
  }
  identity::Credentials Issue(identity::Kind kind, const std::string& name) {
    return Issue(kind, name, identity::Validity::From(clock_.Now()), "127.0.0.1");
  }
  identity::Credentials Issue(identity::Kind kind, const std::string& name,
                              identity::Validity validity, const std::string& ip) {
    identity::Authority::Request request;
    request.kind = kind;
    request.name = name;
    request.validity = validity;
    request.ip_addresses = {ip};
    return authority_->Issue(request).value();
  }

  static net::TlsFiles FilesOf(const identity::Credentials& credentials) {
    return {credentials.certificate_pem, credentials.key_pem.view(), credentials.ca_pem};
  }
  void Serve(server::Listener::Options options = {}) {
    engine_options_.faults = options.faults;
    engine_ = std::make_unique<server::Engine>(&store_, &executor_, &clock_, &random_,
                                               std::move(engine_options_));
    options.ip = "127.0.0.1";
    options.port = 0;
    listener_ = server::Listener::Create(options, FilesOf(server_credentials_), engine_.get(),
                                         loop_.get(), &clock_, wall_, log_)
                    .value();
  }

  KmipClientOptions Options() {
    KmipClientOptions options;
    options.host = "127.0.0.1";
    options.port = listener_ == nullptr ? 1 : listener_->port();
    options.trusted_pem = client_credentials_.ca_pem;
    options.certificate_pem = client_credentials_.certificate_pem;
    options.key_pem = identity::SecretPem(client_credentials_.key_pem.view());
    return options;
  }
  std::unique_ptr<KmipClient> Client(KmipClientOptions options) {
    return KmipClient::Create(std::move(options), loop_.get(), &executor_, client_clock_).value();
  }
  std::unique_ptr<KmipClient> Client() { return Client(Options()); }

  // Waits for an answer.
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
    bool has_result() {
      sync::MutexLock lock(&mutex_);
      return result_.has_value();
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
  static constexpr absl::Duration kTimeout = absl::Seconds(30);

  static absl::StatusOr<std::string> Create(KeyServer* server, absl::Duration timeout = kTimeout) {
    Waiter<std::string> waiter;
    server->CreateKey(timeout, waiter.done());
    return waiter.Wait();
  }
  static absl::StatusOr<KeyServer::Keys> Get(KeyServer* server, std::vector<std::string> uids,
                                             absl::Duration timeout = kTimeout) {
    Waiter<KeyServer::Keys> waiter;
    server->GetKeys(std::move(uids), timeout, waiter.done());
    return waiter.Wait();
  }
  static absl::StatusOr<KeyServer::States> States(KeyServer* server,
                                                  std::vector<std::string> uids) {
    Waiter<KeyServer::States> waiter;
    server->GetStates(std::move(uids), kTimeout, waiter.done());
    return waiter.Wait();
  }
  static absl::StatusOr<Health> CheckHealth(KeyServer* server, absl::Duration timeout = kTimeout) {
    Waiter<Health> waiter;
    server->CheckHealth(timeout, waiter.done());
    return waiter.Wait();
  }
  static absl::Status Activate(KeyServer* server, std::string uid) {
    Waiter<int> waiter;
    server->Activate(std::move(uid), kTimeout, [done = waiter.done()](absl::Status status) mutable {
      done(status.ok() ? absl::StatusOr<int>(0) : absl::StatusOr<int>(status));
    });
    return waiter.Wait().status();
  }
  static absl::Status Add(KeyServer* server, std::string uid,
                          std::vector<TextAttribute> attributes) {
    Waiter<int> waiter;
    server->AddAttributes(
        std::move(uid), std::move(attributes), kTimeout,
        [done = waiter.done()](absl::Status status) mutable {
          done(status.ok() ? absl::StatusOr<int>(0) : absl::StatusOr<int>(status));
        });
    return waiter.Wait().status();
  }

  clock::SystemClock clock_;
  clock::Clock* wall_ = &clock_;          // the listener's time-outs
  clock::Clock* client_clock_ = &clock_;  // the clients' deadlines
  log::NullLogger logger_;
  log::Logger* log_ = &logger_;  // the listener's
  random::SystemRandom random_;
  executor::RealExecutor executor_{&clock_};
  store::MemoryStore store_{&executor_};
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<identity::Authority> authority_;
  identity::Credentials server_credentials_;
  identity::Credentials client_credentials_;
  server::Engine::Options engine_options_;
  std::unique_ptr<server::Engine> engine_;
  std::unique_ptr<server::Listener> listener_;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_LOOPBACK_H_
