#ifndef KEYSPHERE_CONTROLLER_VMS_VMS_H_
#define KEYSPHERE_CONTROLLER_VMS_VMS_H_

#include <memory>
#include <string>

#include "absl/types/optional.h"
#include "common/status/callback.h"
#include "controller/access/access.h"
#include "controller/access/caller.h"
#include "controller/encryption/host_readiness.h"
#include "controller/encryption/key_maker.h"
#include "controller/events/event_log.h"
#include "controller/hosts/hosts.h"
#include "controller/providers/providers.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::vms {

// Virtual machines as vCenter handles them: registration, power and locks. The host does the work
// and judges; before an operation that needs a key the host is brought what it lacks (S132). Lives
// on the controller's strand.
class Vms {
 public:
  Vms(access::Access* access, hosts::Hosts* hosts, providers::Providers* providers,
      encryption::HostReadiness* readiness, encryption::KeyMaker* keys, hosts::NeededKeys* needs,
      events::EventLog* events)
      : access_(access),
        hosts_(hosts),
        providers_(providers),
        readiness_(readiness),
        keys_(keys),
        needs_(needs),
        events_(events) {}

  void RegisterVm(const access::Caller& caller, const v1::RegisterVmRequest& request,
                  status::Callback<v1::Vm> done);
  void UnregisterVm(const access::Caller& caller, const v1::UnregisterVmRequest& request,
                    status::Callback<v1::UnregisterVmResponse> done);
  void ReloadVm(const access::Caller& caller, const v1::ReloadVmRequest& request,
                status::Callback<v1::Vm> done);
  void GetVm(const access::Caller& caller, const v1::GetVmRequest& request,
             status::Callback<v1::Vm> done);
  void ListVms(const access::Caller& caller, const v1::ListVmsRequest& request,
               status::Callback<v1::ListVmsResponse> done);
  void PowerOnVm(const access::Caller& caller, const v1::PowerOnVmRequest& request,
                 status::Callback<v1::Vm> done);
  void PowerOffVm(const access::Caller& caller, const v1::PowerOffVmRequest& request,
                  status::Callback<v1::Vm> done);
  void ResetVm(const access::Caller& caller, const v1::ResetVmRequest& request,
               status::Callback<v1::Vm> done);
  void UnlockVm(const access::Caller& caller, const v1::UnlockVmRequest& request,
                status::Callback<v1::Vm> done);
  void ExplainVm(const access::Caller& caller, const v1::ExplainVmRequest& request,
                 status::Callback<v1::ExplainVmResponse> done);

 private:
  using Session = std::shared_ptr<hosts::HostSession>;

  // A VM of a host that answers.
  absl::StatusOr<hosts::Hosts::FoundVm> FindUsable(const std::string& vm,
                                                   const std::string& host) const;
  // Takes the host's answer into the cache, on the strand, and hands it on.
  status::Callback<host::v1::HostVm> Taking(Session host, status::Callback<v1::Vm> done);
  // An encrypted VM came to a host that is not safe: the host is enabled if the caller may do that
  // and the VM's key can be had; a caller who may not hears HOST_NOT_SAFE and the VM goes (S151).
  void EnableFor(const access::Caller& caller, Session host, v1::Vm vm,
                 status::Callback<v1::Vm> done);
  void TellRegistered(const access::Caller& caller, const hosts::HostSession& host,
                      const v1::Vm& vm);
  void UnregisterFrom(Session host, const std::string& vm, const std::string& user,
                      status::Callback<v1::UnregisterVmResponse> done);
  // Brings what the host lacks; what it may not have shows when the host does the work.
  void BringKeys(Session host, absl::AnyInvocable<void()> then);
  // The same with the VM's keys of standard providers.
  void BringKeysFor(Session host, const v1::Vm& vm, absl::AnyInvocable<void()> then);
  // The host has told which keys the VM's files name: those of standard providers that it lacks are
  // brought, and the VM is judged again.
  void BringAndJudge(Session host, v1::Vm vm, status::Callback<v1::Vm> done);
  // Why the host cannot have a key of this VM that it lacks; OK: it has it, or will be brought it.
  absl::Status WhyNotHad(const hosts::HostSession& host, const v1::CryptoKeyId& key) const;
  // Of a VM that is off and not locked: the first disk whose key is missing (S110), or none.
  absl::optional<v1::LockExplanation> ExplainDisks(const hosts::HostSession& host,
                                                   const v1::Vm& vm) const;
  // What the host said, with what this vCenter knows of the cause (S154).
  absl::Status Enrich(const hosts::HostSession& host, const v1::Vm& vm,
                      const absl::Status& refused) const;

  access::Access* const access_;
  hosts::Hosts* const hosts_;
  providers::Providers* const providers_;
  encryption::HostReadiness* const readiness_;
  encryption::KeyMaker* const keys_;
  hosts::NeededKeys* const needs_;
  events::EventLog* const events_;
};

}  // namespace keysphere::controller::vms

#endif  // KEYSPHERE_CONTROLLER_VMS_VMS_H_
