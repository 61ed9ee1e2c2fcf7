#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/simulator_calls.h"

namespace keysphere::cli {
namespace {

using sim::v1::Simulator;
using Stub = Simulator::Stub;

// A boot of a host with a TPM takes tens of milliseconds; many at once on a busy machine longer.
constexpr absl::Duration kProcessTimeout = absl::Minutes(2);
// Years of passes: as long as a call may last.
constexpr absl::Duration kAdvanceTimeout = absl::Hours(1);

template <typename Request>
using ProcessMethod =
    rpc::internal::UnaryMethod<rpc::Client<Simulator>::Async, Request, sim::v1::SimulatedProcess>;

template <typename Request>
void AddAction(Command* group, const std::string& word, const std::string& example,
               const std::string& name, const std::string& description,
               ProcessMethod<Request> method) {
  auto process = std::make_shared<std::string>();
  Command command = group->Sub(name, description, absl::StrCat(word, " ", name, " ", example));
  command.Argument(process.get(), "NAME", "the process");
  command.Run([process, method](Session* session) -> absl::Status {
    Request request;
    request.set_name(*process);
    KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess shown,
                        AskSimulator(session, method, std::move(request), kProcessTimeout));
    return ShowProcess(session, shown);
  });
}

std::string TimeOf(const sim::v1::ClockState& state) {
  if (!state.simulated()) return "real";
  if (state.has_advancing_to()) {
    return absl::StrCat("simulated, advancing to ", FormatTimestamp(state.advancing_to()));
  }
  if (state.rate() == 0.0) return "simulated, standing still";
  return absl::StrCat("simulated, ", state.rate(), "x");
}

absl::Status ShowClock(Session* session, const sim::v1::ClockState& state) {
  return session->Show(state, [session](const sim::v1::ClockState& shown) {
    Fields fields;
    fields.Add("now", FormatTimestamp(shown.now())).Add("time", TimeOf(shown));
    if (shown.steps() > 0) fields.Add("steps", absl::StrCat(shown.steps()));
    fields.Print(session->out());
  });
}

void AddClock(Command* root) {
  Command group = root->Sub("clock", "The time of a simulated cluster", "clock advance 5m");
  Command show = group.Sub("show", "What time it is there", "clock show");
  show.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const sim::v1::ClockState state,
                        AskSimulator(session, &Stub::async::GetClock, sim::v1::GetClockRequest()));
    return ShowClock(session, state);
  });

  auto duration = std::make_shared<std::string>();
  Command advance = group.Sub("advance", "Move simulated time on; all that falls due is done",
                              "clock advance 5m");
  advance.Argument(duration.get(), "DURATION", "5m, 1h30m, 2d, 90 (seconds)");
  advance.Run([duration](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const absl::Duration by, ParseDuration(*duration));
    sim::v1::AdvanceClockRequest request;
    absl::Duration rest;
    request.mutable_by()->set_seconds(absl::IDivDuration(by, absl::Seconds(1), &rest));
    request.mutable_by()->set_nanos(absl::ToInt64Nanoseconds(rest));
    KS_ASSIGN_OR_RETURN(
        const sim::v1::ClockState state,
        AskSimulator(session, &Stub::async::AdvanceClock, request, kAdvanceTimeout));
    return ShowClock(session, state);
  });

  Command stop =
      group.Sub("stop", "Let simulated time stand still; ends an advance under way", "clock stop");
  stop.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        const sim::v1::ClockState state,
        AskSimulator(session, &Stub::async::StopClock, sim::v1::StopClockRequest()));
    return ShowClock(session, state);
  });

  auto rate = std::make_shared<std::string>();
  Command set_rate =
      group.Sub("rate", "Let simulated time follow real time; 0: it stands still", "clock rate 60");
  set_rate.Argument(rate.get(), "RATE", "simulated seconds a real second");
  set_rate.Run([rate](Session* session) -> absl::Status {
    sim::v1::SetClockRateRequest request;
    double value = 0;
    std::string digits = *rate;
    if (!digits.empty() && digits.back() == 'x') digits.pop_back();
    if (!absl::SimpleAtod(digits, &value) || !(value >= 0)) {
      return UsageError("RATE is a number from 0 to 100000");
    }
    request.set_rate(value);
    KS_ASSIGN_OR_RETURN(const sim::v1::ClockState state,
                        AskSimulator(session, &Stub::async::SetClockRate, request));
    return ShowClock(session, state);
  });
}

void AddLink(Command* root) {
  Command group =
      root->Sub("link", "Break and heal links between processes", "link cut vcenter-a esx-1");
  struct Args {
    std::string from;
    std::string to;
    std::string delay;
    std::string calls;
    bool both = false;
  };
  const auto run = [](const std::shared_ptr<Args>& args,
                      const std::function<absl::Status(sim::v1::SetLinkFaultRequest*)>& fill) {
    return [args, fill](Session* session) -> absl::Status {
      sim::v1::SetLinkFaultRequest request;
      request.set_from(args->from);
      request.set_to(args->to);
      KS_RETURN_IF_ERROR(fill(&request));
      KS_ASSIGN_OR_RETURN(sim::v1::SetLinkFaultResponse response,
                          AskSimulator(session, &Stub::async::SetLinkFault, request));
      if (args->both) {
        request.set_from(args->to);
        request.set_to(args->from);
        KS_ASSIGN_OR_RETURN(response, AskSimulator(session, &Stub::async::SetLinkFault, request));
      }
      return session->Show(response, [&](const sim::v1::SetLinkFaultResponse&) {
        session->Say("done: calls from ", args->from, " to ", args->to,
                     args->both ? ", and back" : "");
      });
    };
  };
  const auto ends = [](Command* command, Args* args) {
    command->Argument(&args->from, "FROM", "the process that calls");
    command->Argument(&args->to, "TO", "the process that is called");
    command->Flag(&args->both, "--both", "the other direction, too");
  };
  {
    auto args = std::make_shared<Args>();
    Command command = group.Sub("cut", "Nothing comes through", "link cut vcenter-a esx-1");
    ends(&command, args.get());
    command.Run(run(args, [](sim::v1::SetLinkFaultRequest* request) {
      request->set_cut(true);
      return absl::OkStatus();
    }));
  }
  {
    auto args = std::make_shared<Args>();
    Command command = group.Sub("heal", "No fault any more", "link heal vcenter-a esx-1");
    ends(&command, args.get());
    command.Run(run(args, [](sim::v1::SetLinkFaultRequest*) { return absl::OkStatus(); }));
  }
  {
    auto args = std::make_shared<Args>();
    Command command = group.Sub("delay", "Every call comes late", "link delay vcenter-a esx-1 2s");
    ends(&command, args.get());
    command.Argument(&args->delay, "DURATION", "of simulated time");
    command.Run(run(args, [args](sim::v1::SetLinkFaultRequest* request) -> absl::Status {
      KS_ASSIGN_OR_RETURN(const absl::Duration delay, ParseDuration(args->delay));
      absl::Duration rest;
      request->mutable_delay()->set_seconds(absl::IDivDuration(delay, absl::Seconds(1), &rest));
      request->mutable_delay()->set_nanos(absl::ToInt64Nanoseconds(rest));
      return absl::OkStatus();
    }));
  }
  {
    auto args = std::make_shared<Args>();
    Command command = group.Sub("fail", "The next calls fail", "link fail vcenter-a esx-1 3");
    ends(&command, args.get());
    command.Argument(&args->calls, "N", "how many");
    command.Run(run(args, [args](sim::v1::SetLinkFaultRequest* request) -> absl::Status {
      int32_t calls = 0;
      if (!absl::SimpleAtoi(args->calls, &calls) || calls < 1) {
        return UsageError("N is a count of calls, 1 or more");
      }
      request->set_fail_next(calls);
      return absl::OkStatus();
    }));
  }
}

}  // namespace

absl::Status ShowProcess(Session* session, const sim::v1::SimulatedProcess& process) {
  return session->Show(process, [session](const sim::v1::SimulatedProcess& shown) {
    const bool ended = shown.state() == sim::v1::PROCESS_STATE_ENDED;
    session->Say(shown.name(), ": ",
                 EnumWord(sim::v1::ProcessState_Name(shown.state()), "PROCESS_STATE_"),
                 ended ? absl::StrCat(" (", shown.exit_status(), ")")
                       : absl::StrCat(", pid ", shown.pid(), ", start ", shown.starts()));
  });
}

void AddProcessActions(Command* group, const std::string& word, const std::string& example) {
  AddAction<sim::v1::RebootProcessRequest>(group, word, example, "reboot",
                                           "Stop it orderly and start it again",
                                           &Stub::async::RebootProcess);
  AddAction<sim::v1::StopProcessRequest>(group, word, example, "stop", "Stop it orderly",
                                         &Stub::async::StopProcess);
  AddAction<sim::v1::KillProcessRequest>(
      group, word, example, "kill", "Kill it: for a host, power loss", &Stub::async::KillProcess);
  AddAction<sim::v1::StartProcessRequest>(group, word, example, "start",
                                          "Start it after a kill or stop: for a host, a boot",
                                          &Stub::async::StartProcess);
  AddAction<sim::v1::PauseProcessRequest>(group, word, example, "pause", "Let it hang",
                                          &Stub::async::PauseProcess);
  AddAction<sim::v1::ResumeProcessRequest>(group, word, example, "resume", "Let it go on",
                                           &Stub::async::ResumeProcess);
}

void AddSimulatorCommands(Command* root) {
  AddClock(root);
  Command process = root->Sub("process", "Any process of a simulated cluster, by its name",
                              "process kill vcenter-a");
  AddProcessActions(&process, "process", "vcenter-a");
  AddLink(root);
}

}  // namespace keysphere::cli
