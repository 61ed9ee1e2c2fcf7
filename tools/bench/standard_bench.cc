// What a standard key provider costs a whole cluster of real daemons: VMs that are encrypted at
// once, the keys that its KMS holds then, and a host that boots and wants them all.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/files/file_system.h"
#include "common/rpc/client.h"
#include "common/rpc/grpc_init.h"
#include "common/status/grpc.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/tasks.grpc.pb.h"
#include "services/simulator/cluster_folder.h"
#include "tools/bench/child.h"
#include "tools/bench/load.h"
#include "tools/bench/report.h"

namespace keysphere::bench {
namespace {

constexpr char kVCenter[] = "vcenter-a";
constexpr char kRebooted[] = "esx-1";
constexpr absl::Duration kTimeout = absl::Minutes(2);

struct Flags {
  std::string simulator;
  std::string folder = "/dev/shm";
  int hosts = 32;
  int vms = 1000;
  int nodes = 2;
  int window = 64;
  int rounds = 3;
  // Seconds at most.
  double encrypt_limit = 6;
  double quiet_limit = 1;
  double slow_limit = 5;
};

rpc::CallOptions Patient() {
  rpc::CallOptions options;
  options.timeout = kTimeout;
  return options;
}

clock::Clock* RealClock() {
  static auto* const clock = new clock::SystemClock();  // gRPC may use it after main
  return clock;
}

// A running simulator and the way to each of its processes.
class Cluster {
 public:
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(const Flags& flags) {
    auto self = std::make_unique<Cluster>();
    const std::string folder = absl::StrCat(flags.folder, "/cluster");
    KS_ASSIGN_OR_RETURN(
        self->simulator_,
        Child::Start({flags.simulator, "--dir", folder, "--hosts", absl::StrCat(flags.hosts),
                      "--kms", absl::StrCat(flags.nodes), "--vms", absl::StrCat(flags.vms),
                      "--encrypted-by", "standard", "--disk-size", absl::StrCat(64 << 10)},
                     absl::StrCat(flags.folder, "/simulator.log")));
    KS_RETURN_IF_ERROR(self->simulator_->WaitReady().status());
    const files::FileSystem files;
    KS_ASSIGN_OR_RETURN(const std::string text,
                        files.ReadFile(absl::StrCat(folder, "/cluster.json"), 16 << 20));
    KS_ASSIGN_OR_RETURN(self->description_, simulator::ClusterFromJson(text));
    return self;
  }

  // A new channel to the process of this name, of a KMS node to its control; "" is the simulator.
  absl::StatusOr<std::shared_ptr<rpc::Channel>> Dial(const std::string& name) const {
    std::string address = description_.address();
    std::string peer = description_.spiffe_id();
    rpc::ChannelOptions options;
    for (const sim::v1::SimulatedProcess& process : description_.processes()) {
      if (process.name() != name) continue;
      address = process.control_address().empty() ? process.address() : process.control_address();
      peer = process.spiffe_id();
      options.authority = process.dns_name();
    }
    options.target = absl::StrCat("ipv4:", address);
    KS_ASSIGN_OR_RETURN(options.peer, identity::Identity::Parse(peer));
    KS_ASSIGN_OR_RETURN(
        options.credentials,
        identity::Credentials::Load({description_.ca_certificate(), description_.user_certificate(),
                                     description_.user_key()}));
    options.clock = RealClock();
    return rpc::Channel::Create(std::move(options));
  }
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Ask(
      const std::string& name,
      rpc::internal::UnaryMethod<class Service::Stub::async, Request, Response> method,
      const Request& request) const {
    KS_ASSIGN_OR_RETURN(const auto channel, Dial(name));
    return rpc::Client<Service>(channel).CallSync(method, request, Patient());
  }

 private:
  std::unique_ptr<Child> simulator_;
  sim::v1::SimulatedCluster description_;
};

// Encrypts vm-1, vm-2, … so many at a time.
class Encryption {
 public:
  Encryption(const std::shared_ptr<rpc::Channel>& vcenter, int vms)
      : machines_(vcenter), tasks_(vcenter), vms_(vms) {}

  // Seconds from the first call to the end of the last task.
  absl::StatusOr<double> Run(int window) {
    const LoadResult result = RunBurst(RealClock(), std::min(window, vms_),
                                       [this](int, CallDone done) { Next(std::move(done)); });
    KS_RETURN_IF_ERROR(status::FromGrpc(result.failure));
    return absl::ToDoubleSeconds(result.elapsed);
  }

 private:
  // Until there is none left; `done` then.
  void Next(CallDone done) {
    const int number = 1 + next_.fetch_add(1);
    if (number > vms_) return done(grpc::Status::OK);
    v1::EncryptVmRequest request;
    request.set_vm(absl::StrCat("vm-", number));
    machines_.Call(&v1::VirtualMachines::Stub::async::EncryptVm, std::move(request), Patient(),
                   [this, done = std::move(done)](absl::StatusOr<v1::Task> begun) {
                     if (!begun.ok()) return done(status::ToGrpc(begun.status()));
                     Follow(*std::move(begun), done);
                   });
  }

  void Follow(v1::Task task, CallDone done) {
    v1::WatchTaskRequest request;
    request.set_id(task.id());
    auto last = std::make_shared<v1::Task>(std::move(task));
    auto watch = tasks_.Watch<v1::WatchTaskRequest, v1::Task>(
        &v1::Tasks::Stub::async::WatchTask, std::move(request), Patient(),
        [last](v1::Task seen) { *last = std::move(seen); },
        [this, last, done = std::move(done)](const absl::Status& ended) {
          if (!ended.ok()) return done(status::ToGrpc(ended));
          if (last->state() != v1::Task::STATE_SUCCEEDED) {
            return done(
                status::ToGrpc(status::Error(last->error().reason(), last->error_message())));
          }
          Next(done);
        });
    sync::MutexLock lock(&mutex_);
    watches_.push_back(std::move(watch));
  }

  rpc::Client<v1::VirtualMachines> machines_;
  rpc::Client<v1::Tasks> tasks_;
  const int vms_;
  std::atomic<int> next_{0};
  sync::Mutex mutex_;
  std::vector<rpc::Subscription> watches_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<int64_t> KeysOfKms(const Cluster& cluster) {
  KS_ASSIGN_OR_RETURN(
      const sim::v1::KmsStats stats,
      (cluster.Ask<sim::v1::KmsFaults, sim::v1::GetKmsStatsRequest, sim::v1::KmsStats>(
          "kms-1", &sim::v1::KmsFaults::Stub::async::GetKmsStats, {})));
  return stats.objects();
}

absl::StatusOr<int64_t> KeysOfHost(rpc::Client<host::v1::HostStatus>* host) {
  KS_ASSIGN_OR_RETURN(const host::v1::HostStats stats,
                      host->CallSync(&host::v1::HostStatus::Stub::async::GetHostStats,
                                     host::v1::GetHostStatsRequest(), Patient()));
  return stats.cached_keys();
}

// Seconds from a rebooted host's READY until it has `keys` keys.
absl::StatusOr<double> TimeReboot(const Cluster& cluster, int64_t keys) {
  sim::v1::RebootProcessRequest reboot;
  reboot.set_name(kRebooted);
  KS_RETURN_IF_ERROR(
      (cluster
           .Ask<sim::v1::Simulator, sim::v1::RebootProcessRequest, sim::v1::SimulatedProcess>(
               "", &sim::v1::Simulator::Stub::async::RebootProcess, reboot)
           .status()));
  const absl::Time begin = RealClock()->Now();
  KS_ASSIGN_OR_RETURN(const auto channel, cluster.Dial(kRebooted));
  rpc::Client<host::v1::HostStatus> host(channel);
  while (true) {
    KS_ASSIGN_OR_RETURN(const int64_t cached, KeysOfHost(&host));
    const absl::Duration took = RealClock()->Now() - begin;
    if (cached == keys) return absl::ToDoubleSeconds(took);
    if (took > kTimeout) {
      return status::Error(v1::REASON_INVALID_STATE,
                           absl::StrCat(kRebooted, " has ", cached, " keys and not ", keys));
    }
  }
}

absl::Status SetLatency(const Flags& flags, const Cluster& cluster, absl::Duration latency) {
  for (int i = 1; i <= flags.nodes; ++i) {
    sim::v1::SetKmsFaultRequest request;
    request.set_name(absl::StrCat("kms-", i));
    request.mutable_fault()->mutable_latency()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(latency)));
    KS_RETURN_IF_ERROR(
        (cluster
             .Ask<sim::v1::Simulator, sim::v1::SetKmsFaultRequest, sim::v1::SetKmsFaultResponse>(
                 "", &sim::v1::Simulator::Stub::async::SetKmsFault, request)
             .status()));
  }
  return absl::OkStatus();
}

absl::Status TellReboots(const Flags& flags, const Cluster& cluster, int64_t keys,
                         const std::string& kms, double limit) {
  std::vector<double> seconds;
  for (int i = 0; i < flags.rounds; ++i) {
    KS_ASSIGN_OR_RETURN(const double took, TimeReboot(cluster, keys));
    seconds.push_back(took);
  }
  Row row;
  row.metric = absl::StrCat("SKP: a rebooted host has its ", keys, " keys, ", kms);
  row.unit = "s";
  row.ours = Median(seconds);
  row.at_most = limit;
  Print(row);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  KS_ASSIGN_OR_RETURN(const auto cluster, Cluster::Start(flags));
  KS_ASSIGN_OR_RETURN(const auto vcenter, cluster->Dial(kVCenter));
  Encryption encryption(vcenter, flags.vms);
  Row row;
  row.metric = absl::StrCat("SKP: ", flags.vms, " VMs on ", flags.hosts, " hosts encrypted over ",
                            flags.nodes, " KMS nodes");
  row.unit = "s";
  KS_ASSIGN_OR_RETURN(row.ours, encryption.Run(flags.window));
  row.at_most = flags.encrypt_limit;
  Print(row);

  // S38: one for each VM and each host, and none besides.
  const int64_t wanted = flags.vms + flags.hosts;
  KS_ASSIGN_OR_RETURN(const int64_t keys, KeysOfKms(*cluster));
  Row count;
  count.metric = absl::StrCat("SKP: keys in the KMS then, of ", wanted, " wanted");
  count.unit = "keys";
  count.ours = static_cast<double>(keys);
  count.at_most = static_cast<double>(wanted);
  Print(count);
  if (keys < wanted) return status::Error(v1::REASON_INVALID_STATE, "the KMS lacks keys");

  KS_RETURN_IF_ERROR(TellReboots(flags, *cluster, keys, "quiet KMS", flags.quiet_limit));
  KS_RETURN_IF_ERROR(SetLatency(flags, *cluster, absl::Milliseconds(100)));
  return TellReboots(flags, *cluster, keys, "100 ms away (S63)", flags.slow_limit);
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  keysphere::rpc::InitGrpc();
  keysphere::bench::Flags flags;
  CLI::App app{"A cluster under a standard key provider."};
  app.add_option("--simulator", flags.simulator, "program")->required();
  app.add_option("--folder", flags.folder, "where the cluster lies; its content is left there")
      ->required();
  app.add_option("--hosts", flags.hosts, "hosts");
  app.add_option("--vms", flags.vms, "VMs");
  app.add_option("--window", flags.window, "VMs under encryption at a time");
  app.add_option("--rounds", flags.rounds, "reboots of each kind");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "standard_bench: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
