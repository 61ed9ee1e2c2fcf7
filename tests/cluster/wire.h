#ifndef KEYSPHERE_TESTS_CLUSTER_WIRE_H_
#define KEYSPHERE_TESTS_CLUSTER_WIRE_H_

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/executor/simulated_executor.h"
#include "controller/hosts/host_link.h"
#include "hostagent/agent/host_agent.h"
#include "tests/cluster/life.h"

namespace keysphere::tests {

// The network between controllers and one host, with its faults. A call to a host that is down, or
// behind a cut link, waits until the host can be reached or its deadline comes. When a host is
// killed, calls under way and watches end at once; a cut link only keeps what is on it.
class Wire : public std::enable_shared_from_this<Wire> {
 public:
  Wire(executor::SimulatedExecutor* executor, std::string host)
      : executor_(executor), host_(std::move(host)) {}

  // The agent that serves; nullptr: the host is down.
  void SetAgent(hostagent::agent::HostAgent* agent);
  void SetCut(bool cut);
  void SetDelay(absl::Duration delay) { delay_ = delay; }

  // Calls that controllers made, by method.
  int calls(const std::string& method) const {
    const auto it = calls_.find(method);
    return it == calls_.end() ? 0 : it->second;
  }
  int all_calls() const;

  // A controller's end. `life` is the controller's.
  std::unique_ptr<controller::hosts::HostLink> Connect(absl::string_view controller,
                                                       const Life& life);

 private:
  friend class WireLink;
  // A call or watch of a controller.
  struct Call {
    std::function<void(hostagent::agent::HostAgent*)> send;
    absl::AnyInvocable<void(absl::Status)> fail;  // no effect after its end
  };
  using CallPtr = std::shared_ptr<Call>;

  bool reachable() const { return agent_ != nullptr && !cut_; }
  absl::Status NotResponding(absl::string_view why) const;
  void Submit(const std::string& method, CallPtr call);
  void Send(CallPtr call);
  // Something on its way back: after the delay, and not through a cut link.
  void Return(absl::AnyInvocable<void()> deliver);

  executor::SimulatedExecutor* const executor_;
  const std::string host_;
  hostagent::agent::HostAgent* agent_ = nullptr;
  bool cut_ = false;
  absl::Duration delay_;
  std::map<std::string, int> calls_;
  std::vector<CallPtr> parked_;
  std::vector<std::weak_ptr<Call>> under_way_;
  std::vector<absl::AnyInvocable<void()>> held_back_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_WIRE_H_
