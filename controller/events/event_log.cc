#include "controller/events/event_log.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status/status.h"
#include "common/status/text.h"
#include "common/store/proto_store.h"
#include "controller/paging/paging.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::events {
namespace {

constexpr char kPrefix[] = "event/";
// So many events past the kept ones stay in the store until they are deleted together.
constexpr int64_t kTrimBatch = 64;

// Ordered as the revisions are.
std::string KeyOf(int64_t revision) { return absl::StrFormat("%s%019d", kPrefix, revision); }

struct Filter {
  std::vector<std::string> type_prefixes;
  std::string object;

  bool Matches(const v1::Event& event) const {
    if (!object.empty() && event.object() != object) return false;
    if (type_prefixes.empty()) return true;
    return std::any_of(type_prefixes.begin(), type_prefixes.end(), [&](const std::string& prefix) {
      return absl::StartsWith(event.type(), prefix);
    });
  }
};

template <typename Request>
Filter FilterOf(const Request& request) {
  return Filter{{request.type_prefixes().begin(), request.type_prefixes().end()}, request.object()};
}

// A list's place: the last revision that was listed, and the direction in which.
std::string MakeToken(int64_t revision, bool ascending) {
  return paging::MakeToken(absl::StrCat(ascending ? "a" : "d", revision));
}

absl::StatusOr<int64_t> ReadToken(const std::string& token, bool ascending) {
  KS_ASSIGN_OR_RETURN(const std::string text, paging::ReadToken(token));
  int64_t revision = 0;
  if (text.empty() || text[0] != (ascending ? 'a' : 'd') ||
      !absl::SimpleAtoi(text.substr(1), &revision)) {
    return status::Error(v1::REASON_PAGE_TOKEN_INVALID, "page_token is not one that this list gave")
        .NextStep("List again without a page_token.");
  }
  return revision;
}

}  // namespace

struct EventLog::Watcher {
  Filter filter;
  int64_t next = 1;        // the revision to look at next
  bool caught_up = false;  // had all kept events once
  size_t waiting = 0;      // behind the sink, as it told last
  bool pumping = false;
  bool cancelled = false;
  Sink sink;
};

EventLog::EventLog(store::Store* store, executor::Strand* strand, clock::Clock* clock, int64_t kept)
    : clock_(clock), most_kept_(static_cast<size_t>(kept)), writes_(store, strand, clock) {}

EventLog::~EventLog() = default;

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Load(store::Store* store,
                                                         executor::Strand* strand,
                                                         clock::Clock* clock, int64_t kept) {
  auto log = std::unique_ptr<EventLog>(new EventLog(store, strand, clock, kept));
  KS_RETURN_IF_ERROR(
      (store::ForEachProto<v1::Event>(store, kPrefix, [&](store::ProtoEntry<v1::Event> entry) {
        log->kept_.push_back(std::move(entry.message));
        return absl::OkStatus();
      })));
  if (!log->kept_.empty()) {
    log->first_stored_ = log->kept_.front().revision();
    log->next_revision_ = log->kept_.back().revision() + 1;
  }
  log->Trim();
  return log;
}

int64_t EventLog::Append(v1::Event event) {
  const int64_t revision = next_revision_++;
  event.set_revision(revision);
  *event.mutable_time() = timestamps::ToProto(clock_->Now());
  event.set_object(status::Printable(event.object(), kMaxText));
  event.set_user(status::Printable(event.user(), kMaxText));
  event.set_message(status::Printable(event.message(), kMaxText));
  for (auto& [name, value] : *event.mutable_arguments()) value = status::Printable(value, kMaxText);
  writes_.Put(KeyOf(revision), event.SerializeAsString());
  writes_.WhenDurable([this, event = std::move(event)]() mutable { Publish(std::move(event)); });
  return revision;
}

void EventLog::Publish(v1::Event event) {
  kept_.push_back(std::move(event));
  Trim();
  PumpAll();
}

void EventLog::Trim() {
  while (kept_.size() > most_kept_) kept_.pop_front();
  if (kept_.empty() || kept_.front().revision() - first_stored_ < kTrimBatch) return;
  for (; first_stored_ < kept_.front().revision(); ++first_stored_) {
    writes_.Delete(KeyOf(first_stored_));
  }
}

bool EventLog::Has(absl::string_view type, absl::string_view object, const std::string& argument,
                   absl::string_view value, absl::Time since) const {
  for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
    if (timestamps::FromProto(it->time()) < since) return false;
    if (it->type() != type || it->object() != object) continue;
    const auto found = it->arguments().find(argument);
    if (found != it->arguments().end() && found->second == value) return true;
  }
  return false;
}

void EventLog::ListEvents(const access::Caller&, const v1::ListEventsRequest& request,
                          status::Callback<v1::ListEventsResponse> done) {
  // What happened before the call is in its answer.
  writes_.Flushed([this, request, done = std::move(done)](const absl::Status&) mutable {
    done(ListDurable(request));
  });
}

absl::StatusOr<v1::ListEventsResponse> EventLog::ListDurable(
    const v1::ListEventsRequest& request) const {
  KS_ASSIGN_OR_RETURN(const int size, paging::PageSize(request.page_size()));
  const bool ascending = request.ascending();
  const Filter filter = FilterOf(request);
  v1::ListEventsResponse response;
  if (kept_.empty()) return response;
  const int64_t first = kept_.front().revision();
  const int64_t last = kept_.back().revision();
  int64_t at = ascending ? first : last;
  if (!request.page_token().empty()) {
    KS_ASSIGN_OR_RETURN(const int64_t after, ReadToken(request.page_token(), ascending));
    at = ascending ? std::max(first, after + 1) : std::min(last, after - 1);
  }
  for (; at >= first && at <= last; at += ascending ? 1 : -1) {
    const v1::Event& event = kept_[static_cast<size_t>(at - first)];
    if (!filter.Matches(event)) continue;
    if (response.events_size() == size) {  // there is one more
      response.set_next_page_token(
          MakeToken(response.events(response.events_size() - 1).revision(), ascending));
      break;
    }
    *response.add_events() = event;
  }
  return response;
}

EventLog::WatchId EventLog::Watch(const v1::WatchEventsRequest& request, Sink sink) {
  const WatchId id = next_watch_++;
  auto watcher = std::make_unique<Watcher>();
  watcher->filter = FilterOf(request);
  watcher->sink = std::move(sink);
  const int64_t first = kept_.empty() ? next_revision_ : kept_.front().revision();
  const int64_t after = request.after_revision();
  if (after < -1 || after > LastRevision()) {
    watcher->sink(status::Error(v1::REASON_INVALID_ARGUMENT,
                                absl::StrCat("after_revision: no event has revision ", after,
                                             "; the newest is ", LastRevision()))
                      .NextStep("Watch after a revision that an event has, from 0 (all kept "
                                "events) or from -1 (only new ones)."));
    return id;
  }
  if (after < 0) {
    watcher->next = LastRevision() + 1;
  } else {
    watcher->next = after == 0 ? first : after + 1;
  }
  Watcher* const raw = watcher.get();
  watchers_.emplace(id, std::move(watcher));
  if (!Pump(raw)) watchers_.erase(id);
  return id;
}

void EventLog::Resume(WatchId id) {
  const auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  it->second->waiting = 0;
  if (!Pump(it->second.get())) watchers_.erase(id);
}

void EventLog::CancelWatch(WatchId id) {
  const auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  it->second->cancelled = true;  // the sink itself may have called
  if (!it->second->pumping) watchers_.erase(it);
}

void EventLog::PumpAll() {
  std::vector<WatchId> ended;
  for (const auto& [id, watcher] : watchers_) {
    if (!Pump(watcher.get())) ended.push_back(id);
  }
  for (const WatchId id : ended) watchers_.erase(id);
}

bool EventLog::Pump(Watcher* watcher) {
  watcher->pumping = true;
  const bool goes_on = Deliver(watcher);
  watcher->pumping = false;
  return goes_on && !watcher->cancelled;
}

bool EventLog::Deliver(Watcher* watcher) {
  if (kept_.empty()) {
    watcher->caught_up = true;
    return true;
  }
  const int64_t first = kept_.front().revision();
  const int64_t last = kept_.back().revision();
  if (watcher->next < first) {
    watcher->sink(status::Error(v1::REASON_REVISION_COMPACTED,
                                absl::StrCat("events before revision ", first, " are kept no more"))
                      .NextStep("Watch from the first revision that is kept, or from -1.")
                      .With("revision", absl::StrCat(first - 1)));
    return false;
  }
  // A caught-up watcher that is behind gets new events too, until it is dropped for it.
  while (!watcher->cancelled && watcher->next <= last &&
         (watcher->caught_up || watcher->waiting <= kWatcherQueue)) {
    const v1::Event& event = kept_[static_cast<size_t>(watcher->next - first)];
    if (watcher->filter.Matches(event)) {
      if (watcher->caught_up && watcher->waiting > kWatcherQueue) {
        watcher->sink(status::Error(v1::REASON_RESUME_FROM, "the watcher is too slow")
                          .NextStep("Watch again from the revision named.")
                          .With("revision", absl::StrCat(watcher->next - 1)));
        return false;
      }
      watcher->waiting = watcher->sink(event);
    }
    ++watcher->next;
  }
  if (watcher->next > last) watcher->caught_up = true;
  return true;
}

}  // namespace keysphere::controller::events
