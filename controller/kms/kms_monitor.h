#ifndef KEYSPHERE_CONTROLLER_KMS_KMS_MONITOR_H_
#define KEYSPHERE_CONTROLLER_KMS_KMS_MONITOR_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "controller/alarms/alarms.h"
#include "controller/events/event_log.h"
#include "controller/kms/kms_clusters.h"
#include "controller/options/options.h"
#include "controller/schedule/periodic.h"

namespace keysphere::controller::kms {

// Asks the servers of all standard providers every vpxd.KMS.status minutes whether they are well:
// the only KMIP traffic of a vCenter where nothing happens (S61). What it finds becomes events and
// alarms (S92, S94), which end when their cause does. Lives on the controller's strand.
class KmsMonitor {
 public:
  struct Deps {
    executor::Strand* strand;
    clock::Clock* clock;
    KmsClusters* kms;
    events::EventLog* events;
    alarms::Alarms* alarms;
    options::Options* options;
  };
  explicit KmsMonitor(Deps deps);
  ~KmsMonitor();

  // The first check is one interval from now.
  void Start() { periodic_.Start(); }
  void Stop() { periodic_.Stop(); }

  // The provider's servers have just been checked: tells what that means.
  void Tell(const std::string& provider);
  // The provider is no more: neither are its alarms.
  void Forget(const std::string& provider);

 private:
  void CheckAll();
  void TellServers(const KmsCluster& cluster);
  void TellClient(const KmsCluster& cluster);
  // Another message is told anew; an empty one ends the alarm.
  void TellCertificates(const std::string& provider, absl::string_view alarm,
                        absl::string_view event, const std::string& message);
  int64_t Append(absl::string_view type, const std::string& provider, absl::string_view message);

  const Deps deps_;
  schedule::Periodic periodic_;
  // Checks under way may outlive this.
  const std::shared_ptr<KmsMonitor*> self_;
};

}  // namespace keysphere::controller::kms

#endif  // KEYSPHERE_CONTROLLER_KMS_KMS_MONITOR_H_
