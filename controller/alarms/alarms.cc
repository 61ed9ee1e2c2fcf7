#include "controller/alarms/alarms.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/text.h"
#include "common/store/proto_store.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::alarms {
namespace {

constexpr char kPrefix[] = "alarm/";
constexpr size_t kMaxMessage = 2048;

// No name of an alarm has a slash.
std::string StoreKey(absl::string_view name, absl::string_view object) {
  return absl::StrCat(kPrefix, name, "/", object);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Alarms>> Alarms::Load(store::Store* store, executor::Strand* strand,
                                                     clock::Clock* clock) {
  auto alarms = std::unique_ptr<Alarms>(new Alarms(store, strand, clock));
  KS_RETURN_IF_ERROR(
      (store::ForEachProto<v1::Alarm>(store, kPrefix, [&](store::ProtoEntry<v1::Alarm> entry) {
        v1::Alarm& alarm = entry.message;
        const Key key(alarm.name(), alarm.object());
        alarms->showing_[key] = std::move(alarm);
        return absl::OkStatus();
      })));
  return alarms;
}

void Alarms::Save(const v1::Alarm& alarm) {
  writes_.Put(StoreKey(alarm.name(), alarm.object()), alarm.SerializeAsString());
}

void Alarms::RaiseOn(absl::string_view host, absl::string_view name, absl::string_view object,
                     v1::Alarm::Severity severity, absl::string_view message,
                     int64_t event_revision, bool again) {
  const auto [it, is_new] = showing_.try_emplace(Key(name, object));
  v1::Alarm& alarm = it->second;
  if (is_new || again) {
    alarm.set_name(std::string(name));
    alarm.set_object(std::string(object));
    *alarm.mutable_time() = timestamps::ToProto(clock_->Now());
    alarm.clear_acknowledged();
    alarm.clear_acknowledged_by();
  }
  alarm.set_severity(severity);
  alarm.set_message(status::Printable(message, kMaxMessage));
  alarm.set_event_revision(event_revision);
  if (!host.empty() && !ShowsOn(host, name, object)) {
    alarm.add_hosts(std::string(host));
    std::sort(alarm.mutable_hosts()->begin(), alarm.mutable_hosts()->end());
  }
  Save(alarm);
}

void Alarms::ClearOn(absl::string_view host, absl::string_view name, absl::string_view object) {
  const auto it = showing_.find(Key(name, object));
  if (it == showing_.end()) return;
  auto* const hosts = it->second.mutable_hosts();
  const auto found = std::find(hosts->begin(), hosts->end(), std::string(host));
  if (found == hosts->end()) return;
  hosts->erase(found);
  if (hosts->empty()) return Clear(name, object);
  Save(it->second);
}

bool Alarms::ShowsOn(absl::string_view host, absl::string_view name,
                     absl::string_view object) const {
  const auto it = showing_.find(Key(name, object));
  if (it == showing_.end()) return false;
  const auto& hosts = it->second.hosts();
  return std::find(hosts.begin(), hosts.end(), std::string(host)) != hosts.end();
}

std::vector<std::string> Alarms::ObjectsOn(absl::string_view host, absl::string_view name) const {
  std::vector<std::string> objects;
  for (const auto& [key, alarm] : showing_) {
    if (key.first == name && ShowsOn(host, key.first, key.second)) objects.push_back(key.second);
  }
  return objects;
}

void Alarms::Clear(absl::string_view name, absl::string_view object) {
  if (showing_.erase(Key(name, object)) > 0) writes_.Delete(StoreKey(name, object));
}

bool Alarms::Shows(absl::string_view name, absl::string_view object) const {
  return showing_.count(Key(name, object)) > 0;
}

bool Alarms::Says(absl::string_view name, absl::string_view object,
                  absl::string_view message) const {
  const auto it = showing_.find({std::string(name), std::string(object)});
  return it != showing_.end() && it->second.message() == status::Printable(message, kMaxMessage);
}

void Alarms::Renew(absl::string_view name, absl::string_view object, absl::string_view message) {
  const auto it = showing_.find(Key(name, object));
  if (it == showing_.end() || Says(name, object, message)) return;
  it->second.set_message(status::Printable(message, kMaxMessage));
  Save(it->second);
}

absl::optional<absl::Time> Alarms::RaisedAt(absl::string_view name,
                                            absl::string_view object) const {
  const auto it = showing_.find(Key(name, object));
  if (it == showing_.end()) return absl::nullopt;
  return timestamps::FromProto(it->second.time());
}

void Alarms::ListAlarms(const access::Caller&, const v1::ListAlarmsRequest& request,
                        status::Callback<v1::ListAlarmsResponse> done) {
  std::vector<const v1::Alarm*> found;
  for (const auto& [key, alarm] : showing_) {
    if (request.object().empty() || request.object() == alarm.object()) found.push_back(&alarm);
  }
  const auto time_of = [](const v1::Alarm* alarm) { return timestamps::FromProto(alarm->time()); };
  std::stable_sort(found.begin(), found.end(),
                   [&](const v1::Alarm* a, const v1::Alarm* b) { return time_of(a) < time_of(b); });
  v1::ListAlarmsResponse response;
  for (const v1::Alarm* alarm : found) *response.add_alarms() = *alarm;
  writes_.Flushed(
      [response = std::move(response), done = std::move(done)](const absl::Status& status) mutable {
        if (!status.ok()) return done(status);
        done(std::move(response));
      });
}

void Alarms::AcknowledgeAlarm(const access::Caller& caller,
                              const v1::AcknowledgeAlarmRequest& request,
                              status::Callback<v1::Alarm> done) {
  const auto it = showing_.find(Key(request.name(), request.object()));
  if (it == showing_.end()) {
    return done(status::Error(v1::REASON_NOT_FOUND,
                              absl::StrCat("no alarm ", status::Quote(request.name()), " of ",
                                           status::Quote(request.object()), " shows"))
                    .Object("alarm", request.name())
                    .NextStep("List the alarms."));
  }
  v1::Alarm& alarm = it->second;
  if (!alarm.acknowledged()) {
    alarm.set_acknowledged(true);
    alarm.set_acknowledged_by(caller.user);
    Save(alarm);
  }
  writes_.Flushed([alarm, done = std::move(done)](const absl::Status& status) mutable {
    if (!status.ok()) return done(status);
    done(std::move(alarm));
  });
}

}  // namespace keysphere::controller::alarms
