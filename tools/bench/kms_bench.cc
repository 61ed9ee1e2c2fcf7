// Keys a second that two key servers make and give, with one client and in turn: keysphere-kms and
// the one that it is compared with. Both are running.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"
#include "common/identity/credentials.h"
#include "common/status/grpc.h"
#include "common/status/status.h"
#include "kmip/client/kmip_client.h"
#include "kmip/net/loop.h"
#include "tools/bench/load.h"
#include "tools/bench/report.h"

namespace keysphere::bench {
namespace {

using kmip::client::Health;
using kmip::client::KeyServer;
using kmip::client::KmipClient;

constexpr absl::Duration kTimeout = absl::Seconds(30);
constexpr absl::Duration kRound = absl::Seconds(2);

struct Flags {
  identity::CredentialFiles files;
  int ours = 0;
  int reference = 0;
  int rounds = 3;
};

// What each number is judged by, over so many connections: a ratio.
struct Limits {
  int connections;
  double create;
  double get;
};
constexpr Limits kLimits[] = {{1, 20, 50}, {8, 50, 100}};

// Waits for a call.
template <typename T, typename Start>
absl::StatusOr<T> Await(const Start& start) {
  sync::Mutex mutex;
  sync::CondVar changed;
  absl::optional<absl::StatusOr<T>> result;
  start([&](absl::StatusOr<T> answer) {
    sync::MutexLock lock(&mutex);
    result = std::move(answer);
    changed.Signal();
  });
  sync::MutexLock lock(&mutex);
  while (!result.has_value()) changed.Wait(&mutex);
  return *std::move(result);
}

// One key server, over so many connections; each slot has a key of its own to get.
class Node {
 public:
  Node(std::unique_ptr<KeyServer> client, int connections)
      : client_(std::move(client)), connections_(connections) {}

  absl::Status Prepare() {
    for (int i = 0; i < connections_; ++i) {
      KS_ASSIGN_OR_RETURN(std::string uid,
                          Await<std::string>([&](status::Callback<std::string> done) {
                            client_->CreateKey(kTimeout, std::move(done));
                          }));
      uids_.push_back(std::move(uid));
    }
    // The connections stand before anything is measured.
    return RunLoad(&clock_, connections_, absl::Milliseconds(200), GetOne()).failed == 0
               ? absl::OkStatus()
               : status::Error(v1::REASON_KMS_REFUSED, "a key server does not give its keys");
  }

  // Per second.
  absl::StatusOr<double> Creates() { return Measure(CreateActivateGet()); }
  absl::StatusOr<double> Gets() { return Measure(GetOne()); }

 private:
  absl::StatusOr<double> Measure(const StartCall& start) {
    const LoadResult result = RunLoad(&clock_, connections_, kRound, start);
    if (result.failed > 0) return status::FromGrpc(result.failure);
    return result.rate();
  }

  void Get(const std::string& uid, CallDone done) {
    client_->GetKeys({uid}, kTimeout,
                     [done = std::move(done)](absl::StatusOr<KeyServer::Keys> keys) {
                       const absl::Status status = keys.ok() ? (*keys)[0].status() : keys.status();
                       done(status::ToGrpc(status));
                     });
  }

  StartCall GetOne() {
    return [this](int slot, CallDone done) { Get(uids_[slot], std::move(done)); };
  }

  StartCall CreateActivateGet() {
    return [this](int, const CallDone& done) {
      client_->CreateKey(kTimeout, [this, done](absl::StatusOr<std::string> uid) {
        if (!uid.ok()) return done(status::ToGrpc(uid.status()));
        client_->Activate(*uid, kTimeout, [this, done, uid = *uid](const absl::Status& status) {
          if (!status.ok()) return done(status::ToGrpc(status));
          Get(uid, done);
        });
      });
    };
  }

  clock::SystemClock clock_;
  const std::unique_ptr<KeyServer> client_;
  const int connections_;
  std::vector<std::string> uids_;
};

// Runs callbacks on the client's own thread: the servers are measured, not the driver's threads.
class OnLoop : public executor::Executor {
 public:
  explicit OnLoop(kmip::net::Loop* loop) : loop_(loop) {}
  void Post(executor::Task task) override { loop_->Post(std::move(task)); }

 private:
  kmip::net::Loop* const loop_;
};

// Makes clients.
class Dialler {
 public:
  static absl::StatusOr<std::unique_ptr<Dialler>> Create(const Flags& flags) {
    auto dialler = std::unique_ptr<Dialler>(new Dialler());
    KS_ASSIGN_OR_RETURN(dialler->credentials_, identity::Credentials::Load(flags.files));
    KS_ASSIGN_OR_RETURN(dialler->loop_, kmip::net::Loop::Create());
    dialler->executor_ = std::make_unique<OnLoop>(dialler->loop_.get());
    return dialler;
  }

  absl::StatusOr<std::unique_ptr<Node>> Dial(int port, int connections) {
    kmip::client::KmipClientOptions options;
    options.host = "127.0.0.1";
    options.port = port;
    options.trusted_pem = credentials_.ca_pem;
    options.certificate_pem = credentials_.certificate_pem;
    options.key_pem = identity::SecretPem(credentials_.key_pem.view());
    options.max_connections = connections;
    KS_ASSIGN_OR_RETURN(
        auto client, KmipClient::Create(std::move(options), loop_.get(), executor_.get(), &clock_));
    KS_RETURN_IF_ERROR(WaitUntilUp(client.get()));
    auto node = std::make_unique<Node>(std::move(client), connections);
    KS_RETURN_IF_ERROR(node->Prepare());
    return node;
  }

 private:
  Dialler() = default;

  // It may be starting.
  absl::Status WaitUntilUp(KeyServer* client) {
    const absl::Time until = clock_.Now() + kTimeout;
    while (true) {
      const absl::Status up = Await<Health>([&](status::Callback<Health> done) {
                                client->CheckHealth(kTimeout, std::move(done));
                              }).status();
      if (up.ok() || clock_.Now() > until) return up;
      const auto pause = Await<int>([&](status::Callback<int> done) {
        clock_.RunAfter(absl::Milliseconds(100), [done = std::move(done)]() mutable { done(0); });
      });
      KS_RETURN_IF_ERROR(pause.status());
    }
  }

  clock::SystemClock clock_;
  identity::Credentials credentials_;
  std::unique_ptr<kmip::net::Loop> loop_;
  std::unique_ptr<OnLoop> executor_;
};

absl::Status Compare(const Flags& flags, Dialler* dialler, const Limits& limits) {
  KS_ASSIGN_OR_RETURN(const auto ours, dialler->Dial(flags.ours, limits.connections));
  KS_ASSIGN_OR_RETURN(const auto reference, dialler->Dial(flags.reference, limits.connections));
  const std::string over =
      limits.connections == 1 ? "1 connection" : absl::StrCat(limits.connections, " connections");
  const auto row = [&](const std::string& what, absl::StatusOr<double> (Node::*measure)(),
                       double at_least) -> absl::Status {
    std::vector<double> values;
    std::vector<double> references;
    for (int i = 0; i < flags.rounds; ++i) {
      KS_ASSIGN_OR_RETURN(const double value, (ours.get()->*measure)());
      KS_ASSIGN_OR_RETURN(const double compared, (reference.get()->*measure)());
      values.push_back(value);
      references.push_back(compared);
    }
    Row one = bench::Compare(absl::StrCat("KMS: ", what, ", ", over, ", to PyKMIP's server"),
                             "keys/s", values, references);
    one.at_least = at_least;
    Print(one);
    return absl::OkStatus();
  };
  KS_RETURN_IF_ERROR(row("create, activate and get", &Node::Creates, limits.create));
  return row("get", &Node::Gets, limits.get);
}

absl::Status Run(const Flags& flags) {
  KS_RETURN_IF_ERROR(crypto::InitKeyMemory(size_t{1} << 20));
  KS_ASSIGN_OR_RETURN(const auto dialler, Dialler::Create(flags));
  for (const Limits& limits : kLimits) {
    KS_RETURN_IF_ERROR(Compare(flags, dialler.get(), limits));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  keysphere::bench::Flags flags;
  CLI::App app{"keysphere-kms beside another key server."};
  app.add_option("--cert", flags.files.certificate, "the client's certificate")->required();
  app.add_option("--key", flags.files.key, "its key")->required();
  app.add_option("--ca", flags.files.ca, "whose certificates the servers have")->required();
  app.add_option("--ours", flags.ours, "port of keysphere-kms on 127.0.0.1")->required();
  app.add_option("--reference", flags.reference, "port of the other one")->required();
  app.add_option("--rounds", flags.rounds, "measurements of each");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "kms_bench: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
