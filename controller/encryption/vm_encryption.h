#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_VM_ENCRYPTION_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_VM_ENCRYPTION_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/status/callback.h"
#include "controller/access/access.h"
#include "controller/access/caller.h"
#include "controller/encryption/host_readiness.h"
#include "controller/encryption/key_maker.h"
#include "controller/encryption/lost_answers.h"
#include "controller/events/event_log.h"
#include "controller/hosts/hosts.h"
#include "controller/providers/providers.h"
#include "controller/tasks/tasks.h"
#include "keysphere/v1/crypto_manager.pb.h"
#include "keysphere/v1/inventory.pb.h"
#include "keysphere/v1/tasks.pb.h"

namespace keysphere::controller::encryption {

// Whether this vCenter may encrypt what. A vTPM works in every edition (S142).
enum class Edition { kStandard, kEnterprisePlus };

// Encrypting, decrypting and making VMs, as tasks, and the state of keys. Lives on the controller's
// strand. What is refused is refused before a task begins; what fails on the host fails the task.
class VmEncryption {
 public:
  struct Deps {
    access::Access* access;
    hosts::Hosts* hosts;
    providers::Providers* providers;
    HostReadiness* readiness;
    KeyMaker* keys;
    kms::KmsClusters* kms;
    hosts::NeededKeys* needs;
    events::EventLog* events;
    tasks::Tasks* tasks;
    LostAnswers* lost_answers;
    Edition edition = Edition::kEnterprisePlus;
  };
  explicit VmEncryption(Deps deps) : deps_(deps) {}

  // The host has told how far it is, 0 to 100.
  void NoteProgress(const std::string& host, const std::string& vm, int percent);

  void CreateVm(const access::Caller& caller, const v1::CreateVmRequest& request,
                status::Callback<v1::Task> done);
  void EncryptVm(const access::Caller& caller, const v1::EncryptVmRequest& request,
                 status::Callback<v1::Task> done);
  void DecryptVm(const access::Caller& caller, const v1::DecryptVmRequest& request,
                 status::Callback<v1::Task> done);
  void AddVtpm(const access::Caller& caller, const v1::AddVtpmRequest& request,
               status::Callback<v1::Task> done);

  void RekeyVm(const access::Caller& caller, const v1::RekeyVmRequest& request,
               status::Callback<v1::Task> done);

  void GenerateKey(const access::Caller& caller, const v1::GenerateKeyRequest& request,
                   status::Callback<v1::GenerateKeyResponse> done);
  void QueryCryptoKeyStatus(const access::Caller& caller,
                            const v1::QueryCryptoKeyStatusRequest& request,
                            status::Callback<v1::QueryCryptoKeyStatusResponse> done);

 private:
  using Session = std::shared_ptr<hosts::HostSession>;
  // With the key that was made, if one was wanted.
  using HostCall =
      absl::AnyInvocable<void(const v1::CryptoKeyId& key, status::Callback<host::v1::HostVm>)>;

  absl::StatusOr<hosts::Hosts::FoundVm> FindUsable(const std::string& vm,
                                                   const std::string& host) const;
  // One of the operations above on a VM that was found.
  template <typename Request>
  using Begin = void (VmEncryption::*)(const access::Caller& caller, const Request& request,
                                       const hosts::Hosts::FoundVm& found,
                                       status::Callback<v1::Task> done);
  // Finds the VM. One that ran when last told may have been powered off at its host, which answers
  // its user before the watch has told: the host is asked before the VM is said to run. What is off
  // and would be refused for being encrypted, or for not being so, may have been changed by another
  // host that has it too: the host reads its files anew before that is said.
  template <typename Request>
  void Start(const access::Caller& caller, const Request& request, status::Callback<v1::Task> done,
             Begin<Request> begin);
  // Whether it would be refused for that.
  static bool Doubts(const v1::Vm& vm, const v1::EncryptVmRequest& request);
  static bool Doubts(const v1::Vm& vm, const v1::DecryptVmRequest& request);
  static bool Doubts(const v1::Vm& vm, const v1::AddVtpmRequest& request);
  static bool Doubts(const v1::Vm& vm, const v1::RekeyVmRequest& request);
  // The host reads the VM's files anew, and is brought the keys that they name.
  void Reread(Session host, const std::string& vm, absl::AnyInvocable<void()> then);
  void Reload(Session host, const std::string& vm, absl::AnyInvocable<void()> then);
  void BeginEncryptVm(const access::Caller& caller, const v1::EncryptVmRequest& request,
                      const hosts::Hosts::FoundVm& found, status::Callback<v1::Task> done);
  void BeginDecryptVm(const access::Caller& caller, const v1::DecryptVmRequest& request,
                      const hosts::Hosts::FoundVm& found, status::Callback<v1::Task> done);
  void BeginAddVtpm(const access::Caller& caller, const v1::AddVtpmRequest& request,
                    const hosts::Hosts::FoundVm& found, status::Callback<v1::Task> done);
  void BeginRekeyVm(const access::Caller& caller, const v1::RekeyVmRequest& request,
                    const hosts::Hosts::FoundVm& found, status::Callback<v1::Task> done);
  // What speaks against encrypting on this host, in S154's order; OK fills the provider.
  absl::Status Refusal(const access::Caller& caller, const hosts::HostSession& host,
                       const v1::Vm& vm, const v1::CryptoSpec& crypto, bool needs_license,
                       std::string* provider) const;
  // What a task is about.
  struct Work {
    Work(const access::Caller& caller_in, absl::string_view operation_in, const std::string& vm_in,
         Session host_in)
        : caller(caller_in), operation(operation_in), vm(vm_in), host(std::move(host_in)) {}

    access::Caller caller;
    std::string operation;
    std::string vm;
    Session host;
    // The key to use: its provider, and the id of one that the KMS or the VM has already. No
    // provider: the work needs none.
    v1::CryptoKeyId key;
    bool key_is_the_vms = false;  // it wraps the VM's data keys already
    v1::CryptoKeyId old_key;
    std::string vm_uuid;
    std::string task;
    HostCall call;
  };
  // Begins the task; in it makes the host ready for the provider, has the key made and brought to
  // it, calls the host, notes the VM and the audit event, ends the task.
  void Run(Work work, status::Callback<v1::Task> done);
  void PrepareKey(std::shared_ptr<Work> work);
  void CallHost(std::shared_ptr<Work> work);
  void Failed(const Work& work, const absl::Status& why);
  // What is kept of the work until its outcome is known; empty where no VM would show it.
  static CryptoWork RecordOf(const Work& work);
  static std::string NoteOf(const Work& work);
  // What the VM is encrypted with, brought to the host as far as it can be had.
  void BringKeys(Session host, const v1::Vm& vm, absl::AnyInvocable<void()> then);
  void AskStates(const std::string& provider, const v1::QueryCryptoKeyStatusRequest& request,
                 std::shared_ptr<v1::QueryCryptoKeyStatusResponse> response,
                 absl::AnyInvocable<void()> done);

  const Deps deps_;
  // The tasks that hosts are at work for, by host and VM.
  std::map<std::pair<std::string, std::string>, std::string> at_work_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_VM_ENCRYPTION_H_
