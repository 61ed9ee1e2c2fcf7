#ifndef KEYSPHERE_KMIP_CLIENT_FAKE_KEY_SERVER_H_
#define KEYSPHERE_KMIP_CLIENT_FAKE_KEY_SERVER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/sync/mutex.h"
#include "kmip/client/key_server.h"

namespace keysphere::kmip::client {

// What the nodes of one fake key server share: its keys. Outlives the nodes. Thread safe.
class FakeKeys {
 public:
  explicit FakeKeys(random::Random* random) : random_(random) {}

  size_t size();
  std::vector<std::string> uids();
  // Empty when the key or the attribute is not there.
  std::string Attribute(const std::string& uid, const std::string& name);
  void SetState(const std::string& uid, KeyState state);
  // The key is missing from now on.
  void Remove(const std::string& uid);
  // Get of the key ends with this from now on, and asking for its state with `state`, where that is
  // an error.
  void Refuse(const std::string& uid, absl::Status get, absl::Status state = absl::OkStatus());
  // Another key bears its identifier from now on.
  void Replace(const std::string& uid);

  absl::StatusOr<std::string> Create();
  absl::StatusOr<crypto::SecretKey> Get(const std::string& uid);
  absl::StatusOr<KeyState> State(const std::string& uid);
  absl::Status Activate(const std::string& uid);
  absl::Status AddAttribute(const std::string& uid, const TextAttribute& attribute);

 private:
  struct Key {
    crypto::SecretKey bytes;
    KeyState state = KeyState::kPreActive;
    std::map<std::string, std::string> attributes;
    absl::Status refuse_get;
    absl::Status refuse_state;
  };

  random::Random* const random_;
  sync::Mutex mutex_;
  std::map<std::string, Key> keys_ ABSL_GUARDED_BY(mutex_);
};

// A node in memory, for simulations in one process.
class FakeKeyServer : public KeyServer {
 public:
  // `clock` bears latency and timeouts. All outlive the node and its answers.
  FakeKeyServer(FakeKeys* keys, executor::Executor* executor, clock::Clock* clock);

  // What it does from now on.
  enum class Mode { kUp, kDown, kHang };  // kHang: no answer until the timeout
  void set_mode(Mode mode);
  // Before each answer.
  void set_latency(absl::Duration latency);
  // The next call ends with it; with `done_first` after the server has carried it out.
  void FailNext(absl::Status error, bool done_first = false);
  // KMS_VERSION_UNSUPPORTED unless 1.1 is among them.
  void set_versions(std::vector<Version> versions);
  void set_certificate(ServerCertificate certificate);

  // Calls that came so far, by KMIP operation: "Create", "Get" (one for each key), …
  std::map<std::string, int> calls();

  void CheckHealth(absl::Duration timeout, status::Callback<Health> done) override;
  void CreateKey(absl::Duration timeout, status::Callback<std::string> done) override;
  void AddAttributes(std::string uid, std::vector<TextAttribute> attributes, absl::Duration timeout,
                     status::DoneCallback done) override;
  void GetKeys(std::vector<std::string> uids, absl::Duration timeout,
               status::Callback<Keys> done) override;
  void Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) override;
  void GetStates(std::vector<std::string> uids, absl::Duration timeout,
                 status::Callback<States> done) override;
  absl::optional<ServerCertificate> LastCertificate() override;

 private:
  // Carries `work` out when the latency has passed, or ends it with the fault that holds.
  template <typename T>
  void Answer(const char* operation, int count, absl::Duration timeout,
              absl::AnyInvocable<absl::StatusOr<T>()> work, status::Callback<T> done);

  FakeKeys* const keys_;
  executor::Executor* const executor_;
  clock::Clock* const clock_;

  sync::Mutex mutex_;
  Mode mode_ ABSL_GUARDED_BY(mutex_) = Mode::kUp;
  absl::Duration latency_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Status next_error_ ABSL_GUARDED_BY(mutex_);
  bool done_first_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Version> versions_ ABSL_GUARDED_BY(mutex_) = {{1, 2}, {1, 1}, {1, 0}};
  absl::optional<ServerCertificate> certificate_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_FAKE_KEY_SERVER_H_
