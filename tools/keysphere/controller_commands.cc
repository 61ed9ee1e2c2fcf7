#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/v1/controller.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {
namespace {

using Controller = v1::Controller;
using ControllerStub = Controller::Stub;

void AddAbout(Command* root) {
  Command about = root->Sub("about", "What a vCenter is, and when its passes are", "about");
  about.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        const v1::About answer,
        session->Ask<Controller>(&ControllerStub::async::GetAbout, v1::GetAboutRequest()));
    return session->Show(answer, [session](const v1::About& shown) {
      Fields fields;
      fields.Add("name", shown.name())
          .Add("version", shown.version())
          .Add("DNS names", Join(shown.dns_names()))
          .Add("now", FormatTimestamp(shown.now()))
          .Add("last pass", FormatTimestamp(shown.last_pass_time()))
          .Add("next pass", FormatTimestamp(shown.next_pass_time()))
          .Add("default provider", shown.default_provider())
          .Add("instance", shown.instance_id())
          .Print(session->out());
    });
  });

  auto host = std::make_shared<std::string>();
  Command stats = root->Sub("stats", "Figures of a controller's or a host's process", "stats");
  stats.Option(host.get(), "--host", "HOST", "of this host");
  stats.Run([host](Session* session) -> absl::Status {
    // The messages are flat: their fields are their table.
    const auto print = [session](const google::protobuf::Message& shown) {
      const auto* type = shown.GetDescriptor();
      const auto* reflection = shown.GetReflection();
      Fields fields;
      for (int i = 0; i < type->field_count(); ++i) {
        const auto* field = type->field(i);
        const int64_t value = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT32
                                  ? reflection->GetInt32(shown, field)
                                  : reflection->GetInt64(shown, field);
        fields.Add(field->name(), absl::StrCat(value));
      }
      fields.Print(session->out());
    };
    if (host->empty()) {
      KS_ASSIGN_OR_RETURN(
          const v1::ControllerStats answer,
          session->Ask<Controller>(&ControllerStub::async::GetStats, v1::GetStatsRequest()));
      return session->Show(answer, print);
    }
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(*host));
    KS_ASSIGN_OR_RETURN(const host::v1::HostStats answer,
                        session->AskAt<host::v1::HostStatus>(
                            channel, &host::v1::HostStatus::Stub::async::GetHostStats,
                            host::v1::GetHostStatsRequest()));
    return session->Show(answer, print);
  });
}

void AddRemediate(Command* root) {
  auto host = std::make_shared<std::string>();
  Command command =
      root->Sub("remediate", "One pass of the remediation loop now", "remediate --host esx-1");
  command.Option(host.get(), "--host", "HOST", "only this host (default: all)");
  command.Run([host](Session* session) -> absl::Status {
    v1::RemediateRequest request;
    request.set_host(*host);
    KS_ASSIGN_OR_RETURN(const v1::RemediateResponse response,
                        session->Ask<Controller>(&ControllerStub::async::Remediate, request));
    return session->Show(response, [session](const v1::RemediateResponse& shown) {
      Table table({"HOST", "OUTCOME", "ADDED", "REMOVED", "LOCKED VMS", "ERROR"});
      for (const v1::RemediateResponse::HostResult& result : shown.hosts()) {
        table.Add({result.host(),
                   EnumWord(v1::RemediateResponse::HostResult::Outcome_Name(result.outcome()),
                            "OUTCOME_"),
                   Join(result.added_providers()), Join(result.removed_providers()),
                   Join(result.locked_vms()), result.error()});
      }
      table.Print(session->out());
    });
  });
}

absl::Status ShowOption(Session* session, const v1::Option& option) {
  return session->Show(option, [session](const v1::Option& shown) {
    Fields fields;
    fields.Add("name", shown.name())
        .Add("value", shown.value())
        .Add("default", shown.default_value())
        .Add("description", shown.description())
        .Print(session->out());
  });
}

void AddOptions(Command* root) {
  Command group = root->Sub("option", "Settings of a vCenter, under vSphere's names",
                            "option set vpxd.KMS.remediationInterval 10");
  Command list = group.Sub("list", "List the options", "option list");
  list.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        const v1::ListOptionsResponse response,
        session->Ask<Controller>(&ControllerStub::async::ListOptions, v1::ListOptionsRequest()));
    return session->Show(response, [session](const v1::ListOptionsResponse& shown) {
      Table table({"NAME", "VALUE", "DEFAULT", "DESCRIPTION"});
      for (const v1::Option& option : shown.options()) {
        table.Add({option.name(), option.value(), option.default_value(), option.description()});
      }
      table.Print(session->out());
    });
  });
  auto name = std::make_shared<std::string>();
  Command get = group.Sub("get", "Show an option", "option get vpxd.KMS.remediationInterval");
  get.Argument(name.get(), "NAME", "the option");
  get.Run([name](Session* session) -> absl::Status {
    v1::GetOptionRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::Option option,
                        session->Ask<Controller>(&ControllerStub::async::GetOption, request));
    return ShowOption(session, option);
  });
  auto value = std::make_shared<std::string>();
  Command set = group.Sub("set", "Set an option; it holds at once",
                          "option set vpxd.KMS.remediationInterval 10");
  set.Argument(name.get(), "NAME", "the option");
  set.Argument(value.get(), "VALUE", "in the option's unit");
  set.Run([name, value](Session* session) -> absl::Status {
    v1::SetOptionRequest request;
    request.set_name(*name);
    request.set_value(*value);
    KS_ASSIGN_OR_RETURN(const v1::Option option,
                        session->Ask<Controller>(&ControllerStub::async::SetOption, request));
    return ShowOption(session, option);
  });
}

}  // namespace

void AddControllerCommands(Command* root) {
  AddAbout(root);
  AddRemediate(root);
  AddOptions(root);
}

}  // namespace keysphere::cli
