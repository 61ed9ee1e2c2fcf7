// What a controller does to a host: HostManagement.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/host_agent_serve.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::ApplyKeysRequest;
using host::v1::ApplyKeysResponse;
using host::v1::AttachRequest;
using host::v1::AttachResponse;
using host::v1::KeyEntry;
using keys::KeyStep;

config::Kdk* FindKdk(config::HostConfig* config, const std::string& provider) {
  for (config::Kdk& kdk : *config->mutable_kdks()) {
    if (kdk.provider() == provider) return &kdk;
  }
  return nullptr;
}

void RemoveKdk(config::HostConfig* config, const std::string& provider) {
  auto* kdks = config->mutable_kdks();
  kdks->erase(std::remove_if(kdks->begin(), kdks->end(),
                             [&](const config::Kdk& kdk) { return kdk.provider() == provider; }),
              kdks->end());
}

void FillKdk(const KeyEntry& entry, config::Kdk* kdk) {
  kdk->set_provider(entry.provider());
  kdk->set_key_id(entry.key_id());
  kdk->set_kcv(entry.key_check_value());
  kdk->set_tpm_required(entry.tpm_required());
}

// Whether the cluster that a message tells is news. That a host left its cluster counts at a tick
// only (S23).
bool IsNewCluster(const std::string& cluster, bool tick, const config::HostConfig& config) {
  return (!cluster.empty() || tick) && config.attachment().cluster() != cluster;
}

bool NoteCluster(const std::string& cluster, bool tick, config::HostConfig* config) {
  if (!IsNewCluster(cluster, tick, *config)) return false;
  config->mutable_attachment()->set_cluster(cluster);
  return true;
}

}  // namespace

KeyEntry EntryOf(const config::Kdk& kdk) {
  KeyEntry entry;
  entry.set_provider(kdk.provider());
  entry.set_type(v1::PROVIDER_TYPE_NATIVE);
  entry.set_key_id(kdk.key_id());
  entry.set_key_check_value(kdk.kcv());
  entry.set_tpm_required(kdk.tpm_required());
  return entry;
}

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
  bool changed = NoteCluster(request.cluster(), false, config);
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
          }
          AttachResponse response;
          response.set_epoch(static_cast<int64_t>(attachment.epoch()));
          *response.mutable_status() = Status();
          *response.mutable_keys() = host_.keys.Report(host_.cluster());
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
                answer(host::v1::DetachResponse());
              });
        });
}

void HostAgent::CheckKeys(const Caller& caller, const host::v1::CheckKeysRequest& request,
                          Callback<host::v1::CheckKeysResponse> done) {
  Serve(caller, Right::kManage, request, std::move(done),
        [this](const host::v1::CheckKeysRequest&, auto answer) {
          host::v1::CheckKeysResponse response;
          response.set_digest(host_.keys.Digest(host_.cluster()));
          response.set_boot_id(boot_id_);
          response.set_generation(generation_);
          answer(std::move(response));
        });
}

// What an ApplyKeys does: decided when its turn comes, done when it is durable.
struct HostAgent::KeyChange {
  keys::KeyPlan plan;
  std::vector<std::pair<KeyEntry, crypto::SecretKey>> opened;
  std::set<std::string> affected;  // providers whose key goes
  std::vector<std::string> removed;
  std::string cluster_before;
};

absl::Status HostAgent::DecideStep(const ApplyKeysRequest& request, const KeyStep& step,
                                   config::HostConfig* config, KeyChange* change) const {
  const KeyEntry& entry = step.entry;
  const std::string name = config::KdkSecretName(entry.provider(), entry.key_id());
  switch (step.kind) {
    case KeyStep::Kind::kStore: {
      const std::string info = keyset::SealInfo(host_.options.name, boot_id_, request.epoch(),
                                                entry.provider(), entry.key_id());
      KS_ASSIGN_OR_RETURN(crypto::SecretKey kdk,
                          transport_key_->Open(request.keys(step.sealed_index).sealed(), info));
      KS_ASSIGN_OR_RETURN(const std::string check_value, crypto::KeyCheckValue(kdk));
      if (check_value != entry.key_check_value()) {
        return status::Error(v1::REASON_CHECK_VALUE_MISMATCH,
                             "the key that came is not the one that its check value names")
            .Object("provider", entry.provider());
      }
      KS_ASSIGN_OR_RETURN(const std::string sealed, host_.config->SealSecret(name, kdk));
      RemoveKdk(config, entry.provider());
      config::Kdk* saved = config->add_kdks();
      FillKdk(entry, saved);
      saved->set_sealed_key(sealed);
      change->opened.emplace_back(entry, std::move(kdk));
      if (step.replaces) change->affected.insert(entry.provider());
      return absl::OkStatus();
    }
    case KeyStep::Kind::kRelabel: {
      config::Kdk* saved = FindKdk(config, entry.provider());
      KS_ASSIGN_OR_RETURN(
          const crypto::SecretKey kdk,
          host_.config->OpenSecret(config::KdkSecretName(saved->provider(), saved->key_id()),
                                   saved->sealed_key()));
      KS_ASSIGN_OR_RETURN(const std::string sealed, host_.config->SealSecret(name, kdk));
      FillKdk(entry, saved);
      saved->set_sealed_key(sealed);
      return absl::OkStatus();
    }
    case KeyStep::Kind::kRemove:
      RemoveKdk(config, entry.provider());
      change->affected.insert(entry.provider());
      change->removed.push_back(entry.provider());
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> HostAgent::PlanChange(const ApplyKeysRequest& request,
                                           const config::HostConfig& config,
                                           KeyChange* change) const {
  const config::Attachment& attachment = config.attachment();
  if (request.epoch() != static_cast<int64_t>(attachment.epoch())) {
    return status::Error(v1::REASON_STALE_EPOCH, "the host was attached anew")
        .Object("host", host_.options.name);
  }
  const int64_t last = std::max(generation_, static_cast<int64_t>(attachment.generation()));
  if (request.generation() < last) {
    return status::Error(v1::REASON_STALE_GENERATION,
                         absl::StrCat("generation ", request.generation(),
                                      " is older than what the host has, ", last))
        .Object("host", host_.options.name)
        .With("generation", absl::StrCat(last));
  }
  if (!request.cluster().empty()) KS_RETURN_IF_ERROR(files::ValidateName(request.cluster()));
  std::vector<KeyEntry> current;
  for (const config::Kdk& kdk : config.kdks()) current.push_back(EntryOf(kdk));
  const keys::HostFacts facts = {host_.options.tpm->usable(),
                                 keys::SupportsNativeKeys(host_.options.version)};
  KS_ASSIGN_OR_RETURN(change->plan, keys::PlanKeys(current, request, facts));
  change->cluster_before = attachment.cluster();
  // A generation that changes nothing is not worth a write: it counts until the next boot, which
  // no message of before it reaches.
  return IsNewCluster(request.cluster(), request.allow_removal(), config) ||
         !change->plan.steps.empty();
}

absl::StatusOr<bool> HostAgent::DecideKeys(const ApplyKeysRequest& request,
                                           config::HostConfig* config, KeyChange* change) const {
  KS_ASSIGN_OR_RETURN(const bool changed, PlanChange(request, *config, change));
  if (!changed) return false;
  config::HostConfig next = *config;
  for (const KeyStep& step : change->plan.steps) {
    KS_RETURN_IF_ERROR(DecideStep(request, step, &next, change));
  }
  NoteCluster(request.cluster(), request.allow_removal(), &next);
  next.mutable_attachment()->set_generation(static_cast<uint64_t>(request.generation()));
  config->Swap(&next);
  return true;
}

void HostAgent::CommitKeys(const ApplyKeysRequest& request, KeyChange* change,
                           Callback<ApplyKeysResponse> done) {
  generation_ = std::max(generation_, request.generation());
  const std::string before = host_.keys.Report("").SerializeAsString();
  for (auto& [entry, kdk] : change->opened) host_.keys.Put(entry, std::move(kdk));
  for (const KeyStep& step : change->plan.steps) {
    if (step.kind == KeyStep::Kind::kRelabel) host_.keys.Relabel(step.entry);
    if (step.kind == KeyStep::Kind::kRemove) host_.keys.Remove(step.entry.provider());
  }
  host_.keys.Note(change->plan, request);
  const bool cluster_changed = change->cluster_before != host_.cluster();
  for (const std::string& provider : change->affected) {
    host_.log().Info("host.key_removed", {{"provider", provider}});
  }
  if (cluster_changed) StatusChanged();
  if (cluster_changed || host_.keys.Report("").SerializeAsString() != before) KeysChanged();

  auto response = std::make_shared<ApplyKeysResponse>();
  for (const std::string& provider : change->removed) response->add_removed_providers(provider);
  auto answer = [this, response,
                 done = std::move(done)](const std::vector<std::string>& locked) mutable {
    for (const std::string& vm : locked) response->add_locked_vms(vm);
    *response->mutable_keys() = host_.keys.Report(host_.cluster());
    NoteBootComplete();
    done(std::move(*response));
  };
  const bool first_sync = request.first_sync();
  vms_->JudgeAfterPurge(change->affected, [this, response, first_sync, answer = std::move(answer)](
                                              const std::vector<std::string>& locked) mutable {
    if (!first_sync) {
      answer(locked);
      return;
    }
    for (const std::string& vm : locked) response->add_locked_vms(vm);
    vms_->JudgeWaiting(std::move(answer));
  });
}

void HostAgent::ApplyKeys(const Caller& caller, const ApplyKeysRequest& request,
                          Callback<ApplyKeysResponse> done) {
  Serve(
      caller, Right::kManage, request, std::move(done),
      [this](const ApplyKeysRequest& req, Callback<ApplyKeysResponse> answer) {
        auto message = std::make_shared<const ApplyKeysRequest>(req);
        auto change = std::make_shared<KeyChange>();
        if (host_.config->idle()) {  // the message of a host that has all it should is quick
          const absl::StatusOr<bool> changes =
              PlanChange(*message, host_.configuration(), change.get());
          if (!changes.ok()) return answer(changes.status());
          if (!*changes) return CommitKeys(*message, change.get(), std::move(answer));
          *change = KeyChange();
        }
        host_.config->Submit(
            [this, message, change](config::HostConfig* config) {
              return DecideKeys(*message, config, change.get());
            },
            [this, message, change, answer = std::move(answer)](const absl::Status& saved) mutable {
              if (!saved.ok()) {
                answer(saved);
                return;
              }
              CommitKeys(*message, change.get(), std::move(answer));
            });
      });
}

void HostAgent::SetCryptoMode(const Caller& caller, const host::v1::SetCryptoModeRequest& request,
                              Callback<host::v1::SetCryptoModeResponse> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::SetCryptoModeRequest& req, auto answer) {
          host_.config->Submit(
              [this, action = req.action(), key = req.host_key()](config::HostConfig* config) {
                return ChangeCryptoMode(action, key, host_.keys, config->mutable_host_key());
              },
              [this, answer = std::move(answer)](const absl::Status& saved) mutable {
                if (!saved.ok()) {
                  answer(saved);
                  return;
                }
                host_.log().Info("host.crypto_mode",
                                 {{"state", v1::CryptoState_Name(host_.crypto_state())}});
                StatusChanged();
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
  host_.strand.Post([this, id] { host_.watchers.Remove(id); });
}

}  // namespace keysphere::hostagent::agent
