#include "controller/access/method_rules.h"

#include <algorithm>
#include <map>

#include "controller/access/access.h"

namespace keysphere::controller::access {
namespace {

using Rules = std::map<std::string, std::vector<std::string>, std::less<>>;

Rules MakeRules() {
  Rules rules;
  std::string service;
  const auto in = [&](const char* name) { service = std::string("/keysphere.v1.") + name + "/"; };
  const auto add = [&](const char* method, std::vector<std::string> any_of) {
    rules.emplace(service + method, std::move(any_of));
  };

  in("KeyProviders");
  add("CreateKeyProvider", {kManageKeyServers});
  add("GetKeyProvider", {kReadKeyServersInfo});
  add("ListKeyProviders", {kReadKeyServersInfo});
  add("ListKmsClusters", {kReadKeyServersInfo});
  add("UpdateKeyProvider", {kManageKeyServers});
  add("DeleteKeyProvider", {kManageKeyServers});
  add("SetDefaultKeyProvider", {kManageKeyServers});
  add("ExportKeyProvider", {kManageKeyServers});
  add("DownloadKeyProvider", {kManageKeyServers});
  add("ImportKeyProvider", {kManageKeyServers});
  add("CheckKmsServers", {kReadKeyServersInfo});
  add("RetrieveKmsServerCertificate", {kReadKeyServersInfo});
  add("TrustKmsServer", {kManageKeyServers});
  add("GenerateKmsClientCsr", {kManageKeyServers});
  add("SetKmsClientCertificate", {kManageKeyServers});

  in("CryptoManager");
  add("GenerateKey", {kManageKeys});
  add("QueryCryptoKeyStatus", {kManageKeys});

  in("Clusters");
  add("CreateCluster", {kHostInventory});
  add("GetCluster", {kSystemView});
  add("ListClusters", {kSystemView});
  add("DeleteCluster", {kHostInventory});

  in("Hosts");
  add("AddHost", {kHostInventory});
  add("RemoveHost", {kHostInventory});
  add("MoveHost", {kHostInventory});
  add("GetHost", {kSystemView});
  add("ListHosts", {kSystemView});
  add("PrepareCrypto", {kRegisterHost});
  add("EnableCrypto", {kRegisterHost});
  add("DisableCrypto", {kRegisterHost});
  add("ChangeKey", {kRegisterHost});
  add("AddKey", {kManageKeys});
  add("ConfigureCryptoKey", {kRegisterHost});
  add("SetKeyPersistence", {kRegisterHost});
  add("WriteCoreDump", {kCryptoAccess});
  add("ReadCoreDump", {kCryptoAccess});

  // What encryption needs beyond these depends on the VM: the domain asks for it.
  in("VirtualMachines");
  add("CreateVm", {kVmCreate});
  add("RegisterVm", {kVmRegister});
  add("UnregisterVm", {kVmUnregister});
  add("ReloadVm", {kVmConfig});
  add("GetVm", {kSystemView});
  add("ListVms", {kSystemView});
  add("PowerOnVm", {kVmPowerOn});
  add("PowerOffVm", {kVmPowerOff});
  add("ResetVm", {kVmPowerOff});
  add("EncryptVm", {kEncrypt, kEncryptNew});
  add("DecryptVm", {kDecrypt});
  add("AddVtpm", {kEncrypt, kEncryptNew});
  add("RekeyVm", {kRecrypt});
  add("UnlockVm", {kRegisterVm});
  add("ExplainVm", {kSystemView});

  in("Tasks");
  add("GetTask", {kSystemView});
  add("ListTasks", {kSystemView});
  add("WatchTask", {kSystemView});
  add("CancelTask", {kCancelTask});

  in("Events");
  add("ListEvents", {kSystemView});
  add("WatchEvents", {kSystemView});
  add("WaitFor", {kSystemView});

  in("Alarms");
  add("ListAlarms", {kSystemView});
  add("AcknowledgeAlarm", {kAcknowledgeAlarm});

  in("Controller");
  add("GetAbout", {kSystemView});
  add("Remediate", {kManageKeys});  // it sends keys, and takes them away
  add("GetOption", {kSystemView});
  add("ListOptions", {kSystemView});
  add("SetOption", {kGlobalSettings});
  add("GetStats", {kSystemView});

  in("Access");
  add("ListRoles", {kSystemView});
  add("SetRole", {kModifyRoles});
  add("DeleteRole", {kModifyRoles});
  add("ListUsers", {kSystemView});
  add("SetUserRole", {kModifyPermissions});
  return rules;
}

}  // namespace

const std::vector<std::string>* RuleOf(absl::string_view full_method) {
  static const Rules* const rules = new Rules(MakeRules());
  const auto it = rules->find(full_method);
  return it == rules->end() ? nullptr : &it->second;
}

const std::vector<std::string>& KnownPrivileges() {
  static const auto* const privileges = [] {
    auto* all = new std::vector<std::string>{
        kManageKeyServers,
        kReadKeyServersInfo,
        kManageKeys,
        kEncryptNew,
        kEncrypt,
        kDecrypt,
        kRecrypt,
        kRegisterHost,
        kRegisterVm,
        kCryptoAccess,
        kClone,
        kMigrate,
        kAddDisk,
        kManageEncryptionPolicy,
        kSystemAnonymous,
        kSystemRead,
        kSystemView,
        kGlobalSettings,
        kModifyRoles,
        kModifyPermissions,
        kHostInventory,
        kHostConfig,
        kVmCreate,
        kVmRegister,
        kVmUnregister,
        kVmPowerOn,
        kVmPowerOff,
        kVmConfig,
        kAcknowledgeAlarm,
        kCancelTask,
    };
    std::sort(all->begin(), all->end());
    return all;
  }();
  return *privileges;
}

}  // namespace keysphere::controller::access
