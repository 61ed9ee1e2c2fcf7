#include "common/clock/page/page_clock.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::clock::page {
namespace {

constexpr uint64_t kCountMask = 0xffffffff;

// A stream's id: its generation, and its index + 1.
uint64_t StreamId(uint64_t generation, int index) { return generation << 32 | (index + 1); }

}  // namespace

absl::StatusOr<std::unique_ptr<PageClock>> PageClock::Open(absl::string_view path_and_slot) {
  const size_t colon = path_and_slot.rfind(':');
  int slot = -1;
  if (colon == absl::string_view::npos ||
      !absl::SimpleAtoi(path_and_slot.substr(colon + 1), &slot)) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("clock page: PATH:SLOT, not ", status::Quote(path_and_slot)));
  }
  KS_ASSIGN_OR_RETURN(auto page, PageFile::Open(std::string(path_and_slot.substr(0, colon))));
  if (slot < 0 || slot >= page->slot_count()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("clock page: no slot ", slot, " of ", page->slot_count()));
  }
  if ((page->slot(slot).flags.fetch_or(kLive) & kLive) != 0) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("clock page: slot ", slot, " is open in process ",
                                      page->slot(slot).pid.load()));
  }
  return absl::WrapUnique(new PageClock(std::move(page), slot));
}

PageClock::PageClock(std::unique_ptr<PageFile> page, int slot)
    : page_(std::move(page)), slot_(slot), links_(page_.get(), slot) {
  page_->slot(slot_).pid = getpid();
  page_->slot(slot_).links_seen = page_->header().links_sequence.load();
  thread_ = std::thread([this] { Work(); });
}

PageClock::~PageClock() {
  StopTimers();
  Slot& slot = page_->slot(slot_);
  slot.pid = 0;
  slot.flags.fetch_and(~kLive);
  page_->NotifyMaster();
}

void PageClock::StopTimers() {
  TimerQueue dropped;  // destroyed after the lock
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
    std::swap(dropped, timers_);
    PublishDeadline();
  }
  page_->WakeSlot(slot_);
  if (thread_.joinable()) thread_.join();
  page_->slot(slot_).flags.fetch_and(~kWatchesLinks);
  page_->NotifyMaster();
}

absl::Time PageClock::Now() { return absl::FromUnixNanos(page_->LocalNowNs(slot_)); }

Clock::TimerId PageClock::RunAt(absl::Time when, absl::AnyInvocable<void()> callback) {
  TimerId id = kNoTimer;
  bool due = false;
  {
    sync::MutexLock lock(&mutex_);
    if (stopping_) return kNoTimer;
    id = timers_.Add(when, std::move(callback));
    PublishDeadline();
    due = timers_.HasDue(Now());
  }
  // Otherwise the master wakes the thread when the time has come: it reads next_deadline only while
  // this process is not busy, so after this call.
  if (due) page_->WakeSlot(slot_);
  return id;
}

bool PageClock::Cancel(TimerId id) {
  TimerQueue::Callback dropped;  // destroyed after the lock
  sync::MutexLock lock(&mutex_);
  const bool removed = timers_.Remove(id, &dropped);
  if (removed) PublishDeadline();
  return removed;
}

void PageClock::PublishDeadline() {
  page_->slot(slot_).next_deadline_ns = ToNs(timers_.next_deadline());
}

void PageClock::Work() {
  Slot& slot = page_->slot(slot_);
  while (true) {
    const uint32_t seen = slot.wake;
    {
      sync::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    if (Step()) continue;
    page_->NotifyMaster();
    FutexWait(&slot.wake, seen, absl::InfiniteFuture());
  }
}

bool PageClock::Step() {
  Slot& slot = page_->slot(slot_);
  const uint32_t sequence = page_->header().links_sequence;
  if (sequence % 2 == 0 && sequence != slot.links_seen) {
    const BusyToken token = Busy("links changed");
    slot.links_seen = sequence;
    sync::MutexLock lock(&links_mutex_);
    if (links_changed_) links_changed_();
    return true;
  }
  TimerQueue::Callback due;
  BusyToken token;
  {
    sync::MutexLock lock(&mutex_);
    if (!timers_.HasDue(Now())) return false;
    // Before the deadline goes: the process must not look quiet in between.
    token = Busy("timer");
    due = timers_.PopFirst();
    PublishDeadline();
  }
  due();
  due = nullptr;
  return true;
}

int PageClock::TokenIndex(const char* what) {
  for (int i = 0; i < kTokens - 1; ++i) {
    const char* known = tokens_[i].load(std::memory_order_relaxed);
    if (known == nullptr && tokens_[i].compare_exchange_strong(known, what)) {
      page_->text(slot_).what[i].Set(what);
      return i;
    }
    if (known == what || std::strcmp(known, what) == 0) return i;
  }
  page_->text(slot_).what[kTokens - 1].Set("other");
  return kTokens - 1;
}

void PageClock::BeginBusy(const char* what) {
  page_->text(slot_).count[TokenIndex(what)].fetch_add(1, std::memory_order_relaxed);
  Slot& slot = page_->slot(slot_);
  if (slot.busy.fetch_add(1) == 0) slot.epoch.fetch_add(1);
}

void PageClock::EndBusy(const char* what) {
  page_->text(slot_).count[TokenIndex(what)].fetch_sub(1, std::memory_order_relaxed);
  if (page_->slot(slot_).busy.fetch_sub(1) == 1) page_->NotifyMaster();
}

uint64_t PageClock::OpenStream() {
  for (int i = 0; i < page_->stream_count(); ++i) {
    Stream& stream = page_->stream(i);
    uint32_t free = 0;
    if (stream.owner.load() != 0 || !stream.owner.compare_exchange_strong(free, slot_ + 1)) {
      continue;
    }
    MarkUsed(&page_->header().used_streams, i);
    stream.sender = 0;
    uint64_t state = stream.state;
    uint64_t next = 0;
    do {
      next = ((state >> 32) + 1) << 32;
    } while (!stream.state.compare_exchange_weak(state, next));
    return StreamId(next >> 32, i);
  }
  return 0;
}

bool PageClock::ChangeInFlight(uint64_t stream_id, int change) {
  const int64_t index = static_cast<int64_t>(stream_id & kCountMask) - 1;
  if (index < 0 || index >= page_->stream_count()) return false;
  Stream& stream = page_->stream(index);
  uint64_t state = stream.state;
  while (true) {
    if (state >> 32 != stream_id >> 32) return false;
    if (change < 0 && (state & kCountMask) == 0) return false;
    if (stream.state.compare_exchange_weak(state, state + change)) break;
  }
  if (change > 0) stream.sender = slot_ + 1;
  return true;
}

void PageClock::StreamSent(uint64_t stream) { ChangeInFlight(stream, 1); }

void PageClock::StreamHandled(uint64_t stream) {
  if (ChangeInFlight(stream, -1)) page_->NotifyMaster();
}

void PageClock::CloseStream(uint64_t stream_id) {
  const int64_t index = static_cast<int64_t>(stream_id & kCountMask) - 1;
  if (index < 0 || index >= page_->stream_count()) return;
  Stream& stream = page_->stream(index);
  uint64_t state = stream.state;
  do {
    if (state >> 32 != stream_id >> 32) return;
    // A generation that no id has: late senders find nothing.
  } while (!stream.state.compare_exchange_weak(state, ((state >> 32) + 1) << 32));
  stream.owner = 0;
  page_->NotifyMaster();
}

void PageClock::OnLinksChanged(absl::AnyInvocable<void()> changed) {
  Slot& slot = page_->slot(slot_);
  sync::MutexLock lock(&links_mutex_);
  links_changed_ = std::move(changed);
  if (links_changed_) {
    slot.flags.fetch_or(kWatchesLinks);
    page_->WakeSlot(slot_);
  } else {
    slot.flags.fetch_and(~kWatchesLinks);
    page_->NotifyMaster();
  }
}

}  // namespace keysphere::clock::page
