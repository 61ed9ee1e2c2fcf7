#ifndef KEYSPHERE_CONTROLLER_ALARMS_ALARMS_H_
#define KEYSPHERE_CONTROLLER_ALARMS_ALARMS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/write_behind.h"
#include "keysphere/v1/events.pb.h"

namespace keysphere::controller::alarms {

inline constexpr char kVmLocked[] = "Virtual Machine Locked Alarm";
inline constexpr char kVmFilesUnusable[] = "Virtual Machine Files Unusable Alarm";
inline constexpr char kHostRequiresEncryption[] = "Host Requires Encryption Mode Enabled Alarm";
inline constexpr char kNotBackedUp[] = "Key Provider Not Backed Up Alarm";
inline constexpr char kKmsUnreachable[] = "Key Management Server Health Status Alarm";
inline constexpr char kKmsServerCertificate[] = "KMS Server Certificate Status";
inline constexpr char kKmsClientCertificate[] = "KMS Client Certificate Status";
inline constexpr char kKeyCollision[] = "Key Provider Collision Alarm";

// What needs attention, durable; one alarm a name and object. Lives on the controller's strand.
// Those inside the controller see a change at once; clients are told what is durable.
class Alarms {
 public:
  static absl::StatusOr<std::unique_ptr<Alarms>> Load(store::Store* store, executor::Strand* strand,
                                                      clock::Clock* clock);

  // Shows it, or renews its message; `again` takes an acknowledgement back and makes its time now
  // (S88).
  void Raise(absl::string_view name, absl::string_view object, v1::Alarm::Severity severity,
             absl::string_view message, int64_t event_revision, bool again = false) {
    RaiseOn("", name, object, severity, message, event_revision, again);
  }
  // For an object of which several hosts may have one: two hosts may each have a VM of a name. The
  // alarm shows until it is cleared on each host on which it was raised.
  void RaiseOn(absl::string_view host, absl::string_view name, absl::string_view object,
               v1::Alarm::Severity severity, absl::string_view message, int64_t event_revision,
               bool again = false);
  void ClearOn(absl::string_view host, absl::string_view name, absl::string_view object);
  bool ShowsOn(absl::string_view host, absl::string_view name, absl::string_view object) const;
  // The objects of the alarms of this name that show for the host.
  std::vector<std::string> ObjectsOn(absl::string_view host, absl::string_view name) const;
  // Its cause ended. No effect if it does not show.
  void Clear(absl::string_view name, absl::string_view object);
  bool Shows(absl::string_view name, absl::string_view object) const;
  // Whether it shows with this message.
  bool Says(absl::string_view name, absl::string_view object, absl::string_view message) const;
  // Its message is another one now. No effect if it does not show.
  void Renew(absl::string_view name, absl::string_view object, absl::string_view message);
  // When it was raised, or raised again; nullopt: it does not show.
  absl::optional<absl::Time> RaisedAt(absl::string_view name, absl::string_view object) const;

  // By time.
  void ListAlarms(const access::Caller& caller, const v1::ListAlarmsRequest& request,
                  status::Callback<v1::ListAlarmsResponse> done);
  // NOT_FOUND if it does not show. The first who acknowledges it is noted.
  void AcknowledgeAlarm(const access::Caller& caller, const v1::AcknowledgeAlarmRequest& request,
                        status::Callback<v1::Alarm> done);

 private:
  using Key = std::pair<std::string, std::string>;  // name, object

  Alarms(store::Store* store, executor::Strand* strand, clock::Clock* clock)
      : clock_(clock), writes_(store, strand, clock) {}

  void Save(const v1::Alarm& alarm);

  clock::Clock* const clock_;
  std::map<Key, v1::Alarm> showing_;
  changes::WriteBehind writes_;
};

}  // namespace keysphere::controller::alarms

#endif  // KEYSPHERE_CONTROLLER_ALARMS_ALARMS_H_
