#ifndef KEYSPHERE_CONTROLLER_REMEDIATION_REMEDIATOR_H_
#define KEYSPHERE_CONTROLLER_REMEDIATION_REMEDIATOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "controller/access/caller.h"
#include "controller/hosts/hosts.h"
#include "controller/options/options.h"
#include "controller/schedule/periodic.h"
#include "keysphere/v1/controller.pb.h"

namespace keysphere::controller::remediation {

// The remediation loop: brings every host exactly what it is entitled to (S33), every
// vpxd.KMS.remediationInterval minutes and when asked. At most kWindow hosts are asked at a time;
// each has its own deadline, so that a dead host delays no other. Lives on the controller's strand.
class Remediator {
 public:
  static constexpr size_t kWindow = 64;

  struct Deps {
    executor::Strand* strand;
    clock::Clock* clock;
    options::Options* options;
    hosts::Hosts* hosts;
  };
  explicit Remediator(Deps deps);

  // The first periodic pass is one interval from now (S70).
  void Start() { periodic_.Start(); }
  void Stop() { periodic_.Stop(); }

  // One pass over `hosts`: a plain function of the present state, without the schedule. It tells
  // every host's outcome once each has answered or failed.
  void SyncOnce(std::vector<std::shared_ptr<hosts::HostSession>> hosts,
                status::Callback<v1::RemediateResponse> done);

  void Remediate(const access::Caller& caller, const v1::RemediateRequest& request,
                 status::Callback<v1::RemediateResponse> done);

  int64_t passes() const { return passes_; }
  absl::Time last_pass() const { return last_pass_; }
  absl::Time next_pass() const { return periodic_.next(); }

 private:
  struct Pass;

  static void RunMore(const std::shared_ptr<Pass>& pass);

  const Deps deps_;
  schedule::Periodic periodic_;
  int64_t passes_ = 0;
  absl::Time last_pass_ = absl::InfinitePast();
};

}  // namespace keysphere::controller::remediation

#endif  // KEYSPHERE_CONTROLLER_REMEDIATION_REMEDIATOR_H_
