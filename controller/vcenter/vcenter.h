#ifndef KEYSPHERE_CONTROLLER_VCENTER_VCENTER_H_
#define KEYSPHERE_CONTROLLER_VCENTER_VCENTER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/crypto/bundle.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/access.h"
#include "controller/alarms/alarms.h"
#include "controller/alarms/host_watcher.h"
#include "controller/encryption/host_encryption.h"
#include "controller/encryption/host_readiness.h"
#include "controller/encryption/key_maker.h"
#include "controller/encryption/lost_answers.h"
#include "controller/encryption/vm_encryption.h"
#include "controller/events/event_log.h"
#include "controller/hosts/host_link.h"
#include "controller/hosts/hosts.h"
#include "controller/hosts/needed_keys.h"
#include "controller/inventory/inventory.h"
#include "controller/kms/key_server_factory.h"
#include "controller/kms/kms_clusters.h"
#include "controller/kms/kms_monitor.h"
#include "controller/options/options.h"
#include "controller/providers/providers.h"
#include "controller/remediation/remediator.h"
#include "controller/requests/request_log.h"
#include "controller/tasks/tasks.h"
#include "controller/vcenter/about.h"
#include "controller/vcenter/state_waiter.h"
#include "controller/vms/vms.h"

namespace keysphere::controller::vcenter {

// One vCenter: all its parts, put together. It knows neither gRPC nor the wall clock, so that a
// daemon and a simulation of many in one process use the same. Everything but Create runs on its
// strand: post to strand() before calling a part.
class VCenter {
 public:
  struct Options {
    std::string name;
    std::string version = "8.0.3";
    std::vector<std::string> dns_names;       // names under which export works (S3)
    std::vector<std::string> administrators;  // users
    encryption::Edition edition = encryption::Edition::kEnterprisePlus;
    AboutVCenter::ProcessFigures process_figures;  // may be empty
    // PBKDF2 iterations of backups that it makes; simulations take few.
    int bundle_iterations = crypto::kBundleIterations;
  };
  // All outlive it.
  struct Deps {
    store::Store* store;
    executor::Executor* executor;
    clock::Clock* clock;
    random::Random* random;
    hosts::HostLinkFactory* links;
    kms::KeyServerFactory* key_servers = nullptr;  // none: it has no standard providers
  };

  // Reads the state from the store. STORE_CORRUPT and the store's errors.
  static absl::StatusOr<std::unique_ptr<VCenter>> Create(Options options, Deps deps);
  ~VCenter();

  executor::Strand* strand() { return &strand_; }

  // Connects to hosts and begins the loops. On the strand.
  void Start();
  // Ends them. On the strand; the object may go when the executor has drained.
  void Stop();

  // `done`, held back until what the answer's operation did has its events durable (S148). For
  // answers on the strand.
  template <typename Response>
  status::Callback<Response> AfterItsEvents(status::Callback<Response> done) {
    return
        [events = events_.get(), done = std::move(done)](absl::StatusOr<Response> answer) mutable {
          events->Flushed([answer = std::move(answer), done = std::move(done)](
                              const absl::Status&) mutable { done(std::move(answer)); });
        };
  }

  access::Access& access() { return *access_; }
  options::Options& options() { return *options_; }
  events::EventLog& events() { return *events_; }
  alarms::Alarms& alarms() { return *alarms_; }
  tasks::Tasks& tasks() { return *tasks_; }
  requests::RequestLog& requests() { return *requests_; }
  providers::Providers& providers() { return *providers_; }
  inventory::Inventory& inventory() { return *inventory_; }
  hosts::Hosts& hosts() { return *hosts_; }
  remediation::Remediator& remediator() { return *remediator_; }
  encryption::HostEncryption& host_encryption() { return *host_encryption_; }
  encryption::VmEncryption& vm_encryption() { return *vm_encryption_; }
  vms::Vms& vms() { return *vms_; }
  AboutVCenter& about() { return *about_; }
  StateWaiter& waiter() { return *waiter_; }

 private:
  explicit VCenter(Deps deps) : strand_(deps.executor) {}

  executor::Strand strand_;
  std::unique_ptr<access::Access> access_;
  std::unique_ptr<options::Options> options_;
  std::unique_ptr<events::EventLog> events_;
  std::unique_ptr<alarms::Alarms> alarms_;
  std::unique_ptr<tasks::Tasks> tasks_;
  std::unique_ptr<requests::RequestLog> requests_;
  std::unique_ptr<inventory::Inventory> inventory_;
  std::unique_ptr<alarms::HostWatcher> host_watcher_;
  std::unique_ptr<kms::KmsClusters> kms_;
  std::unique_ptr<providers::Providers> providers_;
  std::unique_ptr<kms::KmsMonitor> kms_monitor_;
  std::unique_ptr<hosts::NeededKeys> needs_;
  std::unique_ptr<hosts::Hosts> hosts_;
  std::unique_ptr<remediation::Remediator> remediator_;
  std::unique_ptr<encryption::KeyMaker> keys_;
  std::unique_ptr<encryption::HostReadiness> readiness_;
  std::unique_ptr<encryption::HostEncryption> host_encryption_;
  std::unique_ptr<encryption::LostAnswers> lost_answers_;
  std::unique_ptr<encryption::VmEncryption> vm_encryption_;
  std::unique_ptr<vms::Vms> vms_;
  std::unique_ptr<AboutVCenter> about_;
  std::unique_ptr<StateWaiter> waiter_;
};

}  // namespace keysphere::controller::vcenter

#endif  // KEYSPHERE_CONTROLLER_VCENTER_VCENTER_H_
