// What a controller does to a host: HostManagement.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/host_agent_serve.h"
#include "hostagent/agent/persisted_keys.h"
#include "hostagent/config/config_journal.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::AttachRequest;
using host::v1::AttachResponse;

}  // namespace

absl::StatusOr<bool> HostAgent::DecideAttach(const Caller& caller, const AttachRequest& request,
                                             config::HostConfig* config) const {
  if (!request.cluster().empty()) KS_RETURN_IF_ERROR(files::ValidateName(request.cluster()));
  const config::Attachment& now = config->attachment();
  const std::string uri = caller.ToUri();
  const bool same = now.controller_spiffe_id() == uri;
  if (!same && !now.controller_spiffe_id().empty() && !request.force()) {
    return status::Error(v1::REASON_HOST_ATTACHED, "another controller has the host")
        .Object("host", host_.options.name)
        .With("controller", now.controller())
        .NextStep("attach it with force to take it over");
  }
  bool changed = NoteCluster(request.cluster(), /*tick=*/false, config);
  if (same && !request.new_epoch()) return changed;
  config::Attachment* attachment = config->mutable_attachment();
  attachment->set_controller(caller.name);
  attachment->set_controller_spiffe_id(uri);
  attachment->set_epoch(attachment->epoch() + 1);
  attachment->set_generation(0);
  attachment->set_host_name(host_.options.name);
  return true;
}

void HostAgent::Attach(const Caller& caller, const AttachRequest& request,
                       Callback<AttachResponse> done) {
  host_.strand.Post([this, caller, request, done = std::move(done)]() mutable {
    absl::Status allowed = Admit(caller, Right::kAttach, kAnyEpoch);
    if (allowed.ok()) allowed = CheckOpen();
    if (!allowed.ok()) {
      done(allowed);
      return;
    }
    host_.config->Submit(
        [this, caller, request](config::HostConfig* config) {
          return DecideAttach(caller, request, config);
        },
        [this, before = host_.configuration().attachment().epoch(),
         done = std::move(done)](const absl::Status& attached) mutable {
          if (!attached.ok()) {
            done(attached);
            return;
          }
          const config::Attachment& attachment = host_.configuration().attachment();
          if (attachment.epoch() != before) {
            generation_ = static_cast<int64_t>(attachment.generation());
            host_.log().Info("host.attached", {{"controller", attachment.controller()},
                                               {"epoch", attachment.epoch()}});
            host_.watchers.EndAll(
                status::Error(v1::REASON_STALE_EPOCH, "the host was attached anew")
                    .Object("host", host_.options.name));
            WaitForKeys();
          }
          AttachResponse response;
          response.set_epoch(static_cast<int64_t>(attachment.epoch()));
          *response.mutable_status() = Status();
          *response.mutable_keys() = host_.keys.Report(host_.cluster());
          for (host::v1::StandardKeyList& list : host_.keys.standard().List()) {
            *response.add_standard_keys() = std::move(list);
          }
          StatusChanged();
          done(std::move(response));
        });
  });
}

void HostAgent::Detach(const Caller& caller, const host::v1::DetachRequest& request,
                       Callback<host::v1::DetachResponse> done) {
  Serve(caller, Right::kManage, request, std::move(done),
        [this, caller](const host::v1::DetachRequest& req, auto answer) {
          host_.config->Submit(
              [this, caller,
               epoch = req.epoch()](config::HostConfig* config) -> absl::StatusOr<bool> {
                KS_RETURN_IF_ERROR(CheckAccess(host_.options.access, config->attachment(), caller,
                                               Right::kManage, epoch));
                config->mutable_attachment()->clear_controller();
                config->mutable_attachment()->clear_controller_spiffe_id();
                return true;
              },
              [this, answer = std::move(answer)](const absl::Status& saved) mutable {
                if (!saved.ok()) {
                  answer(saved);
                  return;
                }
                host_.watchers.EndAll(status::Error(v1::REASON_STALE_EPOCH, "the host was detached")
                                          .Object("host", host_.options.name));
                WaitForKeys();
                answer(host::v1::DetachResponse());
              });
        });
}

void HostAgent::CheckKeys(const Caller& caller, const host::v1::CheckKeysRequest& request,
                          Callback<host::v1::CheckKeysResponse> done) {
  Serve(caller, Right::kManage, request, std::move(done),
        [this](const host::v1::CheckKeysRequest& req, auto answer) {
          host::v1::CheckKeysResponse response;
          response.set_digest(host_.keys.Digest(host_.cluster()));
          response.set_boot_id(boot_id_);
          response.set_generation(generation_);
          if (req.list_standard_keys()) {
            for (host::v1::StandardKeyList& list : host_.keys.standard().List()) {
              *response.add_standard_keys() = std::move(list);
            }
          }
          answer(std::move(response));
        });
}

absl::StatusOr<std::vector<keys::StandardKey>> HostAgent::OpenHostKey(
    const host::v1::SetCryptoModeRequest& request) const {
  std::vector<keys::StandardKey> none;
  if (!request.has_host_key_material()) return none;
  const host::v1::SealedStandardKeys& material = request.host_key_material();
  const v1::CryptoKeyId& key = request.host_key();
  if (request.action() != host::v1::SetCryptoModeRequest::ACTION_ENABLE &&
      request.action() != host::v1::SetCryptoModeRequest::ACTION_CHANGE_KEY) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "this action takes no host_key_material");
  }
  if (material.keys_size() != 1 || material.provider() != key.provider_id() ||
      material.keys(0).key_id() != key.key_id()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         "host_key_material must be the key that host_key names");
  }
  KS_ASSIGN_OR_RETURN(std::vector<keys::StandardKey> brought,
                      keys::OpenStandardKeys(SealedForThisBoot(request.epoch()), material));
  const std::string here = host_.keys.CheckValue(key.provider_id(), key.key_id());
  if (!here.empty() && here != brought.front().check_value) {
    return status::Error(v1::REASON_KEY_MISMATCH,
                         "the host holds another key under this name until the next pass")
        .Object("provider", key.provider_id())
        .NextStep("let the next remediation pass swap the keys, or run one");
  }
  return brought;
}

void HostAgent::SetCryptoMode(const Caller& caller, const host::v1::SetCryptoModeRequest& request,
                              Callback<host::v1::SetCryptoModeResponse> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::SetCryptoModeRequest& req, auto answer) {
          absl::StatusOr<std::vector<keys::StandardKey>> opened = OpenHostKey(req);
          if (!opened.ok()) return answer(About(opened.status(), "host", host_.options.name));
          auto brought = std::make_shared<std::vector<keys::StandardKey>>(*std::move(opened));
          host_.config->Submit(
              [this, action = req.action(), key = req.host_key(),
               brought](config::HostConfig* config) -> absl::StatusOr<bool> {
                config::HostKey next = config->host_key();
                const std::string value = brought->empty() ? "" : brought->front().check_value;
                KS_ASSIGN_OR_RETURN(bool changed,
                                    ChangeCryptoMode(action, key, host_.keys, value, &next));
                if (!brought->empty() && PersistsKeys(host_.config->mode(), *config)) {
                  config::ConfigChange kept;
                  KS_RETURN_IF_ERROR(PersistKeys(*host_.config, *brought, &kept));
                  config::Apply(kept, config);
                  changed = true;
                }
                *config->mutable_host_key() = std::move(next);
                return changed;
              },
              [this, brought, answer = std::move(answer)](const absl::Status& saved) mutable {
                if (!saved.ok()) {
                  answer(About(saved, "host", host_.options.name));
                  return;
                }
                for (keys::StandardKey& key : *brought) {
                  host_.keys.standard().Put(std::move(key));
                }
                if (!brought->empty()) KeysChanged();
                host_.log().Info("host.crypto_mode",
                                 {{"state", v1::CryptoState_Name(host_.crypto_state())}});
                CryptoModeChanged();
                vms_->RefreshExplanations();
                host::v1::SetCryptoModeResponse response;
                response.set_crypto_state(host_.crypto_state());
                const config::HostKey& key = host_.configuration().host_key();
                if (!key.key_id().empty()) *response.mutable_host_key() = KeyIdOf(key);
                answer(std::move(response));
              });
        });
}

void HostAgent::UnlockAllHostVms(const Caller& caller,
                                 const host::v1::UnlockAllHostVmsRequest& request,
                                 Callback<host::v1::UnlockAllHostVmsResponse> done) {
  using Response = host::v1::UnlockAllHostVmsResponse;
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::UnlockAllHostVmsRequest&, Callback<Response> answer) {
          vms_->UnlockAll(
              [this, answer = std::move(answer)](absl::StatusOr<Response> response) mutable {
                NoteBootComplete();
                answer(std::move(response));
              });
        });
}

HostAgent::WatchId HostAgent::WatchHost(const Caller& caller,
                                        const host::v1::WatchHostRequest& request, WatchSink sink) {
  const WatchId id = ++last_watch_;
  host_.strand.Post([this, caller, epoch = request.epoch(), id, sink = std::move(sink)]() mutable {
    absl::Status allowed = Admit(caller, Right::kManage, epoch);
    if (allowed.ok()) allowed = CheckOpen();
    if (!allowed.ok()) {
      sink.on_end(allowed);
      return;
    }
    host::v1::HostEvent event;
    host::v1::HostEvent::Snapshot* snapshot = event.mutable_snapshot();
    for (host::v1::HostVm& vm : vms_->List()) *snapshot->add_vms() = std::move(vm);
    *snapshot->mutable_status() = Status();
    *snapshot->mutable_keys() = host_.keys.Report(host_.cluster());
    host_.watchers.Add(id, std::move(sink), std::move(event));
  });
  return id;
}

void HostAgent::CancelWatch(WatchId id) {
  host_.strand.Post([this, id] {
    host_.watchers.Remove(id);
    if (phase_ == Phase::kOpen && host_.watchers.empty()) WaitForKeys();
  });
}

}  // namespace keysphere::hostagent::agent
