#ifndef KEYSPHERE_CONTROLLER_VCENTER_STATE_WAITER_H_
#define KEYSPHERE_CONTROLLER_VCENTER_STATE_WAITER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "controller/alarms/alarms.h"
#include "controller/hosts/hosts.h"
#include "keysphere/v1/events.pb.h"

namespace keysphere::controller::vcenter {

// Tells who waits when a typed predicate over VMs, hosts and alarms holds, so that nobody polls.
// Lives on the controller's strand.
class StateWaiter {
 public:
  StateWaiter(hosts::Hosts* hosts, alarms::Alarms* alarms) : hosts_(hosts), alarms_(alarms) {}

  // Calls `sink` with the state now and after each change of it; with `holds` the last time.
  // INVALID_ARGUMENT without a predicate.
  using WaitId = uint64_t;
  using Sink = std::function<void(const v1::WaitForResponse&)>;
  absl::StatusOr<WaitId> WaitFor(const v1::WaitForRequest& request, Sink sink);
  void Cancel(WaitId id);

  // Something may have changed: looks at all that waits.
  void Look();

 private:
  struct Wait {
    v1::WaitForRequest request;
    Sink sink;
    std::string told;
  };

  v1::WaitForResponse Evaluate(const v1::WaitForRequest& request) const;

  hosts::Hosts* const hosts_;
  alarms::Alarms* const alarms_;
  std::map<WaitId, Wait> waits_;
  WaitId next_ = 1;
};

}  // namespace keysphere::controller::vcenter

#endif  // KEYSPHERE_CONTROLLER_VCENTER_STATE_WAITER_H_
