#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_BACKUP_REMINDER_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_BACKUP_REMINDER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "controller/alarms/alarms.h"
#include "controller/events/event_log.h"
#include "controller/options/options.h"

namespace keysphere::controller::providers {

// Says again and again, every vpxd.KMS.backupCheckInterval, that a native key provider has no
// backup, even if that was acknowledged (S88). When it said so last is what the alarm tells: so it
// goes on over restarts. Lives on the strand.
class BackupReminder {
 public:
  BackupReminder(clock::Clock* clock, executor::Strand* strand, events::EventLog* events,
                 alarms::Alarms* alarms, options::Options* options);
  ~BackupReminder();

  // `missing` names the providers without a backup. Reminds at once of those that are due.
  void Start(std::function<std::vector<std::string>()> missing);
  // The provider has no backup.
  void Missing(absl::string_view provider);
  // It has one now, or is gone.
  void Over(absl::string_view provider);

 private:
  void Tell(absl::string_view provider);
  void Remind();

  clock::Clock* const clock_;
  executor::Strand* const strand_;
  events::EventLog* const events_;
  alarms::Alarms* const alarms_;
  options::Options* const options_;
  std::function<std::vector<std::string>()> missing_;
  clock::Clock::TimerId timer_ = clock::Clock::kNoTimer;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_BACKUP_REMINDER_H_
