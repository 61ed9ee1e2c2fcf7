#include "common/clock/page/clock_master.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/status/status.h"

namespace keysphere::clock::page {
namespace {

constexpr absl::Duration kMaxSkew = absl::Hours(24 * 36525);  // 100 years
constexpr absl::Duration kFollowStep = absl::Milliseconds(5);
constexpr absl::Duration kFollowGuard = absl::Seconds(1);
// A wake-up that was lost (its process was killed between work and wake) costs this much.
constexpr absl::Duration kRescan = absl::Milliseconds(2);
constexpr double kMaxRate = 1e6;
constexpr size_t kMaxName = 95;

absl::Duration RealNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ClockMaster>> ClockMaster::Create(const std::string& path,
                                                                 const Options& options) {
  KS_ASSIGN_OR_RETURN(auto page, PageFile::Create(path, options.slots, options.streams,
                                                  options.links, options.start));
  return absl::WrapUnique(new ClockMaster(path, std::move(page), options));
}

ClockMaster::ClockMaster(std::string path, std::unique_ptr<PageFile> page, const Options& options)
    : path_(std::move(path)),
      quiet_guard_ns_(absl::ToInt64Nanoseconds(options.quiet_guard)),
      page_(std::move(page)),
      taken_(options.slots, false),
      follower_([this] { FollowRealTime(); }) {}

ClockMaster::~ClockMaster() {
  stopping_ = true;
  rate_changes_.fetch_add(1);
  FutexWakeAll(&rate_changes_);
  follower_.join();
}

absl::Status ClockMaster::CheckSlot(int slot) const {
  if (slot >= 0 && slot < page_->slot_count()) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat("no slot ", slot));
}

absl::StatusOr<int> ClockMaster::AllocateSlot(absl::string_view name) {
  if (name.empty() || name.size() > kMaxName) {
    return status::Error(v1::REASON_INVALID_NAME,
                         absl::StrCat("a process has a name of 1 to ", kMaxName, " bytes"));
  }
  sync::MutexLock lock(&slots_mutex_);
  if (page_->SlotOf(name) >= 0) {
    return status::Error(v1::REASON_ALREADY_EXISTS, "the process has a slot")
        .Object("process", name);
  }
  const auto free = std::find(taken_.begin(), taken_.end(), false);
  if (free == taken_.end()) {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("all ", taken_.size(), " slots of the clock page are taken"));
  }
  const int slot = free - taken_.begin();
  taken_[slot] = true;
  page_->slot(slot).skew_ns = 0;
  page_->text(slot).name.Set(name);
  MarkUsed(&page_->header().used_slots, slot);
  return slot;
}

std::string ClockMaster::FlagOf(int slot) const { return absl::StrCat(path_, ":", slot); }

void ClockMaster::HoldForStart(int slot) { page_->slot(slot).flags.fetch_or(kStarting); }

void ClockMaster::EndStart(int slot) {
  ChangeLinks([&] { page_->slot(slot).flags.fetch_and(~kStarting); });
}

void ClockMaster::SetEnding(int slot, bool ending) {
  ChangeLinks([&] {
    if (ending) {
      page_->slot(slot).flags.fetch_or(kEnding);
    } else {
      page_->slot(slot).flags.fetch_and(~kEnding);
    }
  });
}

void ClockMaster::ClearSlot(int i) {
  ChangeLinks([&] {
    Slot& slot = page_->slot(i);
    for (auto& count : page_->text(i).count) count = 0;
    slot.next_deadline_ns = kNever;
    slot.busy = 0;
    slot.pid = 0;
    slot.epoch.fetch_add(1);
    slot.flags = 0;
    for (int s = 0; s < page_->used_streams(); ++s) {
      Stream& stream = page_->stream(s);
      if (stream.owner.load() != static_cast<uint32_t>(i) + 1) continue;
      // The generation after the one in use: late senders find nothing.
      stream.state = ((stream.state >> 32) + 1) << 32;
      stream.owner = 0;
    }
  });
}

void ClockMaster::ReleaseSlot(int slot) {
  ClearSlot(slot);
  sync::MutexLock lock(&slots_mutex_);
  page_->text(slot).name.Set("");
  for (auto& what : page_->text(slot).what) what.Set("");
  taken_[slot] = false;
}

void ClockMaster::SetStopped(int slot, bool stopped) {
  ChangeLinks([&] {
    if (stopped) {
      page_->slot(slot).flags.fetch_or(kStopped);
    } else {
      page_->slot(slot).flags.fetch_and(~kStopped);
    }
  });
  page_->WakeSlot(slot);
}

absl::Status ClockMaster::SetSkew(int slot, absl::Duration skew) {
  KS_RETURN_IF_ERROR(CheckSlot(slot));
  if (absl::AbsDuration(skew) > kMaxSkew) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "skew: at most 100 years either way");
  }
  page_->slot(slot).skew_ns = absl::ToInt64Nanoseconds(skew);
  page_->WakeSlot(slot);
  return absl::OkStatus();
}

absl::Time ClockMaster::Now() const { return absl::FromUnixNanos(page_->NowNs()); }

bool ClockMaster::Participates(int i) const {
  const uint32_t flags = page_->slot(i).flags;
  return (flags & kStopped) == 0 && (flags & (kLive | kStarting)) != 0;
}

bool ClockMaster::SlotIsQuiet(int i, int64_t now_ns) const {
  const Slot& slot = page_->slot(i);
  const uint32_t flags = slot.flags;
  if ((flags & kStarting) != 0 || slot.busy.load() != 0) return false;
  if ((flags & kWatchesLinks) != 0 && slot.links_seen.load() != page_->header().links_sequence) {
    return false;
  }
  return page_->DeadlineNs(i) > now_ns;
}

bool ClockMaster::StreamIsOpenTo(int i) const {
  const Stream& stream = page_->stream(i);
  const uint32_t owner = stream.owner;
  if (owner == 0 || (stream.state & 0xffffffff) == 0) return false;
  // Between two processes that go on: a paused one neither sends nor handles.
  const uint32_t sender = stream.sender;
  return Participates(owner - 1) && (sender == 0 || Participates(sender - 1));
}

ClockMaster::Scan ClockMaster::ScanAll() const {
  Scan scan;
  const int64_t now_ns = page_->NowNs();
  scan.epochs.reserve(page_->used_slots());
  for (int i = 0; i < page_->used_slots(); ++i) {
    if (!Participates(i)) {
      scan.epochs.push_back(0);
      continue;
    }
    // The epoch first: work that begins after it shows in the epoch of the next scan.
    scan.epochs.push_back(page_->slot(i).epoch + 1);
    if (!SlotIsQuiet(i, now_ns)) {
      scan.quiet = false;
      return scan;
    }
  }
  for (int i = 0; i < page_->used_streams(); ++i) {
    if (StreamIsOpenTo(i)) {
      scan.quiet = false;
      return scan;
    }
  }
  return scan;
}

bool ClockMaster::QuietWithin(absl::Duration real_limit) {
  const absl::Duration end = RealNow() + real_limit;
  Header& header = page_->header();
  header.master_waits.fetch_add(1);
  bool quiet = false;
  while (true) {
    const uint32_t seen = header.activity;
    const Scan first = ScanAll();
    if (first.quiet) {
      const Scan second = ScanAll();
      quiet = second.quiet && second.epochs == first.epochs;
    }
    if (quiet || RealNow() >= end || stopping_) break;
    if (!first.quiet) FutexWait(&header.activity, seen, absl::Now() + kRescan);
  }
  header.master_waits.fetch_sub(1);
  return quiet;
}

absl::Status ClockMaster::NotQuiescent() const {
  const auto error = [&](int slot, absl::string_view why, absl::string_view token) {
    const std::string name = page_->text(slot).name.Get();
    return status::Error(v1::REASON_NOT_QUIESCENT,
                         absl::StrCat("virtual time cannot go on: ", status::Quote(name), " ", why))
        .Object("process", name)
        .With("token", token)
        .With("pid", absl::StrCat(page_->slot(slot).pid.load()))
        .NextStep("See what the process waits for, or pause or kill it.");
  };
  const int64_t now_ns = page_->NowNs();
  for (int i = 0; i < page_->used_slots(); ++i) {
    if (!Participates(i) || SlotIsQuiet(i, now_ns)) continue;
    if ((page_->slot(i).flags & kStarting) != 0) return error(i, "is not READY", "start");
    std::vector<std::string> held;
    for (int t = 0; t < kTokens; ++t) {
      const uint32_t count = page_->text(i).count[t];
      if (count == 0) continue;
      held.push_back(absl::StrCat(page_->text(i).what[t].Get(), " x", count));
    }
    if (held.empty()) return error(i, "does not run a timer that is due", "timer");
    const std::string tokens = absl::StrJoin(held, ", ");
    return error(i, absl::StrCat("is busy (", tokens, ")"), tokens);
  }
  for (int i = 0; i < page_->used_streams(); ++i) {
    if (!StreamIsOpenTo(i)) continue;
    const uint32_t sender = page_->stream(i).sender;
    const std::string from = sender == 0 ? "nobody" : page_->text(sender - 1).name.Get();
    const uint32_t owner = page_->stream(i).owner;
    if (owner == 0) continue;
    return error(owner - 1,
                 absl::StrCat("has a stream with unhandled messages from ", status::Quote(from)),
                 "stream");
  }
  return status::Error(v1::REASON_NOT_QUIESCENT,
                       "virtual time cannot go on: processes keep beginning new work");
}

absl::Status ClockMaster::WaitQuiet() {
  if (QuietWithin(absl::Nanoseconds(quiet_guard_ns_.load()))) return absl::OkStatus();
  return NotQuiescent();
}

int64_t ClockMaster::NextDeadlineNs() const {
  int64_t next = kNever;
  for (int i = 0; i < page_->used_slots(); ++i) {
    if (Participates(i)) next = std::min(next, page_->DeadlineNs(i));
  }
  return next;
}

void ClockMaster::MoveNow(int64_t now_ns) {
  page_->header().now_ns = std::max(now_ns, page_->NowNs());
  for (int i = 0; i < page_->used_slots(); ++i) {
    if (Participates(i) && page_->DeadlineNs(i) <= now_ns) page_->WakeSlot(i);
  }
}

absl::Status ClockMaster::AdvanceBy(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "time does not go back");
  }
  return AdvanceTo(Now() + duration);
}

absl::Status ClockMaster::AdvanceTo(absl::Time target, const std::atomic<bool>* stop) {
  const int64_t target_ns = ToNs(target);
  if (target_ns == kNever) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "time has an end: the year 2262");
  }
  sync::MutexLock lock(&advance_mutex_);
  steps_ = 0;
  while (true) {
    KS_RETURN_IF_ERROR(WaitQuiet());
    if (stop != nullptr && *stop) {
      return status::Error(v1::REASON_CANCELLED, "the advance was stopped");
    }
    const int64_t next = NextDeadlineNs();
    if (next > target_ns) break;
    MoveNow(next);
    steps_.fetch_add(1, std::memory_order_relaxed);
  }
  MoveNow(target_ns);
  return absl::OkStatus();
}

absl::Status ClockMaster::SetRate(double rate) {
  if (!(rate >= 0 && rate <= kMaxRate)) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("rate: 0 (time stands still) to ", kMaxRate));
  }
  page_->header().rate = rate;
  rate_changes_.fetch_add(1);
  FutexWakeAll(&rate_changes_);
  return absl::OkStatus();
}

double ClockMaster::rate() const { return page_->header().rate; }

void ClockMaster::FollowRealTime() {
  absl::Duration last = RealNow();
  while (!stopping_) {
    const uint32_t seen = rate_changes_;
    const double rate = page_->header().rate;
    const absl::Duration real = RealNow();
    if (rate > 0) {
      sync::MutexLock lock(&advance_mutex_);
      const int64_t target = ToNs(Now() + (real - last) * rate);
      for (int64_t next = NextDeadlineNs(); next <= target && !stopping_; next = NextDeadlineNs()) {
        MoveNow(next);
        // A process that stays busy is left behind: this is a demonstration's time.
        if (!QuietWithin(kFollowGuard)) break;
      }
      MoveNow(target);
    }
    last = real;
    FutexWait(&rate_changes_, seen, rate > 0 ? absl::Now() + kFollowStep : absl::InfiniteFuture());
    if (rate == 0) last = RealNow();
  }
}

void ClockMaster::ChangeLinks(const std::function<void()>& change) {
  {
    sync::MutexLock lock(&slots_mutex_);
    FutexWord& sequence = page_->header().links_sequence;
    sequence.fetch_add(1);
    change();
    sequence.fetch_add(1);
  }
  for (int i = 0; i < page_->used_slots(); ++i) {
    if ((page_->slot(i).flags & kWatchesLinks) != 0) page_->WakeSlot(i);
  }
  page_->NotifyMaster();
}

absl::Status ClockMaster::SetLink(int from, int to, const LinkFault& fault) {
  if (from != kAnySlot) KS_RETURN_IF_ERROR(CheckSlot(from));
  if (to != kAnySlot) KS_RETURN_IF_ERROR(CheckSlot(to));
  const bool none = !fault.cut && fault.delay <= absl::ZeroDuration() && fault.fail_next == 0;
  bool done = none;
  ChangeLinks([&] {
    Link* entry = nullptr;
    for (int i = 0; i < page_->link_count(); ++i) {
      Link& link = page_->link(i);
      const bool same =
          link.from == static_cast<uint32_t>(from) + 1 && link.to == static_cast<uint32_t>(to) + 1;
      if (same || (!none && entry == nullptr && link.from == 0)) entry = &link;
      if (same) break;
    }
    if (entry == nullptr) return;
    MarkUsed(&page_->header().used_links, entry - &page_->link(0));
    entry->from = none ? 0 : from + 1;
    entry->to = none ? 0 : to + 1;
    entry->cut = fault.cut ? 1 : 0;
    entry->delay_ns = std::max<int64_t>(0, absl::ToInt64Nanoseconds(fault.delay));
    entry->fail_next = fault.fail_next;
    done = true;
  });
  if (done) return absl::OkStatus();
  return status::Error(v1::REASON_TOO_LARGE,
                       absl::StrCat("all ", page_->link_count(), " link faults are taken"));
}

void ClockMaster::ClearLinks() {
  ChangeLinks([&] {
    for (int i = 0; i < page_->used_links(); ++i) page_->link(i).from = 0;
    page_->header().used_links = 0;
  });
}

}  // namespace keysphere::clock::page
