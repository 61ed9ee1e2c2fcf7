// What a host agent costs that has nothing to do: threads, memory, and CPU to start; with a TPM and
// without, attached, with ten encrypted VMs of which five run.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/crypto/secret_key.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "tools/bench/lab.h"
#include "tools/bench/report.h"

namespace keysphere::bench {
namespace {

constexpr int kVms = 10;
constexpr int kRunning = 5;
constexpr double kMostThreads = 12;
constexpr double kMostKib = 5 * 1024;

Row Absolute(std::string metric, std::string unit, double value, double at_most) {
  Row row;
  row.metric = std::move(metric);
  row.unit = std::move(unit);
  row.ours = value;
  if (at_most > 0) row.at_most = at_most;
  return row;
}

absl::Status Tell(Lab* lab, const std::string& tpm) {
  KS_ASSIGN_OR_RETURN(const auto host, Host::Start(lab, absl::StrCat("esx-tpm-", tpm), tpm));
  KS_RETURN_IF_ERROR(host->Attach());
  KS_ASSIGN_OR_RETURN(const ProviderKey key, ProviderKey::Make("nkp"));
  KS_RETURN_IF_ERROR(host->Prepare(key));
  KS_RETURN_IF_ERROR(host->CreateVms(key, kVms));
  for (int i = 0; i < kRunning; ++i) {
    using Async = class host::v1::HostVms::Stub::async;
    host::v1::PowerOnHostVmRequest on;
    on.set_epoch(host->epoch());
    on.set_vm(absl::StrCat("vm-", i));
    host::v1::HostVm vm;
    KS_RETURN_IF_ERROR(
        Check("power on", SendAndWait(host->vms().async(), &Async::PowerOnHostVm, on, &vm)));
  }
  lab->Rest(absl::Seconds(1));
  KS_ASSIGN_OR_RETURN(const host::v1::HostStats stats, host->Stats());
  const std::string who = absl::StrCat("host agent at rest, TPM ", tpm, ": ");
  Print(Absolute(who + "threads", "threads", stats.threads(), kMostThreads));
  Print(Absolute(who + "anonymous memory", "KiB",
                 static_cast<double>(stats.anonymous_memory_bytes()) / 1024, kMostKib));
  Print(Absolute(who + "CPU to start", "ms", static_cast<double>(host->start_cpu()) / 1e6, 0));
  return absl::OkStatus();
}

absl::Status Run(const Programs& programs, const std::string& folder) {
  KS_RETURN_IF_ERROR(crypto::InitKeyMemory(size_t{1} << 20));
  KS_ASSIGN_OR_RETURN(const auto lab, Lab::Create(folder, programs));
  KS_RETURN_IF_ERROR(Tell(lab.get(), "none"));
  return Tell(lab.get(), "2.0");
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  keysphere::rpc::InitGrpc();
  keysphere::bench::Programs programs;
  std::string folder = "/var/tmp";
  CLI::App app{"A host agent at rest."};
  app.add_option("--host-agent", programs.host_agent, "program")->required();
  app.add_option("--disk", folder, "a folder on a disk");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(programs, folder);
  if (status.ok()) return 0;
  std::fprintf(stderr, "at_rest_bench: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
