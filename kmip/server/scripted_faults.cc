#include "kmip/server/scripted_faults.h"

#include <utility>

namespace keysphere::kmip::server {

void ScriptedFaults::Set(Script script) {
  sync::MutexLock lock(&mutex_);
  script_ = std::move(script);
}

std::map<messages::Operation, int64_t> ScriptedFaults::operations() {
  sync::MutexLock lock(&mutex_);
  return operations_;
}

FaultInjector::MessageFault ScriptedFaults::OnMessage() {
  MessageFault fault;
  sync::MutexLock lock(&mutex_);
  fault.delay = script_.hang ? absl::InfiniteDuration()
                             : random_->Between(script_.latency, script_.latency + script_.jitter);
  fault.drop_after_bytes = script_.drop_after_bytes;
  fault.fail = script_.fail_request == 1;
  if (script_.fail_request > 0) --script_.fail_request;
  return fault;
}

FaultInjector::ObjectFault ScriptedFaults::OnObject(absl::string_view uid) {
  sync::MutexLock lock(&mutex_);
  if (script_.all_missing || script_.missing.count(std::string(uid)) > 0) {
    return ObjectFault::kMissing;
  }
  return script_.not_active.count(std::string(uid)) > 0 ? ObjectFault::kNotActive
                                                        : ObjectFault::kNone;
}

void ScriptedFaults::OnOperation(messages::Operation operation) {
  sync::MutexLock lock(&mutex_);
  ++operations_[operation];
}

void ScriptedFaults::OnCreated() {
  {
    sync::MutexLock lock(&mutex_);
    if (!std::exchange(script_.die_after_create, false)) return;
  }
  die_();
}

}  // namespace keysphere::kmip::server
