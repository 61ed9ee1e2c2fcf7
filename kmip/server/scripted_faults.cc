#include "kmip/server/scripted_faults.h"

namespace keysphere::kmip::server {

void ScriptedFaults::Clear() {
  sync::MutexLock lock(&mutex_);
  refuse_ = false;
  hang_ = false;
  low_ = absl::ZeroDuration();
  high_ = absl::ZeroDuration();
  drop_after_.reset();
  fail_nth_ = 0;
  missing_.clear();
  not_active_.clear();
}

void ScriptedFaults::set_refuse(bool refuse) {
  sync::MutexLock lock(&mutex_);
  refuse_ = refuse;
}

void ScriptedFaults::set_hang(bool hang) {
  sync::MutexLock lock(&mutex_);
  hang_ = hang;
}

void ScriptedFaults::set_latency(absl::Duration low, absl::Duration high) {
  sync::MutexLock lock(&mutex_);
  low_ = low;
  high_ = high;
}

void ScriptedFaults::set_drop_after(absl::optional<size_t> bytes) {
  sync::MutexLock lock(&mutex_);
  drop_after_ = bytes;
}

void ScriptedFaults::set_fail_nth(int n) {
  sync::MutexLock lock(&mutex_);
  fail_nth_ = n;
}

void ScriptedFaults::SetMissing(const std::string& uid, bool missing) {
  sync::MutexLock lock(&mutex_);
  missing_.erase(uid);
  if (missing) missing_.insert(uid);
}

void ScriptedFaults::SetNotActive(const std::string& uid, bool not_active) {
  sync::MutexLock lock(&mutex_);
  not_active_.erase(uid);
  if (not_active) not_active_.insert(uid);
}

bool ScriptedFaults::RefusesConnection() {
  sync::MutexLock lock(&mutex_);
  return refuse_;
}

FaultInjector::MessageFault ScriptedFaults::OnMessage() {
  MessageFault fault;
  sync::MutexLock lock(&mutex_);
  fault.delay = hang_ ? absl::InfiniteDuration() : random_->Between(low_, high_);
  fault.drop_after_bytes = drop_after_;
  fault.fail = fail_nth_ == 1;
  if (fail_nth_ > 0) --fail_nth_;
  return fault;
}

FaultInjector::ObjectFault ScriptedFaults::OnObject(absl::string_view uid) {
  sync::MutexLock lock(&mutex_);
  if (missing_.count(std::string(uid)) > 0) return ObjectFault::kMissing;
  return not_active_.count(std::string(uid)) > 0 ? ObjectFault::kNotActive : ObjectFault::kNone;
}

}  // namespace keysphere::kmip::server
