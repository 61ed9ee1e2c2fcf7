#ifndef KEYSPHERE_CONTROLLER_EVENTS_EVENT_LOG_H_
#define KEYSPHERE_CONTROLLER_EVENTS_EVENT_LOG_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/write_behind.h"
#include "keysphere/v1/events.pb.h"

namespace keysphere::controller::events {

// vSphere's event type ids.
inline constexpr char kCryptoOperation[] = "com.vmware.vc.crypto.Operation";
inline constexpr char kVmLockedKeyMissingOnHost[] =
    "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost";
inline constexpr char kVmLockedKeyMissingOnKms[] =
    "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnKMS";
inline constexpr char kVmLockedKmsClusterError[] =
    "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError";
inline constexpr char kVmUnlocked[] = "com.vmware.vc.vm.Crypto.VMUnlocked";
inline constexpr char kHostCryptoEnabled[] = "com.vmware.vc.host.Crypto.Enabled";
inline constexpr char kHostCryptoDisabled[] = "com.vmware.vc.host.Crypto.HostCryptoDisabled";
inline constexpr char kReqEnableKeyMissingOnKms[] =
    "com.vmware.vc.host.Crypto.ReqEnable.KeyMissingOnKMS";
inline constexpr char kReqEnableKmsClusterError[] =
    "com.vmware.vc.host.Crypto.ReqEnable.KMSClusterError";
inline constexpr char kNotBackedUp[] = "com.vmware.vc.kms.crypto.NotBackedUp";
inline constexpr char kAllBackedUp[] = "com.vmware.vc.kms.crypto.AllBackedUp";
inline constexpr char kNotBackedUpAfterUpdate[] = "com.vmware.vc.kms.crypto.NotBackedUpAfterUpdate";
inline constexpr char kKeyCollision[] = "com.vmware.vc.kms.crypto.KeyCollision";
inline constexpr char kProviderCreated[] = "com.vmware.vc.kms.crypto.ProviderCreated";
inline constexpr char kProviderDeleted[] = "com.vmware.vc.kms.crypto.ProviderDeleted";
inline constexpr char kKmsUnreachable[] = "com.vmware.vc.kms.crypto.Unreachable";
inline constexpr char kKmsServerCertificateExpiration[] =
    "com.vmware.vc.kms.crypto.KMSServerCertExpirationEvent";
inline constexpr char kKmsClientCertificateExpiration[] =
    "com.vmware.vc.kms.crypto.KMSClientCertExpirationEvent";
inline constexpr char kDefaultChanged[] = "com.vmware.vc.kms.crypto.DefaultChanged";
inline constexpr char kHostConnected[] = "vim.event.HostConnectedEvent";
inline constexpr char kHostConnectionLost[] = "vim.event.HostConnectionLostEvent";
inline constexpr char kHostAdded[] = "vim.event.HostAddedEvent";
inline constexpr char kHostRemoved[] = "vim.event.HostRemovedEvent";
inline constexpr char kVmPoweredOn[] = "vim.event.VmPoweredOnEvent";
inline constexpr char kVmPoweredOff[] = "vim.event.VmPoweredOffEvent";
inline constexpr char kVmRegistered[] = "vim.event.VmRegisteredEvent";
inline constexpr char kVmConfigMissing[] = "vim.event.VmConfigMissingEvent";
inline constexpr char kVmRemoved[] = "vim.event.VmRemovedEvent";

// What happened, in order, durable. The last 100,000 are kept. Lives on the controller's strand.
class EventLog {
 public:
  static constexpr int64_t kKept = 100'000;
  // A watcher with more waiting than this is dropped with RESUME_FROM.
  static constexpr size_t kWatcherQueue = 10'000;

  static absl::StatusOr<std::unique_ptr<EventLog>> Load(store::Store* store,
                                                        executor::Strand* strand,
                                                        clock::Clock* clock, int64_t kept = kKept);
  ~EventLog();

  // Gives the event its revision and time and makes it durable; lists and watchers see it then.
  // `type`, `object`, `message` are set by the caller; `arguments` hold no secret.
  // Never waits: while the store refuses it, the event is tried again.
  int64_t Append(v1::Event event);
  // Runs `done` on the strand once all events until now are durable, perhaps now: what a client is
  // told has its events (S148). With an error where the store refuses them; they are tried again.
  void Flushed(status::DoneCallback done) { writes_.Flushed(std::move(done)); }

  // Whether such an event with this argument is kept that is not older than `since`. Of those that
  // are durable.
  bool Has(absl::string_view type, absl::string_view object, const std::string& argument,
           absl::string_view value, absl::Time since) const;

  void ListEvents(const access::Caller& caller, const v1::ListEventsRequest& request,
                  status::Callback<v1::ListEventsResponse> done);

  // Calls `sink` with each event that the request asks for until CancelWatch, or with an error once
  // (INVALID_ARGUMENT after a revision that no event has yet; REVISION_COMPACTED, RESUME_FROM with
  // the metadata "revision") and then no more. `sink` returns
  // how many events wait unsent behind it. While more than kWatcherQueue wait, the kept events are
  // held back until Resume; a watcher that had all kept events and then gets so far behind is
  // dropped.
  using WatchId = uint64_t;
  using Sink = std::function<size_t(absl::StatusOr<v1::Event>)>;
  WatchId Watch(const v1::WatchEventsRequest& request, Sink sink);
  // What waited behind the sink has been sent.
  void Resume(WatchId id);
  void CancelWatch(WatchId id);

 private:
  // Texts of an event are cut to this, so that no event is too large for the store.
  static constexpr size_t kMaxText = 2048;

  struct Watcher;
  EventLog(store::Store* store, executor::Strand* strand, clock::Clock* clock, int64_t kept);

  absl::StatusOr<v1::ListEventsResponse> ListDurable(const v1::ListEventsRequest& request) const;
  void Publish(v1::Event event);
  void Trim();
  // False: the watcher has ended.
  bool Pump(Watcher* watcher);
  bool Deliver(Watcher* watcher);
  void PumpAll();
  int64_t LastRevision() const { return kept_.empty() ? 0 : kept_.back().revision(); }

  clock::Clock* const clock_;
  const size_t most_kept_;
  changes::WriteBehind writes_;
  int64_t next_revision_ = 1;
  int64_t first_stored_ = 1;    // older ones are deleted in batches
  std::deque<v1::Event> kept_;  // durable, by revision
  std::map<WatchId, std::unique_ptr<Watcher>> watchers_;
  WatchId next_watch_ = 1;
};

}  // namespace keysphere::controller::events

#endif  // KEYSPHERE_CONTROLLER_EVENTS_EVENT_LOG_H_
