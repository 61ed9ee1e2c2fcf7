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
  for (const host::v1::KeyEntry& held : keys_.held()) {
    if (held.provider() == status_.host_key().provider_id() &&
        held.key_check_value() == status_.host_key_check_value()) {
      return true;
    }
  }
  return false;
}

void HostSession::Sync(SyncKind kind, status::Callback<SyncResult> done) {
  if (!connected()) return done(NotResponding());
  syncs_.push_back({kind, std::move(done)});
  if (!syncing_) RunNextSync();
}

void HostSession::RunNextSync() {
  if (syncs_.empty()) return;
  syncing_ = true;
  if (!connected()) return FinishSync(NotResponding());
  if (syncs_.front().kind == SyncKind::kTick) return CheckThenApply();
  Apply(SyncKind::kAdd, /*report_is_current=*/true, /*retried=*/false);
}

void HostSession::FinishSync(absl::StatusOr<SyncResult> result) {
  syncing_ = false;
  if (syncs_.empty()) return;  // closed meanwhile
  status::Callback<SyncResult> done = std::move(syncs_.front().done);
  syncs_.pop_front();
  done(std::move(result));
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
            const remediation::DesiredState desired =
                remediation::Desire(self->Facts(), self->deps_.providers->All());
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
            if (answer->digest() == desired.Digest() && self->keys_.collisions().empty() &&
                Serialise(desired.withheld) == self->told_withheld_) {
              return self->FinishSync(SyncResult());
            }
            self->Apply(SyncKind::kTick, answer->digest() == self->keys_.digest(),
                        /*retried=*/false);
          }));
}

absl::StatusOr<host::v1::ApplyKeysRequest> HostSession::MakeApplyRequest(
    SyncKind kind, const remediation::DesiredState& desired, bool report_is_current,
    std::vector<std::string>* added) const {
  host::v1::ApplyKeysRequest request;
  request.set_epoch(epoch_);
  request.set_allow_removal(kind == SyncKind::kTick);
  request.set_cluster(desired.cluster);
  request.set_first_sync(!first_sync_done_);
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
                        crypto::SealTo(status_.transport_public_key(),
                                       keyset::SealInfo(name_, status_.boot_id(), epoch_,
                                                        entry.provider(), entry.key_id()),
                                       provider->kdk));
    added->push_back(entry.provider());
  }
  return request;
}

// The clock of this machine went back since the host last took a desired state.
void HostSession::LearnGenerationThenApply(SyncKind kind, bool report_is_current) {
  host::v1::CheckKeysRequest request;
  request.set_epoch(epoch_);
  link_->CheckKeys(std::move(request), OnStrand<host::v1::CheckKeysResponse>(
                                           [self = shared_from_this(), kind, report_is_current](
                                               absl::StatusOr<host::v1::CheckKeysResponse> answer) {
                                             if (self->closed_) return;
                                             if (!answer.ok())
                                               return self->FinishSync(answer.status());
                                             self->generation_ =
                                                 std::max(self->generation_, answer->generation());
                                             self->Apply(kind, report_is_current, /*retried=*/true);
                                           }));
}

void HostSession::Apply(SyncKind kind, bool report_is_current, bool retried) {
  const remediation::DesiredState desired = remediation::Desire(Facts(), deps_.providers->All());
  SyncResult result;
  absl::StatusOr<host::v1::ApplyKeysRequest> request =
      MakeApplyRequest(kind, desired, report_is_current, &result.added_providers);
  if (!request.ok()) return FinishSync(request.status());
  const std::string withheld = Serialise(desired.withheld);
  if (kind == SyncKind::kAdd && request->keys().empty() && first_sync_done_ &&
      withheld == told_withheld_ && status_.cluster() == desired.cluster) {
    *result.response.mutable_keys() = keys_;
    return FinishSync(std::move(result));
  }
  // Rises over restarts of this process too: time does.
  generation_ = std::max(generation_ + 1, absl::ToUnixMicros(deps_.clock->Now()));
  request->set_generation(generation_);
  // As of now: the watch may tell of the change before the answer does.
  const std::string digest = keys_.digest();
  const int collisions = keys_.collisions_size();
  const bool had_host_kdk = HoldsHostKdk();
  link_->ApplyKeys(
      *std::move(request),
      OnStrand<host::v1::ApplyKeysResponse>(
          [self = shared_from_this(), kind, report_is_current, retried, withheld, digest,
           collisions, had_host_kdk,
           result = std::move(result)](absl::StatusOr<host::v1::ApplyKeysResponse> answer) mutable {
            if (self->closed_) return;
            if (!answer.ok()) {
              self->NoteAnswer(answer.status());
              if (status::ReasonOf(answer.status()) == v1::REASON_STALE_GENERATION && !retried) {
                return self->LearnGenerationThenApply(kind, report_is_current);
              }
              return self->FinishSync(answer.status());
            }
            self->first_sync_done_ = true;
            self->told_withheld_ = withheld;
            // To tell a host why it is given no key changes nothing there.
            result.changed = answer->keys().digest() != digest ||
                             answer->removed_providers_size() + answer->locked_vms_size() > 0 ||
                             answer->keys().collisions_size() != collisions;
            self->TakeKeys(answer->keys());
            result.response = *std::move(answer);
            if (kind == SyncKind::kTick && had_host_kdk && !self->HoldsHostKdk()) {
              self->deps_.observer->OnHostKeyPurged(self->name_);
            }
            self->FinishSync(std::move(result));
          }));
}

}  // namespace keysphere::controller::hosts
