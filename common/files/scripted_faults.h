#ifndef KEYSPHERE_COMMON_FILES_SCRIPTED_FAULTS_H_
#define KEYSPHERE_COMMON_FILES_SCRIPTED_FAULTS_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "common/files/fault_hook.h"
#include "common/sync/mutex.h"

namespace keysphere::files {

// A FaultHook that follows rules and counts what it saw. Thread safe.
class ScriptedFaults : public FaultHook {
 public:
  struct Rule {
    Operation operation;
    std::string path_part;  // the path contains it; "": any path
    int skip = 0;           // so many matching operations pass first
    int times = 1;          // then so many are met; -1: all
    Fault fault;
    absl::AnyInvocable<void()> callback;  // crash point; may be empty. Runs without a lock.
  };

  void Add(Rule rule);
  // The short form: the next such operation fails with `error`; `times` as above.
  void Fail(Operation operation, absl::string_view path_part, int error, int times = 1);
  // Forgets all rules.
  void Clear();
  // Operations of this kind seen so far.
  int count(Operation operation) const;

  Fault Before(Operation operation, absl::string_view path) override;

 private:
  mutable sync::Mutex mutex_;
  std::vector<Rule> rules_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::files

#endif  // KEYSPHERE_COMMON_FILES_SCRIPTED_FAULTS_H_
