#include <google/protobuf/util/json_util.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "services/simulator/address_block.h"
#include "services/simulator/cluster_folder.h"
#include "services/simulator/topology.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/registry.h"
#include "tools/keysphere/simulator_calls.h"
#include "tools/keysphere/spawn.h"

namespace keysphere::cli {
namespace {

using Stub = sim::v1::Simulator::Stub;

// How long an orderly end of thousands of processes may take.
constexpr absl::Duration kEndTimeout = absl::Minutes(1);

std::string KindOf(const sim::v1::SimulatedProcess& process) {
  return EnumWord(sim::v1::ProcessKind_Name(process.kind()), "PROCESS_KIND_");
}

void PrintProcesses(const sim::v1::SimulatedCluster& cluster, std::ostream& out) {
  Table table({"NAME", "KIND", "STATE", "ADDRESS", "TPM", "PID", "STARTS"});
  for (const sim::v1::SimulatedProcess& process : cluster.processes()) {
    std::string state = EnumWord(sim::v1::ProcessState_Name(process.state()), "PROCESS_STATE_");
    if (!process.exit_status().empty()) absl::StrAppend(&state, " (", process.exit_status(), ")");
    table.Add({process.name(), KindOf(process), state, process.address(),
               process.tpm() ? "2.0" : "", absl::StrCat(process.pid()),
               absl::StrCat(process.starts())});
  }
  table.Print(out);
}

struct UpArgs {
  int64_t controllers = -1;
  int64_t hosts = -1;
  int64_t tpm = -1;
  int64_t vms = -1;
  int64_t encrypted = -1;
  int64_t kms = -1;
  std::string encrypted_by;
  std::string disk_size;
  std::string host_version;
  std::string topology;
  std::string boot_key_wait;
  bool simulated_time = false;
  bool keep = false;
  bool detach = false;
};

absl::StatusOr<std::vector<std::string>> SimulatorCommand(const UpArgs& args,
                                                          const std::string& dir) {
  std::vector<std::string> command = {""};  // the program: mistakes are told without it, too
  const auto add_text = [&command](const std::string& name, const std::string& value) {
    if (!value.empty()) command.insert(command.end(), {name, value});
  };
  const auto add_count = [&command](const std::string& name, int64_t value) {
    if (value >= 0) command.insert(command.end(), {name, absl::StrCat(value)});
  };
  add_text("--dir", dir);
  add_count("--controllers", args.controllers);
  add_count("--hosts", args.hosts);
  add_count("--tpm", args.tpm);
  add_count("--vms", args.vms);
  add_count("--encrypted", args.encrypted);
  add_count("--kms", args.kms);
  add_text("--encrypted-by", args.encrypted_by);
  add_text("--topology", args.topology);
  add_text("--host-version", args.host_version);
  if (!args.boot_key_wait.empty()) {
    KS_ASSIGN_OR_RETURN(const absl::Duration wait, ParseDuration(args.boot_key_wait));
    add_text("--boot-key-wait", absl::FormatDuration(wait));
  }
  if (!args.disk_size.empty()) {
    KS_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(args.disk_size));
    add_count("--disk-size", bytes);
  }
  if (args.simulated_time) command.push_back("--simulated-time");
  if (args.keep) command.push_back("--keep");
  KS_ASSIGN_OR_RETURN(command[0], FindProgram("services/simulator", "keysphere-simulator"));
  return command;
}

absl::Status Up(Session* session, const UpArgs& args) {
  KS_RETURN_IF_ERROR(session->RefusePeer());
  if (!args.topology.empty() && (args.hosts >= 0 || args.controllers >= 0)) {
    return UsageError(
        "--topology says the controllers and hosts: leave --controllers and --hosts out");
  }
  std::string dir = session->globals().dir;
  if (dir.empty()) dir = session->environment().variable("KEYSPHERE_DIR");
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> command, SimulatorCommand(args, dir));
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<SimulatorProcess> simulator,
                      SimulatorProcess::Start(command, args.detach));
  KS_ASSIGN_OR_RETURN(const std::string ready, simulator->WaitForReady());
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  sim::v1::SimulatedCluster cluster;
  if (!google::protobuf::util::JsonStringToMessage(ready, &cluster, options).ok()) {
    return status::Error(v1::REASON_INTERNAL, "the simulator's READY line is not understood");
  }
  const Registry registry = Registry::ForUser(session->environment().variable);
  const absl::Status noted = registry.Note(cluster.dir(), simulator->pid());
  if (!noted.ok()) session->Warn("warning: ", noted.message());

  KS_ASSIGN_OR_RETURN(const std::string text,
                      files::FileSystem().ReadFile(cluster.dir() + "/cluster.json", 16 << 20));
  if (google::protobuf::util::JsonStringToMessage(text, &cluster, options).ok()) {
    KS_RETURN_IF_ERROR(session->Show(cluster, [session](const auto& shown) {
      PrintProcesses(shown, session->out());
      session->Say("the cluster runs in ", shown.dir());
    }));
  }
  session->out() << std::flush;
  if (args.detach) return absl::OkStatus();
  session->err() << "Ctrl-C ends it.\n";
  const absl::Status ended = simulator->WaitForEnd();
  registry.Forget(simulator->pid());
  return ended;
}

// Whether the process runs a program of ours, e.g. "keysphere-simulator": the pid in an old
// cluster.json may be another's by now.
bool IsOurs(pid_t pid, const std::string& program = "keysphere-") {
  const absl::StatusOr<std::string> name =
      files::FileSystem().ReadFile(absl::StrCat("/proc/", pid, "/cmdline"), 1 << 20);
  return name.ok() && absl::StrContains(*name, program);
}

// The other processes of a cluster die with their simulator: in a moment, if it was killed.
absl::Status WaitForProcesses(const sim::v1::SimulatedCluster& cluster) {
  for (const sim::v1::SimulatedProcess& process : cluster.processes()) {
    if (process.pid() <= 0 || !IsOurs(process.pid())) continue;
    if (ProcessEnd(process.pid()).Wait(kEndTimeout)) continue;
    return status::Error(v1::REASON_DEADLINE_EXCEEDED,
                         absl::StrCat(process.name(), " (pid ", process.pid(), ") does not end"))
        .Object("process", process.name());
  }
  return absl::OkStatus();
}

// What a simulator that was killed left.
absl::Status RemoveLeftovers(Session* session, const sim::v1::SimulatedCluster& cluster) {
  KS_RETURN_IF_ERROR(WaitForProcesses(cluster));
  const files::FileSystem disk;
  // Its addresses; another cluster may have them by now.
  const std::string& address =
      cluster.processes().empty() ? cluster.address() : cluster.processes(0).address();
  if (const int block = simulator::BlockOf(address); block != 0) {
    simulator::AddressBlock::RemoveDead(&disk, simulator::AddressBlock::kLockFolder, block)
        .IgnoreError();
  }
  const absl::StatusOr<bool> kept = simulator::ClusterFolder::RemoveDead(&disk, cluster.dir());
  // Without the mark nobody knows whose the rest is.
  if (status::ReasonOf(kept.status()) == v1::REASON_NOT_FOUND) return absl::OkStatus();
  KS_RETURN_IF_ERROR(kept.status());
  if (*kept) session->Warn("its files stay in ", cluster.dir(), ": it was to keep them");
  return absl::OkStatus();
}

absl::Status Down(Session* session) {
  const absl::StatusOr<const sim::v1::SimulatedCluster*> found = session->Cluster();
  if (status::ReasonOf(found.status()) == v1::REASON_NOT_FOUND) {
    // One that was killed before it had told what it is.
    KS_ASSIGN_OR_RETURN(const std::string dir, session->ClusterDir());
    const files::FileSystem disk;
    if (!simulator::ClusterFolder::RemoveDead(&disk, dir).ok()) return found.status();
    session->Say("the cluster in ", dir, " has ended");
    return absl::OkStatus();
  }
  KS_RETURN_IF_ERROR(found.status());
  const sim::v1::SimulatedCluster* const cluster = *found;
  const pid_t pid = cluster->pid();
  const ProcessEnd process(pid);
  if (IsOurs(pid, "keysphere-simulator")) {
    const absl::Status asked =
        AskSimulator(session, &Stub::async::Shutdown, sim::v1::ShutdownRequest()).status();
    if (!asked.ok()) process.Terminate();
    if (!process.Wait(kEndTimeout)) {
      return status::Error(v1::REASON_DEADLINE_EXCEEDED,
                           absl::StrCat("the simulator (pid ", pid, ") does not end"))
          .NextStep("Its log is in the cluster's folder, logs/simulator.log.");
    }
  } else {
    KS_RETURN_IF_ERROR(RemoveLeftovers(session, *cluster));
  }
  Registry::ForUser(session->environment().variable).Forget(pid);
  return session->Show(sim::v1::ShutdownResponse(), [&](const sim::v1::ShutdownResponse&) {
    session->Say("the cluster in ", cluster->dir(), " has ended");
  });
}

absl::Status Status(Session* session) {
  KS_ASSIGN_OR_RETURN(
      const sim::v1::SimulatedCluster cluster,
      AskSimulator(session, &Stub::async::GetCluster, sim::v1::GetClusterRequest()));
  if (session->json()) return session->PrintJson(cluster);
  KS_ASSIGN_OR_RETURN(const sim::v1::ClockState clock,
                      AskSimulator(session, &Stub::async::GetClock, sim::v1::GetClockRequest()));
  Fields fields;
  fields.Add("folder", cluster.dir())
      .Add("simulator", absl::StrCat(cluster.address(), ", pid ", cluster.pid()))
      .Add("time", absl::StrCat(FormatTimestamp(clock.now()),
                                clock.simulated() ? " (simulated)" : " (real)"));
  for (const auto& [name, folder] : cluster.datastores()) {
    fields.Add(absl::StrCat("datastore ", name), folder);
  }
  fields.Print(session->out());
  session->out() << '\n';
  PrintProcesses(cluster, session->out());
  return absl::OkStatus();
}

}  // namespace

void AddLifeCommands(Command* root) {
  auto args = std::make_shared<UpArgs>();
  Command up =
      root->Sub("up", "Start a cluster: controllers, hosts and KMS nodes, each its own process",
                "up --hosts 4 --tpm 2 --vms 8 --encrypted 4 --simulated-time --detach");
  up.Option(&args->controllers, "--controllers", "N", "vcenter-a, vcenter-b, … (default: 1)", 1,
            simulator::kMaxControllers);
  up.Option(&args->hosts, "--hosts", "N", "hosts of the first: esx-1, esx-2, …", 0,
            simulator::kMaxHosts);
  up.Option(&args->topology, "--topology", "SPREAD",
            "hosts of each instead, as vcenter-a=3,vcenter-b=1");
  up.Option(&args->tpm, "--tpm", "N", "the first N hosts have a TPM 2.0 (default: none)");
  up.Option(&args->vms, "--vms", "N", "VMs, over all hosts (default: none)");
  up.Option(&args->encrypted, "--encrypted", "N", "the first N VMs are encrypted");
  up.Option(&args->kms, "--kms", "N", "nodes of a key server: kms-1, … (default: none)", 0,
            simulator::kMaxKmsNodes);
  up.Choice(&args->encrypted_by, "--encrypted-by", {"native", "standard"},
            "by which kind of provider; standard: skp-1, over all KMS nodes (default: native)");
  up.Option(&args->disk_size, "--disk-size", "BYTES", "of each VM's disk, as 1M");
  up.Option(&args->host_version, "--host-version", "V", "ESXi's version, as 8.0.3");
  up.Option(&args->boot_key_wait, "--boot-key-wait", "DURATION",
            "how long a booted host waits for a controller before it judges the VMs whose keys it "
            "lacks (default: 60s)");
  up.Flag(&args->simulated_time, "--simulated-time", "time stands still until advanced");
  up.Flag(&args->keep, "--keep", "leave the folder with its logs and files behind");
  up.Flag(&args->detach, "--detach", "return when it is ready; else it ends with Ctrl-C");
  up.Run([args](Session* session) { return Up(session, *args); });

  Command down = root->Sub("down", "End a cluster; nothing is left behind", "down");
  down.Run([](Session* session) { return Down(session); });

  Command status = root->Sub("status", "The processes of a cluster, and its time", "status");
  status.Run([](Session* session) { return Status(session); });
}

}  // namespace keysphere::cli
