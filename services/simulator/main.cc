// keysphere-simulator: starts a cluster of controllers, hosts and KMS nodes, breaks and heals it,
// moves its time, and ends it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock/page/clock_master.h"
#include "common/clock/system_clock.h"
#include "common/daemon/process.h"
#include "common/executor/real_executor.h"
#include "common/files/file_system.h"
#include "common/log/writer.h"
#include "common/rpc/grpc_init.h"
#include "common/rpc/server.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "services/simulator/address_block.h"
#include "services/simulator/binaries.h"
#include "services/simulator/bootstrap.h"
#include "services/simulator/cluster.h"
#include "services/simulator/cluster_folder.h"
#include "services/simulator/failure.h"
#include "services/simulator/kms_link.h"
#include "services/simulator/simulator.h"
#include "services/simulator/simulator_api.h"
#include "services/simulator/spawner.h"
#include "services/simulator/topology.h"

namespace keysphere::simulator {
namespace {

struct Flags {
  std::string dir;
  bool keep = false;
  TopologyRequest topology;
  int vms = 0;
  int encrypted = 0;
  int64_t disk_bytes = 1 << 20;
  bool simulated_time = false;
  std::string listen;
  std::string controller_binary;
  std::string host_binary;
  std::string kms_binary;
  std::string encrypted_by = "native";
};

// A running cluster, from its folder to its READY line. What stands later is destroyed first.
class Program {
 public:
  explicit Program(Flags flags) : flags_(std::move(flags)) {}
  ~Program();

  // INVALID_ARGUMENT: the flags do not fit each other. Nothing has been made.
  absl::Status Check();
  // After Check: starts all and waits for the end. OK: it was asked to end.
  absl::Status Run();

 private:
  // What the flags say, without who and when.
  Bootstrap::Options BootstrapOptions() const;
  absl::Status MakeFolder();
  absl::Status MakeCluster();
  absl::Status Serve();
  absl::Status Fill();
  void StopOrderly();
  void PrintReady(const Bootstrap::Report& report);
  // Makes Run return this.
  void End(const absl::Status& status);

  const Flags flags_;
  const files::FileSystem files_;
  // Never freed: a call that nobody waits for may end after everything else here.
  clock::SystemClock& clock_ = *new clock::SystemClock();
  const absl::Time begin_ = clock_.Now();
  sync::Mutex mutex_;
  absl::Status outcome_ ABSL_GUARDED_BY(mutex_);
  Topology topology_;
  std::unique_ptr<AddressBlock> addresses_;
  std::unique_ptr<ClusterFolder> folder_;
  std::unique_ptr<log::Logger> logger_;
  identity::CredentialFiles user_files_;
  identity::CredentialFiles kmip_files_;
  std::unique_ptr<clock::page::ClockMaster> master_;
  std::unique_ptr<executor::RealExecutor> time_executor_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Spawner> spawner_;
  std::unique_ptr<rpc::RuleTable> rules_;
  std::unique_ptr<GrpcKmsLink> kms_link_;
  std::unique_ptr<Simulator> simulator_;
  std::unique_ptr<rpc::Gate> gate_;
  std::unique_ptr<SimulatorApi> api_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<Bootstrap> bootstrap_;
};

Program::~Program() {
  if (bootstrap_ != nullptr) bootstrap_->Abandon();
  if (flags_.keep) StopOrderly();
  if (server_ != nullptr) server_->Drain(absl::Seconds(1));
  // Its timers and the spawner call the cluster.
  clock_.StopTimers();
  if (master_ != nullptr) master_->SetQuietGuard(absl::ZeroDuration());
  spawner_.reset();
  server_.reset();
  time_executor_.reset();
}

// So that what is kept is what an orderly end leaves.
void Program::StopOrderly() {
  if (cluster_ == nullptr) return;
  bool ended = false;
  sync::CondVar changed;
  cluster_->EndAll(/*orderly=*/true, [&] {
    sync::MutexLock lock(&mutex_);
    ended = true;
    changed.Signal();
  });
  sync::MutexLock lock(&mutex_);
  while (!ended) changed.Wait(&mutex_);
}

absl::Status Program::Check() {
  KS_ASSIGN_OR_RETURN(topology_, MakeTopology(flags_.topology));
  return Bootstrap::Check(BootstrapOptions());
}

Bootstrap::Options Program::BootstrapOptions() const {
  Bootstrap::Options options;
  options.topology = topology_;
  options.vms = flags_.vms;
  options.encrypted = flags_.encrypted;
  options.standard = flags_.encrypted_by == "standard";
  options.disk_bytes = flags_.disk_bytes;
  return options;
}

absl::Status Program::Run() {
  KS_RETURN_IF_ERROR(MakeFolder());
  KS_RETURN_IF_ERROR(MakeCluster());
  KS_RETURN_IF_ERROR(Serve());
  KS_RETURN_IF_ERROR(Fill());
  daemon::WaitForEndSignal();
  sync::MutexLock lock(&mutex_);
  return outcome_;
}

void Program::End(const absl::Status& status) {
  {
    sync::MutexLock lock(&mutex_);
    outcome_ = status;
  }
  // All threads block it, so that Run's sigwait takes it.
  kill(getpid(), SIGTERM);
}

absl::Status Program::MakeFolder() {
  KS_ASSIGN_OR_RETURN(addresses_,
                      AddressBlock::Take(&files_, AddressBlock::kLockFolder, 1 + getpid() % 254));
  ClusterFolder::Options options;
  options.path = flags_.dir;
  options.keep = flags_.keep;
  options.now = begin_;
  KS_ASSIGN_OR_RETURN(folder_, ClusterFolder::Make(&files_, options));
  log::WriterOptions log_options;
  log_options.file = folder_->LogFile(kSimulatorName);
  KS_ASSIGN_OR_RETURN(logger_, log::NewWriter(&clock_, log_options));
  if (!flags_.simulated_time) return absl::OkStatus();
  clock::page::ClockMaster::Options clock_options;
  clock_options.start = begin_;
  KS_ASSIGN_OR_RETURN(master_,
                      clock::page::ClockMaster::Create(folder_->ClockPage(), clock_options));
  return absl::OkStatus();
}

absl::Status Program::MakeCluster() {
  KS_ASSIGN_OR_RETURN(spawner_, Spawner::Create());
  Cluster::Options options;
  options.clock = &clock_;
  options.logger = logger_.get();
  options.folder = folder_.get();
  options.addresses = addresses_.get();
  options.master = master_.get();
  options.spawner = spawner_.get();
  KS_ASSIGN_OR_RETURN(options.controller_binary,
                      FindBinary(flags_.controller_binary, "controller", "keysphere-controller"));
  KS_ASSIGN_OR_RETURN(options.host_binary,
                      FindBinary(flags_.host_binary, "hostagent", "keysphere-hostagent"));
  if (!topology_.kms.empty()) {
    KS_ASSIGN_OR_RETURN(options.kms_binary,
                        FindBinary(flags_.kms_binary, "services/kms", "keysphere-kms"));
    KS_ASSIGN_OR_RETURN(kmip_files_, folder_->Issue(identity::Kind::kUser, kKmipClient, ""));
  }
  KS_ASSIGN_OR_RETURN(user_files_, folder_->Issue(identity::Kind::kUser, kAdministrator, ""));
  const identity::Identity own{kTrustDomain, identity::Kind::kUser, kSimulatorName};

  sim::v1::SimulatedCluster description;
  description.set_dir(folder_->path());
  description.set_address(flags_.listen.empty() ? addresses_->Simulator() : flags_.listen);
  description.set_pid(getpid());
  description.set_simulated_time(flags_.simulated_time);
  description.set_ca_certificate(user_files_.ca);
  description.set_user_certificate(user_files_.certificate);
  description.set_user_key(user_files_.key);
  description.set_kms_client_certificate(kmip_files_.certificate);
  description.set_kms_client_key(kmip_files_.key);
  (*description.mutable_datastores())[kDatastore] = folder_->Datastore();
  description.set_trust_domain(kTrustDomain);
  description.set_spiffe_id(own.ToUri());
  cluster_ = std::make_unique<Cluster>(options, std::move(description));
  return cluster_->Add(topology_);
}

absl::Status Program::Serve() {
  time_executor_ = std::make_unique<executor::RealExecutor>(&clock_, /*threads=*/1);
  const std::string address = cluster_->Describe().address();
  KS_ASSIGN_OR_RETURN(const auto files,
                      folder_->Issue(identity::Kind::kUser, kSimulatorName, IpOf(address)));
  KS_ASSIGN_OR_RETURN(identity::Credentials own, identity::Credentials::Load(files));
  kms_link_ = std::make_unique<GrpcKmsLink>(own.Clone(), &clock_);
  Simulator::Deps deps;
  deps.clock = &clock_;
  deps.master = master_.get();
  deps.cluster = cluster_.get();
  deps.folder = folder_.get();
  deps.kms = kms_link_.get();
  deps.time_executor = time_executor_.get();
  deps.host_version = flags_.topology.host_version;
  deps.host_boot_key_wait = flags_.topology.boot_key_wait;
  deps.orderly_end = flags_.keep;
  deps.on_shutdown = [this] { End(absl::OkStatus()); };
  simulator_ = std::make_unique<Simulator>(std::move(deps));
  rules_ = SimulatorRules();
  rpc::Gate::Options gate;
  gate.clock = &clock_;
  gate.authorizer = rules_.get();
  gate_ = std::make_unique<rpc::Gate>(gate);
  api_ = std::make_unique<SimulatorApi>(gate_.get(), simulator_.get());

  rpc::ServerOptions options;
  options.address = address;
  options.credentials = std::move(own);
  options.services = {rpc::Serving<sim::v1::Simulator>(api_.get())};
  options.gate = gate_.get();
  KS_ASSIGN_OR_RETURN(server_, rpc::Server::Create(std::move(options)));
  return cluster_->Publish();
}

absl::Status Program::Fill() {
  Bootstrap::Options options = BootstrapOptions();
  options.clock = &clock_;
  KS_ASSIGN_OR_RETURN(options.user, identity::Credentials::Load(user_files_));
  if (options.standard && !topology_.kms.empty()) {
    KS_ASSIGN_OR_RETURN(options.kmip_client, identity::Credentials::Load(kmip_files_));
  }
  options.begin = begin_;
  KS_ASSIGN_OR_RETURN(
      bootstrap_,
      Bootstrap::Create(std::move(options), [this](absl::StatusOr<Bootstrap::Report> report) {
        if (report.ok()) {
          PrintReady(*report);
        } else {
          End(report.status());
        }
      }));
  const sim::v1::SimulatedCluster cluster = cluster_->Describe();
  for (const sim::v1::SimulatedProcess& process : cluster.processes()) {
    cluster_->Start(process.name(), [bootstrap = bootstrap_](
                                        const absl::StatusOr<sim::v1::SimulatedProcess>& started) {
      if (started.ok()) {
        bootstrap->OnReady(*started);
      } else {
        bootstrap->OnFailed(started.status());
      }
    });
  }
  return absl::OkStatus();
}

void Program::PrintReady(const Bootstrap::Report& report) {
  const auto seconds = [](absl::Duration duration) {
    return absl::StrFormat("%.3f", absl::ToDoubleSeconds(duration));
  };
  // The folder may have any name: it is quoted by the printer of cluster.json.
  sim::v1::SimulatedCluster head;
  head.set_dir(folder_->path());
  head.set_address(server_->address());
  head.set_pid(getpid());
  std::string json = ClusterToJsonLine(head);
  json.pop_back();
  std::printf("READY %s,\"seconds\":{\"processes\":%s,\"hosts\":%s,\"vms\":%s,\"total\":%s}}\n",
              json.c_str(), seconds(report.processes).c_str(), seconds(report.hosts).c_str(),
              seconds(report.vms).c_str(), seconds(clock_.Now() - begin_).c_str());
  std::fflush(stdout);
}

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option("--dir", flags->dir,
                  "folder of the cluster, new or empty (default: a new one in /tmp); removed at "
                  "the end unless --keep is given");
  app->add_flag("--keep", flags->keep, "leave the folder with its logs and files behind");
  app->add_option("--controllers", flags->topology.controllers, "vCenters: vcenter-a, vcenter-b, …")
      ->capture_default_str();
  app->add_option("--hosts", flags->topology.hosts, "hosts of vcenter-a: esx-1, esx-2, …")
      ->capture_default_str();
  app->add_option("--topology", flags->topology.spread,
                  "hosts of each vCenter instead: vcenter-a=3,vcenter-b=1");
  app->add_option("--tpm", flags->topology.tpm, "the first of the hosts have a TPM 2.0")
      ->capture_default_str();
  app->add_option("--host-version", flags->topology.host_version, "ESXi's version")
      ->capture_default_str();
  app->add_option("--boot-key-wait", flags->topology.boot_key_wait,
                  "how long a booted host waits for a controller before it judges the VMs whose "
                  "keys it lacks, as 90s (default: 60s)");
  app->add_option("--vms", flags->vms, "VMs to make, over all hosts")->capture_default_str();
  app->add_option("--encrypted", flags->encrypted,
                  "the first of the VMs are encrypted, by a provider made for them")
      ->capture_default_str();
  app->add_option("--kms", flags->topology.kms, "nodes of a key server: kms-1, kms-2, …")
      ->capture_default_str();
  app->add_option("--encrypted-by", flags->encrypted_by,
                  "the kind of that provider; a standard one, over all KMS nodes, is made also "
                  "without VMs")
      ->check(CLI::IsMember({"native", "standard"}))
      ->capture_default_str();
  app->add_option("--disk-size", flags->disk_bytes, "bytes of each VM's disk; 0: none")
      ->capture_default_str();
  app->add_flag("--simulated-time", flags->simulated_time,
                "time stands still until it is advanced");
  app->add_option("--listen", flags->listen,
                  "IP:PORT of the simulator (default: one of the cluster's own)");
  app->add_option("--controller-binary", flags->controller_binary,
                  "keysphere-controller (default: found beside this program)");
  app->add_option("--hostagent-binary", flags->host_binary,
                  "keysphere-hostagent (default: found beside this program)");
  app->add_option("--kms-binary", flags->kms_binary,
                  "keysphere-kms (default: found beside this program)");
}

}  // namespace
}  // namespace keysphere::simulator

int main(int argc, char** argv) {
  using keysphere::simulator::Flags;
  Flags flags;
  CLI::App app{
      "keysphere-simulator: a cluster of vCenters, ESXi hosts and KMS nodes in one folder."};
  keysphere::simulator::AddFlags(&app, &flags);
  int exit_code = 0;
  if (!keysphere::daemon::Parse(&app, argc, argv, &exit_code)) return exit_code;
  keysphere::daemon::LeaveSignalsToMain();
  keysphere::daemon::RaiseDescriptorLimit();
  keysphere::rpc::InitOptions init;
  init.simulation = true;
  keysphere::rpc::InitGrpc(init);

  keysphere::simulator::Program program(std::move(flags));
  absl::Status status = program.Check();
  const bool understood = status.ok();
  if (understood) status = program.Run();
  if (status.ok()) return 0;
  if (understood) std::printf("%s\n", keysphere::simulator::FailedLine(status).c_str());
  std::fprintf(stderr, "keysphere-simulator: %s\n", keysphere::status::ToString(status).c_str());
  return understood ? 1 : 2;
}
