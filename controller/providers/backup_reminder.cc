#include "controller/providers/backup_reminder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace keysphere::controller::providers {
namespace {

std::string ObjectOf(absl::string_view provider) { return absl::StrCat("provider/", provider); }

}  // namespace

BackupReminder::BackupReminder(clock::Clock* clock, executor::Strand* strand,
                               events::EventLog* events, alarms::Alarms* alarms,
                               options::Options* options)
    : clock_(clock), strand_(strand), events_(events), alarms_(alarms), options_(options) {
  options_->OnChange(options::kBackupCheckInterval, [this, alive = std::weak_ptr<bool>(alive_)]() {
    if (!alive.expired()) Remind();
  });
}

BackupReminder::~BackupReminder() {
  if (timer_ != clock::Clock::kNoTimer) clock_->Cancel(timer_);
}

void BackupReminder::Start(std::function<std::vector<std::string>()> missing) {
  missing_ = std::move(missing);
  Remind();
}

void BackupReminder::Missing(absl::string_view provider) {
  Tell(provider);
  if (timer_ == clock::Clock::kNoTimer) Remind();
}

void BackupReminder::Tell(absl::string_view provider) {
  const std::string message = absl::StrCat("Native key provider ", provider,
                                           " is not backed up: it cannot be used until it is");
  v1::Event event;
  event.set_type(events::kNotBackedUp);
  event.set_object(ObjectOf(provider));
  event.set_message(message);
  (*event.mutable_arguments())["provider"] = std::string(provider);
  const int64_t revision = events_->Append(std::move(event));
  alarms_->Raise(alarms::kNotBackedUp, ObjectOf(provider), v1::Alarm::SEVERITY_RED, message,
                 revision, /*again=*/true);
}

void BackupReminder::Over(absl::string_view provider) {
  alarms_->Clear(alarms::kNotBackedUp, ObjectOf(provider));
}

void BackupReminder::Remind() {
  if (!missing_) return;  // not started
  if (timer_ != clock::Clock::kNoTimer) clock_->Cancel(timer_);
  timer_ = clock::Clock::kNoTimer;
  const absl::Duration interval = absl::Minutes(options_->Integer(options::kBackupCheckInterval));
  const absl::Time now = clock_->Now();
  absl::Time next = absl::InfiniteFuture();
  for (const std::string& provider : missing_()) {
    const absl::optional<absl::Time> told =
        alarms_->RaisedAt(alarms::kNotBackedUp, ObjectOf(provider));
    if (!told.has_value() || *told + interval <= now) {
      Tell(provider);
      next = std::min(next, now + interval);
    } else {
      next = std::min(next, *told + interval);
    }
  }
  if (next == absl::InfiniteFuture()) return;
  timer_ = clock_->RunAt(next, [this, alive = std::weak_ptr<bool>(alive_), strand = strand_]() {
    strand->Post([this, alive]() {
      if (alive.expired()) return;
      timer_ = clock::Clock::kNoTimer;
      Remind();
    });
  });
}

}  // namespace keysphere::controller::providers
