#ifndef KEYSPHERE_HOSTAGENT_AGENT_LIFETIME_H_
#define KEYSPHERE_HOSTAGENT_AGENT_LIFETIME_H_

#include <atomic>
#include <memory>
#include <utility>

#include "common/executor/executor.h"

namespace keysphere::hostagent::agent {

// Whether a host still runs. Tasks of a host that lost power are dropped unrun, so they may use its
// objects without holding them.
class Lifetime {
 public:
  Lifetime() : alive_(std::make_shared<std::atomic<bool>>(true)) {}

  void End() { alive_->store(false); }

  // `task`, to be posted anywhere.
  executor::Task Guard(executor::Task task) const {
    return [alive = alive_, task = std::move(task)]() mutable {
      if (alive->load()) task();
    };
  }

 private:
  std::shared_ptr<std::atomic<bool>> alive_;
};

// A strand of one host.
class HostStrand {
 public:
  HostStrand(executor::Executor* executor, const Lifetime& lifetime)
      : strand_(executor), lifetime_(lifetime) {}

  void Post(executor::Task task) { strand_.Post(lifetime_.Guard(std::move(task))); }
  // A quick task, as executor::Strand::Dispatch.
  void Dispatch(executor::Task task) { strand_.Dispatch(lifetime_.Guard(std::move(task))); }

 private:
  executor::Strand strand_;
  const Lifetime lifetime_;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_LIFETIME_H_
