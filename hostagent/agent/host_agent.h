#ifndef KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_H_
#define KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "common/crypto/hpke.h"
#include "common/identity/identity.h"
#include "hostagent/agent/host_context.h"
#include "hostagent/agent/vm_registry.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/host/v1/host_status.pb.h"
#include "keysphere/host/v1/host_vms.pb.h"

namespace keysphere::hostagent::agent {

// What a key in the configuration is to others.
host::v1::KeyEntry EntryOf(const config::Kdk& kdk);

// Notes the cluster that a message tells, at a `tick` also that there is none any more (S23). True:
// it is news.
bool NoteCluster(const std::string& cluster, bool tick, config::HostConfig* config);

// One ESXi host: what its services do, without the network. One method for each RPC of
// keysphere.host.v1: it may be called on any thread, decides who may do that, and answers once, on
// the host's strand. The protos say what each does and refuses.
//
// Destroying a host is its loss of power: what is under way is dropped unanswered, and what is not
// durable is gone. It must not happen while the executor runs tasks on other threads. Shutdown is
// the orderly way.
class HostAgent {
 public:
  using Caller = identity::Identity;
  using WatchId = uint64_t;

  explicit HostAgent(HostOptions options);
  ~HostAgent();
  HostAgent(const HostAgent&) = delete;
  HostAgent& operator=(const HostAgent&) = delete;

  // Opens the configuration, or makes one at the first start, and brings the VMs back, all off.
  // To be called once, before all else. OK also where the configuration does not open without a
  // recovery key (S138): status then answers, and ProvideRecoveryKey goes on with the boot. An
  // error: this host cannot start (CIPHERTEXT_CORRUPT, TPM_FAILED, STORAGE_…).
  void Boot(absl::AnyInvocable<void(absl::Status)> done);

  // An orderly stop: VMs are powered off, watches end, the TPM is told. Nothing else may be called
  // any more.
  void Shutdown(absl::AnyInvocable<void(absl::Status)> done);

  // HostStatus.
  void GetHostStatus(const Caller& caller, const host::v1::GetHostStatusRequest& request,
                     Callback<host::v1::GetHostStatusResponse> done);
  void GetHostStats(const Caller& caller, const host::v1::GetHostStatsRequest& request,
                    Callback<host::v1::HostStats> done);
  void ProvideRecoveryKey(const Caller& caller, const host::v1::ProvideRecoveryKeyRequest& request,
                          Callback<host::v1::GetHostStatusResponse> done);

  // HostManagement.
  void Attach(const Caller& caller, const host::v1::AttachRequest& request,
              Callback<host::v1::AttachResponse> done);
  void Detach(const Caller& caller, const host::v1::DetachRequest& request,
              Callback<host::v1::DetachResponse> done);
  void CheckKeys(const Caller& caller, const host::v1::CheckKeysRequest& request,
                 Callback<host::v1::CheckKeysResponse> done);
  void ApplyKeys(const Caller& caller, const host::v1::ApplyKeysRequest& request,
                 Callback<host::v1::ApplyKeysResponse> done);
  void SetCryptoMode(const Caller& caller, const host::v1::SetCryptoModeRequest& request,
                     Callback<host::v1::SetCryptoModeResponse> done);
  void UnlockAllHostVms(const Caller& caller, const host::v1::UnlockAllHostVmsRequest& request,
                        Callback<host::v1::UnlockAllHostVmsResponse> done);
  void SetKeyPersistence(const Caller& caller, const host::v1::SetKeyPersistenceRequest& request,
                         Callback<host::v1::SetKeyPersistenceResponse> done);
  void WriteCoreDump(const Caller& caller, const host::v1::WriteCoreDumpRequest& request,
                     Callback<host::v1::WriteCoreDumpResponse> done);
  void ReadCoreDump(const Caller& caller, const host::v1::ReadCoreDumpRequest& request,
                    Callback<host::v1::ReadCoreDumpResponse> done);
  // The snapshot, then each change, until the sink says no, the host ends the watch or it is
  // cancelled. A refusal comes through on_end.
  WatchId WatchHost(const Caller& caller, const host::v1::WatchHostRequest& request,
                    WatchSink sink);
  // No event is begun after the strand has seen this.
  void CancelWatch(WatchId id);

  // HostVms.
  void ListHostVms(const Caller& caller, const host::v1::ListHostVmsRequest& request,
                   Callback<host::v1::ListHostVmsResponse> done);
  void GetHostVm(const Caller& caller, const host::v1::GetHostVmRequest& request,
                 Callback<host::v1::HostVm> done);
  void CreateHostVm(const Caller& caller, const host::v1::CreateHostVmRequest& request,
                    Callback<host::v1::HostVm> done);
  void RegisterHostVm(const Caller& caller, const host::v1::RegisterHostVmRequest& request,
                      Callback<host::v1::HostVm> done);
  void UnregisterHostVm(const Caller& caller, const host::v1::UnregisterHostVmRequest& request,
                        Callback<host::v1::UnregisterHostVmResponse> done);
  void ReloadHostVm(const Caller& caller, const host::v1::ReloadHostVmRequest& request,
                    Callback<host::v1::HostVm> done);
  void PowerOnHostVm(const Caller& caller, const host::v1::PowerOnHostVmRequest& request,
                     Callback<host::v1::HostVm> done);
  void PowerOffHostVm(const Caller& caller, const host::v1::PowerOffHostVmRequest& request,
                      Callback<host::v1::HostVm> done);
  void ResetHostVm(const Caller& caller, const host::v1::ResetHostVmRequest& request,
                   Callback<host::v1::HostVm> done);
  void EncryptHostVm(const Caller& caller, const host::v1::EncryptHostVmRequest& request,
                     Callback<host::v1::HostVm> done);
  void DecryptHostVm(const Caller& caller, const host::v1::DecryptHostVmRequest& request,
                     Callback<host::v1::HostVm> done);
  void AddHostVmVtpm(const Caller& caller, const host::v1::AddHostVmVtpmRequest& request,
                     Callback<host::v1::HostVm> done);
  void RekeyHostVm(const Caller& caller, const host::v1::RekeyHostVmRequest& request,
                   Callback<host::v1::HostVm> done);
  void UnlockHostVm(const Caller& caller, const host::v1::UnlockHostVmRequest& request,
                    Callback<host::v1::HostVm> done);
  void ReadGuestDisk(const Caller& caller, const host::v1::ReadGuestDiskRequest& request,
                     Callback<host::v1::ReadGuestDiskResponse> done);
  void WriteGuestDisk(const Caller& caller, const host::v1::WriteGuestDiskRequest& request,
                      Callback<host::v1::WriteGuestDiskResponse> done);

 private:
  enum class Phase { kStarting, kRecoveryRequired, kOpen, kStopped };

  // OK when the caller may do that now. On the strand.
  absl::Status Admit(const Caller& caller, Right right, int64_t epoch) const;
  // Whether anything but status can be asked.
  absl::Status CheckOpen() const;
  // Posts a method that needs the right and the configuration.
  template <typename Response, typename Request, typename Body>
  void Serve(const Caller& caller, Right right, const Request& request, Callback<Response> done,
             Body body);

  // Boot, in its order.
  void ContinueBoot(std::unique_ptr<config::HostConfigStore> store,
                    absl::AnyInvocable<void(absl::Status)> done);
  absl::Status LoadKeys();
  void BootVms(absl::AnyInvocable<void(absl::Status)> done);
  // Begins the wait of a boot (S149), or begins it anew: no controller is here any more.
  void WaitForKeys();
  // It is over, and no controller has brought a host key (S150).
  void KeysDidNotCome();
  void EndKeyWait();
  // Tells when no VM waits for its keys any more.
  void NoteBootComplete();
  Callback<host::v1::HostVm> NotingBootComplete(Callback<host::v1::HostVm> done);

  host::v1::GetHostStatusResponse Status() const;
  void StatusChanged();
  // Notes the key of a host that is safe now, and tells the watchers.
  void CryptoModeChanged();
  void KeysChanged();

  absl::StatusOr<bool> DecideAttach(const Caller& caller, const host::v1::AttachRequest& request,
                                    config::HostConfig* config) const;
  keys::SealedFor SealedForThisBoot(int64_t epoch) const {
    return {&*transport_key_, host_.options.name, boot_id_, epoch};
  }
  // The host key that a request brings (S139), none or one; it must be the one that it names.
  absl::StatusOr<std::vector<keys::StandardKey>> OpenHostKey(
      const host::v1::SetCryptoModeRequest& request) const;

  struct KeyChange;
  // Whether the message changes the configuration, and by which steps.
  absl::StatusOr<bool> PlanChange(const host::v1::ApplyKeysRequest& request,
                                  const config::HostConfig& config, KeyChange* change) const;
  // What the plan comes to.
  absl::StatusOr<config::ConfigChange> DecideChange(const host::v1::ApplyKeysRequest& request,
                                                    const config::HostConfig& config,
                                                    KeyChange* change) const;
  absl::Status DecideStep(const host::v1::ApplyKeysRequest& request, const keys::KeyStep& step,
                          const config::HostConfig& config, KeyChange* change,
                          config::ConfigChange* edit) const;
  void CommitStandardKeys(KeyChange* change, host::v1::ApplyKeysResponse* response);
  void CommitKeys(const host::v1::ApplyKeysRequest& request, KeyChange* change,
                  Callback<host::v1::ApplyKeysResponse> done);

  // Keeps all cached keys that are not kept yet.
  void PersistCachedKeys(Callback<host::v1::SetKeyPersistenceResponse> done);

  struct CoreDump;
  absl::StatusOr<std::shared_ptr<CoreDump>> PlanCoreDump() const;
  void StepCoreDump(std::shared_ptr<CoreDump> dump, Callback<host::v1::WriteCoreDumpResponse> done);
  // On the file strand.
  absl::StatusOr<host::v1::ReadCoreDumpResponse> ReadDumpPart(
      const host::v1::ReadCoreDumpRequest& request, const crypto::SecretKey& host_key,
      const v1::CryptoKeyId& host_key_id) const;

  HostContext host_;
  HostStrand file_strand_;  // opens the configuration, writes core dumps
  Phase phase_ = Phase::kStarting;
  std::string boot_id_;
  std::vector<std::string> unfinished_;  // VMs that the former boot was making
  absl::optional<crypto::TransportKey> transport_key_;
  // Until the first restart after it was made.
  crypto::SecretKey recovery_key_;
  // Of a host that is safe: it stays so until its reboot, whatever becomes of the key's provider
  // (S150), and needs it for its core dumps.
  crypto::SecretKey host_key_;
  v1::CryptoKeyId host_key_id_;
  bool dumping_ = false;
  std::unique_ptr<VmRegistry> vms_;
  // Of the attachment's desired state; at least what is durable.
  int64_t generation_ = 0;
  bool was_waiting_ = false;
  bool awaits_host_key_ = false;
  clock::Clock::TimerId key_wait_timer_ = clock::Clock::kNoTimer;
  std::atomic<WatchId> last_watch_{0};
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_HOST_AGENT_H_
