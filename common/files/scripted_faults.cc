#include "common/files/scripted_faults.h"

#include <utility>

#include "absl/strings/match.h"

namespace keysphere::files {

void ScriptedFaults::Add(Rule rule) {
  sync::MutexLock lock(&mutex_);
  rules_.push_back(std::move(rule));
}

void ScriptedFaults::Fail(Operation operation, absl::string_view path_part, int error, int times) {
  Rule rule;
  rule.operation = operation;
  rule.path_part = std::string(path_part);
  rule.times = times;
  rule.fault.error = error;
  Add(std::move(rule));
}

void ScriptedFaults::Clear() {
  sync::MutexLock lock(&mutex_);
  rules_.clear();
}

int ScriptedFaults::count(Operation operation) const {
  sync::MutexLock lock(&mutex_);
  const auto index = static_cast<size_t>(operation);
  return index < counts_.size() ? counts_[index] : 0;
}

Fault ScriptedFaults::Before(Operation operation, absl::string_view path) {
  absl::AnyInvocable<void()> callback;
  Fault fault;
  {
    sync::MutexLock lock(&mutex_);
    const auto index = static_cast<size_t>(operation);
    if (counts_.size() <= index) counts_.resize(index + 1);
    ++counts_[index];
    for (Rule& rule : rules_) {
      if (rule.operation != operation || rule.times == 0) continue;
      if (!absl::StrContains(path, rule.path_part)) continue;
      if (rule.skip > 0) {
        --rule.skip;
        continue;
      }
      if (rule.times > 0) --rule.times;
      fault = rule.fault;
      // A rule that is met again and again has its callback called the first time only.
      callback = std::move(rule.callback);
      rule.callback = nullptr;
      break;
    }
  }
  if (callback) callback();
  return fault;
}

}  // namespace keysphere::files
