// How the processes of a cluster come into being: names, addresses, certificates, flags.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files/names.h"
#include "common/identity/identity.h"
#include "common/status/status.h"
#include "services/simulator/cluster.h"

namespace keysphere::simulator {
namespace {

using sim::v1::SimulatedProcess;

identity::Kind IdentityKind(const SimulatedProcess& process) {
  switch (process.kind()) {
    case sim::v1::PROCESS_KIND_CONTROLLER:
      return identity::Kind::kController;
    case sim::v1::PROCESS_KIND_KMS:
      return identity::Kind::kKms;
    default:
      return identity::Kind::kHost;
  }
}

// How the page of simulated time names a process. Who speaks KMIP knows a node's address alone.
std::string SlotName(const SimulatedProcess& process) {
  const std::string kind(identity::KindName(IdentityKind(process)));
  const bool kms = process.kind() == sim::v1::PROCESS_KIND_KMS;
  return absl::StrCat(kind, "/", kms ? process.address() : process.name());
}

// Of all nodes together: they are one key server.
constexpr char kKmsFolder[] = "kms";

}  // namespace

absl::Status Cluster::Add(const Topology& topology) {
  for (const std::string& name : topology.controllers) {
    SimulatedProcess shown;
    shown.set_name(name);
    shown.set_kind(sim::v1::PROCESS_KIND_CONTROLLER);
    {
      sync::MutexLock lock(&mutex_);
      shown.set_address(options_.addresses->Controller(controllers_++));
    }
    KS_RETURN_IF_ERROR(AddProcess(std::move(shown), {}));
  }
  for (const std::string& name : topology.kms) KS_RETURN_IF_ERROR(AddKms(name));
  for (const HostPlan& plan : topology.hosts) KS_RETURN_IF_ERROR(AddHost(plan).status());
  return absl::OkStatus();
}

absl::Status Cluster::AddKms(const std::string& name) {
  SimulatedProcess shown;
  shown.set_name(name);
  shown.set_kind(sim::v1::PROCESS_KIND_KMS);
  {
    sync::MutexLock lock(&mutex_);
    shown.set_address(options_.addresses->Kms(kms_nodes_));
    shown.set_control_address(options_.addresses->KmsControl(kms_nodes_++));
  }
  const std::string control = shown.control_address();
  return AddProcess(std::move(shown),
                    {"--data", options_.folder->StateFolder(kKmsFolder), "--control", control});
}

absl::StatusOr<std::string> Cluster::AddHost(const HostPlan& plan) {
  SimulatedProcess shown;
  shown.set_name(plan.name);
  shown.set_kind(sim::v1::PROCESS_KIND_HOST);
  shown.set_tpm(plan.tpm);
  {
    sync::MutexLock lock(&mutex_);
    if (hosts_ >= kMaxHosts) {
      return status::Error(v1::REASON_TOO_LARGE,
                           absl::StrCat("a cluster has at most ", kMaxHosts, " hosts"));
    }
    for (int i = hosts_; shown.name().empty(); ++i) {
      if (processes_.count(HostName(i)) == 0) shown.set_name(HostName(i));
    }
    if (processes_.count(shown.name()) != 0) {
      return status::Error(v1::REASON_ALREADY_EXISTS, "the cluster has a process of this name")
          .Object("process", shown.name());
    }
    shown.set_address(options_.addresses->Host(hosts_++));
  }
  const std::string name = shown.name();
  std::vector<std::string> flags = {"--tpm",
                                    plan.tpm ? "2.0" : "none",
                                    "--datastore",
                                    absl::StrCat(kDatastore, "=", options_.folder->Datastore()),
                                    "--allowed-controllers",
                                    ControllerNames()};
  if (plan.tpm) {
    flags.insert(flags.end(), {"--tpm-dir", options_.folder->TpmFolder(name)});
  }
  if (!plan.boot_key_wait.empty()) {
    flags.insert(flags.end(), {"--boot-key-wait", plan.boot_key_wait});
  }
  if (!plan.version.empty()) flags.insert(flags.end(), {"--version", plan.version});
  KS_RETURN_IF_ERROR(AddProcess(std::move(shown), flags));
  return name;
}

std::string Cluster::ControllerNames() {
  sync::MutexLock lock(&mutex_);
  std::vector<std::string> names;
  for (const Process* process : in_order_) {
    if (process->shown.kind() == sim::v1::PROCESS_KIND_CONTROLLER) {
      names.push_back(process->shown.name());
    }
  }
  return absl::StrJoin(names, ",");
}

absl::Status Cluster::AddProcess(SimulatedProcess shown, const std::vector<std::string>& flags) {
  const std::string name = shown.name();
  const identity::Kind kind = IdentityKind(shown);
  KS_RETURN_IF_ERROR(files::ValidateName(name));
  KS_ASSIGN_OR_RETURN(const auto identity, identity::Identity::Create(kTrustDomain, kind, name));
  shown.set_spiffe_id(identity.ToUri());
  shown.set_dns_name(identity.DnsName());
  shown.set_state(sim::v1::PROCESS_STATE_ENDED);
  KS_ASSIGN_OR_RETURN(const identity::CredentialFiles files,
                      options_.folder->Issue(kind, name, IpOf(shown.address())));
  int slot = -1;
  if (options_.master != nullptr) {
    KS_ASSIGN_OR_RETURN(slot, options_.master->AllocateSlot(SlotName(shown)));
  }
  auto process = std::make_unique<Process>();
  process->command.log_file = options_.folder->LogFile(name);
  process->command.argv = CommonFlags(shown, files, slot);
  process->command.argv.insert(process->command.argv.end(), flags.begin(), flags.end());
  process->slot = slot;
  process->shown = std::move(shown);
  sync::MutexLock lock(&mutex_);
  in_order_.push_back(process.get());
  processes_.emplace(name, std::move(process));
  return absl::OkStatus();
}

std::vector<std::string> Cluster::CommonFlags(const SimulatedProcess& shown,
                                              const identity::CredentialFiles& files,
                                              int slot) const {
  const std::string* binary = &options_.host_binary;
  if (shown.kind() == sim::v1::PROCESS_KIND_CONTROLLER) binary = &options_.controller_binary;
  if (shown.kind() == sim::v1::PROCESS_KIND_KMS) binary = &options_.kms_binary;
  std::vector<std::string> argv = {*binary,         "--name", shown.name(),      "--listen",
                                   shown.address(), "--cert", files.certificate, "--key",
                                   files.key,       "--ca",   files.ca,          "--simulation"};
  if (shown.kind() != sim::v1::PROCESS_KIND_KMS) {
    argv.insert(argv.end(), {"--state-dir", options_.folder->StateFolder(shown.name()),
                             "--administrators", kAdministrator});
  }
  if (slot >= 0) argv.insert(argv.end(), {"--clock-page", options_.master->FlagOf(slot)});
  return argv;
}

}  // namespace keysphere::simulator
