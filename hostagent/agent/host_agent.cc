#include "hostagent/agent/host_agent.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent_serve.h"
#include "hostagent/agent/persisted_keys.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::GetHostStatusResponse;

v1::TpmVersion ToProto(tpm::TpmVersion version) {
  switch (version) {
    case tpm::TpmVersion::k12:
      return v1::TPM_VERSION_1_2;
    case tpm::TpmVersion::k20:
      return v1::TPM_VERSION_2_0;
    default:
      return v1::TPM_VERSION_NONE;
  }
}

// Who asks: a user is known by its certificate, a controller asks for its own caller.
template <typename Request>
std::string UserOf(const HostAgent::Caller& caller, const Request& request) {
  return caller.kind == identity::Kind::kUser ? caller.name : request.user();
}

}  // namespace

HostAgent::HostAgent(HostOptions options)
    : host_(std::move(options)), file_strand_(host_.options.executor, host_.lifetime) {}

HostAgent::~HostAgent() {
  host_.lifetime.End();
  host_.options.clock->Cancel(key_wait_timer_);
}

absl::Status HostAgent::CheckOpen() const {
  switch (phase_) {
    case Phase::kOpen:
      return absl::OkStatus();
    case Phase::kRecoveryRequired:
      return status::Error(v1::REASON_RECOVERY_REQUIRED,
                           "the TPM does not open the host's configuration")
          .Object("host", host_.options.name)
          .NextStep("provide the recovery key");
    case Phase::kStarting:
      return status::Error(v1::REASON_INVALID_STATE, "the host is still booting")
          .Object("host", host_.options.name)
          .NextStep("try again later");
    case Phase::kStopped:
      break;
  }
  return status::Error(v1::REASON_SHUTTING_DOWN, "the host stops")
      .Object("host", host_.options.name);
}

absl::Status HostAgent::Admit(const Caller& caller, Right right, int64_t epoch) const {
  if (host_.config != nullptr) {
    return CheckAccess(host_.options.access, host_.configuration().attachment(), caller, right,
                       epoch);
  }
  // Whose host this is lies in the configuration: who might be is answered, with the status alone.
  if (caller.kind == identity::Kind::kController) right = Right::kAttach;
  return CheckAccess(host_.options.access, config::Attachment(), caller, right, kAnyEpoch);
}

GetHostStatusResponse HostAgent::Status() const {
  GetHostStatusResponse status;
  status.set_name(host_.options.name);
  status.set_version(host_.options.version);
  status.set_tpm_version(ToProto(host_.options.tpm->version()));
  status.set_boot_id(boot_id_);
  if (transport_key_.has_value()) {
    status.set_transport_public_key(transport_key_->public_key());
  }
  for (const auto& [name, folder] : host_.options.datastores) status.add_datastores(name);
  if (host_.config == nullptr) {
    status.set_configuration_state(host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
    status.set_configuration_mode(host::v1::CONFIGURATION_MODE_TPM);
    status.set_crypto_state(v1::CRYPTO_STATE_INCAPABLE);
    return status;
  }
  const config::HostConfig& config = host_.configuration();
  status.set_configuration_state(host::v1::CONFIGURATION_STATE_OPEN);
  status.set_configuration_mode(host_.config->mode() == config::MODE_TPM
                                    ? host::v1::CONFIGURATION_MODE_TPM
                                    : host::v1::CONFIGURATION_MODE_NONE);
  status.set_crypto_state(host_.crypto_state());
  if (!config.host_key().key_id().empty()) {
    *status.mutable_host_key() = KeyIdOf(config.host_key());
    status.set_host_key_check_value(config.host_key().kcv());
  }
  status.set_controller(config.attachment().controller());
  status.set_epoch(static_cast<int64_t>(config.attachment().epoch()));
  status.set_boot_complete(phase_ == Phase::kOpen && !vms_->waiting());
  status.set_cluster(config.attachment().cluster());
  status.set_key_persistence(PersistsKeys(host_.config->mode(), config));
  return status;
}

void HostAgent::StatusChanged() {
  if (host_.watchers.empty()) return;
  host::v1::HostEvent event;
  *event.mutable_status_changed() = Status();
  host_.watchers.Publish(std::move(event));
}

void HostAgent::KeysChanged() {
  vms_->RefreshExplanations();
  if (host_.watchers.empty()) return;
  host::v1::HostEvent event;
  *event.mutable_keys_changed() = host_.keys.Report(host_.cluster());
  host_.watchers.Publish(std::move(event));
}

void HostAgent::GetHostStatus(const Caller& caller, const host::v1::GetHostStatusRequest&,
                              Callback<GetHostStatusResponse> done) {
  host_.strand.Post([this, caller, done = std::move(done)]() mutable {
    const absl::Status allowed = Admit(caller, Right::kOperate, kAnyEpoch);
    if (!allowed.ok()) {
      done(allowed);
      return;
    }
    GetHostStatusResponse status = Status();
    if (caller.kind == identity::Kind::kUser && !recovery_key_.empty()) {
      const auto bytes = recovery_key_.bytes(crypto::SecretKeyAccess::Token());
      status.set_recovery_key(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    done(std::move(status));
  });
}

void HostAgent::GetHostStats(const Caller& caller, const host::v1::GetHostStatsRequest&,
                             Callback<host::v1::HostStats> done) {
  host_.strand.Post([this, caller, done = std::move(done)]() mutable {
    const absl::Status allowed = Admit(caller, Right::kOperate, kAnyEpoch);
    if (!allowed.ok()) {
      done(allowed);
      return;
    }
    host::v1::HostStats stats;
    if (host_.options.process_figures) host_.options.process_figures(&stats);
    const crypto::KeyMemoryStats memory = crypto::GetKeyMemoryStats();
    stats.set_key_memory_used_bytes(static_cast<int64_t>(memory.used_bytes));
    stats.set_key_memory_capacity_bytes(static_cast<int64_t>(memory.capacity_bytes));
    stats.set_held_keys(static_cast<int64_t>(host_.keys.size()));
    stats.set_cached_keys(static_cast<int64_t>(host_.keys.standard().size()));
    if (host_.config != nullptr) stats.set_configuration_writes(host_.config->writes());
    if (vms_ != nullptr) vms_->Count(&stats);
    done(stats);
  });
}

void HostAgent::ListHostVms(const Caller& caller, const host::v1::ListHostVmsRequest& request,
                            Callback<host::v1::ListHostVmsResponse> done) {
  Serve(caller, Right::kOperate, request, std::move(done), [this](const auto&, auto answer) {
    host::v1::ListHostVmsResponse response;
    for (host::v1::HostVm& vm : vms_->List()) *response.add_vms() = std::move(vm);
    answer(std::move(response));
  });
}

void HostAgent::GetHostVm(const Caller& caller, const host::v1::GetHostVmRequest& request,
                          Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this](const auto& req, auto answer) { answer(vms_->Get(req.vm())); });
}

void HostAgent::CreateHostVm(const Caller& caller, const host::v1::CreateHostVmRequest& request,
                             Callback<host::v1::HostVm> done) {
  const Right right = request.has_key() ? Right::kEncrypt : Right::kOperate;
  Serve(caller, right, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->Create(req, std::move(answer)); });
}

void HostAgent::RegisterHostVm(const Caller& caller, const host::v1::RegisterHostVmRequest& request,
                               Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->Register(req, std::move(answer)); });
}

void HostAgent::UnregisterHostVm(const Caller& caller,
                                 const host::v1::UnregisterHostVmRequest& request,
                                 Callback<host::v1::UnregisterHostVmResponse> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this, who = UserOf(caller, request)](const auto& req, auto answer) {
          vms_->Unregister(req.vm(), who,
                           [this, answer = std::move(answer)](
                               absl::StatusOr<host::v1::UnregisterHostVmResponse> r) mutable {
                             NoteBootComplete();
                             answer(std::move(r));
                           });
        });
}

void HostAgent::ReloadHostVm(const Caller& caller, const host::v1::ReloadHostVmRequest& request,
                             Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kOperate, request, std::move(done), [this](const auto& req, auto answer) {
    vms_->Reload(req.vm(), NotingBootComplete(std::move(answer)));
  });
}

void HostAgent::PowerOnHostVm(const Caller& caller, const host::v1::PowerOnHostVmRequest& request,
                              Callback<host::v1::HostVm> done) {
  // A direct user's host role contains the right to enable encryption mode (S151).
  const bool user = caller.kind == identity::Kind::kUser;
  Serve(caller, Right::kOperate, request, std::move(done),
        [this, user, who = UserOf(caller, request)](const auto& req, auto answer) {
          vms_->PowerOn(req.vm(), user || req.may_enable_host(), who, std::move(answer));
        });
}

void HostAgent::PowerOffHostVm(const Caller& caller, const host::v1::PowerOffHostVmRequest& request,
                               Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this, who = UserOf(caller, request)](const auto& req, auto answer) {
          vms_->PowerOff(req.vm(), who, std::move(answer));
        });
}

void HostAgent::ResetHostVm(const Caller& caller, const host::v1::ResetHostVmRequest& request,
                            Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->Reset(req.vm(), std::move(answer)); });
}

void HostAgent::EncryptHostVm(const Caller& caller, const host::v1::EncryptHostVmRequest& request,
                              Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->Encrypt(req, std::move(answer)); });
}

void HostAgent::DecryptHostVm(const Caller& caller, const host::v1::DecryptHostVmRequest& request,
                              Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done), [this](const auto& req, auto answer) {
    vms_->Decrypt(req.vm(), NotingBootComplete(std::move(answer)));
  });
}

void HostAgent::AddHostVmVtpm(const Caller& caller, const host::v1::AddHostVmVtpmRequest& request,
                              Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->AddVtpm(req, std::move(answer)); });
}

void HostAgent::RekeyHostVm(const Caller& caller, const host::v1::RekeyHostVmRequest& request,
                            Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->Rekey(req, std::move(answer)); });
}

void HostAgent::UnlockHostVm(const Caller& caller, const host::v1::UnlockHostVmRequest& request,
                             Callback<host::v1::HostVm> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done), [this](const auto& req, auto answer) {
    vms_->Unlock(req.vm(), NotingBootComplete(std::move(answer)));
  });
}

void HostAgent::ReadGuestDisk(const Caller& caller, const host::v1::ReadGuestDiskRequest& request,
                              Callback<host::v1::ReadGuestDiskResponse> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->ReadDisk(req, std::move(answer)); });
}

void HostAgent::WriteGuestDisk(const Caller& caller, const host::v1::WriteGuestDiskRequest& request,
                               Callback<host::v1::WriteGuestDiskResponse> done) {
  Serve(caller, Right::kOperate, request, std::move(done),
        [this](const auto& req, auto answer) { vms_->WriteDisk(req, std::move(answer)); });
}

}  // namespace keysphere::hostagent::agent
