#ifndef KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_
#define KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/random/random.h"
#include "common/sync/mutex.h"
#include "kmip/server/fault_injector.h"

namespace keysphere::kmip::server {

// Faults that are set from outside and hold until they are changed. Thread safe.
class ScriptedFaults : public FaultInjector {
 public:
  // What goes wrong; as it is made here, nothing does.
  struct Script {
    bool hang = false;  // no request is answered
    // Every answer waits for `latency`, and up to `jitter` more at random.
    absl::Duration latency = absl::ZeroDuration();
    absl::Duration jitter = absl::ZeroDuration();
    absl::optional<size_t> drop_after_bytes;  // every answer ends there, with its connection
    int fail_request = 0;                     // the N-th from now fails (1: the next); 0: none
    std::set<std::string> missing;            // identifiers
    bool all_missing = false;
    std::set<std::string> not_active;
    bool die_after_create = false;  // between the commit of the next Create and its answer
  };

  // `random` outlives it. `die` ends this process without a word.
  ScriptedFaults(random::Random* random, std::function<void()> die)
      : random_(random), die_(std::move(die)) {}

  // Instead of what was set before.
  void Set(Script script);
  // How often an operation was asked for so far.
  std::map<messages::Operation, int64_t> operations();

  MessageFault OnMessage() override;
  ObjectFault OnObject(absl::string_view uid) override;
  void OnOperation(messages::Operation operation) override;
  void OnCreated() override;

 private:
  random::Random* const random_;
  const std::function<void()> die_;
  sync::Mutex mutex_;
  Script script_ ABSL_GUARDED_BY(mutex_);
  std::map<messages::Operation, int64_t> operations_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_SCRIPTED_FAULTS_H_
