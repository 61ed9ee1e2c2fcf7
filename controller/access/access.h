#ifndef KEYSPHERE_CONTROLLER_ACCESS_ACCESS_H_
#define KEYSPHERE_CONTROLLER_ACCESS_ACCESS_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/changes.h"
#include "keysphere/v1/controller.pb.h"

namespace keysphere::controller::access {

// vSphere's privileges, by their names.
inline constexpr char kManageKeyServers[] = "Cryptographer.ManageKeyServers";
inline constexpr char kReadKeyServersInfo[] = "Cryptographer.ReadKeyServersInfo";
inline constexpr char kManageKeys[] = "Cryptographer.ManageKeys";
inline constexpr char kEncryptNew[] = "Cryptographer.EncryptNew";
inline constexpr char kEncrypt[] = "Cryptographer.Encrypt";
inline constexpr char kDecrypt[] = "Cryptographer.Decrypt";
inline constexpr char kRecrypt[] = "Cryptographer.Recrypt";
inline constexpr char kRegisterHost[] = "Cryptographer.RegisterHost";
inline constexpr char kRegisterVm[] = "Cryptographer.RegisterVM";
inline constexpr char kCryptoAccess[] = "Cryptographer.Access";
inline constexpr char kClone[] = "Cryptographer.Clone";
inline constexpr char kMigrate[] = "Cryptographer.Migrate";
inline constexpr char kAddDisk[] = "Cryptographer.AddDisk";
inline constexpr char kManageEncryptionPolicy[] = "Cryptographer.ManageEncryptionPolicy";
// Every role implies these three.
inline constexpr char kSystemAnonymous[] = "System.Anonymous";
inline constexpr char kSystemRead[] = "System.Read";
inline constexpr char kSystemView[] = "System.View";
inline constexpr char kGlobalSettings[] = "Global.Settings";
inline constexpr char kModifyRoles[] = "Authorization.ModifyRoles";
inline constexpr char kModifyPermissions[] = "Authorization.ModifyPermissions";
inline constexpr char kHostInventory[] = "Host.Inventory.EditCluster";
inline constexpr char kHostConfig[] = "Host.Config.Settings";
inline constexpr char kVmCreate[] = "VirtualMachine.Inventory.Create";
inline constexpr char kVmRegister[] = "VirtualMachine.Inventory.Register";
inline constexpr char kVmUnregister[] = "VirtualMachine.Inventory.Unregister";
inline constexpr char kVmPowerOn[] = "VirtualMachine.Interact.PowerOn";
inline constexpr char kVmPowerOff[] = "VirtualMachine.Interact.PowerOff";
inline constexpr char kVmConfig[] = "VirtualMachine.Config.Settings";
inline constexpr char kAcknowledgeAlarm[] = "Alarm.Acknowledge";
inline constexpr char kCancelTask[] = "Global.CancelTask";

inline constexpr char kAdministrator[] = "Administrator";
inline constexpr char kNoCryptoAdministrator[] = "NoCryptoAdministrator";
inline constexpr char kReadOnly[] = "ReadOnly";

// Roles, and which user has which. Lives on the controller's strand. Built-in roles: Administrator
// (all), NoCryptoAdministrator (all but Cryptographer.*), ReadOnly (System.View and
// Cryptographer.ReadKeyServersInfo). As in vSphere, every role, a custom one too, implies
// System.Anonymous, System.View and System.Read: who may do a thing may see what came of it. Nobody
// gives, takes or shapes a role with privileges that he has not himself, so that no role grows by
// its own means.
class Access {
 public:
  // Users in `administrators` have the role Administrator unless the store says otherwise.
  static absl::StatusOr<std::unique_ptr<Access>> Load(
      store::Store* store, executor::Strand* strand,
      const std::vector<std::string>& administrators);

  // NO_PERMISSION naming the privilege. The controller itself (empty user) may do everything.
  absl::Status Require(const Caller& caller, absl::string_view privilege) const;
  bool Has(const Caller& caller, absl::string_view privilege) const {
    return Require(caller, privilege).ok();
  }
  // The privileges that a role of this name has; empty for an unknown one.
  const std::set<std::string>& PrivilegesOf(absl::string_view role) const;
  // By the table of methods ("/keysphere.v1.KeyProviders/CreateKeyProvider"): a method without a
  // rule is refused to everybody.
  absl::Status AuthorizeMethod(const Caller& caller, absl::string_view full_method) const;

  void ListRoles(const Caller& caller, const v1::ListRolesRequest& request,
                 status::Callback<v1::ListRolesResponse> done);
  void SetRole(const Caller& caller, const v1::SetRoleRequest& request,
               status::Callback<v1::Role> done);
  void DeleteRole(const Caller& caller, const v1::DeleteRoleRequest& request,
                  status::Callback<v1::DeleteRoleResponse> done);
  void ListUsers(const Caller& caller, const v1::ListUsersRequest& request,
                 status::Callback<v1::ListUsersResponse> done);
  void SetUserRole(const Caller& caller, const v1::SetUserRoleRequest& request,
                   status::Callback<v1::User> done);

 private:
  Access(store::Store* store, executor::Strand* strand) : changes_(store, strand) {}

  // The role of a user; empty: none.
  std::string RoleOf(absl::string_view user) const;
  // NO_PERMISSION unless the caller has all privileges of the role.
  absl::Status RequireAllOf(const Caller& caller, const std::set<std::string>& privileges,
                            absl::string_view role) const;
  absl::Status CheckUserRole(const Caller& caller, const std::string& user,
                             const std::string& role) const;

  changes::Changes changes_;
  std::map<std::string, std::set<std::string>, std::less<>> built_in_;
  std::map<std::string, std::set<std::string>, std::less<>> custom_;
  std::map<std::string, std::string, std::less<>> users_;  // those that have a role
};

}  // namespace keysphere::controller::access

#endif  // KEYSPHERE_CONTROLLER_ACCESS_ACCESS_H_
