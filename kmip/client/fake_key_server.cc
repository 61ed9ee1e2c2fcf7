#include "kmip/client/fake_key_server.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::kmip::client {
namespace {

constexpr size_t kKeyBytes = 32;

absl::Status NoSuchKey(const std::string& uid) {
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("the key server has no key ", status::Quote(uid)));
}

bool IsDestroyed(KeyState state) {
  return state == KeyState::kDestroyed || state == KeyState::kDestroyedCompromised;
}

// Done has no value: a status without one.
struct Nothing {};

status::Callback<Nothing> WithoutValue(status::DoneCallback done) {
  return
      [done = std::move(done)](absl::StatusOr<Nothing> result) mutable { done(result.status()); };
}

}  // namespace

size_t FakeKeys::size() {
  sync::MutexLock lock(&mutex_);
  return keys_.size();
}

std::vector<std::string> FakeKeys::uids() {
  std::vector<std::string> uids;
  sync::MutexLock lock(&mutex_);
  for (const auto& [uid, key] : keys_) uids.push_back(uid);
  return uids;
}

std::string FakeKeys::Attribute(const std::string& uid, const std::string& name) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found == keys_.end()) return "";
  const auto attribute = found->second.attributes.find(name);
  return attribute == found->second.attributes.end() ? "" : attribute->second;
}

void FakeKeys::SetState(const std::string& uid, KeyState state) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found != keys_.end()) found->second.state = state;
}

void FakeKeys::Remove(const std::string& uid) {
  sync::MutexLock lock(&mutex_);
  keys_.erase(uid);
}

void FakeKeys::Refuse(const std::string& uid, absl::Status get, absl::Status state) {
  sync::MutexLock lock(&mutex_);
  const auto it = keys_.find(uid);
  if (it == keys_.end()) return;
  it->second.refuse_get = std::move(get);
  it->second.refuse_state = std::move(state);
}

void FakeKeys::Replace(const std::string& uid) {
  absl::StatusOr<crypto::SecretKey> bytes = crypto::SecretKey::Random(kKeyBytes);
  sync::MutexLock lock(&mutex_);
  const auto it = keys_.find(uid);
  if (it != keys_.end() && bytes.ok()) it->second.bytes = *std::move(bytes);
}

absl::StatusOr<std::string> FakeKeys::Create() {
  KS_ASSIGN_OR_RETURN(crypto::SecretKey bytes, crypto::SecretKey::Random(kKeyBytes));
  std::string uid = random_->Uuid();
  sync::MutexLock lock(&mutex_);
  keys_[uid].bytes = std::move(bytes);
  return uid;
}

absl::StatusOr<crypto::SecretKey> FakeKeys::Get(const std::string& uid) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found == keys_.end()) return NoSuchKey(uid);
  if (!found->second.refuse_get.ok()) return found->second.refuse_get;
  if (IsDestroyed(found->second.state)) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("the key ", status::Quote(uid), " is destroyed"));
  }
  return found->second.bytes.Clone();
}

absl::StatusOr<KeyState> FakeKeys::State(const std::string& uid) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found == keys_.end()) return NoSuchKey(uid);
  if (!found->second.refuse_state.ok()) return found->second.refuse_state;
  return found->second.state;
}

absl::Status FakeKeys::Activate(const std::string& uid) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found == keys_.end()) return NoSuchKey(uid);
  if (found->second.state != KeyState::kPreActive) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("the key ", status::Quote(uid), " is not pre-active"));
  }
  found->second.state = KeyState::kActive;
  return absl::OkStatus();
}

absl::Status FakeKeys::AddAttribute(const std::string& uid, const TextAttribute& attribute) {
  sync::MutexLock lock(&mutex_);
  const auto found = keys_.find(uid);
  if (found == keys_.end()) return NoSuchKey(uid);
  found->second.attributes[attribute.name] = attribute.value;
  return absl::OkStatus();
}

FakeKeyServer::FakeKeyServer(FakeKeys* keys, executor::Executor* executor, clock::Clock* clock)
    : keys_(keys), executor_(executor), clock_(clock) {}

void FakeKeyServer::set_mode(Mode mode) {
  sync::MutexLock lock(&mutex_);
  mode_ = mode;
}

void FakeKeyServer::set_latency(absl::Duration latency) {
  sync::MutexLock lock(&mutex_);
  latency_ = latency;
}

void FakeKeyServer::FailNext(absl::Status error, bool done_first) {
  sync::MutexLock lock(&mutex_);
  next_error_ = std::move(error);
  done_first_ = done_first;
}

void FakeKeyServer::set_versions(std::vector<Version> versions) {
  sync::MutexLock lock(&mutex_);
  versions_ = std::move(versions);
}

void FakeKeyServer::set_certificate(ServerCertificate certificate) {
  sync::MutexLock lock(&mutex_);
  certificate_ = std::move(certificate);
}

std::map<std::string, int> FakeKeyServer::calls() {
  sync::MutexLock lock(&mutex_);
  return calls_;
}

absl::optional<ServerCertificate> FakeKeyServer::LastCertificate() {
  sync::MutexLock lock(&mutex_);
  return certificate_;
}

template <typename T>
void FakeKeyServer::Answer(const char* operation, int count, absl::Duration timeout,
                           absl::AnyInvocable<absl::StatusOr<T>()> work, status::Callback<T> done) {
  absl::Status error;
  bool works = true;  // whether the server carries it out
  absl::Duration wait;
  {
    sync::MutexLock lock(&mutex_);
    wait = latency_;
    std::string versions;
    bool speaks = false;
    for (const Version& version : versions_) {
      absl::StrAppend(&versions, versions.empty() ? "" : ", ", version.major, ".", version.minor);
      speaks = speaks || version == Version{1, 1};
    }
    if (mode_ == Mode::kDown) {
      wait = absl::ZeroDuration();
      error = status::Error(v1::REASON_KMS_UNREACHABLE, "no connection").With("sent", "false");
    } else if (mode_ == Mode::kHang || wait > timeout) {
      wait = timeout;
      error = status::Error(v1::REASON_DEADLINE_EXCEEDED,
                            absl::StrCat("no answer within ", absl::FormatDuration(timeout)));
    } else if (!speaks) {
      error = status::Error(v1::REASON_KMS_VERSION_UNSUPPORTED,
                            absl::StrCat("the server does not speak KMIP 1.1; it has ", versions));
    } else {
      calls_[operation] += count;
      error = std::exchange(next_error_, absl::OkStatus());
      works = error.ok() || std::exchange(done_first_, false);
    }
    works = works && (error.ok() || mode_ == Mode::kUp);
  }
  auto run = [work = std::move(work), done = std::move(done), error, works]() mutable {
    if (!works) return done(error);
    absl::StatusOr<T> result = work();
    if (!error.ok()) return done(error);
    done(std::move(result));
  };
  if (wait == absl::ZeroDuration()) return executor_->Post(std::move(run));
  clock_->RunAfter(wait, [executor = executor_, run = std::move(run)]() mutable {
    executor->Post(std::move(run));
  });
}

void FakeKeyServer::CheckHealth(absl::Duration timeout, status::Callback<Health> done) {
  Answer<Health>(
      "DiscoverVersions", 1, timeout,
      [this]() -> absl::StatusOr<Health> {
        sync::MutexLock lock(&mutex_);
        return Health{versions_};
      },
      std::move(done));
}

void FakeKeyServer::CreateKey(absl::Duration timeout, status::Callback<std::string> done) {
  Answer<std::string>(
      "Create", 1, timeout, [keys = keys_] { return keys->Create(); }, std::move(done));
}

void FakeKeyServer::AddAttributes(std::string uid, std::vector<TextAttribute> attributes,
                                  absl::Duration timeout, status::DoneCallback done) {
  const int count = static_cast<int>(attributes.size());
  Answer<Nothing>(
      "AddAttribute", count, timeout,
      [keys = keys_, uid = std::move(uid),
       attributes = std::move(attributes)]() -> absl::StatusOr<Nothing> {
        for (const TextAttribute& attribute : attributes) {
          KS_RETURN_IF_ERROR(keys->AddAttribute(uid, attribute));
        }
        return Nothing();
      },
      WithoutValue(std::move(done)));
}

void FakeKeyServer::GetKeys(std::vector<std::string> uids, absl::Duration timeout,
                            status::Callback<Keys> done) {
  const int count = static_cast<int>(uids.size());
  Answer<Keys>(
      "Get", count, timeout,
      [keys = keys_, uids = std::move(uids)]() -> absl::StatusOr<Keys> {
        Keys answer;
        for (const std::string& uid : uids) answer.push_back(keys->Get(uid));
        return answer;
      },
      std::move(done));
}

void FakeKeyServer::Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) {
  Answer<Nothing>(
      "Activate", 1, timeout,
      [keys = keys_, uid = std::move(uid)]() -> absl::StatusOr<Nothing> {
        KS_RETURN_IF_ERROR(keys->Activate(uid));
        return Nothing();
      },
      WithoutValue(std::move(done)));
}

void FakeKeyServer::GetStates(std::vector<std::string> uids, absl::Duration timeout,
                              status::Callback<States> done) {
  const int count = static_cast<int>(uids.size());
  Answer<States>(
      "GetAttributes", count, timeout,
      [keys = keys_, uids = std::move(uids)]() -> absl::StatusOr<States> {
        States answer;
        for (const std::string& uid : uids) answer.push_back(keys->State(uid));
        return answer;
      },
      std::move(done));
}

}  // namespace keysphere::kmip::client
