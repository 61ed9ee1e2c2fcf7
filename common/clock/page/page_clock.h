#ifndef KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_CLOCK_H_
#define KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_CLOCK_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock/clock.h"
#include "common/clock/page/link_faults.h"
#include "common/clock/page/page_file.h"
#include "common/clock/timer_queue.h"
#include "common/sync/mutex.h"

namespace keysphere::clock::page {

// The clock of a daemon in a simulated cluster: time is what the page says, which the simulator
// (ClockMaster) moves while no process is busy. One thread calls the timers.
class PageClock : public Clock {
 public:
  // Opens "PATH:SLOT" (the flag --clock-page). INVALID_ARGUMENT: not of this form, not a page, no
  // such slot; INVALID_STATE: another process has the slot open.
  static absl::StatusOr<std::unique_ptr<PageClock>> Open(absl::string_view path_and_slot);
  // The slot is no longer live.
  ~PageClock() override;

  absl::Time Now() override;
  TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) override;
  bool Cancel(TimerId id) override;

  // Pending timers, and those set later, are dropped unrun, and changes of links go unheard. To be
  // called before what timers use is destroyed; the destructor calls it too.
  void StopTimers();

  int slot() const { return slot_; }

  // Messages of streaming RPCs. Time waits while a stream has messages in flight. Who dials opens
  // the stream, tells the other side the id, and closes it when the RPC has ended; who sends counts
  // each message before writing it; who receives takes a busy token for the message, then counts it
  // as handled. 0 is no stream (a client outside the simulation): it counts nothing. One stream a
  // direction. A paused end is not waited for: pause when the cluster is quiet.
  uint64_t OpenStream();
  void StreamSent(uint64_t stream);
  void StreamHandled(uint64_t stream);
  void CloseStream(uint64_t stream);

  // The links of this process. `changed` is called, with a busy token, on the clock's thread after
  // every change of a link and whenever a process is READY, ends, stops or goes on; it posts, and
  // may be called once too often. Only for processes that dial others: each change wakes them.
  // nullptr ends it; the former callback has then returned.
  const LinkFaults& links() const { return links_; }
  void OnLinksChanged(absl::AnyInvocable<void()> changed);

 protected:
  void BeginBusy(const char* what) override;
  void EndBusy(const char* what) override;

 private:
  PageClock(std::unique_ptr<PageFile> page, int slot);
  void Work();
  // Runs one due timer, or the callback of the links. False: there is nothing to do.
  bool Step();
  void PublishDeadline() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TokenIndex(const char* what);
  // Adds `change` to the messages in flight of a stream that is still open.
  bool ChangeInFlight(uint64_t stream, int change);

  const std::unique_ptr<PageFile> page_;
  const int slot_;
  const LinkFaults links_;
  std::array<std::atomic<const char*>, kTokens> tokens_{};

  sync::Mutex mutex_;
  TimerQueue timers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  sync::Mutex links_mutex_;
  absl::AnyInvocable<void()> links_changed_ ABSL_GUARDED_BY(links_mutex_);
  std::thread thread_;
};

}  // namespace keysphere::clock::page

#endif  // KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_CLOCK_H_
