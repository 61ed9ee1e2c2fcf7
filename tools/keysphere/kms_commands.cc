#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/simulator_calls.h"

namespace keysphere::cli {
namespace {

using sim::v1::KmsFaults;
using Stub = sim::v1::Simulator::Stub;

absl::Status SetDuration(const std::string& text, google::protobuf::Duration* duration) {
  KS_ASSIGN_OR_RETURN(const absl::Duration value, ParseDuration(text));
  absl::Duration rest;
  duration->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  duration->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return absl::OkStatus();
}

absl::Status SetFault(Session* session, const sim::v1::SetKmsFaultRequest& request,
                      const std::string& what) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SetKmsFaultResponse response,
                      AskSimulator(session, &Stub::async::SetKmsFault, request));
  return session->Show(response, [&](const sim::v1::SetKmsFaultResponse&) {
    session->Say(request.name(), ": ", what);
  });
}

void AddList(Command* group) {
  Command command =
      group->Sub("list", "List the nodes of the key server, and their faults", "kms list");
  command.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        sim::v1::SimulatedCluster cluster,
        AskSimulator(session, &Stub::async::GetCluster, sim::v1::GetClusterRequest()));
    auto* const processes = cluster.mutable_processes();
    processes->erase(std::remove_if(processes->begin(), processes->end(),
                                    [](const sim::v1::SimulatedProcess& process) {
                                      return process.kind() != sim::v1::PROCESS_KIND_KMS;
                                    }),
                     processes->end());
    return session->Show(cluster, [session](const sim::v1::SimulatedCluster& shown) {
      Table table({"NAME", "STATE", "ADDRESS", "PID", "STARTS", "FAULT"});
      for (const sim::v1::SimulatedProcess& node : shown.processes()) {
        std::string state = EnumWord(sim::v1::ProcessState_Name(node.state()), "PROCESS_STATE_");
        if (!node.exit_status().empty()) absl::StrAppend(&state, " (", node.exit_status(), ")");
        table.Add({node.name(), state, node.address(), absl::StrCat(node.pid()),
                   absl::StrCat(node.starts()), node.kms_fault()});
      }
      table.Print(session->out());
    });
  });
}

void AddLatency(Command* group) {
  struct Args {
    std::string name;
    std::string latency;
    std::string jitter;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("latency", "Let it answer late; instead of the fault that is set",
                               "kms latency kms-1 100ms --jitter 20ms");
  command.Argument(&args->name, "NAME", "the node");
  command.Argument(&args->latency, "DURATION", "100ms, 2s, …");
  command.Option(&args->jitter, "--jitter", "DURATION", "up to so much more (on real time)");
  command.Run([args](Session* session) -> absl::Status {
    sim::v1::SetKmsFaultRequest request;
    request.set_name(args->name);
    KS_RETURN_IF_ERROR(SetDuration(args->latency, request.mutable_fault()->mutable_latency()));
    if (!args->jitter.empty()) {
      KS_RETURN_IF_ERROR(
          SetDuration(args->jitter, request.mutable_fault()->mutable_latency_jitter()));
    }
    return SetFault(session, request, "answers " + args->latency + " late");
  });
}

struct FaultArgs {
  std::string name;
  std::string mode;
  int64_t drop_after = 0;
  int64_t fail_request = 0;
  std::vector<std::string> missing;
  std::vector<std::string> inactive;
  bool all_missing = false;
  bool die_after_create = false;
  std::string certificate_ends_in;

  absl::StatusOr<sim::v1::SetKmsFaultRequest> Request() const {
    sim::v1::SetKmsFaultRequest request;
    request.set_name(name);
    sim::v1::KmsFault* const fault = request.mutable_fault();
    if (mode == "refuse") fault->set_mode(sim::v1::KmsFault::MODE_REFUSE);
    if (mode == "hang") fault->set_mode(sim::v1::KmsFault::MODE_HANG);
    fault->set_drop_after_bytes(drop_after);
    fault->set_fail_request(static_cast<int32_t>(fail_request));
    for (const std::string& key : missing) fault->add_missing_keys(key);
    for (const std::string& key : inactive) fault->add_inactive_keys(key);
    fault->set_all_keys_missing(all_missing);
    fault->set_die_after_create(die_after_create);
    const bool none = fault->ByteSizeLong() == 0 && certificate_ends_in.empty();
    if (none) return UsageError("say what is to go wrong; `kms heal` ends it");
    if (!certificate_ends_in.empty()) {
      KS_RETURN_IF_ERROR(SetDuration(certificate_ends_in, request.mutable_certificate_ends_in()));
    }
    return request;
  }
};

void AddFault(Command* group) {
  auto args = std::make_shared<FaultArgs>();
  Command command = group->Sub("fault", "Let it misbehave; instead of the fault that is set",
                               "kms fault kms-1 --mode refuse");
  command.Argument(&args->name, "NAME", "the node");
  command.Choice(&args->mode, "--mode", {"refuse", "hang"},
                 "refuse: nobody listens; hang: no request is answered");
  command.Option(&args->drop_after, "--drop-after", "BYTES",
                 "every answer ends there, with its connection (from 1)", 1);
  command.Option(&args->fail_request, "--fail-request", "N",
                 "the N-th request from now fails (General Failure)", 1, 1'000'000);
  command.Option(&args->missing, "--missing-key", "ID", "it says that it has no such key");
  command.Flag(&args->all_missing, "--all-keys-missing", "it says that of every key");
  command.Option(&args->inactive, "--inactive-key", "ID", "it says that the key is pre-active");
  command.Flag(&args->die_after_create, "--die-after-create",
               "it dies between the commit of the next Create and its answer");
  command.Option(&args->certificate_ends_in, "--certificate-ends-in", "DURATION",
                 "it presents a certificate that ends so soon");
  command.Run([args](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const sim::v1::SetKmsFaultRequest request, args->Request());
    return SetFault(session, request, "misbehaves from now on");
  });
}

void AddHeal(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command = group->Sub("heal", "No fault any more", "kms heal kms-1");
  command.Argument(name.get(), "NAME", "the node");
  command.Run([name](Session* session) -> absl::Status {
    sim::v1::SetKmsFaultRequest request;
    request.set_name(*name);
    return SetFault(session, request, "behaves well");
  });
}

void AddStats(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command = group->Sub("stats", "Figures of a node since its start", "kms stats kms-1");
  command.Argument(name.get(), "NAME", "the node");
  command.Run([name](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->KmsControl(*name));
    KS_ASSIGN_OR_RETURN(const sim::v1::KmsStats stats,
                        session->AskAt<KmsFaults>(channel, &KmsFaults::Stub::async::GetKmsStats,
                                                  sim::v1::GetKmsStatsRequest()));
    return session->Show(stats, [session](const sim::v1::KmsStats& shown) {
      Fields fields;
      fields.Add("objects", absl::StrCat(shown.objects()))
          .Add("connections", absl::StrCat(shown.connections()))
          .Add("refused", absl::StrCat(shown.handshakes_refused()));
      std::vector<std::pair<std::string, int64_t>> requests(shown.requests().begin(),
                                                            shown.requests().end());
      std::sort(requests.begin(), requests.end());
      for (const auto& [operation, count] : requests) fields.Add(operation, absl::StrCat(count));
      if (shown.fault().mode() != sim::v1::KmsFault::MODE_UNSPECIFIED) {
        fields.Add("fault", EnumWord(sim::v1::KmsFault::Mode_Name(shown.fault().mode()), "MODE_"));
      }
      fields.Print(session->out());
    });
  });
}

}  // namespace

void AddKmsCommands(Command* root) {
  Command group = root->Sub("kms", "Nodes of the simulated cluster's key server: break and heal",
                            "kms kill kms-1");
  AddList(&group);
  AddProcessActions(&group, "kms", "kms-1");
  AddLatency(&group);
  AddFault(&group);
  AddHeal(&group);
  AddStats(&group);
}

}  // namespace keysphere::cli
