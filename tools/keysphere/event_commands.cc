#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "keysphere/v1/events.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {
namespace {

using Events = v1::Events;
using Alarms = v1::Alarms;

std::string User(const v1::Event& event) { return event.user().empty() ? "system" : event.user(); }

void AddEventList(Command* group) {
  struct Args {
    int64_t limit = 50;
    std::string object;
    std::vector<std::string> types;
    bool ascending = false;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("list", "List events, the newest first",
                               "event list --object vm/web-1 --limit 20");
  command.Option(&args->limit, "-n,--limit", "N", "at most N of them (default: 50; 0: all)");
  command.Option(&args->object, "--object", "KIND/NAME", "of this object, as vm/web-1");
  command.Option(&args->types, "--type", "PREFIX", "of types that begin so");
  command.Flag(&args->ascending, "--ascending", "the oldest first");
  command.Run([args](Session* session) -> absl::Status {
    v1::ListEventsResponse all;
    do {
      v1::ListEventsRequest request;
      request.set_object(args->object);
      for (const std::string& type : args->types) request.add_type_prefixes(type);
      request.set_ascending(args->ascending);
      const int64_t rest = args->limit > 0 ? args->limit - all.events_size() : 1000;
      request.set_page_size(static_cast<int32_t>(std::min<int64_t>(rest, 1000)));
      request.set_page_token(all.next_page_token());
      KS_ASSIGN_OR_RETURN(const v1::ListEventsResponse page,
                          session->Ask<Events>(&Events::Stub::async::ListEvents, request));
      all.MergeFrom(page);
      all.set_next_page_token(page.next_page_token());
    } while (!all.next_page_token().empty() &&
             (args->limit <= 0 || all.events_size() < args->limit));
    return session->Show(all, [session](const v1::ListEventsResponse& shown) {
      Table table({"REVISION", "TIME", "TYPE", "OBJECT", "USER", "MESSAGE"});
      for (const v1::Event& event : shown.events()) {
        table.Add({absl::StrCat(event.revision()), FormatTimestamp(event.time()), event.type(),
                   event.object(), User(event), event.message()});
      }
      table.Print(session->out());
    });
  });
}

void AddEventWatch(Command* group) {
  struct Args {
    int64_t after = -1;
    int64_t count = 0;
    std::string object;
    std::vector<std::string> types;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("watch", "Print events as they come, until Ctrl-C",
                               "event watch --type com.vmware.vc.vm.Crypto");
  command.Option(&args->after, "--after", "REVISION",
                 "those with a greater revision first (0: all kept; default: only new ones)", -1);
  command.Option(&args->count, "-n,--count", "N", "end after N events");
  command.Option(&args->object, "--object", "KIND/NAME", "of this object, as vm/web-1");
  command.Option(&args->types, "--type", "PREFIX", "of types that begin so");
  command.Run([args](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Controller());
    v1::WatchEventsRequest request;
    request.set_after_revision(args->after);
    request.set_object(args->object);
    for (const std::string& type : args->types) request.add_type_prefixes(type);
    int64_t seen = 0;
    absl::Status printed;
    const absl::Status ended = session->ReadStream<Events>(
        channel, &Events::Stub::async::WatchEvents, request, [&](const v1::Event& event) {
          printed = session->Show(event, [session](const v1::Event& shown) {
            session->Say(FormatTimestamp(shown.time()), "  ", shown.type(), "  ", shown.object(),
                         "  ", shown.message());
          });
          session->out() << std::flush;
          return printed.ok() && ++seen != args->count;
        });
    return printed.ok() ? ended : printed;
  });
}

void AddAlarms(Command* root) {
  Command group = root->Sub("alarm", "What needs somebody's attention", "alarm list");
  {
    auto object = std::make_shared<std::string>();
    Command command = group.Sub("list", "List the alarms that show", "alarm list");
    command.Option(object.get(), "--object", "KIND/NAME", "of this object, as vm/web-1");
    command.Run([object](Session* session) -> absl::Status {
      v1::ListAlarmsRequest request;
      request.set_object(*object);
      KS_ASSIGN_OR_RETURN(const v1::ListAlarmsResponse response,
                          session->Ask<Alarms>(&Alarms::Stub::async::ListAlarms, request));
      return session->Show(response, [session](const v1::ListAlarmsResponse& shown) {
        if (shown.alarms().empty()) {
          session->out() << "no alarm\n";
          return;
        }
        Table table({"TIME", "SEVERITY", "ALARM", "OBJECT", "ACKNOWLEDGED", "MESSAGE"});
        for (const v1::Alarm& alarm : shown.alarms()) {
          table.Add({FormatTimestamp(alarm.time()),
                     EnumWord(v1::Alarm::Severity_Name(alarm.severity()), "SEVERITY_"),
                     alarm.name(), alarm.object(),
                     alarm.acknowledged() ? alarm.acknowledged_by() : "", alarm.message()});
        }
        table.Print(session->out());
      });
    });
  }
  {
    struct Args {
      std::string name;
      std::string object;
    };
    auto args = std::make_shared<Args>();
    Command command = group.Sub("ack", "Note that you have seen an alarm; its cause stays",
                                "alarm ack \"Virtual Machine Locked Alarm\" vm/web-1");
    command.Argument(&args->name, "ALARM", "its name");
    command.Argument(&args->object, "OBJECT", "as vm/web-1");
    command.Run([args](Session* session) -> absl::Status {
      v1::AcknowledgeAlarmRequest request;
      request.set_name(args->name);
      request.set_object(args->object);
      KS_ASSIGN_OR_RETURN(const v1::Alarm alarm,
                          session->Ask<Alarms>(&Alarms::Stub::async::AcknowledgeAlarm, request));
      return session->Show(alarm, [session](const v1::Alarm& shown) {
        session->Say(shown.name(), " of ", shown.object(), ": acknowledged by ",
                     shown.acknowledged_by());
      });
    });
  }
}

// Who waits for something that nobody knows has mistyped its name.
absl::Status CheckVm(Session* session, const Session::ChannelPtr& channel,
                     const v1::WaitForRequest::VmState& wanted) {
  v1::GetVmRequest request;
  request.set_vm(wanted.vm());
  request.set_host(wanted.host());
  const absl::Status found =
      session
          ->AskAt<v1::VirtualMachines>(channel, &v1::VirtualMachines::Stub::async::GetVm, request)
          .status();
  // A host that does not answer may tell of it later.
  return status::ReasonOf(found) == v1::REASON_NOT_FOUND ? found : absl::OkStatus();
}

absl::Status CheckHost(Session* session, const Session::ChannelPtr& channel,
                       const v1::WaitForRequest::HostState& wanted) {
  v1::GetHostRequest request;
  request.set_name(wanted.host());
  const absl::Status found =
      session->AskAt<v1::Hosts>(channel, &v1::Hosts::Stub::async::GetHost, request).status();
  return status::ReasonOf(found) == v1::REASON_NOT_FOUND ? found : absl::OkStatus();
}

// `appear`: what is not there yet is waited for, too.
absl::Status Wait(Session* session, const v1::WaitForRequest& request, bool appear) {
  KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Controller());
  if (!appear && request.has_vm()) KS_RETURN_IF_ERROR(CheckVm(session, channel, request.vm()));
  if (!appear && request.has_host()) {
    KS_RETURN_IF_ERROR(CheckHost(session, channel, request.host()));
  }
  const bool draw = session->environment().terminal && !session->json();
  v1::WaitForResponse last;
  const absl::Status ended = session->ReadStream<Events>(
      channel, &Events::Stub::async::WaitFor, request, [&](const v1::WaitForResponse& now) {
        last = now;
        if (draw) session->err() << "\r\x1b[K" << Printable(now.state()) << std::flush;
        return !now.holds();
      });
  if (draw) session->err() << "\r\x1b[K" << std::flush;
  KS_RETURN_IF_ERROR(ended);
  return session->Show(
      last, [session](const v1::WaitForResponse& shown) { session->Say(shown.state()); });
}

// "on" -> POWER_STATE_ON and the like; the choices are checked before.
template <typename Enum, typename Parse>
Enum Parsed(Parse parse, const std::string& prefix, const std::string& word) {
  std::string name = prefix;
  for (const char c : word) name.push_back(c == '-' ? '_' : static_cast<char>(toupper(c)));
  Enum value{};
  if (!word.empty()) parse(name, &value);
  return value;
}

void AddWait(Command* root) {
  Command group = root->Sub("wait", "Wait until a VM, a host or an alarm is so",
                            "wait vm web-1 --lock unlocked");
  {
    struct Args {
      std::string vm, host, power, lock;
      bool appear = false;
    };
    auto args = std::make_shared<Args>();
    Command command = group.Sub("vm", "Wait for a VM", "wait vm web-1 --power off --lock locked");
    command.Argument(&args->vm, "VM", "the virtual machine");
    command.Option(&args->host, "--host", "HOST", "where two hosts have a VM of the name");
    command.Choice(&args->power, "--power", {"on", "off"}, "its power state");
    command.Choice(&args->lock, "--lock", {"locked", "unlocked"}, "its lock state");
    command.Flag(&args->appear, "--appear", "also while there is no such VM yet");
    command.Run([args](Session* session) -> absl::Status {
      if (args->power.empty() && args->lock.empty()) {
        return UsageError("say what for: --power, --lock");
      }
      v1::WaitForRequest request;
      request.mutable_vm()->set_vm(args->vm);
      request.mutable_vm()->set_host(args->host);
      request.mutable_vm()->set_power_state(
          Parsed<v1::PowerState>(&v1::PowerState_Parse, "POWER_STATE_", args->power));
      request.mutable_vm()->set_lock_state(
          Parsed<v1::LockState>(&v1::LockState_Parse, "LOCK_STATE_", args->lock));
      return Wait(session, request, args->appear);
    });
  }
  {
    struct Args {
      std::string host, connection, crypto;
      bool booted = false;
      bool appear = false;
    };
    auto args = std::make_shared<Args>();
    Command command =
        group.Sub("host", "Wait for a host", "wait host esx-1 --connection connected --booted");
    command.Argument(&args->host, "HOST", "the host");
    command.Choice(&args->connection, "--connection",
                   {"connected", "not-responding", "disconnected"}, "to its controller");
    command.Choice(&args->crypto, "--crypto",
                   {"incapable", "prepared", "safe", "pending-incapable"}, "its encryption mode");
    command.Flag(&args->booted, "--booted", "its boot is complete");
    command.Flag(&args->appear, "--appear", "also while there is no such host yet");
    command.Run([args](Session* session) -> absl::Status {
      if (args->connection.empty() && args->crypto.empty() && !args->booted) {
        return UsageError("say what for: --connection, --crypto, --booted");
      }
      v1::WaitForRequest request;
      request.mutable_host()->set_host(args->host);
      request.mutable_host()->set_connection_state(Parsed<v1::ConnectionState>(
          &v1::ConnectionState_Parse, "CONNECTION_STATE_", args->connection));
      request.mutable_host()->set_crypto_state(
          Parsed<v1::CryptoState>(&v1::CryptoState_Parse, "CRYPTO_STATE_", args->crypto));
      request.mutable_host()->set_boot_complete(args->booted);
      return Wait(session, request, args->appear);
    });
  }
  {
    struct Args {
      std::string name, object;
      bool absent = false;
    };
    auto args = std::make_shared<Args>();
    Command command = group.Sub("alarm", "Wait for an alarm, or for its end",
                                "wait alarm \"Virtual Machine Locked Alarm\" vm/web-1 --absent");
    command.Argument(&args->name, "ALARM", "its name");
    command.Argument(&args->object, "OBJECT", "as vm/web-1");
    command.Flag(&args->absent, "--absent", "until it does not show");
    command.Run([args](Session* session) -> absl::Status {
      v1::WaitForRequest request;
      request.mutable_alarm()->set_name(args->name);
      request.mutable_alarm()->set_object(args->object);
      request.mutable_alarm()->set_absent(args->absent);
      return Wait(session, request, true);
    });
  }
}

}  // namespace

void AddEventCommands(Command* root) {
  Command group = root->Sub("event", "What happened, under vSphere's event types", "event list");
  AddEventList(&group);
  AddEventWatch(&group);
  AddAlarms(root);
  AddWait(root);
}

}  // namespace keysphere::cli
