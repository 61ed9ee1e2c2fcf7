#ifndef KEYSPHERE_CONTROLLER_HOSTS_HOST_SESSION_H_
#define KEYSPHERE_CONTROLLER_HOSTS_HOST_SESSION_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/crypto/hpke.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "controller/hosts/host_link.h"
#include "controller/hosts/host_observer.h"
#include "controller/hosts/needed_keys.h"
#include "controller/hosts/standard_keys.h"
#include "controller/inventory/inventory.h"
#include "controller/providers/providers.h"
#include "controller/remediation/desired_state.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::hosts {

// What a synchronisation of one host did.
struct SyncResult {
  bool changed = false;
  host::v1::ApplyKeysResponse response;
  std::vector<std::string> added_providers;
};

// The controller's side of one attached host: attaches, watches, reconnects, and brings the host
// the keys that it should hold. Lives on the controller's strand; the link's answers are posted to
// it.
//
// A host that does not answer is asked again at once while each try used up its deadline, and with
// a capped exponential backoff (0.2 s to 60 s, jitter) where tries fail faster. A host that obeys
// another controller (STALE_EPOCH, HOST_ATTACHED) is left alone.
class HostSession : public std::enable_shared_from_this<HostSession> {
 public:
  struct Deps {
    executor::Strand* strand;
    clock::Clock* clock;
    random::Random* random;
    inventory::Inventory* inventory;
    providers::Providers* providers;
    HostLinkFactory* links;
    HostObserver* observer;
    kms::KmsClusters* kms;
    NeededKeys* needs;
  };
  // Adds only (S132), or a tick, which also removes. Those of standard keys alone are the session's
  // own.
  enum class SyncKind { kAdd, kTick, kStandard, kStandardRemoval };

  // `in_inventory`: it is this vCenter's host, so that what the inventory says of it counts. Else
  // it is being added, maybe in the place of what the inventory knows under its name.
  HostSession(Deps deps, std::string name, std::string address, std::string cluster,
              bool in_inventory);
  ~HostSession();
  HostSession(const HostSession&) = delete;
  HostSession& operator=(const HostSession&) = delete;

  // Attaches once; `done` when the host is attached, has its keys and has told its VMs, or with why
  // not. After an OK the session keeps itself connected.
  void Attach(bool force, status::DoneCallback done);
  // For a host of the inventory: attaches, and tries again until it works or Close.
  void KeepConnected();
  // The same for one that obeyed another controller when it was asked last, and may not any more.
  void AskAgain();
  // From now on the inventory has the host as this session knows it.
  void Adopted() { in_inventory_ = true; }
  // Finds out whether the host still is this vCenter's: `done` when it is connected, is known to
  // obey another controller, or has not answered a try.
  void LearnOwner(absl::AnyInvocable<void()> done);
  // Ends the attachment, if the host can be reached, and the session.
  void Detach(status::DoneCallback done);
  // Stops everything; what waits is called back with UNAVAILABLE.
  void Close();

  // Brings the host what it should hold, after the syncs asked before. UNAVAILABLE
  // (HOST_NOT_RESPONDING) if it is not connected.
  void Sync(SyncKind kind, status::Callback<SyncResult> done);

  // Keys of standard providers. A host that is not safe takes none (S98): nothing is asked for it.
  // `done` when the host has those that could be had, and knows why it has not the others: then
  // the first error of a KMS (KMS_UNREACHABLE, KEY_MISSING_ON_KMS).
  void BringStandard(const std::vector<KeyNamePtr>& keys, status::DoneCallback done);
  // All that it lacks of what its cluster needs, whether or not they were asked for in vain before.
  void BringAllStandard(status::DoneCallback done);
  // A key that is at hand.
  void PushStandard(KeyNamePtr key, const kms::FetchedKey& fetched, status::DoneCallback done);
  // Its cluster has come to need a key: brings it, if the host can have it, some time.
  void WantStandard();
  bool Caches(KeyNamePtr key) const { return standard_.Caches(key); }
  // A key sealed to this boot of the host, under the one agreement with it.
  absl::StatusOr<std::string> Seal(absl::string_view provider, absl::string_view key_id,
                                   const crypto::SecretKey& key);
  // The host has taken a host key of a standard provider.
  void NoteHostKey(KeyNamePtr key, const kms::FetchedKey& fetched) {
    standard_.NoteCached(key, fetched);
  }

  const std::string& name() const { return name_; }
  bool safe() const { return status_.crypto_state() == v1::CRYPTO_STATE_SAFE; }
  bool connected() const { return state_ == v1::CONNECTION_STATE_CONNECTED; }
  v1::ConnectionState connection_state() const { return state_; }
  // Connected, and it has told its VMs: what is asked about them now is not answered too early.
  bool ready() const { return connected() && snapshot_taken_; }
  // It may have VMs that it has never told this process: who asks for one cannot be told that there
  // is none.
  bool untold() const { return !told_ && state_ != v1::CONNECTION_STATE_DISCONNECTED; }
  HostLink* link() { return link_.get(); }
  int64_t epoch() const { return epoch_; }
  const host::v1::GetHostStatusResponse& status() const { return status_; }
  const host::v1::KeyReport& keys() const { return keys_; }
  const std::map<std::string, host::v1::HostVm>& vms() const { return vms_; }
  remediation::HostFacts Facts() const;
  v1::Host Describe() const;
  // The host key that it has or had when last told (S102); empty if none is known. And the check
  // value of the KDK from which it was derived.
  v1::CryptoKeyId LastHostKey() const;
  std::string LastHostKeyCheckValue() const;
  // HOST_NOT_RESPONDING, as a refusal of an operation on this host.
  absl::Status NotResponding() const;
  // The same of one that is untold, about a VM that it may have.
  absl::Status NotToldYet(absl::string_view vm) const;

  // From a Hold to its Release what the host tells of a VM that is new to this vCenter waits: a
  // registration is told when it is known whether the VM's key can be had (S89), as one change. By
  // the path of its .vmx.
  void HoldVm(const std::string& vmx_path) { ++held_vms_[vmx_path].holders; }
  void ReleaseVm(const std::string& vmx_path);

  // Takes what the host answered about a VM, or told in the watch.
  void TakeVm(const host::v1::HostVm& vm);
  void TakeStatus(const host::v1::GetHostStatusResponse& status);
  void ForgetVm(absl::string_view vm, const std::string& user = "");
  // An answer that tells that the host obeys another controller ends the session's work.
  void NoteAnswer(const absl::Status& status);

  // `callback` on the strand, if the session still lives; else dropped answers are errors.
  template <typename T>
  status::Callback<T> OnStrand(status::Callback<T> callback) {
    return
        [strand = deps_.strand, callback = std::move(callback)](absl::StatusOr<T> result) mutable {
          strand->Post([callback = std::move(callback), result = std::move(result)]() mutable {
            callback(std::move(result));
          });
        };
  }

 private:
  struct PendingSync {
    SyncKind kind;
    status::Callback<SyncResult> done;       // may be empty
    std::vector<status::DoneCallback> also;  // who came before it began
    void End(const absl::StatusOr<SyncResult>& result);
  };
  // How far the first sync after an attach is with keys of standard providers.
  struct Stage {
    bool ready = false;  // the native part and the host key are done with
    bool ran = false;
    bool ended = false;  // what could be had is at hand: the next message ends the first sync
  };

  // A VM that is being registered.
  struct HeldVm {
    int holders = 0;
    absl::optional<host::v1::HostVm> told;  // last
  };

  // What the inventory has of this host; nullptr while it is being added.
  const inventory::HostRecord* Record() const;
  std::string Cluster() const;
  absl::Status EnsureLink();
  void StartAttach(bool force, status::DoneCallback done);
  void OnAttached(host::v1::AttachResponse response, status::DoneCallback done);
  void StartWatch();
  void OnHostEvent(uint64_t watch, host::v1::HostEvent event);
  void OnWatchEnd(uint64_t watch, absl::Status status);
  void TakeSnapshot(const host::v1::HostEvent::Snapshot& snapshot);
  void TakeKeys(const host::v1::KeyReport& keys);
  void FinishAttachWaiters(const absl::Status& status);
  void FinishOwnerWaiters();
  void Lose(absl::string_view why);
  void ScheduleRetry(absl::Time began);

  void RunNextSync();
  void FinishSync(absl::StatusOr<SyncResult> result);
  void CheckThenApply();
  void EndUnanswered(const absl::Status& status);
  void Apply(SyncKind kind, bool report_is_current, bool retried);
  void LearnGenerationThen(absl::AnyInvocable<void()> again);
  void RelistThenApply();
  void Enqueue(SyncKind kind, status::Callback<SyncResult> done);
  int64_t NextGeneration();
  // What it should hold now; standard_ knows of it.
  remediation::DesiredState Desired();

  bool HoldBack(const host::v1::HostVm& vm);
  // Keys of its own VMs that it lacks and that its cluster's providers have or had.
  std::vector<KeyNamePtr> LackingForItsVms();
  void CountVm(const host::v1::HostVm& vm);
  void CountHostKey();
  void CountKeys(const std::string& object, std::vector<KeyNamePtr> keys);
  void CountCluster();
  void FetchStandard(const std::vector<KeyNamePtr>& keys, status::DoneCallback done);
  void SendStandard(status::DoneCallback done);
  void RunStandardStage();
  void RunStandardSync(bool retried);
  absl::StatusOr<StandardKeys::Sent> FillStandard(bool removal,
                                                  host::v1::ApplyKeysRequest* request);
  void FinishTick(SyncResult result, status::Callback<SyncResult> done);
  void VerifyStandard(const std::vector<KeyNamePtr>& keys, absl::AnyInvocable<void()> done);
  void NoteVerified();
  absl::StatusOr<host::v1::ApplyKeysRequest> MakeApplyRequest(
      SyncKind kind, const remediation::DesiredState& desired, bool report_is_current,
      std::vector<std::string>* added);
  bool Holds(const host::v1::KeyEntry& entry) const;
  // The host is safe, and holds the KDK of its host key.
  bool HoldsHostKdk() const;

  const Deps deps_;
  const std::string name_;
  const std::string address_;
  const std::string first_cluster_;  // until the inventory has the host
  bool in_inventory_;
  std::unique_ptr<HostLink> link_;
  std::unique_ptr<HostLink::Watch> watch_;
  uint64_t watch_number_ = 0;
  v1::ConnectionState state_ = v1::CONNECTION_STATE_NOT_RESPONDING;
  bool keep_connected_ = false;
  bool attaching_ = false;
  bool closed_ = false;
  int failures_ = 0;
  clock::Clock::TimerId retry_timer_ = clock::Clock::kNoTimer;
  int64_t epoch_ = 0;
  int64_t generation_ = 0;
  host::v1::GetHostStatusResponse status_;
  absl::optional<crypto::TransportSession> transport_;  // with the host's boot of the last sealing
  host::v1::KeyReport keys_;
  std::map<std::string, host::v1::HostVm> vms_;
  std::map<std::string, HeldVm> held_vms_;  // by the path of the .vmx
  bool snapshot_taken_ = false;
  bool told_ = false;             // a snapshot, ever
  bool first_sync_done_ = false;  // of this boot, by this controller
  std::string told_withheld_;     // what the host was told last, serialised
  std::vector<status::DoneCallback> attach_waiters_;
  std::vector<absl::AnyInvocable<void()>> owner_waiters_;
  std::deque<PendingSync> syncs_;
  bool syncing_ = false;
  StandardKeys standard_;
  Stage stage_;
  bool want_posted_ = false;
  // What deps_.needs was told of this host's VMs, by name, and of its host key, under "".
  std::map<std::string, std::vector<KeyNamePtr>> counted_keys_;
  std::string counted_in_;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_HOST_SESSION_H_
