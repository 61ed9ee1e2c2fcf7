#include "controller/providers/providers.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/kdf.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/paging/paging.h"
#include "controller/providers/records.pb.h"
#include "controller/providers/state.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::providers {
namespace {

// Hosts that a health detail names.
constexpr size_t kNamedHosts = 5;

Provider FromRecord(const ProviderRecord& record) {
  Provider provider;
  provider.name = record.name();
  provider.incarnation = record.incarnation();
  provider.type = record.type();
  provider.key_id = record.key_id();
  provider.key_check_value = record.key_check_value();
  provider.tpm_required = record.tpm_required();
  provider.has_backup = record.has_backup();
  provider.backup_suggested = record.backup_suggested();
  provider.create_time = timestamps::FromProto(record.create_time());
  return provider;
}

}  // namespace

absl::Status NoProvider(absl::string_view name) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no key provider ", status::Quote(name)))
      .Object("provider", name)
      .NextStep("List the key providers.");
}

absl::Status ProviderExists(absl::string_view name) {
  return status::Error(v1::REASON_ALREADY_EXISTS,
                       absl::StrCat("a key provider ", status::Quote(name), " exists already"))
      .Object("provider", name)
      .NextStep("Choose another name, or delete the provider that has it.");
}

absl::Status CheckEtag(const Provider& provider, absl::string_view etag) {
  if (etag.empty() || etag == absl::StrCat(provider.etag)) return absl::OkStatus();
  return status::Error(
             v1::REASON_CONFLICT,
             absl::StrCat("key provider ", status::Quote(provider.name), " was changed meanwhile"))
      .Object("provider", provider.name)
      .NextStep("Read it again and use its etag.");
}

void PutRecord(store::Transaction* transaction, const Provider& provider) {
  ProviderRecord record;
  record.set_name(provider.name);
  record.set_incarnation(provider.incarnation);
  record.set_type(provider.type);
  record.set_key_id(provider.key_id);
  record.set_key_check_value(provider.key_check_value);
  record.set_tpm_required(provider.tpm_required);
  record.set_has_backup(provider.has_backup);
  record.set_backup_suggested(provider.backup_suggested);
  *record.mutable_create_time() = timestamps::ToProto(provider.create_time);
  if (provider.standard != nullptr) PutStandard(*provider.standard, &record);
  store::PutProto(transaction, absl::StrCat(kProviderPrefix, provider.name), record);
}

Provider WithoutKey(const Provider& provider) {
  Provider copy;
  copy.name = provider.name;
  copy.incarnation = provider.incarnation;
  copy.type = provider.type;
  copy.key_id = provider.key_id;
  copy.key_check_value = provider.key_check_value;
  copy.tpm_required = provider.tpm_required;
  copy.has_backup = provider.has_backup;
  copy.backup_suggested = provider.backup_suggested;
  copy.create_time = provider.create_time;
  copy.standard = provider.standard;
  copy.etag = provider.etag;
  return copy;
}

void Wipe(const std::string& field) {
  if (!field.empty()) OPENSSL_cleanse(const_cast<char*>(field.data()), field.size());
}

absl::string_view KindOf(const Provider& provider) {
  return provider.type == v1::PROVIDER_TYPE_NATIVE ? "Native key provider"
                                                   : "Standard key provider";
}

// ---- What is kept ----

absl::Status Providers::State::Load() {
  KS_RETURN_IF_ERROR((store::ForEachProto<ProviderRecord>(
      deps.store, kProviderPrefix,
      [this](const store::ProtoEntry<ProviderRecord>& entry) -> absl::Status {
        Provider provider = FromRecord(entry.message);
        provider.etag = entry.mod_revision;
        if (provider.type == v1::PROVIDER_TYPE_STANDARD) {
          KS_ASSIGN_OR_RETURN(provider.standard,
                              LoadStandard(deps.store, entry.message, entry.mod_revision));
          if (deps.kms != nullptr) {
            deps.kms->Put(provider.standard->config, provider.standard->instance);
          }
          providers.emplace(provider.name, std::move(provider));
          return absl::OkStatus();
        }
        KS_ASSIGN_OR_RETURN(provider.kdk,
                            deps.store->GetSecret(absl::StrCat(kKdkPrefix, provider.name)));
        KS_ASSIGN_OR_RETURN(const std::string check, crypto::KeyCheckValue(provider.kdk));
        if (check != provider.key_check_value) {
          return status::Error(v1::REASON_STORE_CORRUPT,
                               absl::StrCat("the key of provider ", status::Quote(provider.name),
                                            " is not the one of its record"))
              .Object("provider", provider.name);
        }
        providers.emplace(provider.name, std::move(provider));
        return absl::OkStatus();
      })));
  return LoadDefaults();
}

absl::Status Providers::State::LoadDefaults() {
  KS_ASSIGN_OR_RETURN(auto global, store::GetProto<DefaultRecord>(deps.store, kGlobalDefaultKey));
  if (global.has_value()) global_default = global->message.provider();
  return store::ForEachProto<DefaultRecord>(
      deps.store, kClusterDefaultPrefix, [this](const store::ProtoEntry<DefaultRecord>& entry) {
        const std::string cluster = entry.key.substr(sizeof(kClusterDefaultPrefix) - 1);
        cluster_defaults[cluster] = {entry.message.provider(), entry.message.incarnation()};
        return absl::OkStatus();
      });
}

Providers::Providers(std::unique_ptr<State> state) : state_(std::move(state)) {}
Providers::~Providers() = default;

absl::StatusOr<std::unique_ptr<Providers>> Providers::Load(Deps deps) {
  auto state = std::make_unique<State>(std::move(deps));
  KS_RETURN_IF_ERROR(state->Load());
  return std::unique_ptr<Providers>(new Providers(std::move(state)));
}

void Providers::Connect(const ProviderUse* use, ProviderListener* listener) {
  state_->use = use;
  state_->listener = listener;
}

void Providers::OnKms(OfKms checked, OfKms gone) {
  state_->kms_checked = std::move(checked);
  state_->kms_gone = std::move(gone);
}

void Providers::Start() {
  state_->reminder.Start([state = state_.get()]() {
    std::vector<std::string> missing;
    for (const auto& [name, provider] : state->providers) {
      if (!provider.has_backup) missing.push_back(name);
    }
    return missing;
  });
}

// ---- What is told ----

const Provider* Providers::State::Find(absl::string_view name) const {
  const auto it = providers.find(name);
  return it == providers.end() ? nullptr : &it->second;
}

const Provider* Providers::State::Find(const ChosenDefault& chosen) const {
  const Provider* const provider = Find(chosen.provider);
  const bool same = provider != nullptr && provider->incarnation == chosen.incarnation;
  return same ? provider : nullptr;
}

std::vector<const Provider*> Providers::All() const {
  std::vector<const Provider*> all;
  all.reserve(state_->providers.size());
  for (const auto& [name, provider] : state_->providers) all.push_back(&provider);
  return all;
}

const Provider* Providers::Find(absl::string_view name) const { return state_->Find(name); }

v1::ProviderHealth Providers::State::HealthOf(const Provider& provider) const {
  v1::ProviderHealth health;
  if (provider.type == v1::PROVIDER_TYPE_STANDARD) return health;  // DescribeStandard
  if (!provider.has_backup) {
    health.set_status(v1::ProviderHealth::STATUS_ERROR);
    health.add_details("It was never backed up: export it and download the bundle.");
    return health;
  }
  const std::vector<std::string> lacking =
      use == nullptr ? std::vector<std::string>() : use->HostsLacking(provider);
  if (lacking.empty()) {
    health.set_status(v1::ProviderHealth::STATUS_OK);
    return health;
  }
  const auto end =
      lacking.begin() + static_cast<std::ptrdiff_t>(std::min(lacking.size(), kNamedHosts));
  health.set_status(v1::ProviderHealth::STATUS_WARNING);
  health.add_details(absl::StrCat(
      lacking.size(), lacking.size() == 1 ? " host does" : " hosts do",
      " not have its key yet: ", absl::StrJoin(lacking.begin(), end, ", "),
      lacking.size() > kNamedHosts ? absl::StrCat(" and ", lacking.size() - kNamedHosts, " more")
                                   : "",
      "."));
  return health;
}

v1::KeyProvider Providers::State::Describe(const Provider& provider) const {
  v1::KeyProvider proto;
  proto.set_name(provider.name);
  proto.set_type(provider.type);
  if (provider.type == v1::PROVIDER_TYPE_NATIVE) {
    v1::NativeProviderInfo* const native = proto.mutable_native_info();
    native->set_key_id(provider.key_id);
    native->set_has_backup(provider.has_backup);
    native->mutable_constraints()->set_tpm_required(provider.tpm_required);
    native->set_key_check_value(absl::BytesToHexString(provider.key_check_value));
    native->set_backup_suggested(provider.backup_suggested);
  }
  proto.set_is_default(global_default == provider.name);
  for (const auto& [cluster, chosen] : cluster_defaults) {
    if (Find(chosen) == &provider) proto.add_default_for_clusters(cluster);
  }
  *proto.mutable_health() = HealthOf(provider);
  if (provider.type == v1::PROVIDER_TYPE_STANDARD) DescribeStandard(provider, &proto);
  proto.set_etag(absl::StrCat(provider.etag));
  *proto.mutable_create_time() = timestamps::ToProto(provider.create_time);
  return proto;
}

std::vector<std::string> Providers::State::Warnings() const {
  std::vector<std::string> warnings;
  const auto native = std::count_if(providers.begin(), providers.end(), [](const auto& entry) {
    return entry.second.type == v1::PROVIDER_TYPE_NATIVE;
  });
  if (native > 1) {  // S93
    warnings.push_back(absl::StrCat("There are ", native,
                                    " native key providers; more than one is seldom needed."));
  }
  if (global_default.empty()) {  // S160
    warnings.emplace_back("There is no default key provider.");
  }
  for (const auto& [cluster, chosen] : cluster_defaults) {
    if (Find(chosen) != nullptr) continue;
    warnings.push_back(absl::StrCat("The default key provider of cluster ", cluster,
                                    " is gone: set it anew or clear it."));
  }
  return warnings;
}

void Providers::GetKeyProvider(const access::Caller&, const v1::GetKeyProviderRequest& request,
                               status::Callback<v1::KeyProvider> done) {
  const Provider* const provider = Find(request.name());
  if (provider == nullptr) return done(NoProvider(request.name()));
  done(state_->Describe(*provider));
}

void Providers::ListKeyProviders(const access::Caller&, const v1::ListKeyProvidersRequest& request,
                                 status::Callback<v1::ListKeyProvidersResponse> done) {
  const absl::StatusOr<paging::Page> page =
      paging::PageOf(state_->providers, request.page_size(), request.page_token());
  if (!page.ok()) return done(page.status());
  v1::ListKeyProvidersResponse response;
  for (const std::string& name : page->keys) {
    *response.add_key_providers() = state_->Describe(*Find(name));
  }
  response.set_next_page_token(page->next_token);
  for (std::string& warning : state_->Warnings()) response.add_warnings(std::move(warning));
  done(std::move(response));
}

void Providers::ListKmsClusters(const access::Caller&, const v1::ListKmsClustersRequest& request,
                                status::Callback<v1::ListKmsClustersResponse> done) {
  const std::string& cluster = request.cluster();
  if (!cluster.empty() && state_->use != nullptr && !state_->use->ClusterExists(cluster)) {
    return done(
        status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no cluster ", status::Quote(cluster)))
            .Object("cluster", cluster));
  }
  v1::ListKmsClustersResponse response;
  for (const auto& [name, provider] : state_->providers) {
    const v1::KeyProvider described = state_->Describe(provider);
    v1::KmipClusterInfo* const info = response.add_clusters();
    info->set_cluster_id(name);
    info->set_management_type(provider.type == v1::PROVIDER_TYPE_NATIVE ? "nativeProvider"
                                                                        : "vCenter");
    info->set_has_backup(provider.type == v1::PROVIDER_TYPE_NATIVE && provider.has_backup);
    info->set_tpm_required(provider.tpm_required);
    info->set_use_as_default(described.is_default());
    info->set_use_as_entity_default(cluster.empty() ? !described.default_for_clusters().empty()
                                                    : ClusterDefault(cluster) == name &&
                                                          !ClusterDefaultIsGone(cluster));
  }
  done(std::move(response));
}

}  // namespace keysphere::controller::providers
