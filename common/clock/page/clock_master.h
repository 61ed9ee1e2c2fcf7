#ifndef KEYSPHERE_COMMON_CLOCK_PAGE_CLOCK_MASTER_H_
#define KEYSPHERE_COMMON_CLOCK_PAGE_CLOCK_MASTER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/page/link_faults.h"
#include "common/clock/page/page_file.h"
#include "common/sync/mutex.h"

namespace keysphere::clock::page {

// The one that moves the time of a simulated cluster: the simulator has it. Thread safe; Advance
// and WaitQuiet block, so they run on a thread that may.
class ClockMaster {
 public:
  struct Options {
    int slots = kMaxSlots;  // processes at a time
    int streams = 4 * kMaxSlots;
    int links = 1024;
    absl::Time start;  // virtual time begins here
    // Real time that the cluster may take to become quiet.
    absl::Duration quiet_guard = absl::Seconds(30);
  };

  // Makes the page at `path`. The file stays.
  static absl::StatusOr<std::unique_ptr<ClockMaster>> Create(const std::string& path,
                                                             const Options& options);
  ~ClockMaster();

  // A slot for the process of this name ("host/esx-3"). ALREADY_EXISTS: the name has one;
  // RESOURCE_EXHAUSTED (TOO_LARGE): all are taken.
  absl::StatusOr<int> AllocateSlot(absl::string_view name);
  // "PATH:SLOT", the process' flag --clock-page.
  std::string FlagOf(int slot) const;
  // Time waits for the process from before it is spawned until it is READY.
  void HoldForStart(int slot);
  void EndStart(int slot);
  // The process was told to end, or no longer is. Who dials it from then on waits for its next
  // start: between the end of its server and its death it would be refused, and
  // try again only later, while time may stand still.
  void SetEnding(int slot, bool ending);
  // The process is dead (waited for): it has no tokens, deadlines and streams any more. The slot
  // stays allocated, for its next start.
  void ClearSlot(int slot);
  void ReleaseSlot(int slot);
  // The process is paused: time does not wait for it, and calls to it are parked.
  void SetStopped(int slot, bool stopped);
  // How much the process' clock is ahead; at most 100 years either way.
  absl::Status SetSkew(int slot, absl::Duration skew);

  absl::Time Now() const;
  // Another real guard than the options'.
  void SetQuietGuard(absl::Duration guard) { quiet_guard_ns_ = absl::ToInt64Nanoseconds(guard); }
  // Waits until nobody has work to do at this instant. DEADLINE_EXCEEDED (NOT_QUIESCENT) after the
  // real guard: names the process and what keeps it busy.
  absl::Status WaitQuiet();
  // Moves time, timer by timer, each after the cluster is quiet. NOT_QUIESCENT: time stands where
  // it could not go on.
  absl::Status AdvanceBy(absl::Duration duration);
  // CANCELLED: `stop` became true; it is looked at between two steps.
  absl::Status AdvanceTo(absl::Time target, const std::atomic<bool>* stop = nullptr);
  // How often the last advance (also one under way) has moved time to a timer.
  int64_t steps() const { return steps_.load(std::memory_order_relaxed); }
  // Virtual time follows real time at `rate`; 0 (the start): it stands still. At a rate the cluster
  // gets up to a second to become quiet before each timer.
  absl::Status SetRate(double rate);
  double rate() const;

  // Sets one direction of the link between two slots, kAnySlot for all. A fault without effect
  // clears it. RESOURCE_EXHAUSTED (TOO_LARGE): the table is full.
  absl::Status SetLink(int from, int to, const LinkFault& fault);
  void ClearLinks();

 private:
  // Why time cannot go on, with the epochs of a scan.
  struct Scan {
    bool quiet = true;
    std::vector<uint64_t> epochs;
  };

  ClockMaster(std::string path, std::unique_ptr<PageFile> page, const Options& options);
  absl::Status CheckSlot(int slot) const;
  // Whether time waits for this slot.
  bool Participates(int slot) const;
  bool SlotIsQuiet(int slot, int64_t now_ns) const;
  // Messages are in flight to a process that goes on.
  bool StreamIsOpenTo(int stream) const;
  Scan ScanAll() const;
  bool QuietWithin(absl::Duration real_limit);
  absl::Status NotQuiescent() const;
  // The earliest deadline of all participants; kNever.
  int64_t NextDeadlineNs() const;
  void MoveNow(int64_t now_ns);
  // Writes the link table or flags that Lookup reads, then wakes who watches.
  void ChangeLinks(const std::function<void()>& change);
  void FollowRealTime();

  const std::string path_;
  std::atomic<int64_t> quiet_guard_ns_;
  const std::unique_ptr<PageFile> page_;
  std::atomic<int64_t> steps_{0};
  sync::Mutex advance_mutex_;  // held by who moves time
  sync::Mutex slots_mutex_;    // guards names, flags and links of the page
  std::vector<bool> taken_ ABSL_GUARDED_BY(slots_mutex_);
  std::atomic<bool> stopping_{false};
  FutexWord rate_changes_{0};
  std::thread follower_;
};

}  // namespace keysphere::clock::page

#endif  // KEYSPHERE_COMMON_CLOCK_PAGE_CLOCK_MASTER_H_
