#include "services/simulator/bootstrap.h"

#include <openssl/rand.h>

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "keysphere/v1/tasks.grpc.pb.h"

namespace keysphere::simulator {
namespace {

constexpr char kCluster[] = "cluster-a";
constexpr char kStandardProvider[] = "skp-1";
// A machine with few processors may have thousands of processes to start.
constexpr absl::Duration kTimeout = absl::Minutes(5);

rpc::CallOptions Patient() {
  rpc::CallOptions options;
  options.timeout = kTimeout;
  return options;
}

// A bundle is in memory of gRPC here; with a password that nobody has, it is of no use to anybody.
std::string UnknownPassword() {
  unsigned char bytes[16];
  KS_CHECK(RAND_bytes(bytes, sizeof bytes) == 1);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes), sizeof bytes));
}

}  // namespace

struct Bootstrap::Site {
  int index = 0;
  std::string name;
  std::string provider;  // empty: none is made
  // After Connect.
  std::unique_ptr<rpc::Client<v1::Clusters>> clusters;
  std::unique_ptr<rpc::Client<v1::Hosts>> hosts;
  std::unique_ptr<rpc::Client<v1::KeyProviders>> providers;
  std::unique_ptr<rpc::Client<v1::VirtualMachines>> vms;
  std::unique_ptr<rpc::Client<v1::Tasks>> tasks;
  rpc::Subscription download;
  // Guarded by mutex_.
  bool prepared = false;
  std::vector<sim::v1::SimulatedProcess> waiting;  // hosts that are READY before it is prepared
};

absl::Status Bootstrap::Check(const Options& options) {
  const auto invalid = [](absl::string_view message) -> absl::Status {
    return status::Error(v1::REASON_INVALID_ARGUMENT, message);
  };
  if (options.vms < 0 || options.encrypted < 0) return invalid("vms, encrypted: 0 or more");
  if (options.vms > 0 && options.topology.hosts.empty()) return invalid("vms: there is no host");
  if (options.encrypted > options.vms) return invalid("encrypted: more than there are VMs");
  if (options.standard && options.topology.kms.empty()) {
    return invalid("encrypted-by: a standard provider needs a KMS");
  }
  if (options.disk_bytes < 0 || options.disk_bytes % 4096 != 0) {
    return invalid("disk-size: a multiple of 4,096");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Bootstrap>> Bootstrap::Create(Options options, Done done) {
  KS_RETURN_IF_ERROR(Check(options));
  return absl::WrapUnique(new Bootstrap(std::move(options), std::move(done)));
}

Bootstrap::Bootstrap(Options options, Done done)
    : options_(std::move(options)), done_(std::move(done)) {
  const Topology& topology = options_.topology;
  for (const std::string& name : topology.controllers) {
    auto site = std::make_unique<Site>();
    site->index = sites_.size();
    site->name = name;
    sites_.emplace(name, std::move(site));
  }
  for (const HostPlan& host : topology.hosts) {
    site_of_host_[host.name] = sites_.at(host.controller).get();
  }
  for (int i = 0; i < options_.vms; ++i) {
    VmPlan vm;
    vm.host = topology.hosts[i % topology.hosts.size()].name;
    vm.site = site_of_host_.at(vm.host);
    vm.name = absl::StrCat("vm-", i + 1);
    vm.encrypted = i < options_.encrypted;
    vms_of_host_[vm.host].push_back(vm);
  }
  if (options_.standard) {
    for (const auto& [name, site] : sites_) site->provider = kStandardProvider;
  } else if (options_.encrypted > 0) {
    for (const HostPlan& host : topology.hosts) {
      Site* const site = sites_.at(host.controller).get();
      site->provider = absl::StrCat("nkp-", site->index + 1);
    }
  }
  processes_left_ = topology.controllers.size() + topology.hosts.size() + topology.kms.size();
  sites_left_ = topology.controllers.size();
  hosts_left_ = topology.hosts.size();
  vms_left_ = options_.vms;
}

Bootstrap::~Bootstrap() = default;

void Bootstrap::OnReady(const sim::v1::SimulatedProcess& process) {
  {
    sync::MutexLock lock(&mutex_);
    if (--processes_left_ == 0) report_.processes = options_.clock->Now() - options_.begin;
  }
  if (process.kind() == sim::v1::PROCESS_KIND_KMS) return KmsReady(process);
  const auto controller = sites_.find(process.name());
  if (controller != sites_.end()) {
    const absl::Status connected = Connect(process, controller->second.get());
    if (connected.ok()) {
      CreateCluster(controller->second.get());
    } else {
      Fail(connected);
    }
    return;
  }
  Site* const site = site_of_host_.at(process.name());
  {
    sync::MutexLock lock(&mutex_);
    if (!site->prepared) {
      site->waiting.push_back(process);
      return;
    }
  }
  AddHost(site, process);
}

void Bootstrap::KmsReady(const sim::v1::SimulatedProcess& node) {
  std::vector<Site*> sites;
  {
    sync::MutexLock lock(&mutex_);
    kms_addresses_[node.name()] = node.address();
    if (kms_addresses_.size() == options_.topology.kms.size()) sites.swap(waiting_for_kms_);
  }
  for (Site* const site : sites) CreateStandardProvider(site);
  FinishIfDone();
}

absl::Status Bootstrap::Connect(const sim::v1::SimulatedProcess& controller, Site* site) {
  rpc::ChannelOptions options;
  options.target = absl::StrCat("ipv4:", controller.address());
  KS_ASSIGN_OR_RETURN(options.peer, identity::Identity::Parse(controller.spiffe_id()));
  options.credentials = options_.user.Clone();
  options.clock = options_.clock;
  options.authority = controller.dns_name();  // S3: an export wants a full name
  options.unreachable = v1::REASON_CONTROLLER_UNAVAILABLE;
  KS_ASSIGN_OR_RETURN(const auto channel, rpc::Channel::Create(std::move(options)));
  site->clusters = std::make_unique<rpc::Client<v1::Clusters>>(channel);
  site->hosts = std::make_unique<rpc::Client<v1::Hosts>>(channel);
  site->providers = std::make_unique<rpc::Client<v1::KeyProviders>>(channel);
  site->vms = std::make_unique<rpc::Client<v1::VirtualMachines>>(channel);
  site->tasks = std::make_unique<rpc::Client<v1::Tasks>>(channel);
  return absl::OkStatus();
}

// A vCenter.

void Bootstrap::CreateCluster(Site* site) {
  v1::CreateClusterRequest request;
  request.set_name(kCluster);
  site->clusters->Call(&v1::Clusters::Stub::async::CreateCluster, std::move(request), Patient(),
                       [self = shared_from_this(), site](absl::StatusOr<v1::Cluster> made) {
                         if (!made.ok()) return self->Fail(made.status());
                         if (site->provider.empty()) return self->Prepared(site);
                         if (self->options_.standard) return self->CreateStandardProvider(site);
                         self->CreateProvider(site);
                       });
}

void Bootstrap::CreateProvider(Site* site) {
  v1::CreateKeyProviderRequest request;
  request.set_name(site->provider);
  site->providers->Call(&v1::KeyProviders::Stub::async::CreateKeyProvider, std::move(request),
                        Patient(),
                        [self = shared_from_this(), site](absl::StatusOr<v1::KeyProvider> made) {
                          if (!made.ok()) return self->Fail(made.status());
                          self->ExportProvider(site);
                        });
}

void Bootstrap::CreateStandardProvider(Site* site) {
  v1::CreateKeyProviderRequest request;
  request.set_name(site->provider);
  v1::StandardProviderSpec* const spec = request.mutable_standard();
  {
    sync::MutexLock lock(&mutex_);
    if (kms_addresses_.size() < options_.topology.kms.size()) {
      waiting_for_kms_.push_back(site);
      return;
    }
    for (const std::string& node : options_.topology.kms) {
      v1::KmsServer* const server = spec->add_servers();
      server->set_name(node);
      server->set_address(kms_addresses_.at(node));
    }
  }
  const identity::Credentials& client = options_.kmip_client;
  spec->set_trusted_certificates(client.ca_pem);
  spec->set_client_certificate(client.certificate_pem);
  spec->set_client_private_key(client.key_pem.view().data(), client.key_pem.view().size());
  site->providers->Call(&v1::KeyProviders::Stub::async::CreateKeyProvider, std::move(request),
                        Patient(),
                        [self = shared_from_this(), site](absl::StatusOr<v1::KeyProvider> made) {
                          if (!made.ok()) return self->Fail(made.status());
                          self->SetDefault(site);
                        });
}

void Bootstrap::ExportProvider(Site* site) {
  v1::ExportKeyProviderRequest request;
  request.set_name(site->provider);
  request.set_password(UnknownPassword());
  site->providers->Call(
      &v1::KeyProviders::Stub::async::ExportKeyProvider, std::move(request), Patient(),
      [self = shared_from_this(), site](absl::StatusOr<v1::ExportKeyProviderResponse> begun) {
        if (!begun.ok()) return self->Fail(begun.status());
        self->DownloadProvider(site, begun->token());
      });
}

void Bootstrap::DownloadProvider(Site* site, std::string token) {
  v1::DownloadKeyProviderRequest request;
  request.set_name(site->provider);
  request.set_token(std::move(token));
  site->download =
      site->providers->Watch<v1::DownloadKeyProviderRequest, v1::DownloadKeyProviderResponse>(
          &v1::KeyProviders::Stub::async::DownloadKeyProvider, std::move(request), Patient(),
          [](const v1::DownloadKeyProviderResponse&) {},
          [self = shared_from_this(), site](const absl::Status& ended) {
            if (!ended.ok()) return self->Fail(ended);
            self->SetDefault(site);
          });
}

void Bootstrap::SetDefault(Site* site) {
  v1::SetDefaultKeyProviderRequest request;
  request.set_name(site->provider);
  site->providers->Call(
      &v1::KeyProviders::Stub::async::SetDefaultKeyProvider, std::move(request), Patient(),
      [self = shared_from_this(), site](absl::StatusOr<v1::SetDefaultKeyProviderResponse> set) {
        if (!set.ok()) return self->Fail(set.status());
        self->Prepared(site);
      });
}

void Bootstrap::Prepared(Site* site) {
  std::vector<sim::v1::SimulatedProcess> hosts;
  {
    sync::MutexLock lock(&mutex_);
    site->prepared = true;
    --sites_left_;
    hosts.swap(site->waiting);
  }
  for (const sim::v1::SimulatedProcess& host : hosts) AddHost(site, host);
  FinishIfDone();
}

// A host.

void Bootstrap::AddHost(Site* site, const sim::v1::SimulatedProcess& host) {
  v1::AddHostRequest request;
  request.set_name(host.name());
  request.set_address(host.address());
  request.set_cluster(kCluster);
  const std::string name = host.name();
  site->hosts->Call(&v1::Hosts::Stub::async::AddHost, std::move(request), Patient(),
                    [self = shared_from_this(), site, name](absl::StatusOr<v1::Host> added) {
                      if (!added.ok()) return self->Fail(added.status());
                      self->Added(site, name);
                    });
}

void Bootstrap::Added(Site*, const std::string& host) {
  {
    sync::MutexLock lock(&mutex_);
    if (--hosts_left_ == 0) report_.hosts = options_.clock->Now() - options_.begin;
    for (const VmPlan& vm : vms_of_host_[host]) to_make_.push_back(vm);
  }
  MakeVms();
  FinishIfDone();
}

// VMs.

void Bootstrap::MakeVms() {
  std::vector<VmPlan> now;
  {
    sync::MutexLock lock(&mutex_);
    while (being_made_ < options_.window && !to_make_.empty()) {
      now.push_back(to_make_.front());
      to_make_.pop_front();
      ++being_made_;
    }
  }
  for (const VmPlan& vm : now) MakeVm(vm);
}

void Bootstrap::MakeVm(const VmPlan& vm) {
  v1::CreateVmRequest request;
  request.set_host(vm.host);
  request.set_name(vm.name);
  if (options_.disk_bytes > 0) request.add_disks()->set_capacity_bytes(options_.disk_bytes);
  if (vm.encrypted) {
    request.mutable_crypto()->mutable_key()->set_provider_id(vm.site->provider);
  }
  vm.site->vms->Call(&v1::VirtualMachines::Stub::async::CreateVm, std::move(request), Patient(),
                     [self = shared_from_this(), vm](absl::StatusOr<v1::Task> begun) {
                       if (!begun.ok()) return self->Fail(begun.status());
                       self->FollowTask(vm, *std::move(begun));
                     });
}

void Bootstrap::FollowTask(const VmPlan& vm, v1::Task task) {
  if (task.state() != v1::Task::STATE_RUNNING) return VmEnded(vm, task);
  v1::WatchTaskRequest request;
  request.set_id(task.id());
  auto last = std::make_shared<v1::Task>(std::move(task));
  const std::string key = absl::StrCat(vm.host, "/", vm.name);
  auto watch = vm.site->tasks->Watch<v1::WatchTaskRequest, v1::Task>(
      &v1::Tasks::Stub::async::WatchTask, std::move(request), Patient(),
      [last](v1::Task seen) { *last = std::move(seen); },
      [self = shared_from_this(), last, key, vm](const absl::Status& ended) {
        rpc::Subscription over;  // goes after the lock
        {
          sync::MutexLock lock(&self->mutex_);
          over = std::move(self->watches_[key]);
        }
        if (!ended.ok()) return self->Fail(ended);
        self->VmEnded(vm, *last);
      });
  sync::MutexLock lock(&mutex_);
  watches_[key] = std::move(watch);
}

void Bootstrap::VmEnded(const VmPlan& vm, const v1::Task& task) {
  if (task.state() != v1::Task::STATE_SUCCEEDED) {
    return Fail(status::Error(task.error().reason(),
                              absl::StrCat(vm.name, " on ", vm.host, ": ", task.error_message()))
                    .Object("vm", vm.name)
                    .NextStep(task.error().next_step()));
  }
  {
    sync::MutexLock lock(&mutex_);
    --being_made_;
    if (--vms_left_ == 0) report_.vms = options_.clock->Now() - options_.begin;
  }
  MakeVms();
  FinishIfDone();
}

// The end.

void Bootstrap::Fail(const absl::Status& status) {
  Done done;
  {
    sync::MutexLock lock(&mutex_);
    done = std::exchange(done_, nullptr);
  }
  Abandon();
  if (done) done(status);
}

void Bootstrap::Abandon() {
  Done done;
  std::map<std::string, rpc::Subscription> watches;  // go after the lock
  sync::MutexLock lock(&mutex_);
  done = std::exchange(done_, nullptr);
  to_make_.clear();
  watches.swap(watches_);
}

void Bootstrap::FinishIfDone() {
  Done done;
  Report report;
  {
    sync::MutexLock lock(&mutex_);
    if (processes_left_ + sites_left_ + hosts_left_ + vms_left_ != 0) return;
    done = std::exchange(done_, nullptr);
    report = report_;
  }
  if (done) done(report);
}

}  // namespace keysphere::simulator
