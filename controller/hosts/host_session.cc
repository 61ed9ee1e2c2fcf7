#include "controller/hosts/host_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::hosts {
namespace {

// A host that boots refuses at first; its VMs wait for their keys.
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);
constexpr absl::Duration kMaxBackoff = absl::Seconds(60);
constexpr absl::Duration kSnapshotPatience = absl::Seconds(10);
// A try that lasted so long has waited enough already.
constexpr absl::Duration kPatientTry = absl::Seconds(5);

bool ObeysAnother(const absl::Status& status) {
  const v1::Reason reason = status::ReasonOf(status);
  return reason == v1::REASON_STALE_EPOCH || reason == v1::REASON_HOST_ATTACHED;
}

}  // namespace

HostSession::HostSession(Deps deps, std::string name, std::string address, std::string cluster,
                         bool in_inventory)
    : deps_(deps),
      name_(std::move(name)),
      address_(std::move(address)),
      first_cluster_(std::move(cluster)),
      in_inventory_(in_inventory),
      standard_(deps.kms, deps.needs) {}

HostSession::~HostSession() { Close(); }

const inventory::HostRecord* HostSession::Record() const {
  return in_inventory_ ? deps_.inventory->FindHost(name_) : nullptr;
}

std::string HostSession::Cluster() const {
  const inventory::HostRecord* const record = Record();
  return record == nullptr ? first_cluster_ : record->cluster();
}

remediation::HostFacts HostSession::Facts() const {
  remediation::HostFacts facts;
  facts.name = name_;
  facts.cluster = Cluster();
  facts.version = status_.version();
  facts.tpm_version = status_.tpm_version();
  return facts;
}

v1::CryptoKeyId HostSession::LastHostKey() const {
  if (!status_.host_key().key_id().empty()) return status_.host_key();
  const inventory::HostRecord* const record = Record();
  return record == nullptr ? v1::CryptoKeyId() : record->last_host_key();
}

std::string HostSession::LastHostKeyCheckValue() const {
  if (!status_.host_key().key_id().empty()) return status_.host_key_check_value();
  const inventory::HostRecord* const record = Record();
  return record == nullptr ? "" : record->last_host_key_check_value();
}

v1::Host HostSession::Describe() const {
  v1::Host host;
  host.set_name(name_);
  host.set_address(address_);
  host.set_cluster(Cluster());
  host.set_connection_state(state_);
  host.set_version(status_.version());
  host.set_tpm_version(status_.tpm_version());
  host.set_crypto_state(status_.crypto_state());
  if (!status_.host_key().key_id().empty()) *host.mutable_host_key() = status_.host_key();
  host.set_epoch(epoch_);
  host.set_boot_complete(status_.boot_complete());
  for (const host::v1::KeyEntry& entry : keys_.held()) {
    v1::HeldProvider* const held = host.add_held_providers();
    held->set_provider(entry.provider());
    held->set_key_id(entry.key_id());
    held->set_key_check_value(absl::BytesToHexString(entry.key_check_value()));
  }
  for (const host::v1::KeyEntry& entry : keys_.collisions()) {
    host.add_collisions(entry.provider());
  }
  for (const auto& [provider, keys] : standard_.counts()) {
    v1::HeldStandardKeys* const held = host.add_held_standard_keys();
    held->set_provider(provider);
    held->set_keys(keys);
  }
  host.set_key_persistence(status_.key_persistence());
  return host;
}

absl::Status HostSession::NotResponding() const {
  const bool other = state_ == v1::CONNECTION_STATE_DISCONNECTED;
  return status::Error(v1::REASON_HOST_NOT_RESPONDING,
                       absl::StrCat("host ", status::Quote(name_),
                                    other ? " obeys another controller" : " does not answer"))
      .Object("host", name_)
      .NextStep(other ? "Add it again with force, or remove it from this vCenter."
                      : "Start the host, or ask it directly.");
}

absl::Status HostSession::NotToldYet(absl::string_view vm) const {
  return status::Error(v1::REASON_HOST_NOT_RESPONDING,
                       absl::StrCat("host ", status::Quote(name_),
                                    " has not told its VMs since this vCenter started: it may have "
                                    "VM ",
                                    status::Quote(vm)))
      .Object("host", name_)
      .NextStep("Try again when the host is connected, or name the VM's host.");
}

absl::Status HostSession::EnsureLink() {
  if (link_ != nullptr) return absl::OkStatus();
  KS_ASSIGN_OR_RETURN(link_, deps_.links->Connect(name_, address_));
  return absl::OkStatus();
}

void HostSession::Attach(bool force, status::DoneCallback done) {
  StartAttach(force,
              [self = shared_from_this(), done = std::move(done)](absl::Status status) mutable {
                if (status.ok()) self->keep_connected_ = true;
                done(std::move(status));
              });
}

void HostSession::KeepConnected() {
  keep_connected_ = true;
  if (attaching_ || connected() || closed_) return;
  StartAttach(/*force=*/false, [](absl::Status) {});
}

void HostSession::AskAgain() {
  if (connected() || closed_) return;
  state_ = v1::CONNECTION_STATE_NOT_RESPONDING;
  KeepConnected();
}

void HostSession::LearnOwner(absl::AnyInvocable<void()> done) {
  if (connected() || state_ == v1::CONNECTION_STATE_DISCONNECTED || closed_) return done();
  owner_waiters_.push_back(std::move(done));
  if (!attaching_) StartAttach(/*force=*/false, [](absl::Status) {});
}

void HostSession::StartAttach(bool force, status::DoneCallback done) {
  if (closed_) return done(NotResponding());
  if (absl::Status linked = EnsureLink(); !linked.ok()) {
    done(linked);
    return FinishOwnerWaiters();
  }
  attaching_ = true;
  const absl::Time began = deps_.clock->Now();
  host::v1::AttachRequest request;
  request.set_force(force);
  request.set_cluster(Cluster());
  link_->Attach(std::move(request),
                OnStrand<host::v1::AttachResponse>(
                    [self = shared_from_this(), began, done = std::move(done)](
                        absl::StatusOr<host::v1::AttachResponse> response) mutable {
                      self->attaching_ = false;
                      if (self->closed_) return done(self->NotResponding());
                      if (response.ok()) {
                        self->OnAttached(*std::move(response), std::move(done));
                      } else {
                        self->NoteAnswer(response.status());
                        done(response.status());
                        self->ScheduleRetry(began);
                      }
                      self->FinishOwnerWaiters();
                    }));
}

void HostSession::OnAttached(host::v1::AttachResponse response, status::DoneCallback done) {
  failures_ = 0;
  const bool same_boot = status_.boot_id() == response.status().boot_id();
  const bool same_epoch = epoch_ == response.epoch();
  epoch_ = response.epoch();
  if (!same_boot) {
    first_sync_done_ = false;
    told_withheld_.clear();
  }
  state_ = v1::CONNECTION_STATE_CONNECTED;
  deps_.observer->OnHostConnected(name_);
  const inventory::HostRecord* const record = Record();
  const bool key_lost = record != nullptr && record->last_crypto_state() == v1::CRYPTO_STATE_SAFE &&
                        response.status().crypto_state() == v1::CRYPTO_STATE_INCAPABLE;
  stage_ = Stage();
  standard_.ForgetTold();
  if (same_boot && same_epoch) {
    standard_.Relist(response.standard_keys());
  } else {
    std::map<std::string, int64_t> verified;
    if (record != nullptr && record->verified_epoch() == epoch_) {
      verified.insert(record->verified_instances().begin(), record->verified_instances().end());
    }
    standard_.Reset(response.standard_keys(), std::move(verified));
  }
  TakeStatus(response.status());
  TakeKeys(response.keys());
  snapshot_taken_ = false;
  attach_waiters_.push_back(std::move(done));
  StartWatch();
  // A host that hangs between its answer and its first event keeps nobody waiting.
  const std::weak_ptr<HostSession> weak = weak_from_this();
  deps_.clock->RunAfter(kSnapshotPatience, [weak, strand = deps_.strand]() {
    strand->Post([weak]() {
      if (auto self = weak.lock()) self->FinishAttachWaiters(absl::OkStatus());
    });
  });
  // Keys travel at once and nothing is removed: a reboot, outage or move ends no key (S132).
  Sync(SyncKind::kAdd, [self = shared_from_this(), key_lost](absl::StatusOr<SyncResult>) {
    auto next = [self, attachment = self->watch_number_]() {
      if (self->watch_number_ != attachment || self->closed_) return;
      self->stage_.ready = true;
      self->RunStandardStage();
    };
    if (key_lost && self->connected()) {
      self->deps_.observer->OnHostKeyLost(self->name_, std::move(next));
    } else {
      next();
    }
    if (self->snapshot_taken_) self->FinishAttachWaiters(absl::OkStatus());
  });
}

void HostSession::StartWatch() {
  host::v1::WatchHostRequest request;
  request.set_epoch(epoch_);
  const uint64_t number = ++watch_number_;
  const std::weak_ptr<HostSession> weak = weak_from_this();
  executor::Strand* const strand = deps_.strand;
  watch_ = link_->WatchHost(
      std::move(request),
      [weak, strand, number](host::v1::HostEvent event) {
        strand->Post([weak, number, event = std::move(event)]() mutable {
          if (auto self = weak.lock()) self->OnHostEvent(number, std::move(event));
        });
      },
      [weak, strand, number](absl::Status status) {
        strand->Post([weak, number, status = std::move(status)]() {
          if (auto self = weak.lock()) self->OnWatchEnd(number, status);
        });
      });
}

void HostSession::OnHostEvent(uint64_t watch, host::v1::HostEvent event) {
  if (watch != watch_number_ || closed_) return;
  switch (event.event_case()) {
    case host::v1::HostEvent::kSnapshot:
      return TakeSnapshot(event.snapshot());
    case host::v1::HostEvent::kVmChanged:
      return TakeVm(event.vm_changed());
    case host::v1::HostEvent::kVmRemoved:
      return ForgetVm(event.vm_removed().vm(), event.vm_removed().user());
    case host::v1::HostEvent::kStatusChanged:
      return TakeStatus(event.status_changed());
    case host::v1::HostEvent::kKeysChanged:
      return TakeKeys(event.keys_changed());
    case host::v1::HostEvent::kVmProgress:
      return deps_.observer->OnVmProgress(name_, event.vm_progress().vm(),
                                          event.vm_progress().percent());
    case host::v1::HostEvent::EVENT_NOT_SET:
      return;
  }
}

void HostSession::OnWatchEnd(uint64_t watch, absl::Status status) {
  if (watch != watch_number_ || closed_) return;
  NoteAnswer(status);
  if (state_ == v1::CONNECTION_STATE_DISCONNECTED) return;
  Lose(status.message());
  if (keep_connected_ && !attaching_) StartAttach(/*force=*/false, [](absl::Status) {});
}

void HostSession::TakeSnapshot(const host::v1::HostEvent::Snapshot& snapshot) {
  TakeStatus(snapshot.status());
  for (auto& [path, held] : held_vms_) held.told.reset();
  std::map<std::string, host::v1::HostVm> gone = vms_;
  for (const host::v1::HostVm& vm : snapshot.vms()) {
    gone.erase(vm.vm().name());
    // A host that booted counts its generations anew.
    const auto known = vms_.find(vm.vm().name());
    if (known != vms_.end()) known->second.set_generation(0);
    TakeVm(vm);
  }
  for (const auto& [name, vm] : gone) ForgetVm(name);
  snapshot_taken_ = true;
  told_ = true;
  deps_.observer->OnVmsTold(name_, vms_);
  TakeKeys(snapshot.keys());  // the last: who waits for the host to be ready looks again
  if (!syncing_) FinishAttachWaiters(absl::OkStatus());
  RunStandardStage();
}

void HostSession::TakeVm(const host::v1::HostVm& vm) {
  const std::string& name = vm.vm().name();
  const auto it = vms_.find(name);
  const bool known = it != vms_.end() && !it->second.vm().name().empty();
  // Answers and the watch may overtake each other.
  if (known && vm.generation() < it->second.generation()) return;
  if (!known && HoldBack(vm)) return;
  const v1::Vm before = known ? it->second.vm() : v1::Vm();
  host::v1::HostVm& taken = vms_[name] = vm;
  if (vm.vm().lock_state() == v1::LOCK_STATE_UNSPECIFIED &&
      before.lock_state() == v1::LOCK_STATE_LOCKED) {
    // Its host booted: that alone ends no lock (S134).
    taken.mutable_vm()->set_lock_state(v1::LOCK_STATE_LOCKED);
    *taken.mutable_vm()->mutable_lock() = before.lock();
  }
  CountVm(taken);
  deps_.observer->OnVm(name_, known ? &before : nullptr, taken.vm(), taken.user());
}

bool HostSession::HoldBack(const host::v1::HostVm& vm) {
  const auto it = held_vms_.find(vm.vm().vmx_path());
  if (it == held_vms_.end()) return false;
  absl::optional<host::v1::HostVm>& told = it->second.told;
  if (told.has_value() && vm.generation() < told->generation()) return true;
  told = vm;
  CountVm(vm);  // its keys are needed from now on
  return true;
}

void HostSession::ReleaseVm(const std::string& vmx_path) {
  const auto it = held_vms_.find(vmx_path);
  if (it == held_vms_.end() || --it->second.holders > 0) return;
  const absl::optional<host::v1::HostVm> told = std::move(it->second.told);
  held_vms_.erase(it);
  if (told.has_value()) TakeVm(*told);
}

void HostSession::ForgetVm(absl::string_view vm, const std::string& user) {
  for (auto& [path, held] : held_vms_) {
    if (!held.told.has_value() || held.told->vm().name() != vm) continue;
    held.told.reset();
    CountKeys(std::string(vm), {});
  }
  const auto it = vms_.find(std::string(vm));
  if (it == vms_.end()) return;
  const v1::Vm before = it->second.vm();
  vms_.erase(it);
  CountKeys(before.name(), {});
  deps_.observer->OnVmGone(name_, before, user);
}

void HostSession::TakeStatus(const host::v1::GetHostStatusResponse& status) {
  const bool was_safe = safe();
  status_ = status;
  status_.clear_recovery_key();
  CountHostKey();
  if (!was_safe && safe()) WantStandard();
  deps_.observer->OnHostStatus(name_, status_);
}

void HostSession::TakeKeys(const host::v1::KeyReport& keys) {
  keys_ = keys;
  deps_.observer->OnKeyReport(name_, keys_);
}

void HostSession::NoteAnswer(const absl::Status& status) {
  if (!ObeysAnother(status) || state_ == v1::CONNECTION_STATE_DISCONNECTED) return;
  state_ = v1::CONNECTION_STATE_DISCONNECTED;
  watch_.reset();
  ++watch_number_;
  deps_.observer->OnHostLost(name_, "it obeys another controller");
  FinishAttachWaiters(status);
}

void HostSession::Lose(absl::string_view why) {
  watch_.reset();
  ++watch_number_;
  if (state_ == v1::CONNECTION_STATE_CONNECTED) {
    state_ = v1::CONNECTION_STATE_NOT_RESPONDING;
    deps_.observer->OnHostLost(name_, why);
    if (link_ != nullptr) link_->GiveUp(NotResponding());
  }
  FinishAttachWaiters(NotResponding());
}

void HostSession::FinishAttachWaiters(const absl::Status& status) {
  std::vector<status::DoneCallback> waiters;
  waiters.swap(attach_waiters_);
  for (status::DoneCallback& waiter : waiters) waiter(status);
}

void HostSession::FinishOwnerWaiters() {
  std::vector<absl::AnyInvocable<void()>> waiters;
  waiters.swap(owner_waiters_);
  for (absl::AnyInvocable<void()>& waiter : waiters) waiter();
}

void HostSession::ScheduleRetry(absl::Time began) {
  if (!keep_connected_ || closed_ || attaching_ || connected() ||
      state_ == v1::CONNECTION_STATE_DISCONNECTED || retry_timer_ != clock::Clock::kNoTimer) {
    return;
  }
  if (deps_.clock->Now() - began >= kPatientTry) {
    return StartAttach(/*force=*/false, [](absl::Status) {});
  }
  const absl::Duration delay =
      std::min(kMaxBackoff, kFirstBackoff * (int64_t{1} << std::min(failures_++, 10)));
  const std::weak_ptr<HostSession> weak = weak_from_this();
  executor::Strand* const strand = deps_.strand;
  retry_timer_ = deps_.clock->RunAfter(deps_.random->Jitter(delay, 0.2), [weak, strand]() {
    strand->Post([weak]() {
      auto self = weak.lock();
      if (self == nullptr) return;
      self->retry_timer_ = clock::Clock::kNoTimer;
      if (!self->closed_ && !self->connected() && !self->attaching_) {
        self->StartAttach(/*force=*/false, [](absl::Status) {});
      }
    });
  });
}

void HostSession::Detach(status::DoneCallback done) {
  keep_connected_ = false;
  if (!connected()) {
    Close();
    return done(absl::OkStatus());
  }
  host::v1::DetachRequest request;
  request.set_epoch(epoch_);
  link_->Detach(std::move(request), OnStrand<host::v1::DetachResponse>(
                                        [self = shared_from_this(), done = std::move(done)](
                                            absl::StatusOr<host::v1::DetachResponse>) mutable {
                                          // A host that does not answer is let go all the same.
                                          self->Close();
                                          done(absl::OkStatus());
                                        }));
}

void HostSession::Close() {
  if (closed_) return;
  closed_ = true;
  keep_connected_ = false;
  watch_.reset();
  ++watch_number_;
  if (retry_timer_ != clock::Clock::kNoTimer) deps_.clock->Cancel(retry_timer_);
  retry_timer_ = clock::Clock::kNoTimer;
  state_ = v1::CONNECTION_STATE_DISCONNECTED;
  FinishAttachWaiters(NotResponding());
  FinishOwnerWaiters();
  std::deque<PendingSync> syncs;
  syncs.swap(syncs_);
  for (PendingSync& sync : syncs) sync.End(NotResponding());
}

}  // namespace keysphere::controller::hosts
