#ifndef KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_
#define KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "common/random/random.h"
#include "common/sync/mutex.h"
#include "kmip/server/fault_injector.h"

namespace keysphere::kmip::server {

// Faults that are set from outside and hold until they are changed. Thread safe.
class ScriptedFaults : public FaultInjector {
 public:
  // `random` outlives it.
  explicit ScriptedFaults(random::Random* random) : random_(random) {}

  // None at all.
  void Clear();
  void set_refuse(bool refuse);
  // No request is answered.
  void set_hang(bool hang);
  // Every answer waits between `low` and `high`.
  void set_latency(absl::Duration low, absl::Duration high);
  // Every answer ends after so many bytes.
  void set_drop_after(absl::optional<size_t> bytes);
  // The n-th request from now on fails (1: the next); 0: none.
  void set_fail_nth(int n);
  void SetMissing(const std::string& uid, bool missing);
  void SetNotActive(const std::string& uid, bool not_active);

  bool RefusesConnection() override;
  MessageFault OnMessage() override;
  ObjectFault OnObject(absl::string_view uid) override;

 private:
  random::Random* const random_;
  sync::Mutex mutex_;
  bool refuse_ ABSL_GUARDED_BY(mutex_) = false;
  bool hang_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration low_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration high_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::optional<size_t> drop_after_ ABSL_GUARDED_BY(mutex_);
  int fail_nth_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> missing_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> not_active_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_
