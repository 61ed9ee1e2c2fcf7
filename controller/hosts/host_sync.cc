// The part of HostSession that brings keys to the host.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/hpke.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/hosts/host_session.h"

namespace keysphere::controller::hosts {
namespace {

std::string Serialise(const std::vector<host::v1::WithheldProvider>& withheld) {
  std::string text;
  for (const host::v1::WithheldProvider& one : withheld) {
    absl::StrAppend(&text, one.SerializeAsString(), "\n");
  }
  return text;
}

bool SameEntry(const host::v1::KeyEntry& a, const host::v1::KeyEntry& b) {
  return keyset::SameKey(a, b) && a.key_id() == b.key_id() && a.tpm_required() == b.tpm_required();
}

}  // namespace

bool HostSession::Holds(const host::v1::KeyEntry& entry) const {
  for (const host::v1::KeyEntry& held : keys_.held()) {
    if (SameEntry(held, entry)) return true;
  }
  return false;
}

bool HostSession::HoldsHostKdk() const {
  if (status_.crypto_state() != v1::CRYPTO_STATE_SAFE) return false;
  // One of a KMS is cached itself.
  if (standard_.Caches(deps_.needs->Name(status_.host_key()))) return true;
  for (const host::v1::KeyEntry& held : keys_.held()) {
    if (held.provider() == status_.host_key().provider_id() &&
        held.key_check_value() == status_.host_key_check_value()) {
      return true;
    }
  }
  return false;
}

void HostSession::PendingSync::End(const absl::StatusOr<SyncResult>& result) {
  if (done) done(result);
  for (status::DoneCallback& one : also) one(result.status());
}

void HostSession::Sync(SyncKind kind, status::Callback<SyncResult> done) {
  if (kind != SyncKind::kTick) return Enqueue(kind, std::move(done));
  Enqueue(kind, [self = shared_from_this(),
                 done = std::move(done)](absl::StatusOr<SyncResult> result) mutable {
    if (!result.ok()) return done(std::move(result));
    self->FinishTick(*std::move(result), std::move(done));
  });
}

void HostSession::Enqueue(SyncKind kind, status::Callback<SyncResult> done) {
  if (!connected()) return done(NotResponding());
  PendingSync sync;
  sync.kind = kind;
  sync.done = std::move(done);
  syncs_.push_back(std::move(sync));
  if (!syncing_) RunNextSync();
}

remediation::DesiredState HostSession::Desired() {
  CountCluster();
  remediation::DesiredState desired = remediation::Desire(Facts(), deps_.providers->All());
  standard_.SetProviders(desired.standard, desired.cluster);
  return desired;
}

// Rises over restarts of this process too: time does.
int64_t HostSession::NextGeneration() {
  generation_ = std::max(generation_ + 1, absl::ToUnixMicros(deps_.clock->Now()));
  return generation_;
}

void HostSession::RunNextSync() {
  if (syncs_.empty()) return;
  syncing_ = true;
  if (!connected()) return FinishSync(NotResponding());
  switch (syncs_.front().kind) {
    case SyncKind::kTick:
      return CheckThenApply();
    case SyncKind::kStandard:
      return RunStandardSync(/*retried=*/false);
    case SyncKind::kStandardRemoval:
      return Apply(SyncKind::kTick, /*report_is_current=*/true, /*retried=*/false);
    case SyncKind::kAdd:
      return Apply(SyncKind::kAdd, /*report_is_current=*/true, /*retried=*/false);
  }
}

void HostSession::FinishSync(absl::StatusOr<SyncResult> result) {
  syncing_ = false;
  if (syncs_.empty()) return;  // closed meanwhile
  PendingSync sync = std::move(syncs_.front());
  syncs_.pop_front();
  if (result.ok() && HoldsHostKdk()) deps_.observer->OnHostKeyHeld(name_);
  sync.End(result);
  if (!syncing_ && !syncs_.empty()) RunNextSync();
}

// A host that is silent in a pass is taken as not responding until an attach succeeds: no pass
// after this one waits for it.
void HostSession::EndUnanswered(const absl::Status& status) {
  NoteAnswer(status);
  const bool lost =
      connected() && (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status));
  if (lost) Lose(status.message());
  FinishSync(status);
  if (lost && keep_connected_ && !attaching_ && !closed_) {
    StartAttach(/*force=*/false, [](absl::Status) {});
  }
}

void HostSession::CheckThenApply() {
  host::v1::CheckKeysRequest request;
  request.set_epoch(epoch_);
  link_->CheckKeys(
      std::move(request),
      OnStrand<host::v1::CheckKeysResponse>(
          [self = shared_from_this()](absl::StatusOr<host::v1::CheckKeysResponse> answer) {
            if (self->closed_) return;
            if (!answer.ok()) {
              return self->EndUnanswered(answer.status());
            }
            const remediation::DesiredState desired = self->Desired();
            self->generation_ = std::max(self->generation_, answer->generation());
            if (answer->boot_id() != self->status_.boot_id()) {
              // It booted and the watch has not ended yet: attach again first.
              self->Lose("it has booted");
              self->FinishSync(self->NotResponding());
              if (self->keep_connected_ && !self->attaching_) {
                self->StartAttach(/*force=*/false, [](absl::Status) {});
              }
              return;
            }
            StandardKeys& standard = self->standard_;
            if (answer->digest() == desired.Digest(standard.digest()) &&
                self->keys_.collisions().empty() &&
                Serialise(desired.withheld) == self->told_withheld_ && standard.Told() &&
                !standard.HasForeign() && !standard.HasRemovals()) {
              return self->FinishSync(SyncResult());
            }
            const bool caches = !desired.standard.empty() || !standard.counts().empty();
            if (caches && answer->digest() != self->keys_.digest()) {
              return self->RelistThenApply();
            }
            self->Apply(SyncKind::kTick, answer->digest() == self->keys_.digest(),
                        /*retried=*/false);
          }));
}

absl::StatusOr<std::string> HostSession::Seal(absl::string_view provider, absl::string_view key_id,
                                              const crypto::SecretKey& key) {
  const std::string& host_key = status_.transport_public_key();
  if (!transport_.has_value() || transport_->public_key() != host_key) {
    KS_ASSIGN_OR_RETURN(transport_, crypto::TransportSession::Begin(host_key));
  }
  return transport_->Seal(keyset::SealInfo(name_, status_.boot_id(), epoch_, provider, key_id),
                          key);
}

absl::StatusOr<host::v1::ApplyKeysRequest> HostSession::MakeApplyRequest(
    SyncKind kind, const remediation::DesiredState& desired, bool report_is_current,
    std::vector<std::string>* added) {
  host::v1::ApplyKeysRequest request;
  request.set_epoch(epoch_);
  request.set_allow_removal(kind == SyncKind::kTick);
  request.set_cluster(desired.cluster);
  // With standard providers their keys come before its end.
  request.set_first_sync(!first_sync_done_ && (desired.standard.empty() || stage_.ended));
  for (const host::v1::WithheldProvider& withheld : desired.withheld) {
    *request.add_withheld() = withheld;
  }
  for (const host::v1::KeyEntry& entry : desired.entries) {
    if (report_is_current && Holds(entry)) {
      *request.add_held() = entry;
      continue;
    }
    const providers::Provider* const provider = deps_.providers->Find(entry.provider());
    host::v1::SealedKey* const key = request.add_keys();
    *key->mutable_entry() = entry;
    KS_ASSIGN_OR_RETURN(*key->mutable_sealed(),
                        Seal(entry.provider(), entry.key_id(), provider->kdk));
    added->push_back(entry.provider());
  }
  return request;
}

// The clock of this machine went back since the host last took a desired state.
void HostSession::LearnGenerationThen(absl::AnyInvocable<void()> again) {
  host::v1::CheckKeysRequest request;
  request.set_epoch(epoch_);
  link_->CheckKeys(std::move(request),
                   OnStrand<host::v1::CheckKeysResponse>(
                       [self = shared_from_this(), again = std::move(again)](
                           absl::StatusOr<host::v1::CheckKeysResponse> answer) mutable {
                         if (self->closed_) return;
                         if (!answer.ok()) return self->FinishSync(answer.status());
                         self->generation_ = std::max(self->generation_, answer->generation());
                         again();
                       }));
}

// The host holds other keys than this session thinks: which of standard providers?
void HostSession::RelistThenApply() {
  host::v1::CheckKeysRequest request;
  request.set_epoch(epoch_);
  request.set_list_standard_keys(true);
  link_->CheckKeys(
      std::move(request),
      OnStrand<host::v1::CheckKeysResponse>(
          [self = shared_from_this()](absl::StatusOr<host::v1::CheckKeysResponse> answer) {
            if (self->closed_) return;
            if (!answer.ok()) return self->EndUnanswered(answer.status());
            self->standard_.Relist(answer->standard_keys());
            self->Apply(SyncKind::kTick, /*report_is_current=*/false,
                        /*retried=*/false);
          }));
}

void HostSession::Apply(SyncKind kind, bool report_is_current, bool retried) {
  const remediation::DesiredState desired = Desired();
  SyncResult result;
  absl::StatusOr<host::v1::ApplyKeysRequest> request =
      MakeApplyRequest(kind, desired, report_is_current, &result.added_providers);
  if (!request.ok()) return FinishSync(request.status());
  const std::string withheld = Serialise(desired.withheld);
  if (kind == SyncKind::kAdd && request->keys().empty() && first_sync_done_ &&
      withheld == told_withheld_ && status_.cluster() == desired.cluster && !standard_.HasReady() &&
      standard_.Told()) {
    *result.response.mutable_keys() = keys_;
    return FinishSync(std::move(result));
  }
  absl::StatusOr<StandardKeys::Sent> sent = FillStandard(kind == SyncKind::kTick, &*request);
  if (!sent.ok()) return FinishSync(sent.status());
  request->set_generation(NextGeneration());
  const bool ends_first_sync = request->first_sync();
  // As of now: the watch may tell of the change before the answer does.
  const std::string digest = keys_.digest();
  const int collisions = keys_.collisions_size();
  const bool had_host_kdk = HoldsHostKdk();
  link_->ApplyKeys(
      *std::move(request),
      OnStrand<host::v1::ApplyKeysResponse>(
          [self = shared_from_this(), kind, report_is_current, retried, withheld, ends_first_sync,
           sent = *std::move(sent), digest, collisions, had_host_kdk,
           result = std::move(result)](absl::StatusOr<host::v1::ApplyKeysResponse> answer) mutable {
            if (self->closed_) return;
            if (!answer.ok()) {
              const bool stale = status::ReasonOf(answer.status()) == v1::REASON_STALE_GENERATION;
              self->standard_.NotApplied(sent, /*again=*/stale && !retried);
              self->NoteAnswer(answer.status());
              if (stale && !retried) {
                return self->LearnGenerationThen([self, kind, report_is_current] {
                  self->Apply(kind, report_is_current, /*retried=*/true);
                });
              }
              return self->FinishSync(answer.status());
            }
            if (ends_first_sync) self->first_sync_done_ = true;
            self->told_withheld_ = withheld;
            // To tell a host why it is given no key changes nothing there.
            result.changed = answer->keys().digest() != digest ||
                             answer->removed_providers_size() + answer->locked_vms_size() > 0 ||
                             answer->keys().collisions_size() != collisions;
            self->standard_.Applied(sent, *answer);
            self->TakeKeys(answer->keys());
            result.response = *std::move(answer);
            if (kind == SyncKind::kTick && had_host_kdk && !self->HoldsHostKdk()) {
              const v1::CryptoKeyId& key = self->status_.host_key();
              const auto kms = self->deps_.kms->Find(key.provider_id());
              self->deps_.observer->OnHostKeyPurged(self->name_,
                                                    kms != nullptr && kms->Lacks(key.key_id()));
            }
            self->FinishSync(std::move(result));
          }));
}

}  // namespace keysphere::controller::hosts
