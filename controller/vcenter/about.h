#ifndef KEYSPHERE_CONTROLLER_VCENTER_ABOUT_H_
#define KEYSPHERE_CONTROLLER_VCENTER_ABOUT_H_

#include <functional>
#include <string>
#include <vector>

#include "common/clock/clock.h"
#include "common/status/callback.h"
#include "controller/access/caller.h"
#include "controller/hosts/hosts.h"
#include "controller/providers/providers.h"
#include "controller/remediation/remediator.h"
#include "keysphere/v1/controller.pb.h"

namespace keysphere::controller::vcenter {

// What a vCenter tells of itself. Lives on the controller's strand.
class AboutVCenter {
 public:
  // Adds the figures of the process, which the domain does not know.
  using ProcessFigures = std::function<void(v1::ControllerStats*)>;
  struct Facts {
    std::string name;
    std::string version;
    std::vector<std::string> dns_names;
    std::string instance_id;  // of this process
    ProcessFigures process_figures;
  };
  AboutVCenter(Facts facts, clock::Clock* clock, hosts::Hosts* hosts,
               providers::Providers* providers, remediation::Remediator* remediator)
      : facts_(std::move(facts)),
        clock_(clock),
        hosts_(hosts),
        providers_(providers),
        remediator_(remediator) {}

  void GetAbout(const access::Caller& caller, const v1::GetAboutRequest& request,
                status::Callback<v1::About> done);
  void GetStats(const access::Caller& caller, const v1::GetStatsRequest& request,
                status::Callback<v1::ControllerStats> done);

 private:
  const Facts facts_;
  clock::Clock* const clock_;
  hosts::Hosts* const hosts_;
  providers::Providers* const providers_;
  remediation::Remediator* const remediator_;
};

}  // namespace keysphere::controller::vcenter

#endif  // KEYSPHERE_CONTROLLER_VCENTER_ABOUT_H_
