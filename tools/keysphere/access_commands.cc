#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "keysphere/v1/controller.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/simulator_calls.h"

namespace keysphere::cli {
namespace {

using Access = v1::Access;
using AccessStub = Access::Stub;

void AddRoles(Command* root) {
  Command group = root->Sub("role", "Roles: named sets of vSphere's privileges", "role list");
  Command list = group.Sub("list", "List the roles", "role list");
  list.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        const v1::ListRolesResponse response,
        session->Ask<Access>(&AccessStub::async::ListRoles, v1::ListRolesRequest()));
    return session->Show(response, [session](const v1::ListRolesResponse& shown) {
      Table table({"NAME", "BUILT IN", "PRIVILEGES"});
      for (const v1::Role& role : shown.roles()) {
        table.Add({role.name(), YesNo(role.built_in()), Join(role.privileges())});
      }
      table.Print(session->out());
      session->Say("privileges: ", Join(shown.known_privileges()));
    });
  });
  struct Args {
    std::string name;
    std::vector<std::string> privileges;
  };
  auto args = std::make_shared<Args>();
  Command set = group.Sub("set", "Make a role, or replace its privileges",
                          "role set Operators --privilege VirtualMachine.Interact.PowerOn");
  set.Argument(&args->name, "NAME", "the role");
  set.Option(&args->privileges, "--privilege", "PRIVILEGE", "that it has");
  set.Run([args](Session* session) -> absl::Status {
    v1::SetRoleRequest request;
    request.mutable_role()->set_name(args->name);
    for (const std::string& privilege : args->privileges) {
      request.mutable_role()->add_privileges(privilege);
    }
    KS_ASSIGN_OR_RETURN(const v1::Role role,
                        session->Ask<Access>(&AccessStub::async::SetRole, request));
    return session->Show(role, [session](const v1::Role& shown) {
      session->Say(shown.name(), ": ", Join(shown.privileges()));
    });
  });
  auto name = std::make_shared<std::string>();
  Command remove = group.Sub("delete", "Delete a role that nobody has", "role delete Operators");
  remove.Argument(name.get(), "NAME", "the role");
  remove.Run([name](Session* session) -> absl::Status {
    v1::DeleteRoleRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::DeleteRoleResponse response,
                        session->Ask<Access>(&AccessStub::async::DeleteRole, request));
    return session->Show(response,
                         [&](const v1::DeleteRoleResponse&) { session->Say("deleted ", *name); });
  });
}

absl::Status ShowUser(Session* session, const v1::User& user) {
  return session->Show(user, [session](const v1::User& shown) {
    session->Say(shown.name(), ": ", shown.role().empty() ? "no role" : shown.role());
  });
}

void AddUsers(Command* root) {
  Command group = root->Sub("user", "Users: who has which role, and their certificates",
                            "user set-role alice ReadOnly");
  Command list = group.Sub("list", "List the users that have a role", "user list");
  list.Run([](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(
        const v1::ListUsersResponse response,
        session->Ask<Access>(&AccessStub::async::ListUsers, v1::ListUsersRequest()));
    return session->Show(response, [session](const v1::ListUsersResponse& shown) {
      Table table({"NAME", "ROLE"});
      for (const v1::User& user : shown.users()) table.Add({user.name(), user.role()});
      table.Print(session->out());
    });
  });
  struct Args {
    std::string user;
    std::string role;
    bool none = false;
  };
  auto args = std::make_shared<Args>();
  Command set = group.Sub("set-role", "Give a user a role, or take it away",
                          "user set-role alice NoCryptoAdministrator");
  set.Argument(&args->user, "USER", "the NAME of the SPIFFE id /user/NAME");
  set.OptionalArgument(&args->role, "ROLE", "a role of `role list`");
  set.Flag(&args->none, "--none", "no role any more");
  set.Run([args](Session* session) -> absl::Status {
    if (args->role.empty() != args->none) return UsageError("say a role, or --none");
    v1::SetUserRoleRequest request;
    request.set_user(args->user);
    request.set_role(args->role);
    KS_ASSIGN_OR_RETURN(const v1::User user,
                        session->Ask<Access>(&AccessStub::async::SetUserRole, request));
    return ShowUser(session, user);
  });

  struct IssueArgs {
    std::string user;
    std::string not_after;
  };
  auto issue_args = std::make_shared<IssueArgs>();
  Command issue = group.Sub(
      "issue", "Make a certificate of the simulated cluster for a user, in place of the former",
      "user issue alice");
  issue.Argument(&issue_args->user, "USER", "who");
  issue.Option(&issue_args->not_after, "--not-after", "TIME", "RFC 3339 (default: in 20 years)");
  issue.Run([issue_args](Session* session) -> absl::Status {
    sim::v1::IssueUserCertificateRequest request;
    request.set_user(issue_args->user);
    if (!issue_args->not_after.empty()) {
      KS_ASSIGN_OR_RETURN(const absl::Time time, ParseTimestamp(issue_args->not_after));
      request.mutable_not_after()->set_seconds(absl::ToUnixSeconds(time));
    }
    KS_ASSIGN_OR_RETURN(const std::string dir, session->ClusterDir());
    const bool had =
        files::FileSystem().Exists(UserStem(dir, issue_args->user) + ".crt").value_or(false);
    KS_ASSIGN_OR_RETURN(
        const sim::v1::IssueUserCertificateResponse response,
        AskSimulator(session, &sim::v1::Simulator::Stub::async::IssueUserCertificate, request));
    if (had) session->Warn("replaced the former certificate of ", issue_args->user);
    return session->Show(response, [&](const sim::v1::IssueUserCertificateResponse& shown) {
      Fields fields;
      fields.Add("certificate", shown.certificate_file())
          .Add("key", shown.key_file())
          .Add("use it by", absl::StrCat("--user ", issue_args->user))
          .Print(session->out());
    });
  });
}

}  // namespace

void AddAccessCommands(Command* root) {
  AddRoles(root);
  AddUsers(root);
}

}  // namespace keysphere::cli
