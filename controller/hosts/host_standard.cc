// The part of HostSession that brings keys of standard providers to the host. What is asked of a
// KMS never holds up what is sent: keys are fetched beside the queue of syncs and go with the next.
#include <algorithm>
#include <utility>

#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/hosts/host_session.h"

namespace keysphere::controller::hosts {
namespace {

// So long a pass waits for a KMS; what comes later is sent then.
constexpr absl::Duration kTickPatience = absl::Seconds(5);

// Runs `done` with the first error once all parts have ended.
class Join {
 public:
  explicit Join(absl::AnyInvocable<void(absl::Status)> done) : state_(std::make_shared<State>()) {
    state_->done = std::move(done);
  }
  std::function<void(const absl::Status&)> Part() {
    ++state_->open;
    return [state = state_](const absl::Status& status) { End(state, status); };
  }
  // All parts are known.
  void Close() { End(state_, absl::OkStatus()); }

 private:
  struct State {
    int open = 1;
    absl::Status first;
    absl::AnyInvocable<void(absl::Status)> done;
  };
  static void End(const std::shared_ptr<State>& state, const absl::Status& status) {
    if (state->first.ok()) state->first = status;
    if (--state->open == 0) state->done(state->first);
  }
  std::shared_ptr<State> state_;
};

}  // namespace

// ---- What the host's objects use ----

void HostSession::CountVm(const host::v1::HostVm& vm) {
  CountKeys(vm.vm().name(), deps_.needs->KeysOf(vm.vm()));
}

void HostSession::CountHostKey() {
  std::vector<KeyNamePtr> keys;
  if (const KeyNamePtr key = deps_.needs->Name(status_.host_key()); key != nullptr) {
    keys.push_back(key);
  }
  CountKeys("", std::move(keys));  // no VM is named so
}

void HostSession::CountKeys(const std::string& object, std::vector<KeyNamePtr> keys) {
  CountCluster();
  std::vector<KeyNamePtr>& counted = counted_keys_[object];
  if (counted == keys) return;
  for (const KeyNamePtr key : keys) deps_.needs->Add(counted_in_, key);
  for (const KeyNamePtr key : counted) deps_.needs->Remove(counted_in_, key);
  counted = std::move(keys);
  if (counted.empty()) counted_keys_.erase(object);
}

// The host may have moved to another cluster.
void HostSession::CountCluster() {
  const std::string cluster = Cluster();
  if (cluster == counted_in_) return;
  const std::string former = std::exchange(counted_in_, cluster);
  for (const auto& [object, keys] : counted_keys_) {
    for (const KeyNamePtr key : keys) {
      deps_.needs->Add(cluster, key);
      deps_.needs->Remove(former, key);
    }
  }
}

// ---- Fetching and sending ----

void HostSession::FetchStandard(const std::vector<KeyNamePtr>& keys, status::DoneCallback done) {
  std::map<std::string, std::vector<KeyNamePtr>> by_provider;
  for (const KeyNamePtr key : keys) by_provider[key->provider].push_back(key);
  Join join(std::move(done));
  for (auto& [provider, names] : by_provider) {
    const std::shared_ptr<kms::KmsCluster> cluster = deps_.kms->Find(provider);
    if (cluster == nullptr) continue;
    std::vector<std::string> ids;
    ids.reserve(names.size());
    for (const KeyNamePtr name : names) ids.push_back(name->id);
    cluster->Fetch(ids, [self = shared_from_this(), names = std::move(names),
                         part = join.Part()](const kms::KmsCluster::Fetched& fetched) {
      absl::Status first;
      for (size_t i = 0; i < names.size(); ++i) {
        if (fetched[i].ok()) {
          self->standard_.Ready(names[i], *fetched[i]);
        } else if (first.ok()) {
          first = fetched[i].status();
        }
      }
      part(first);
    });
  }
  join.Close();
}

void HostSession::SendStandard(status::DoneCallback done) {
  if (!connected()) return done(NotResponding());
  const size_t running = syncing_ ? 1 : 0;
  for (size_t i = running; i < syncs_.size(); ++i) {
    if (syncs_[i].kind != SyncKind::kStandard) continue;
    syncs_[i].also.push_back(std::move(done));
    return;
  }
  PendingSync sync;
  sync.kind = SyncKind::kStandard;
  sync.also.push_back(std::move(done));
  syncs_.push_back(std::move(sync));
  if (!syncing_) RunNextSync();
}

void HostSession::BringStandard(const std::vector<KeyNamePtr>& keys, status::DoneCallback done) {
  if (!connected()) return done(NotResponding());
  Desired();  // which providers it may have
  std::vector<KeyNamePtr> lacking;
  for (const KeyNamePtr key : keys) {
    if (key == nullptr || standard_.Caches(key) || deps_.kms->Find(key->provider) == nullptr) {
      continue;
    }
    lacking.push_back(key);
  }
  if (lacking.empty() || !safe()) return done(absl::OkStatus());
  std::vector<KeyNamePtr> to_fetch;
  for (const KeyNamePtr key : lacking) {
    if (!standard_.Knows(key)) to_fetch.push_back(key);
  }
  FetchStandard(to_fetch,
                [self = shared_from_this(), done = std::move(done)](absl::Status fetched) mutable {
                  self->SendStandard([fetched, done = std::move(done)](absl::Status sent) mutable {
                    done(fetched.ok() ? sent : fetched);
                  });
                });
}

void HostSession::BringAllStandard(status::DoneCallback done) {
  if (!connected()) return done(NotResponding());
  Desired();
  FetchStandard(safe() ? standard_.Lacking() : std::vector<KeyNamePtr>(),
                [self = shared_from_this(), done = std::move(done)](absl::Status fetched) mutable {
                  self->SendStandard([fetched, done = std::move(done)](absl::Status sent) mutable {
                    done(fetched.ok() ? sent : fetched);
                  });
                });
}

void HostSession::PushStandard(KeyNamePtr key, const kms::FetchedKey& fetched,
                               status::DoneCallback done) {
  if (!connected()) return done(NotResponding());
  if (standard_.Caches(key)) return done(absl::OkStatus());
  Desired();
  standard_.Ready(key, fetched);
  SendStandard(std::move(done));
}

void HostSession::WantStandard() {
  if (!connected() || !safe() || !stage_.ran || want_posted_) return;
  want_posted_ = true;
  const std::weak_ptr<HostSession> weak = weak_from_this();
  deps_.strand->Post([weak] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->want_posted_ = false;
    if (!self->connected() || !self->safe()) return;
    self->Desired();
    const std::vector<KeyNamePtr> lacking = self->standard_.LackingToAsk();
    if (lacking.empty()) return;
    self->FetchStandard(
        lacking, [self](const absl::Status&) { self->SendStandard([](const absl::Status&) {}); });
  });
}

// What follows the native part of the first sync after an attach: keys of standard providers, once
// the host key is there again and the host has told its VMs. It ends the wait of the host's VMs,
// also where a KMS fails (S149).
void HostSession::RunStandardStage() {
  if (!stage_.ready || !snapshot_taken_ || stage_.ran) return;
  stage_.ran = true;
  const remediation::DesiredState desired = Desired();
  if (desired.standard.empty() && first_sync_done_) return;
  auto ended = [self = shared_from_this(), attachment = watch_number_] {
    if (self->watch_number_ != attachment) return;
    self->stage_.ended = true;
    self->SendStandard([](const absl::Status&) {});
  };
  if (safe()) {
    FetchStandard(standard_.Lacking(), [ended](const absl::Status&) { ended(); });
  } else {
    // It takes none, but why its VMs are locked is to be known: does the KMS have their keys? (S89)
    VerifyStandard(LackingForItsVms(), ended);
  }
}

std::vector<KeyNamePtr> HostSession::LackingForItsVms() {
  absl::flat_hash_set<KeyNamePtr> own;
  for (const auto& [object, keys] : counted_keys_) own.insert(keys.begin(), keys.end());
  std::vector<KeyNamePtr> lacking = standard_.Lacking();
  lacking.erase(std::remove_if(lacking.begin(), lacking.end(),
                               [&own](KeyNamePtr key) { return own.count(key) == 0; }),
                lacking.end());
  return lacking;
}

absl::StatusOr<StandardKeys::Sent> HostSession::FillStandard(bool removal,
                                                             host::v1::ApplyKeysRequest* request) {
  return standard_.Fill(
      [this](const KeyName& name, const crypto::SecretKey& key) {
        return Seal(name.provider, name.id, key);
      },
      removal, request);
}

void HostSession::RunStandardSync(bool retried) {
  const remediation::DesiredState desired = Desired();
  bool ends_first_sync = !first_sync_done_ && stage_.ended;
  if (!standard_.HasReady() && standard_.Told() && !ends_first_sync) {
    return FinishSync(SyncResult());
  }
  host::v1::ApplyKeysRequest request;
  request.set_epoch(epoch_);
  request.set_cluster(desired.cluster);
  absl::StatusOr<StandardKeys::Sent> sent = FillStandard(/*removal=*/false, &request);
  if (!sent.ok()) return FinishSync(sent.status());
  const bool more = standard_.HasReady();
  ends_first_sync = ends_first_sync && !more;
  request.set_first_sync(ends_first_sync);
  request.set_generation(NextGeneration());
  link_->ApplyKeys(
      std::move(request),
      OnStrand<host::v1::ApplyKeysResponse>(
          [self = shared_from_this(), retried, ends_first_sync,
           sent = *std::move(sent)](absl::StatusOr<host::v1::ApplyKeysResponse> answer) mutable {
            if (self->closed_) return;
            if (!answer.ok()) {
              const bool stale = status::ReasonOf(answer.status()) == v1::REASON_STALE_GENERATION;
              self->standard_.NotApplied(sent, /*again=*/stale && !retried);
              self->NoteAnswer(answer.status());
              if (stale && !retried) {
                return self->LearnGenerationThen(
                    [self] { self->RunStandardSync(/*retried=*/true); });
              }
              return self->FinishSync(answer.status());
            }
            if (ends_first_sync) self->first_sync_done_ = true;
            self->standard_.Applied(sent, *answer);
            self->TakeKeys(answer->keys());
            SyncResult result;
            result.changed = true;
            result.response = *std::move(answer);
            self->FinishSync(std::move(result));
          }));
}

// ---- Passes ----

void HostSession::FinishTick(SyncResult result, status::Callback<SyncResult> done) {
  if (!connected()) return done(std::move(result));
  std::vector<KeyNamePtr> unverified = standard_.Unverified();
  std::vector<KeyNamePtr> lacking;
  if (safe()) lacking = standard_.LackingToAsk();
  if (unverified.empty() && lacking.empty()) {
    NoteVerified();
    return done(std::move(result));
  }
  struct Waiting {
    SyncResult result;
    status::Callback<SyncResult> done;
  };
  auto waiting = std::make_shared<Waiting>(Waiting{std::move(result), std::move(done)});
  const auto end = [waiting] {
    if (!waiting->done) return;
    status::Callback<SyncResult> callback = std::move(waiting->done);
    waiting->done = nullptr;
    callback(std::move(waiting->result));
  };
  const clock::Clock::TimerId timer =
      deps_.clock->RunAfter(kTickPatience, [strand = deps_.strand, end] { strand->Post(end); });
  VerifyStandard(unverified, [self = shared_from_this(), lacking, waiting, end, timer] {
    self->FetchStandard(lacking, [self, waiting, end, timer](const absl::Status&) {
      self->NoteVerified();
      const auto finish = [self, waiting, end, timer](const absl::StatusOr<SyncResult>& synced) {
        self->deps_.clock->Cancel(timer);
        if (synced.ok() && waiting->done) {
          SyncResult& all = waiting->result;
          all.changed = all.changed || synced->changed;
          for (const std::string& vm : synced->response.locked_vms()) {
            all.response.add_locked_vms(vm);
          }
          for (const auto& removed : synced->response.removed_standard_keys()) {
            *all.response.add_removed_standard_keys() = removed;
          }
        }
        end();
      };
      if (!self->standard_.HasRemovals()) {
        return self->SendStandard([finish](const absl::Status&) { finish(SyncResult()); });
      }
      self->Enqueue(SyncKind::kStandardRemoval, finish);
    });
  });
}

void HostSession::VerifyStandard(const std::vector<KeyNamePtr>& keys,
                                 absl::AnyInvocable<void()> done) {
  std::map<std::string, std::vector<KeyNamePtr>> by_provider;
  for (const KeyNamePtr key : keys) by_provider[key->provider].push_back(key);
  Join join([done = std::move(done)](const absl::Status&) mutable { done(); });
  for (auto& [provider, names] : by_provider) {
    const std::shared_ptr<kms::KmsCluster> cluster = deps_.kms->Find(provider);
    if (cluster == nullptr) continue;
    std::vector<std::string> ids;
    for (const KeyNamePtr name : names) ids.push_back(name->id);
    cluster->Fetch(ids, [self = shared_from_this(), names = std::move(names), epoch = epoch_,
                         instance = cluster->instance(),
                         part = join.Part()](const kms::KmsCluster::Fetched& fetched) {
      for (size_t i = 0; i < names.size() && self->epoch_ == epoch; ++i) {
        if (fetched[i].ok()) {
          self->standard_.Verified(names[i], *fetched[i]);
        } else if (status::ReasonOf(fetched[i].status()) == v1::REASON_KEY_MISSING_ON_KMS) {
          self->standard_.MissingOnKms(names[i], instance);
        }
      }
      part(absl::OkStatus());
    });
  }
  join.Close();
}

void HostSession::NoteVerified() {
  if (!standard_.NoteVerified()) return;
  deps_.inventory->NoteVerified(name_, epoch_, standard_.verified());
}

}  // namespace keysphere::controller::hosts
