#ifndef KEYSPHERE_HOSTAGENT_AGENT_VM_REGISTRY_H_
#define KEYSPHERE_HOSTAGENT_AGENT_VM_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/status/status.h"
#include "hostagent/agent/datastores.h"
#include "hostagent/agent/errors.h"
#include "hostagent/agent/host_context.h"
#include "hostagent/agent/vm_record.h"
#include "hostagent/dump/dump_file.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/host/v1/host_vms.pb.h"

namespace keysphere::hostagent::agent {

// Where core dumps lie, and a new one's path; what a dump of this host says about itself.
std::string DumpFolder(const HostOptions& options);
std::string NewDumpPath(const HostContext& host, absl::string_view what);
dump::DumpHeader NewDumpHeader(const HostContext& host);
// What is told of a dump of so many bytes.
host::v1::WriteCoreDumpResponse DumpAnswer(const std::string& path, const dump::DumpHeader& header,
                                           uint64_t bytes);

// Keys that a tick took from the host.
struct RemovedKeys {
  std::set<std::string> native;                            // providers
  std::set<std::pair<std::string, std::string>> standard;  // provider and key id

  bool Has(const v1::CryptoKeyId& key) const {
    return native.count(key.provider_id()) > 0 ||
           standard.count({key.provider_id(), key.key_id()}) > 0;
  }
};

// The VMs of one host: registered, judged, powered, encrypted. One operation at a time works on a
// VM; file work runs on the VM's strand in bounded steps, everything else on the host's strand,
// where all these methods are called. Callers were authorised before.
class VmRegistry {
 public:
  using Done = Callback<host::v1::HostVm>;
  // Names of VMs that a judgement locked.
  using Judged = absl::AnyInvocable<void(std::vector<std::string>)>;

  // Operations that wait for one VM; more are refused with OVERLOADED.
  static constexpr size_t kMaxQueued = 64;
  static constexpr int64_t kMaxGuestBytes = 1 << 20;
  static constexpr int64_t kMaxDiskBytes = int64_t{1} << 40;

  // `host` outlives the registry; its configuration is open. `status_changed` is called when an
  // operation changed the host's encryption mode.
  VmRegistry(HostContext* host, std::function<void()> status_changed)
      : host_(host),
        status_changed_(std::move(status_changed)),
        datastores_(host->options.datastores) {}
  // The VMs lose power: tasks that still name them find nothing.
  ~VmRegistry();

  // --- Judging (S134): the only places that lock a VM.
  // Opens what is registered, all off. VMs whose keys the host holds are judged, the others wait.
  void Boot(absl::AnyInvocable<void()> done);
  // Judges those that wait: the first sync has ended, or nobody came (S149).
  void JudgeWaiting(Judged done);
  // After a tick took these keys: judges the VMs that do not run and whose home needs one of them
  // (S66, S71, S152). Which key that is, their files say: another host of the datastore may have
  // encrypted or rekeyed them since they were read here.
  void JudgeAfterPurge(const RemovedKeys& removed, Judged done);
  // Whether some VM waits.
  bool waiting() const { return waiting_ > 0; }

  // What the host holds has changed: explanations of locks may have, too.
  void RefreshExplanations();
  // Frees the VMs' files and keys in memory; an orderly stop.
  void PowerOffAll(absl::AnyInvocable<void()> done);

  std::vector<host::v1::HostVm> List() const;
  absl::StatusOr<host::v1::HostVm> Get(const std::string& name) const;
  void Count(host::v1::HostStats* stats) const;

  void Create(const host::v1::CreateHostVmRequest& request, Done done);
  void Register(const host::v1::RegisterHostVmRequest& request, Done done);
  // `user` is told with the change.
  void Unregister(const std::string& name, const std::string& user,
                  Callback<host::v1::UnregisterHostVmResponse> done);
  void Reload(const std::string& name, Done done);

  // `user` is told with the change.
  void PowerOn(const std::string& name, bool may_enable_host, const std::string& user, Done done);
  void PowerOff(const std::string& name, const std::string& user, Done done);
  void Reset(const std::string& name, Done done);
  void ReadDisk(const host::v1::ReadGuestDiskRequest& request,
                Callback<host::v1::ReadGuestDiskResponse> done);
  void WriteDisk(const host::v1::WriteGuestDiskRequest& request,
                 Callback<host::v1::WriteGuestDiskResponse> done);

  void Encrypt(const host::v1::EncryptHostVmRequest& request, Done done);
  void Decrypt(const std::string& name, Done done);
  void AddVtpm(const host::v1::AddHostVmVtpmRequest& request, Done done);
  // Shallow also while it runs (S43); deep only while it is off (S44).
  void Rekey(const host::v1::RekeyHostVmRequest& request, Done done);
  void Unlock(const std::string& name, Done done);
  // Of a VM that runs (S103).
  void WriteCore(const std::string& name, Callback<host::v1::WriteCoreDumpResponse> done);
  void UnlockAll(Callback<host::v1::UnlockAllHostVmsResponse> done);

 private:
  using Step = absl::AnyInvocable<void(absl::StatusOr<FileView>)>;

  VmPtr Find(const std::string& name) const;
  VmPtr NewRecord(const std::string& id, const std::string& name, const std::string& vmx_path,
                  const std::string& file_path);

  // Runs `body` when the VM has nothing else to do; the operation ends when `body` calls the
  // callback that it is given. NOT_FOUND, OVERLOADED.
  template <typename T>
  void RunOn(const std::string& name, Callback<T> done,
             absl::AnyInvocable<void(VmPtr, Callback<T>)> body);
  // The same for work of the host itself, which is never refused; `body` gets `end`.
  void Enqueue(const VmPtr& vm, absl::AnyInvocable<void(absl::AnyInvocable<void()>)> body);
  void EndOperation(const VmPtr& vm);

  // `work` on the VM's strand, then `then` with its result on the host's.
  template <typename Work, typename Then>
  void OnVm(const VmPtr& vm, Work work, Then then) {
    vm->strand.Post(OnVmTask(vm, std::move(work), std::move(then)));
  }
  // The same for work that syncs nothing (but to recover what a crash left), and that many VMs may
  // want at once.
  template <typename Work, typename Then>
  void QuicklyOnVm(const VmPtr& vm, Work work, Then then) {
    vm->strand.Dispatch(OnVmTask(vm, std::move(work), std::move(then)));
  }
  template <typename Work, typename Then>
  executor::Task OnVmTask(const VmPtr& vm, Work work, Then then) {
    return [this, vm, work = std::move(work), then = std::move(then)]() mutable {
      auto result = work(&vm->files);
      host_->strand.Dispatch([result = std::move(result), then = std::move(then)]() mutable {
        then(std::move(result));
      });
    };
  }

  // On the VM's strand: opens or refreshes the files and really unwraps the home.
  FileView Look(VmRecord::Files* files) const;
  // On the VM's strand: as of the last operation.
  static FileView Describe(const vm::VmFolder& folder);

  // Takes over what was found. Not the lock state.
  void Adopt(VmRecord* vm, const FileView& found);
  // Locked or unlocked by what was found; true: it is locked now and was not before.
  bool AdoptJudgement(VmRecord* vm, const FileView& found);
  void SetWaiting(VmRecord* vm, bool waiting);
  void Explain(VmRecord* vm);
  bool WrongKeyStill(const VmRecord& vm) const;
  // Judges each that does not run, then calls `done`. With `removed` only those whose home needs
  // one of them; of the others what changed in their files is taken over.
  void JudgeEach(std::vector<VmPtr> vms, std::shared_ptr<const RemovedKeys> removed, Judged done);
  // On the VM's strand: nothing where its files name no key of `removed`.
  struct Judgement {
    bool judged = true;
    absl::optional<FileView> found;
  };
  Judgement Judge(VmRecord::Files* files, const RemovedKeys* removed,
                  const v1::CryptoKeyId& known) const;

  // A changed VM: raises its generation and tells the watchers, and who changed it.
  void Changed(VmRecord* vm, const std::string& user = "");
  host::v1::HostVm ToProto(const VmRecord& vm, const std::string& user = "") const;

  absl::Status CheckUsable(const VmRecord& vm) const;
  absl::Status CheckOff(const VmRecord& vm) const;
  absl::Status CheckOn(const VmRecord& vm) const;
  // For what makes new encryption under a provider's key (S23, S101, S141).
  std::vector<absl::Status> NewKeyRefusals(const v1::CryptoKeyId& key) const;

  absl::Status CheckRekey(const VmRecord& vm, const host::v1::RekeyHostVmRequest& request) const;
  // On the VM's strand: does the shallow one, makes the job of the deep one.
  absl::Status StartRekey(const host::v1::RekeyHostVmRequest& request,
                          VmRecord::Files* files) const;
  // How a power-on goes depends on whether the VM is encrypted. What is known of that here may be
  // old: where the files say otherwise, it is decided anew.
  void DecidePowerOn(const VmPtr& vm, bool may_enable_host, const std::string& user, Done done);
  void StartPowerOn(const VmPtr& vm, bool may_enable_host, const std::string& user, Done done);
  void EnableHostThenPowerOn(const VmPtr& vm, const std::string& user, Done done);
  void RunJob(const VmPtr& vm, Step then);
  // Both on the VM's strand. Watchers hear of each step of the job that is large enough.
  void TellProgress(const VmPtr& vm);
  static void EndJob(VmRecord::Files* files);
  // A VM that has been made, and that the host has from now on.
  void TakeMade(const VmPtr& vm, const FileView& found, int64_t purges, Done done);
  void FinishChange(const VmPtr& vm, absl::StatusOr<FileView> found, Done done);

  // Errors name datastore paths, not those of this machine.
  Done ShowingPaths(Done done) const;
  absl::Status CheckNewName(const std::string& name) const;
  void Save(const VmPtr& vm, absl::AnyInvocable<void(absl::Status)> then);
  // The host has the VM from now on. Where keys went since `purges` was read, which knew nothing of
  // it, or it has not been opened, it is judged first.
  void Insert(const VmPtr& vm, int64_t purges, bool opened, Done done);

  HostContext* const host_;
  const std::function<void()> status_changed_;
  const Datastores datastores_;
  std::map<std::string, VmPtr> vms_;
  std::vector<std::weak_ptr<VmRecord>> records_;  // also of VMs that come or have gone
  std::set<std::string> coming_;  // names of VMs that are being created or registered
  int waiting_ = 0;
  int64_t purges_ = 0;  // by ticks, since the boot
};

template <typename T>
void VmRegistry::RunOn(const std::string& name, Callback<T> done,
                       absl::AnyInvocable<void(VmPtr, Callback<T>)> body) {
  const VmPtr vm = Find(name);
  if (vm == nullptr) {
    done(status::Error(v1::REASON_NOT_FOUND, "the host has no such VM")
             .Object("vm", name)
             .NextStep("List the VMs of the host."));
    return;
  }
  if (vm->queue.size() >= kMaxQueued) {
    done(status::Error(v1::REASON_OVERLOADED, "too many operations wait for this VM")
             .Object("vm", name)
             .NextStep("try again later"));
    return;
  }
  Enqueue(vm, [this, vm, done = std::move(done),
               body = std::move(body)](absl::AnyInvocable<void()> end) mutable {
    if (vm->gone) {
      done(status::Error(v1::REASON_NOT_FOUND, "the VM was unregistered").Object("vm", vm->name()));
      end();
      return;
    }
    body(vm, [this, vm, done = std::move(done),
              end = std::move(end)](absl::StatusOr<T> result) mutable {
      if (result.ok()) {
        done(std::move(result));
      } else {
        done(datastores_.Shown(About(result.status(), "vm", vm->name())));
      }
      end();
    });
  });
}

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_VM_REGISTRY_H_
