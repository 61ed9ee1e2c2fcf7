#include "controller/access/access.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/access/method_rules.h"

namespace keysphere::controller::access {
namespace {

constexpr char kRolePrefix[] = "access/role/";
constexpr char kUserPrefix[] = "access/user/";
constexpr char kCryptographer[] = "Cryptographer.";
constexpr size_t kMaxRoles = 1000;
constexpr size_t kMaxUsers = 10'000;

absl::Status Missing(absl::string_view user, absl::string_view privilege) {
  return status::Error(v1::REASON_NO_PERMISSION, absl::StrCat("user ", status::Quote(user),
                                                              " lacks the privilege ", privilege))
      .Object("user", user)
      .NextStep("Ask an administrator for a role that has it.")
      .With("privilege", privilege);
}

absl::Status NoRole(absl::string_view role) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no role ", status::Quote(role)))
      .Object("role", role)
      .NextStep("List the roles.");
}

std::set<std::string> WithImplied(std::set<std::string> privileges) {
  privileges.insert({kSystemAnonymous, kSystemRead, kSystemView});
  return privileges;
}

template <typename Response>
void Answer(status::Callback<Response>* done, const absl::StatusOr<store::Revision>& result,
            Response response) {
  if (result.ok()) {
    (*done)(std::move(response));
  } else {
    (*done)(result.status());
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Access>> Access::Load(
    store::Store* store, executor::Strand* strand, const std::vector<std::string>& administrators) {
  auto access = std::unique_ptr<Access>(new Access(store, strand));
  for (const std::string& privilege : KnownPrivileges()) {
    access->built_in_[kAdministrator].insert(privilege);
    if (!absl::StartsWith(privilege, kCryptographer)) {
      access->built_in_[kNoCryptoAdministrator].insert(privilege);
    }
  }
  access->built_in_[kReadOnly] = WithImplied({kReadKeyServersInfo});
  for (const std::string& user : administrators) access->users_[user] = kAdministrator;

  KS_RETURN_IF_ERROR(
      (store::ForEachProto<v1::Role>(store, kRolePrefix, [&](store::ProtoEntry<v1::Role> entry) {
        const v1::Role& role = entry.message;
        access->custom_[role.name()] =
            WithImplied({role.privileges().begin(), role.privileges().end()});
        return absl::OkStatus();
      })));
  KS_RETURN_IF_ERROR(
      (store::ForEachProto<v1::User>(store, kUserPrefix, [&](store::ProtoEntry<v1::User> entry) {
        const v1::User& user = entry.message;
        // An empty role: it was taken away, also from one who is named at the start.
        access->users_.erase(user.name());
        if (!user.role().empty()) access->users_[user.name()] = user.role();
        return absl::OkStatus();
      })));
  return access;
}

const std::set<std::string>& Access::PrivilegesOf(absl::string_view role) const {
  static const auto* const none = new std::set<std::string>();
  for (const auto* roles : {&built_in_, &custom_}) {
    if (const auto it = roles->find(role); it != roles->end()) return it->second;
  }
  return *none;
}

std::string Access::RoleOf(absl::string_view user) const {
  const auto it = users_.find(user);
  return it == users_.end() ? "" : it->second;
}

absl::Status Access::Require(const Caller& caller, absl::string_view privilege) const {
  if (caller.user.empty()) return absl::OkStatus();
  if (PrivilegesOf(RoleOf(caller.user)).count(std::string(privilege)) > 0) return absl::OkStatus();
  return Missing(caller.user, privilege);
}

absl::Status Access::AuthorizeMethod(const Caller& caller, absl::string_view full_method) const {
  const std::vector<std::string>* const any_of = RuleOf(full_method);
  if (any_of == nullptr) {
    return status::Error(v1::REASON_NO_PERMISSION,
                         absl::StrCat("no rule allows the method ", status::Quote(full_method)));
  }
  for (const std::string& privilege : *any_of) {
    if (Has(caller, privilege)) return absl::OkStatus();
  }
  return Missing(caller.user, absl::StrJoin(*any_of, " or "));
}

absl::Status Access::RequireAllOf(const Caller& caller, const std::set<std::string>& privileges,
                                  absl::string_view role) const {
  for (const std::string& privilege : privileges) {
    if (Has(caller, privilege)) continue;
    return status::Error(v1::REASON_NO_PERMISSION,
                         absl::StrCat("role ", status::Quote(role), " has the privilege ",
                                      privilege, ", which the caller lacks"))
        .Object("role", role)
        .NextStep("Ask somebody who has all privileges of the role.")
        .With("privilege", privilege);
  }
  return absl::OkStatus();
}

void Access::ListRoles(const Caller&, const v1::ListRolesRequest&,
                       status::Callback<v1::ListRolesResponse> done) {
  v1::ListRolesResponse response;
  for (const auto* roles : {&built_in_, &custom_}) {
    for (const auto& [name, privileges] : *roles) {
      v1::Role* const role = response.add_roles();
      role->set_name(name);
      role->set_built_in(roles == &built_in_);
      for (const std::string& privilege : privileges) role->add_privileges(privilege);
    }
  }
  for (const std::string& privilege : KnownPrivileges()) response.add_known_privileges(privilege);
  done(std::move(response));
}

void Access::SetRole(const Caller& caller, const v1::SetRoleRequest& request,
                     status::Callback<v1::Role> done) {
  v1::Role role;
  role.set_name(request.role().name());
  const std::set<std::string> privileges =
      WithImplied({request.role().privileges().begin(), request.role().privileges().end()});
  for (const std::string& privilege : privileges) role.add_privileges(privilege);
  changes_.Run(
      [this, caller, role, privileges]() -> absl::StatusOr<changes::Change> {
        KS_RETURN_IF_ERROR(files::ValidateName(role.name()));
        if (built_in_.count(role.name()) > 0) {
          return status::Error(v1::REASON_ALREADY_EXISTS,
                               absl::StrCat("role ", role.name(), " is built in"))
              .Object("role", role.name())
              .NextStep("Make a role of another name.");
        }
        for (const std::string& privilege : privileges) {
          const auto& known = KnownPrivileges();
          if (std::binary_search(known.begin(), known.end(), privilege)) continue;
          return status::Error(
              v1::REASON_INVALID_ARGUMENT,
              absl::StrCat("role.privileges: no privilege ", status::Quote(privilege)));
        }
        if (custom_.count(role.name()) == 0 && custom_.size() >= kMaxRoles) {
          return status::Error(v1::REASON_TOO_LARGE,
                               absl::StrCat("there are ", kMaxRoles, " roles already"));
        }
        KS_RETURN_IF_ERROR(RequireAllOf(caller, privileges, role.name()));
        KS_RETURN_IF_ERROR(RequireAllOf(caller, PrivilegesOf(role.name()), role.name()));
        changes::Change change;
        store::PutProto(&change.transaction, absl::StrCat(kRolePrefix, role.name()), role);
        change.apply = [this, role, privileges](store::Revision) {
          custom_[role.name()] = privileges;
        };
        return change;
      },
      [role, done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        Answer(&done, result, std::move(role));
      });
}

void Access::DeleteRole(const Caller& caller, const v1::DeleteRoleRequest& request,
                        status::Callback<v1::DeleteRoleResponse> done) {
  changes_.Run(
      [this, caller, name = request.name()]() -> absl::StatusOr<changes::Change> {
        if (built_in_.count(name) > 0) {
          return status::Error(v1::REASON_INVALID_STATE,
                               absl::StrCat("role ", name, " is built in"))
              .Object("role", name);
        }
        if (custom_.count(name) == 0) return NoRole(name);
        for (const auto& [user, role] : users_) {
          if (role != name) continue;
          return status::Error(v1::REASON_INVALID_STATE,
                               absl::StrCat("role ", status::Quote(name), " is that of user ",
                                            status::Quote(user)))
              .Object("role", name)
              .NextStep("Give its users another role first.");
        }
        KS_RETURN_IF_ERROR(RequireAllOf(caller, PrivilegesOf(name), name));
        changes::Change change;
        change.transaction.Delete(absl::StrCat(kRolePrefix, name));
        change.apply = [this, name](store::Revision) { custom_.erase(name); };
        return change;
      },
      [done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        Answer(&done, result, v1::DeleteRoleResponse());
      });
}

void Access::ListUsers(const Caller&, const v1::ListUsersRequest&,
                       status::Callback<v1::ListUsersResponse> done) {
  v1::ListUsersResponse response;
  for (const auto& [name, role] : users_) {
    v1::User* const user = response.add_users();
    user->set_name(name);
    user->set_role(role);
  }
  done(std::move(response));
}

absl::Status Access::CheckUserRole(const Caller& caller, const std::string& user,
                                   const std::string& role) const {
  KS_RETURN_IF_ERROR(files::ValidateName(user));
  if (!role.empty() && built_in_.count(role) == 0 && custom_.count(role) == 0) {
    return NoRole(role);
  }
  const std::string former = RoleOf(user);
  if (former.empty() && !role.empty() && users_.size() >= kMaxUsers) {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("there are ", kMaxUsers, " users already"));
  }
  KS_RETURN_IF_ERROR(RequireAllOf(caller, PrivilegesOf(role), role));
  KS_RETURN_IF_ERROR(RequireAllOf(caller, PrivilegesOf(former), former));
  const auto administrators = std::count_if(users_.begin(), users_.end(), [](const auto& entry) {
    return entry.second == kAdministrator;
  });
  if (former == kAdministrator && role != kAdministrator && administrators == 1) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("user ", status::Quote(user), " is the last Administrator"))
        .Object("user", user)
        .NextStep("Give another user the role Administrator first.");
  }
  return absl::OkStatus();
}

void Access::SetUserRole(const Caller& caller, const v1::SetUserRoleRequest& request,
                         status::Callback<v1::User> done) {
  v1::User user;
  user.set_name(request.user());
  user.set_role(request.role());
  changes_.Run(
      [this, caller, user]() -> absl::StatusOr<changes::Change> {
        KS_RETURN_IF_ERROR(CheckUserRole(caller, user.name(), user.role()));
        changes::Change change;
        store::PutProto(&change.transaction, absl::StrCat(kUserPrefix, user.name()), user);
        change.apply = [this, user](store::Revision) {
          users_.erase(user.name());
          if (!user.role().empty()) users_[user.name()] = user.role();
        };
        return change;
      },
      [user, done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        Answer(&done, result, std::move(user));
      });
}

}  // namespace keysphere::controller::access
