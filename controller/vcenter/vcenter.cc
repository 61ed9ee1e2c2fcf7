#include "controller/vcenter/vcenter.h"

#include <utility>

#include "common/status/status.h"

namespace keysphere::controller::vcenter {

absl::StatusOr<std::unique_ptr<VCenter>> VCenter::Create(Options options, Deps deps) {
  auto vcenter = std::unique_ptr<VCenter>(new VCenter(deps));
  VCenter& v = *vcenter;
  executor::Strand* const strand = &v.strand_;
  KS_ASSIGN_OR_RETURN(v.access_, access::Access::Load(deps.store, strand, options.administrators));
  KS_ASSIGN_OR_RETURN(v.options_, options::Options::Load(deps.store, strand));
  KS_ASSIGN_OR_RETURN(v.events_, events::EventLog::Load(deps.store, strand, deps.clock));
  KS_ASSIGN_OR_RETURN(v.alarms_, alarms::Alarms::Load(deps.store, strand, deps.clock));
  KS_ASSIGN_OR_RETURN(v.tasks_, tasks::Tasks::Load(deps.store, strand, deps.clock, deps.random));
  KS_ASSIGN_OR_RETURN(v.requests_, requests::RequestLog::Load(deps.store, strand, deps.clock));
  KS_ASSIGN_OR_RETURN(v.inventory_, inventory::Inventory::Load(deps.store, strand));
  v.host_watcher_ =
      std::make_unique<alarms::HostWatcher>(v.events_.get(), v.alarms_.get(), v.inventory_.get());

  kms::KmsCluster::Deps kms_deps;
  kms_deps.strand = strand;
  kms_deps.clock = deps.clock;
  kms_deps.factory = deps.key_servers;
  kms_deps.version = options.version;
  v.kms_ = std::make_unique<kms::KmsClusters>(std::move(kms_deps));
  providers::Providers::Deps provider_deps;
  if (deps.key_servers != nullptr) provider_deps.kms = v.kms_.get();
  provider_deps.store = deps.store;
  provider_deps.strand = strand;
  provider_deps.clock = deps.clock;
  provider_deps.random = deps.random;
  provider_deps.work = deps.executor;
  provider_deps.events = v.events_.get();
  provider_deps.alarms = v.alarms_.get();
  provider_deps.options = v.options_.get();
  provider_deps.vcenter_name = options.name;
  provider_deps.version = options.version;
  provider_deps.dns_names = options.dns_names;
  provider_deps.bundle_iterations = options.bundle_iterations;
  KS_ASSIGN_OR_RETURN(v.providers_, providers::Providers::Load(std::move(provider_deps)));

  v.kms_monitor_ = std::make_unique<kms::KmsMonitor>(kms::KmsMonitor::Deps{
      strand, deps.clock, v.kms_.get(), v.events_.get(), v.alarms_.get(), v.options_.get()});
  v.providers_->OnKms(
      [monitor = v.kms_monitor_.get()](const std::string& name) { monitor->Tell(name); },
      [monitor = v.kms_monitor_.get()](const std::string& name) { monitor->Forget(name); });

  hosts::HostSession::Deps host_deps;
  host_deps.strand = strand;
  host_deps.clock = deps.clock;
  host_deps.random = deps.random;
  host_deps.inventory = v.inventory_.get();
  host_deps.providers = v.providers_.get();
  host_deps.links = deps.links;
  host_deps.observer = v.host_watcher_.get();
  host_deps.kms = v.kms_.get();
  v.needs_ = std::make_unique<hosts::NeededKeys>();
  host_deps.needs = v.needs_.get();
  v.hosts_ = std::make_unique<hosts::Hosts>(host_deps);
  v.needs_->OnAdded(
      [hosts = v.hosts_.get()](const std::string& cluster) { hosts->OnKeyNeeded(cluster); });
  v.providers_->Connect(v.hosts_.get(), v.hosts_.get());
  v.inventory_->SetDefaults(
      [providers = v.providers_.get()](absl::string_view cluster) {
        return providers->ClusterDefault(cluster);
      },
      [providers = v.providers_.get()](absl::string_view cluster) {
        return providers->ClusterDefaultIsGone(cluster);
      });

  v.inventory_->OnClusterDeleted([providers = v.providers_.get()](const std::string& name) {
    providers->ForgetCluster(name);
  });

  v.remediator_ = std::make_unique<remediation::Remediator>(
      remediation::Remediator::Deps{strand, deps.clock, v.options_.get(), v.hosts_.get()});
  v.keys_ = std::make_unique<encryption::KeyMaker>(v.kms_.get(), v.needs_.get(), v.hosts_.get(),
                                                   deps.random);
  v.readiness_ = std::make_unique<encryption::HostReadiness>(
      v.access_.get(), v.providers_.get(), v.hosts_.get(), v.needs_.get(), v.keys_.get());
  encryption::HostEncryption::Deps mode_deps;
  mode_deps.access = v.access_.get();
  mode_deps.hosts = v.hosts_.get();
  mode_deps.needs = v.needs_.get();
  mode_deps.readiness = v.readiness_.get();
  mode_deps.keys = v.keys_.get();
  mode_deps.events = v.events_.get();
  mode_deps.alarms = v.alarms_.get();
  mode_deps.options = v.options_.get();
  v.host_encryption_ = std::make_unique<encryption::HostEncryption>(mode_deps);
  v.host_watcher_->OnKeyLost([encryption = v.host_encryption_.get()](
                                 const std::string& host, absl::AnyInvocable<void()> done) {
    encryption->RestoreHostKey(host, std::move(done));
  });
  v.host_watcher_->SetRestorable([keys = v.keys_.get()](const v1::CryptoKeyId& key) {
    return keys->IsStandard(key.provider_id());
  });
  encryption::VmEncryption::Deps vm_deps;
  vm_deps.access = v.access_.get();
  vm_deps.hosts = v.hosts_.get();
  vm_deps.providers = v.providers_.get();
  vm_deps.readiness = v.readiness_.get();
  vm_deps.keys = v.keys_.get();
  vm_deps.kms = v.kms_.get();
  vm_deps.needs = v.needs_.get();
  vm_deps.events = v.events_.get();
  vm_deps.tasks = v.tasks_.get();
  v.lost_answers_ =
      std::make_unique<encryption::LostAnswers>(v.events_.get(), v.tasks_.get(), v.hosts_.get());
  v.host_watcher_->OnVmTold(
      [lost = v.lost_answers_.get()](const std::string& host, const v1::Vm& vm) {
        lost->OnVm(host, vm);
      });
  vm_deps.lost_answers = v.lost_answers_.get();
  vm_deps.edition = options.edition;
  v.vm_encryption_ = std::make_unique<encryption::VmEncryption>(vm_deps);
  v.host_watcher_->OnVmAdvanced([encryption = v.vm_encryption_.get()](
                                    const std::string& host, const std::string& vm, int percent) {
    encryption->NoteProgress(host, vm, percent);
  });
  v.vms_ = std::make_unique<vms::Vms>(v.access_.get(), v.hosts_.get(), v.providers_.get(),
                                      v.readiness_.get(), v.keys_.get(), v.needs_.get(),
                                      v.events_.get());
  AboutVCenter::Facts facts{options.name, options.version, options.dns_names, deps.random->Uuid(),
                            options.process_figures};
  v.about_ = std::make_unique<AboutVCenter>(std::move(facts), deps.clock, v.hosts_.get(),
                                            v.providers_.get(), v.remediator_.get());
  v.waiter_ = std::make_unique<StateWaiter>(v.hosts_.get(), v.alarms_.get());
  v.host_watcher_->OnAnyChange([waiter = v.waiter_.get()]() { waiter->Look(); });
  return vcenter;
}

VCenter::~VCenter() = default;

void VCenter::Start() {
  providers_->Start();
  hosts_->Start();
  remediator_->Start();
  kms_monitor_->Start();
}

void VCenter::Stop() {
  kms_monitor_->Stop();
  kms_->Close();
  remediator_->Stop();
  hosts_->Stop();
}

}  // namespace keysphere::controller::vcenter
