#ifndef KEYSPHERE_COMMON_RPC_TESTING_FAKE_LINK_FAULTS_H_
#define KEYSPHERE_COMMON_RPC_TESTING_FAKE_LINK_FAULTS_H_

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/rpc/link_faults.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc::testing {

// A table of link faults that a test writes.
class FakeLinkFaults : public LinkFaultSource {
 public:
  LinkFault Next(const std::string& peer) override {
    sync::MutexLock lock(&mutex_);
    LinkFault fault = faults_[peer];
    fault.fail = fail_next_ > 0;
    if (fail_next_ > 0) --fail_next_;
    return fault;
  }
  LinkFault Current(const std::string& peer) override {
    sync::MutexLock lock(&mutex_);
    return faults_[peer];
  }
  ListenerId AddListener(std::function<void()> changed) override {
    sync::MutexLock lock(&mutex_);
    listeners_[++last_] = std::move(changed);
    return last_;
  }
  void RemoveListener(ListenerId id) override {
    sync::MutexLock lock(&mutex_);
    listeners_.erase(id);
  }

  void Set(const std::string& peer, const LinkFault& fault) {
    std::map<ListenerId, std::function<void()>> listeners;
    {
      sync::MutexLock lock(&mutex_);
      faults_[peer] = fault;
      listeners = listeners_;
    }
    for (const auto& [unused, changed] : listeners) changed();
  }
  void FailNext(int calls) {
    sync::MutexLock lock(&mutex_);
    fail_next_ = calls;
  }

 private:
  sync::Mutex mutex_;
  std::map<std::string, LinkFault> faults_ ABSL_GUARDED_BY(mutex_);
  std::map<ListenerId, std::function<void()>> listeners_ ABSL_GUARDED_BY(mutex_);
  ListenerId last_ ABSL_GUARDED_BY(mutex_) = 0;
  int fail_next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace keysphere::rpc::testing

#endif  // KEYSPHERE_COMMON_RPC_TESTING_FAKE_LINK_FAULTS_H_
