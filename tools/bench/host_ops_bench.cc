// Operations of a host agent beside an echo with the same TLS, each RPC counted as one call: power
// on and off of encrypted VMs whose key is cached, and applying keys. Once with all files in memory
// (fsync costs nothing) and once on a disk.
#include <grpcpp/channel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/secret_key.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "tools/bench/echo.grpc.pb.h"
#include "tools/bench/lab.h"
#include "tools/bench/load.h"
#include "tools/bench/report.h"

namespace keysphere::bench {
namespace {

using EchoAsync = class Echo::Stub::async;
using VmsAsync = class host::v1::HostVms::Stub::async;
using ManagementAsync = class host::v1::HostManagement::Stub::async;

constexpr int kVms = 64;
// More than calls under way at a time, so that a key that comes again has gone meanwhile.
constexpr int kNewKeys = 512;
// Each so-manyth new key comes with a tick, which takes the others away: a host has a few
// providers, however many calls there are.
constexpr int kKeysHeld = 8;
constexpr double kLeastShareOfEcho = 0.7;

struct Flags {
  Programs programs;
  std::string memory = "/dev/shm";
  std::string disk = "/var/tmp";
  int rounds = 5;
  double seconds = 0.3;  // a measurement
  std::vector<int> concurrency = {1, 8, 64};
  std::string only;  // what has this in its name
};

// A host with VMs, and the requests that are sent to it.
class HostUnderLoad {
 public:
  static absl::StatusOr<std::unique_ptr<HostUnderLoad>> Start(Lab* lab) {
    auto self = std::make_unique<HostUnderLoad>();
    KS_ASSIGN_OR_RETURN(self->host_, Host::Start(lab, "esx-1", "none"));
    KS_RETURN_IF_ERROR(self->host_->Attach());
    KS_ASSIGN_OR_RETURN(const ProviderKey key, ProviderKey::Make("nkp-of-vms"));
    KS_RETURN_IF_ERROR(self->host_->Prepare(key));
    KS_RETURN_IF_ERROR(self->host_->CreateVms(key, kVms));
    self->idempotent_ = self->Apply();
    // A tick: the first one takes what other measurements brought, the rest find nothing to do.
    self->idempotent_.set_allow_removal(true);
    KS_ASSIGN_OR_RETURN(*self->idempotent_.add_keys(), self->host_->Seal(key));
    for (int i = 0; i < kNewKeys; ++i) {
      KS_ASSIGN_OR_RETURN(const ProviderKey added, ProviderKey::Make(absl::StrCat("new-", i)));
      host::v1::ApplyKeysRequest request = self->Apply();
      if (i % kKeysHeld == 0) {
        request.set_allow_removal(true);
        *request.add_held() = key.entry;
      }
      host::v1::ApplyKeysRequest first = request;
      KS_ASSIGN_OR_RETURN(*request.add_keys(), self->host_->Seal(added));
      self->adding_.push_back(std::move(request));
      KS_ASSIGN_OR_RETURN(*first.add_keys(), self->host_->SealFirst(added));
      self->adding_first_.push_back(std::move(first));
    }
    for (int i = 0; i < kVms; ++i) {
      host::v1::PowerOnHostVmRequest on;
      on.set_epoch(self->host_->epoch());
      on.set_vm(absl::StrCat("vm-", i));
      host::v1::PowerOffHostVmRequest off;
      off.set_epoch(on.epoch());
      off.set_vm(on.vm());
      self->power_.push_back({on, off, false});
    }
    return self;
  }

  void Power(int slot, CallDone done) {
    Vm& vm = power_[slot];
    vm.on = !vm.on;
    if (vm.on) {
      Send(host_->vms().async(), &VmsAsync::PowerOnHostVm, &vm.power_on, std::move(done));
    } else {
      Send(host_->vms().async(), &VmsAsync::PowerOffHostVm, &vm.power_off, std::move(done));
    }
  }
  void ApplyAgain(CallDone done) {
    Send(host_->management().async(), &ManagementAsync::ApplyKeys, &idempotent_, std::move(done));
  }
  void ApplyNew(CallDone done) { ApplyNext(adding_, std::move(done)); }
  // Each key under an agreement of its own.
  void ApplyFirst(CallDone done) { ApplyNext(adding_first_, std::move(done)); }
  void CheckKeys(CallDone done) {
    check_.set_epoch(host_->epoch());
    Send(host_->management().async(), &ManagementAsync::CheckKeys, &check_, std::move(done));
  }
  Child& process() { return host_->process(); }

 private:
  struct Vm {
    host::v1::PowerOnHostVmRequest power_on;
    host::v1::PowerOffHostVmRequest power_off;
    bool on;
  };

  void ApplyNext(const std::vector<host::v1::ApplyKeysRequest>& requests, CallDone done) {
    const auto& request = requests[next_key_.fetch_add(1) % kNewKeys];
    Send(host_->management().async(), &ManagementAsync::ApplyKeys, &request, std::move(done));
  }
  host::v1::ApplyKeysRequest Apply() const {
    host::v1::ApplyKeysRequest request;
    request.set_epoch(host_->epoch());
    request.set_generation(2);
    request.set_cluster(kCluster);
    return request;
  }

  std::unique_ptr<Host> host_;
  host::v1::ApplyKeysRequest idempotent_;
  host::v1::CheckKeysRequest check_;
  std::vector<host::v1::ApplyKeysRequest> adding_;
  std::vector<host::v1::ApplyKeysRequest> adding_first_;
  std::atomic<uint64_t> next_key_{0};
  std::vector<Vm> power_;
};

// What is measured in turn: its rates, and the CPU time of its server, round by round.
struct Series {
  std::string name;
  StartCall start;
  Child* server;
  std::vector<double> rates;
  std::vector<double> cpu_us;  // a call
};

absl::Status Measure(const Flags& flags, clock::Clock* clock, int concurrency,
                     std::vector<Series>* all) {
  for (int round = -1; round < flags.rounds; ++round) {  // the first one warms up
    for (Series& series : *all) {
      const int64_t cpu = series.server->CpuNanoseconds();
      const LoadResult result =
          RunLoad(clock, concurrency, absl::Seconds(flags.seconds), series.start);
      KS_RETURN_IF_ERROR(Check(series.name, result.failure));
      if (round < 0) continue;
      series.rates.push_back(result.rate());
      series.cpu_us.push_back(static_cast<double>(series.server->CpuNanoseconds() - cpu) / 1e3 /
                              static_cast<double>(result.calls));
    }
  }
  return absl::OkStatus();
}

// all[0] is the reference.
void Tell(int concurrency, const std::vector<Series>& all) {
  for (size_t i = 1; i < all.size(); ++i) {
    const std::string at = absl::StrCat(all[i].name, ", ", concurrency, " at once");
    Row rate = Compare(at, "calls/s", all[i].rates, all[0].rates);
    const bool judged = all[i].name.find("in memory") != std::string::npos;
    if (judged) rate.at_least = kLeastShareOfEcho;
    Print(rate);
    Print(
        Compare(absl::StrCat(at, ": CPU of the server"), "us/call", all[i].cpu_us, all[0].cpu_us));
  }
}

absl::Status Run(const Flags& flags) {
  KS_RETURN_IF_ERROR(crypto::InitKeyMemory(size_t{1} << 20));
  KS_ASSIGN_OR_RETURN(const auto memory, Lab::Create(flags.memory, flags.programs));
  KS_ASSIGN_OR_RETURN(const auto disk, Lab::Create(flags.disk, flags.programs));
  KS_ASSIGN_OR_RETURN(const auto bare, EchoServer::Start(memory.get(), "echo-bare", "none"));
  KS_ASSIGN_OR_RETURN(const auto layered, EchoServer::Start(memory.get(), "echo-rpc", "rpc"));
  KS_ASSIGN_OR_RETURN(const auto in_memory, HostUnderLoad::Start(memory.get()));
  KS_ASSIGN_OR_RETURN(const auto on_disk, HostUnderLoad::Start(disk.get()));
  const auto bare_stub = Echo::NewStub(bare->channel->grpc_channel());
  const auto layered_stub = Echo::NewStub(layered->channel->grpc_channel());
  EchoMessage message;
  message.set_number(7);
  message.set_text("vm-17");
  const auto echo = [&message](Echo::Stub* stub) {
    return [&message, stub](int, CallDone done) {
      Send(stub->async(), &EchoAsync::Unary, &message, std::move(done));
    };
  };
  for (const int concurrency : flags.concurrency) {
    std::vector<Series> all;
    all.push_back({"echo, bare gRPC", echo(bare_stub.get()), bare->process.get(), {}, {}});
    all.push_back(
        {"echo through common/rpc", echo(layered_stub.get()), layered->process.get(), {}, {}});
    for (const auto& [where, host] :
         {std::make_pair("in memory", in_memory.get()), std::make_pair("on disk", on_disk.get())}) {
      Child* const server = &host->process();
      all.push_back({absl::StrCat("power on and off, ", where),
                     [h = host](int slot, CallDone done) { h->Power(slot, std::move(done)); },
                     server,
                     {},
                     {}});
      all.push_back({absl::StrCat("apply keys, one new, ", where),
                     [h = host](int, CallDone done) { h->ApplyNew(std::move(done)); },
                     server,
                     {},
                     {}});
    }
    HostUnderLoad* const host = in_memory.get();
    // What a controller's first key after a boot costs: for comparison, it comes once a boot.
    all.push_back({"apply keys, the first of an agreement",
                   [host](int, CallDone done) { host->ApplyFirst(std::move(done)); },
                   &host->process(),
                   {},
                   {}});
    all.push_back({"apply keys, none new, in memory",
                   [host](int, CallDone done) { host->ApplyAgain(std::move(done)); },
                   &host->process(),
                   {},
                   {}});
    all.push_back({"check keys, in memory",
                   [host](int, CallDone done) { host->CheckKeys(std::move(done)); },
                   &host->process(),
                   {},
                   {}});
    all.erase(std::remove_if(all.begin() + 1, all.end(),
                             [&flags](const Series& series) {
                               return series.name.find(flags.only) == std::string::npos;
                             }),
              all.end());
    KS_RETURN_IF_ERROR(Measure(flags, memory->clock(), concurrency, &all));
    Tell(concurrency, all);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  keysphere::rpc::InitGrpc();
  keysphere::bench::Flags flags;
  CLI::App app{"Operations of a host agent beside an echo."};
  app.add_option("--host-agent", flags.programs.host_agent, "program")->required();
  app.add_option("--echo-server", flags.programs.echo_server, "program")->required();
  app.add_option("--memory", flags.memory, "a folder in memory");
  app.add_option("--disk", flags.disk, "a folder on a disk");
  app.add_option("--rounds", flags.rounds, "measurements of each");
  app.add_option("--seconds", flags.seconds, "of a measurement");
  app.add_option("--concurrency", flags.concurrency, "calls under way, at most 64")->delimiter(',');
  app.add_option("--only", flags.only, "measure what has this in its name");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "host_ops_bench: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
