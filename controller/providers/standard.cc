#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "controller/kms/certificates.h"
#include "controller/providers/providers.h"
#include "controller/providers/state.h"
#include "controller/timestamps/timestamps.h"
#include "kmip/net/certificate.h"
#include "kmip/net/host_port.h"

// Standard providers come, change and go.
namespace keysphere::controller::providers {
namespace {

constexpr int kMaxServers = 16;
constexpr size_t kMaxAddress = 255;
constexpr size_t kMaxUserName = 256;
constexpr size_t kMaxPassword = 1024;

absl::Status Invalid(absl::string_view what) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, what);
}

// "HOST:PORT"; an IPv6 address stands in brackets.
absl::StatusOr<std::string> NormaliseAddress(absl::string_view address) {
  const absl::StatusOr<kmip::net::HostPort> parsed =
      kmip::net::ParseHostPort(address, kmip::net::kKmipPort);
  bool valid = parsed.ok() && address.size() <= kMaxAddress && parsed->port > 0;
  for (const char c : parsed.ok() ? parsed->host : "") {
    valid = valid && (absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                      absl::string_view("-_.:").find(c) != absl::string_view::npos);
  }
  if (valid) return kmip::net::FormatHostPort(*parsed);
  return Invalid(absl::StrCat("servers: ", status::Quote(address), " is not HOST:PORT"));
}

absl::StatusOr<std::vector<v1::KmsServer>> Servers(
    const google::protobuf::RepeatedPtrField<v1::KmsServer>& wanted) {
  if (wanted.empty() || wanted.size() > kMaxServers) {
    return Invalid(absl::StrCat("servers: 1 to ", kMaxServers, " are needed"));
  }
  std::vector<v1::KmsServer> servers;
  std::set<std::string> names;
  for (const v1::KmsServer& one : wanted) {
    v1::KmsServer server = one;
    KS_ASSIGN_OR_RETURN(*server.mutable_address(), NormaliseAddress(one.address()));
    if (server.name().empty()) server.set_name(server.address());
    KS_RETURN_IF_ERROR(files::ValidateName(server.name()));
    if (!names.insert(server.name()).second) {
      return Invalid(absl::StrCat("servers: two are named ", status::Quote(server.name())));
    }
    servers.push_back(std::move(server));
  }
  return servers;
}

absl::Status CheckUserName(const std::string& name) {
  if (name.size() <= kMaxUserName) return absl::OkStatus();
  return Invalid(absl::StrCat("user_name has more than ", kMaxUserName, " bytes"));
}

absl::Status CheckCredential(const StandardParts& parts) {
  if (parts.config.user_name.empty() == (parts.config.password == nullptr)) {
    return absl::OkStatus();
  }
  return status::Error(v1::REASON_INVALID_ARGUMENT, "user_name and password come together")
      .NextStep(
          "Give both, or neither (an update: name both in update_mask and leave them empty).");
}

absl::Status CheckClient(const StandardParts& parts) {
  const bool certificate = !parts.config.client_certificate.empty();
  const bool key = parts.config.client_private_key != nullptr;
  if (certificate != key) {
    return Invalid("client_certificate and client_private_key come together");
  }
  if (!certificate) return absl::OkStatus();
  return kms::CheckPair(parts.config.client_certificate, *parts.config.client_private_key);
}

// Takes what it needs from the request and overwrites its secrets.
absl::StatusOr<StandardParts> PartsOf(const std::string& name,
                                      const v1::StandardProviderSpec& spec) {
  StandardParts parts;
  parts.config.provider = name;
  absl::StatusOr<kms::SharedKey> password = TakeSecret(spec.password(), kMaxPassword, "password");
  absl::StatusOr<kms::SharedKey> key =
      TakeSecret(spec.client_private_key(), kMaxKeyPem, "client_private_key");
  KS_ASSIGN_OR_RETURN(parts.config.password, std::move(password));
  KS_ASSIGN_OR_RETURN(parts.config.client_private_key, std::move(key));
  KS_ASSIGN_OR_RETURN(parts.config.servers, Servers(spec.servers()));
  KS_RETURN_IF_ERROR(CheckUserName(spec.user_name()));
  if (!spec.trusted_certificates().empty()) {
    KS_RETURN_IF_ERROR(CheckCertificates(spec.trusted_certificates(), "trusted_certificates"));
  }
  if (!spec.client_certificate().empty()) {
    KS_RETURN_IF_ERROR(CheckCertificates(spec.client_certificate(), "client_certificate"));
  }
  parts.config.user_name = spec.user_name();
  parts.config.trusted_certificates = spec.trusted_certificates();
  parts.config.client_certificate = spec.client_certificate();
  KS_RETURN_IF_ERROR(CheckCredential(parts));
  KS_RETURN_IF_ERROR(CheckClient(parts));
  return parts;
}

// One secret of a provider: put where it is new, deleted where it is gone.
absl::Status PutSecret(const std::string& key, const kms::SharedKey& now,
                       const kms::SharedKey& former, store::Transaction* transaction) {
  if (now == former) return absl::OkStatus();
  if (now == nullptr) {
    transaction->Delete(key);
    return absl::OkStatus();
  }
  KS_ASSIGN_OR_RETURN(crypto::SecretKey copy, now->Clone());
  transaction->PutSecret(key, std::move(copy));
  return absl::OkStatus();
}

absl::StatusOr<kms::SharedKey> LoadSecret(store::Store* store, bool exists,
                                          const std::string& key) {
  if (!exists) return kms::SharedKey();
  KS_ASSIGN_OR_RETURN(crypto::SecretKey secret, store->GetSecret(key));
  return kms::SharedKey(std::make_shared<const crypto::SecretKey>(std::move(secret)));
}

}  // namespace

absl::StatusOr<kms::SharedKey> TakeSecret(const std::string& field, size_t most,
                                          absl::string_view name) {
  absl::StatusOr<kms::SharedKey> secret = kms::SharedKey();
  if (field.size() > most) {
    secret =
        Invalid(absl::StrCat(name, " has ", field.size(), " bytes; at most ", most, " are taken"));
  } else if (!field.empty()) {
    absl::StatusOr<crypto::SecretKey> copy = crypto::SecretKey::CopyOf(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(field.data()), field.size()));
    if (copy.ok()) {
      secret = kms::SharedKey(std::make_shared<const crypto::SecretKey>(*std::move(copy)));
    } else {
      secret = copy.status();
    }
  }
  Wipe(field);
  return secret;
}

absl::Status CheckCertificates(const std::string& pem, absl::string_view name) {
  if (pem.size() > kMaxPem) return Invalid(absl::StrCat(name, " is larger than 64 KiB"));
  if (kmip::net::ReadFacts(pem).ok()) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat(name, " is no certificate in PEM"))
      .NextStep("Give the text that begins with -----BEGIN CERTIFICATE-----.");
}

// ---- What is kept ----

std::shared_ptr<const StandardParts> AsOf(const StandardParts& parts, store::Revision revision) {
  auto known = std::make_shared<StandardParts>(parts);
  if (known->instance == kNewInstance) known->instance = revision;
  return known;
}

absl::StatusOr<std::shared_ptr<const StandardParts>> LoadStandard(store::Store* store,
                                                                  const ProviderRecord& record,
                                                                  store::Revision revision) {
  auto parts = std::make_shared<StandardParts>();
  const StandardRecord& kept = record.standard();
  const std::string& name = record.name();
  parts->instance = kept.instance() == kNewInstance ? revision : kept.instance();
  parts->config.provider = name;
  parts->config.servers.assign(kept.servers().begin(), kept.servers().end());
  parts->config.user_name = kept.user_name();
  parts->config.trusted_certificates = kept.trusted_certificates();
  parts->config.client_certificate = kept.client_certificate();
  KS_ASSIGN_OR_RETURN(parts->config.password,
                      LoadSecret(store, kept.has_password(), absl::StrCat(kPasswordPrefix, name)));
  KS_ASSIGN_OR_RETURN(
      parts->config.client_private_key,
      LoadSecret(store, kept.has_client_key(), absl::StrCat(kClientKeyPrefix, name)));
  KS_ASSIGN_OR_RETURN(parts->csr_key,
                      LoadSecret(store, kept.has_csr_key(), absl::StrCat(kCsrKeyPrefix, name)));
  return std::shared_ptr<const StandardParts>(std::move(parts));
}

void PutStandard(const StandardParts& parts, ProviderRecord* record) {
  StandardRecord* const kept = record->mutable_standard();
  for (const v1::KmsServer& server : parts.config.servers) *kept->add_servers() = server;
  kept->set_user_name(parts.config.user_name);
  kept->set_trusted_certificates(parts.config.trusted_certificates);
  kept->set_client_certificate(parts.config.client_certificate);
  kept->set_has_password(parts.config.password != nullptr);
  kept->set_has_client_key(parts.config.client_private_key != nullptr);
  kept->set_has_csr_key(parts.csr_key != nullptr);
  kept->set_instance(parts.instance);
}

absl::Status PutStandardSecrets(const StandardParts& parts, const StandardParts* former,
                                store::Transaction* transaction) {
  const StandardParts none;
  if (former == nullptr) former = &none;
  const std::string& name = parts.config.provider;
  KS_RETURN_IF_ERROR(PutSecret(absl::StrCat(kPasswordPrefix, name), parts.config.password,
                               former->config.password, transaction));
  KS_RETURN_IF_ERROR(PutSecret(absl::StrCat(kClientKeyPrefix, name),
                               parts.config.client_private_key, former->config.client_private_key,
                               transaction));
  return PutSecret(absl::StrCat(kCsrKeyPrefix, name), parts.csr_key, former->csr_key, transaction);
}

void DeleteStandardSecrets(const StandardParts& parts, store::Transaction* transaction) {
  StandardParts none;
  none.config.provider = parts.config.provider;
  const absl::Status deleted = PutStandardSecrets(none, &parts, transaction);
  KS_CHECK(deleted.ok());  // only a copy of a secret can fail
}

// ---- Create and update ----

void Providers::State::Connect(const Provider& provider) {
  deps.kms->Put(provider.standard->config, provider.standard->instance);
  deps.kms->Find(provider.name)
      ->Check(deps.options->CertificateThreshold(),
              [this, weak = std::weak_ptr<bool>(alive), name = provider.name] {
                if (!weak.expired() && kms_checked) kms_checked(name);
              });
}

void Providers::State::CreateStandard(const std::string& user,
                                      const v1::CreateKeyProviderRequest& request,
                                      status::Callback<v1::KeyProvider> done) {
  const std::string name = request.name();
  absl::StatusOr<StandardParts> parts = PartsOf(name, request.standard());
  const bool has_native_fields = !request.key_id().empty() ||
                                 !request.key_derivation_key().empty() || request.has_constraints();
  Wipe(request.key_derivation_key());
  for (const absl::Status& status :
       {files::ValidateName(name), CheckNew(name), parts.status(),
        has_native_fields ? Invalid("a standard provider has no key id, key or constraints")
                          : absl::OkStatus(),
        deps.kms == nullptr
            ? status::Error(v1::REASON_UNSUPPORTED, "this vCenter has no standard providers")
            : absl::OkStatus()}) {
    if (!status.ok()) return done(status);
  }
  auto provider = std::make_shared<Provider>();
  provider->name = name;
  provider->incarnation = deps.random->Uuid();
  provider->type = v1::PROVIDER_TYPE_STANDARD;
  provider->has_backup = true;  // its keys are its KMS's
  provider->create_time = deps.clock->Now();
  provider->standard = std::make_shared<const StandardParts>(*std::move(parts));
  changes.Run(
      [this, user, provider]() -> absl::StatusOr<changes::Change> {
        KS_RETURN_IF_ERROR(CheckNew(provider->name));
        changes::Change change;
        change.transaction.Compare(absl::StrCat(kProviderPrefix, provider->name), 0);
        PutRecord(&change.transaction, *provider);
        KS_RETURN_IF_ERROR(PutStandardSecrets(*provider->standard, nullptr, &change.transaction));
        change.apply = [this, user, provider](store::Revision revision) {
          provider->etag = revision;
          provider->standard = AsOf(*provider->standard, revision);
          const Provider& added =
              providers.insert_or_assign(provider->name, std::move(*provider)).first->second;
          Append(events::kProviderCreated, user, added.name,
                 absl::StrCat("Standard key provider ", added.name, " was created"),
                 {{"operation", "create"}});
          Connect(added);
          if (listener != nullptr) listener->OnProviderUsable(added);
        };
        return change;
      },
      [this, name, done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        if (status::ReasonOf(result.status()) == v1::REASON_CONFLICT) {
          return done(ProviderExists(name));
        }
        if (!result.ok()) return done(result.status());
        done(Describe(*Find(name)));
      });
}

absl::StatusOr<const Provider*> Providers::State::FindStandard(absl::string_view name) const {
  const Provider* const provider = Find(name);
  if (provider == nullptr) return NoProvider(name);
  if (provider->standard == nullptr || deps.kms == nullptr) {
    return status::Error(v1::REASON_UNSUPPORTED, absl::StrCat("key provider ", status::Quote(name),
                                                              " is a native one: it has no KMS"))
        .Object("provider", name);
  }
  return provider;
}

void Providers::State::ChangeStandard(const std::string& name, const std::string& etag, Edit edit,
                                      status::Callback<v1::KeyProvider> done) {
  changes.Run(
      [this, name, etag, edit = std::move(edit)]() mutable -> absl::StatusOr<changes::Change> {
        KS_ASSIGN_OR_RETURN(const Provider* const provider, FindStandard(name));
        KS_RETURN_IF_ERROR(CheckEtag(*provider, etag));
        StandardParts parts = *provider->standard;
        KS_RETURN_IF_ERROR(edit(&parts));
        Provider changed = WithoutKey(*provider);
        const auto next = std::make_shared<const StandardParts>(std::move(parts));
        changed.standard = next;
        changes::Change change;
        change.transaction.Compare(absl::StrCat(kProviderPrefix, name), provider->etag);
        PutRecord(&change.transaction, changed);
        KS_RETURN_IF_ERROR(
            PutStandardSecrets(*next, provider->standard.get(), &change.transaction));
        change.apply = [this, name, next](store::Revision revision) {
          Provider& provider = providers.find(name)->second;
          const bool others = provider.standard->instance != next->instance;
          provider.standard = AsOf(*next, revision);
          provider.etag = revision;
          Connect(provider);
          if (others && listener != nullptr) listener->OnProviderUsable(provider);
        };
        return change;
      },
      [this, name, done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        if (!result.ok()) return done(result.status());
        done(Describe(*Find(name)));
      });
}

void Providers::State::UpdateStandard(const v1::UpdateKeyProviderRequest& request,
                                      status::Callback<v1::KeyProvider> done) {
  auto password = std::make_shared<absl::StatusOr<kms::SharedKey>>(
      TakeSecret(request.standard().password(), kMaxPassword, "password"));
  Wipe(request.standard().client_private_key());
  if (!request.key_id().empty() || request.has_constraints()) {
    return done(status::Error(v1::REASON_UNSUPPORTED,
                              "a standard provider has no key id and no constraints")
                    .Object("provider", request.name()));
  }
  if (request.update_mask().paths().empty()) {
    return done(Invalid("update_mask: name what to change, such as standard.servers"));
  }
  v1::StandardProviderSpec spec = request.standard();
  spec.clear_password();
  spec.clear_client_private_key();
  auto edit = [spec, password, mask = request.update_mask()](StandardParts* parts) -> absl::Status {
    for (const std::string& path : mask.paths()) {
      if (path == "standard.servers") {
        KS_ASSIGN_OR_RETURN(parts->config.servers, Servers(spec.servers()));
        parts->instance = kNewInstance;
      } else if (path == "standard.user_name") {
        KS_RETURN_IF_ERROR(CheckUserName(spec.user_name()));
        parts->config.user_name = spec.user_name();
        parts->instance = kNewInstance;  // it may see other keys there
      } else if (path == "standard.password") {
        KS_ASSIGN_OR_RETURN(parts->config.password, *password);
      } else if (path == "standard.trusted_certificates") {
        if (!spec.trusted_certificates().empty()) {
          KS_RETURN_IF_ERROR(
              CheckCertificates(spec.trusted_certificates(), "trusted_certificates"));
        }
        parts->config.trusted_certificates = spec.trusted_certificates();
      } else {
        return Invalid(absl::StrCat("update_mask: ", status::Quote(path), " cannot be changed"));
      }
    }
    return CheckCredential(*parts);
  };
  ChangeStandard(request.name(), request.etag(), std::move(edit), std::move(done));
}

// ---- What is told ----

void Providers::State::DescribeStandard(const Provider& provider, v1::KeyProvider* proto) const {
  const StandardParts& parts = *provider.standard;
  v1::StandardProviderInfo* const info = proto->mutable_standard_info();
  for (const v1::KmsServer& server : parts.config.servers) *info->add_servers() = server;
  info->set_user_name(parts.config.user_name);
  info->set_trusted_certificates(parts.config.trusted_certificates);
  info->set_client_certificate(parts.config.client_certificate);
  const std::shared_ptr<kms::KmsCluster> cluster = deps.kms->Find(provider.name);
  info->set_status(cluster->status());
  info->set_status_reason(cluster->status_reason());
  for (v1::KmsServerStatus& one : cluster->ServerStatuses()) {
    *info->add_server_statuses() = std::move(one);
  }
  if (cluster->client_certificate_end() != absl::InfiniteFuture()) {
    *info->mutable_client_certificate_expire_time() =
        timestamps::ToProto(cluster->client_certificate_end());
  }
  info->set_unanswered_creates(cluster->unanswered_creates());
  v1::ProviderHealth* const health = proto->mutable_health();
  if (info->status() == v1::KMS_STATUS_GREEN) {
    health->set_status(v1::ProviderHealth::STATUS_OK);
    return;
  }
  health->set_status(info->status() == v1::KMS_STATUS_RED ? v1::ProviderHealth::STATUS_ERROR
                                                          : v1::ProviderHealth::STATUS_WARNING);
  health->add_details(info->status_reason());
}

}  // namespace keysphere::controller::providers
