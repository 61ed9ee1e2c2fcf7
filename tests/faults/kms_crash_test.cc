// A key server that dies at any moment: what it has told its clients is true when it is back.
#include <stdlib.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/clock/system_clock.h"
#include "common/executor/real_executor.h"
#include "common/identity/authority.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "gtest/gtest.h"
#include "kmip/client/kmip_client.h"
#include "tests/processes/child.h"

namespace keysphere {
namespace {

using kmip::client::KeyServer;
using kmip::client::KmipClient;
using status::IsOk;

constexpr int kKills = 30;
constexpr int kSlots = 8;
constexpr absl::Duration kTimeout = absl::Seconds(30);

std::string NewFolder() {
  std::string path = ::testing::TempDir() + "/kms-XXXXXX";
  KS_CHECK(mkdtemp(&path[0]) != nullptr);
  return path;
}

// Creates and activates keys, several at a time, until the server goes. Lives until all have ended.
class Creator {
 public:
  explicit Creator(KeyServer* server) : server_(server) {}

  void Start() {
    {
      sync::MutexLock lock(&mutex_);
      running_ = kSlots;
    }
    for (int i = 0; i < kSlots; ++i) Next();
  }
  void WaitForKeys(size_t count) {
    sync::MutexLock lock(&mutex_);
    while (created_.size() < count && running_ > 0) changed_.Wait(&mutex_);
  }
  void WaitForEnd() {
    sync::MutexLock lock(&mutex_);
    while (running_ > 0) changed_.Wait(&mutex_);
  }
  std::set<std::string> created() {
    sync::MutexLock lock(&mutex_);
    return created_;
  }
  std::set<std::string> activated() {
    sync::MutexLock lock(&mutex_);
    return activated_;
  }

 private:
  void Next() {
    server_->CreateKey(kTimeout, [this](absl::StatusOr<std::string> uid) {
      if (!uid.ok()) return End();
      {
        sync::MutexLock lock(&mutex_);
        created_.insert(*uid);
        changed_.SignalAll();
      }
      server_->Activate(*uid, kTimeout, [this, uid = *uid](const absl::Status& status) {
        if (!status.ok()) return End();
        {
          sync::MutexLock lock(&mutex_);
          activated_.insert(uid);
        }
        Next();
      });
    });
  }
  void End() {
    sync::MutexLock lock(&mutex_);
    --running_;
    changed_.SignalAll();
  }

  KeyServer* const server_;
  sync::Mutex mutex_;
  sync::CondVar changed_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> created_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> activated_ ABSL_GUARDED_BY(mutex_);
};

class KmsCrashTest : public ::testing::Test {
 protected:
  KmsCrashTest() {
    authority_ = identity::Authority::Create("keysphere.test", Validity()).value();
    const auto files = identity::CredentialFiles::In(folder_, "kms-1");
    KS_CHECK(Issue(identity::Kind::kKms, "kms-1").Write(files).ok());
    client_ = Issue(identity::Kind::kController, "vc");
  }

  identity::Validity Validity() { return identity::Validity::From(clock_.Now()); }
  identity::Credentials Issue(identity::Kind kind, const std::string& name) {
    identity::Authority::Request request;
    request.kind = kind;
    request.name = name;
    request.validity = Validity();
    request.ip_addresses = {"127.0.0.1"};
    return authority_->Issue(request).value();
  }

  std::unique_ptr<processes::Child> Start(const std::string& listen = "127.0.0.1:0") {
    const auto files = identity::CredentialFiles::In(folder_, "kms-1");
    processes::Command command;
    command.program = "services/kms/keysphere-kms";
    command.args = {
        "--listen", listen,    "--data", folder_ + "/data", "--cert",        files.certificate,
        "--key",    files.key, "--ca",   files.ca,          "--secure-heap", "262144"};
    command.stderr_file = folder_ + "/kms.log";
    return processes::Child::Start(command).value();
  }
  std::unique_ptr<KmipClient> Dial(const processes::Child& node) {
    kmip::client::KmipClientOptions options;
    options.host = "127.0.0.1";
    options.port = std::stoi(node.address().substr(node.address().rfind(':') + 1));
    options.trusted_pem = client_.ca_pem;
    options.certificate_pem = client_.certificate_pem;
    options.key_pem = identity::SecretPem(client_.key_pem.view());
    return KmipClient::Create(std::move(options), loop_.get(), &executor_, &clock_).value();
  }

  template <typename T>
  std::vector<absl::StatusOr<T>> Ask(
      KeyServer* server, const std::vector<std::string>& uids,
      void (KeyServer::*call)(std::vector<std::string>, absl::Duration,
                              status::Callback<std::vector<absl::StatusOr<T>>>)) {
    sync::Mutex mutex;
    sync::CondVar changed;
    absl::optional<absl::StatusOr<std::vector<absl::StatusOr<T>>>> result;
    (server->*call)(uids, kTimeout, [&](absl::StatusOr<std::vector<absl::StatusOr<T>>> answer) {
      sync::MutexLock lock(&mutex);
      result = std::move(answer);
      changed.SignalAll();
    });
    sync::MutexLock lock(&mutex);
    while (!result.has_value()) changed.Wait(&mutex);
    EXPECT_THAT(*result, IsOk());
    return *std::move(*result);
  }

  clock::SystemClock clock_;
  executor::RealExecutor executor_{&clock_};
  std::unique_ptr<kmip::net::Loop> loop_ = kmip::net::Loop::Create().value();
  const std::string folder_ = NewFolder();
  std::unique_ptr<identity::Authority> authority_;
  identity::Credentials client_;
};

TEST_F(KmsCrashTest, AcknowledgedKeysSurviveThirtyKills) {
  random::SeededRandom random(20240607);
  std::map<std::string, crypto::SecretKey> known;  // bytes, once they were given
  size_t told = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    SCOPED_TRACE(kill);
    auto node = Start();
    auto client = Dial(*node);
    Creator creator(client.get());
    creator.Start();
    creator.WaitForKeys(random.Below(60));
    node->Kill();
    creator.WaitForEnd();
    client.reset();
    // What it has told is true: the keys are there, active if it said so, and stay the same
    node = Start();
    client = Dial(*node);
    const auto created = creator.created();
    const std::vector<std::string> uids(created.begin(), created.end());
    told += uids.size();
    auto keys = Ask<crypto::SecretKey>(client.get(), uids, &KeyServer::GetKeys);
    const auto states = Ask<kmip::client::KeyState>(client.get(), uids, &KeyServer::GetStates);
    ASSERT_EQ(keys.size(), uids.size());
    const auto activated = creator.activated();
    for (size_t i = 0; i < uids.size(); ++i) {
      ASSERT_THAT(keys[i], IsOk());
      known[uids[i]] = *std::move(keys[i]);
      if (activated.count(uids[i]) == 0) continue;
      EXPECT_EQ(states[i].value(), kmip::client::KeyState::kActive);
    }
    node->Kill();
  }
  EXPECT_GT(told, kKills);
  const auto node = Start();
  const auto client = Dial(*node);
  std::vector<std::string> uids;
  for (const auto& [uid, key] : known) uids.push_back(uid);
  const auto keys = Ask<crypto::SecretKey>(client.get(), uids, &KeyServer::GetKeys);
  for (size_t i = 0; i < uids.size(); ++i) {
    ASSERT_THAT(keys[i], IsOk());
    EXPECT_TRUE(keys[i]->Equals(known[uids[i]]));
  }
}

TEST_F(KmsCrashTest, ANameToListenOnIsLookedUp) {
  const auto node = Start("localhost:0");
  EXPECT_EQ(node->address().rfind("localhost:", 0), 0) << node->address();
  EXPECT_NE(node->address(), "localhost:0");
}

}  // namespace
}  // namespace keysphere
