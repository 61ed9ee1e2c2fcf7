// The keys that a controller gives a host and takes from it: ApplyKeys.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/host_agent_serve.h"
#include "hostagent/agent/persisted_keys.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::ApplyKeysRequest;
using host::v1::ApplyKeysResponse;
using host::v1::KeyEntry;
using keys::KeyStep;

const config::Kdk* FindKdk(const config::HostConfig& config, const std::string& provider) {
  for (const config::Kdk& kdk : config.kdks()) {
    if (kdk.provider() == provider) return &kdk;
  }
  return nullptr;
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

bool NoteCluster(const std::string& cluster, bool tick, config::HostConfig* config) {
  if (!IsNewCluster(cluster, tick, *config)) return false;
  config->mutable_attachment()->set_cluster(cluster);
  return true;
}

// What an ApplyKeys does: decided when its turn comes, done when it is durable.
struct HostAgent::KeyChange {
  keys::KeyPlan plan;
  std::vector<std::pair<KeyEntry, crypto::SecretKey>> opened;
  RemovedKeys gone;                  // also those that another replaces
  std::vector<std::string> removed;  // native providers
  keys::StandardPlan standard;
  std::string cluster_before;
};

absl::Status HostAgent::DecideStep(const ApplyKeysRequest& request, const KeyStep& step,
                                   const config::HostConfig& config, KeyChange* change,
                                   config::ConfigChange* edit) const {
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
      config::Kdk* const saved = edit->add_put_kdks();
      FillKdk(entry, saved);
      saved->set_sealed_key(sealed);
      change->opened.emplace_back(entry, std::move(kdk));
      if (step.replaces) change->gone.native.insert(entry.provider());
      return absl::OkStatus();
    }
    case KeyStep::Kind::kRelabel: {
      const config::Kdk* const held = FindKdk(config, entry.provider());
      KS_ASSIGN_OR_RETURN(
          const crypto::SecretKey kdk,
          host_.config->OpenSecret(config::KdkSecretName(held->provider(), held->key_id()),
                                   held->sealed_key()));
      KS_ASSIGN_OR_RETURN(const std::string sealed, host_.config->SealSecret(name, kdk));
      config::Kdk* const saved = edit->add_put_kdks();
      FillKdk(entry, saved);
      saved->set_sealed_key(sealed);
      return absl::OkStatus();
    }
    case KeyStep::Kind::kRemove:
      edit->add_removed_kdks(entry.provider());
      change->gone.native.insert(entry.provider());
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
  const bool safe = StateOf(config.host_key()) == v1::CRYPTO_STATE_SAFE;
  KS_ASSIGN_OR_RETURN(change->standard, keys::PlanStandardKeys(host_.keys.standard(), request, safe,
                                                               SealedForThisBoot(request.epoch())));
  change->cluster_before = attachment.cluster();
  if (!change->standard.empty() && PersistsKeys(host_.config->mode(), config)) return true;
  // A generation that changes nothing is not worth a write: it counts until the next boot, which
  // no message of before it reaches.
  return IsNewCluster(request.cluster(), request.allow_removal(), config) ||
         !change->plan.steps.empty();
}

absl::StatusOr<config::ConfigChange> HostAgent::DecideChange(const ApplyKeysRequest& request,
                                                             const config::HostConfig& config,
                                                             KeyChange* change) const {
  config::ConfigChange edit;
  for (const KeyStep& step : change->plan.steps) {
    KS_RETURN_IF_ERROR(DecideStep(request, step, config, change, &edit));
  }
  if (PersistsKeys(host_.config->mode(), config)) {
    KS_RETURN_IF_ERROR(PersistKeys(*host_.config, change->standard.add, &edit));
    ForgetKeys(change->standard.remove, &edit);
  }
  config::Attachment* const attachment = edit.mutable_attachment();
  *attachment = config.attachment();
  if (IsNewCluster(request.cluster(), request.allow_removal(), config)) {
    attachment->set_cluster(request.cluster());
  }
  attachment->set_generation(static_cast<uint64_t>(request.generation()));
  return edit;
}

void HostAgent::CommitStandardKeys(KeyChange* change, ApplyKeysResponse* response) {
  keys::StandardKeys& cache = host_.keys.standard();
  for (const host::v1::StandardKeyList& list : change->standard.remove) {
    for (const auto& key : list.keys()) {
      cache.Remove(list.provider(), key.key_id());
      change->gone.standard.emplace(list.provider(), key.key_id());
    }
    host_.log().Info("host.standard_keys_removed",
                     {{"provider", list.provider()}, {"keys", list.keys_size()}});
    if (!cache.Knows(list.provider())) response->add_removed_providers(list.provider());
    *response->add_removed_standard_keys() = list;
  }
  for (keys::StandardKey& key : change->standard.add) {
    if (!cache.CheckValue(key.provider, key.key_id).empty()) {
      change->gone.standard.emplace(key.provider, key.key_id);
    }
    cache.Put(std::move(key));
  }
}

void HostAgent::CommitKeys(const ApplyKeysRequest& request, KeyChange* change,
                           Callback<ApplyKeysResponse> done) {
  generation_ = std::max(generation_, request.generation());
  const bool keys_changed = !change->plan.steps.empty() || !change->standard.empty();
  const std::string before = keys_changed ? "" : host_.keys.ReportBytes();
  for (auto& [entry, kdk] : change->opened) host_.keys.Put(entry, std::move(kdk));
  for (const KeyStep& step : change->plan.steps) {
    if (step.kind == KeyStep::Kind::kRelabel) host_.keys.Relabel(step.entry);
    if (step.kind == KeyStep::Kind::kRemove) host_.keys.Remove(step.entry.provider());
  }
  host_.keys.Note(change->plan, request);
  const bool servers_changed = host_.keys.standard().Note(request);
  auto response = std::make_shared<ApplyKeysResponse>();
  CommitStandardKeys(change, response.get());
  const bool cluster_changed = change->cluster_before != host_.cluster();
  for (const std::string& provider : change->gone.native) {
    host_.log().Info("host.key_removed", {{"provider", provider}});
  }
  if (cluster_changed) StatusChanged();
  if (cluster_changed || keys_changed || host_.keys.ReportBytes() != before) {
    KeysChanged();
  } else if (servers_changed) {
    vms_->RefreshExplanations();
  }
  *response->mutable_keys()->mutable_collisions() = {change->standard.collisions.begin(),
                                                     change->standard.collisions.end()};
  *response->mutable_keys()->mutable_refused() = {change->standard.refused.begin(),
                                                  change->standard.refused.end()};
  for (const std::string& provider : change->removed) response->add_removed_providers(provider);
  auto answer = [this, response,
                 done = std::move(done)](const std::vector<std::string>& locked) mutable {
    for (const std::string& vm : locked) response->add_locked_vms(vm);
    response->mutable_keys()->MergeFrom(host_.keys.Report(host_.cluster()));
    NoteBootComplete();
    done(std::move(*response));
  };
  const bool first_sync = request.first_sync();
  // What the controller could do for the host key is done (S150).
  if (first_sync && std::exchange(awaits_host_key_, false) && !was_waiting_) {
    host_.options.clock->Cancel(key_wait_timer_);
  }
  vms_->JudgeAfterPurge(change->gone, [this, response, first_sync, answer = std::move(answer)](
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
      [this](ApplyKeysRequest req, Callback<ApplyKeysResponse> answer) {
        auto message = std::make_shared<const ApplyKeysRequest>(std::move(req));
        auto change = std::make_shared<KeyChange>();
        // Then Edit decides at once, and the plan holds for it; and the message of a host that has
        // all it should is quick.
        const bool planned = host_.config->idle();
        if (planned) {
          const absl::StatusOr<bool> changes =
              PlanChange(*message, host_.configuration(), change.get());
          if (!changes.ok()) return answer(changes.status());
          if (!*changes) return CommitKeys(*message, change.get(), std::move(answer));
        }
        host_.config->Edit(
            [this, message, change,
             planned](const config::HostConfig& config) -> absl::StatusOr<config::ConfigChange> {
              if (!planned) {
                KS_ASSIGN_OR_RETURN(const bool writes, PlanChange(*message, config, change.get()));
                if (!writes) return config::ConfigChange();
              }
              return DecideChange(*message, config, change.get());
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

}  // namespace keysphere::hostagent::agent
