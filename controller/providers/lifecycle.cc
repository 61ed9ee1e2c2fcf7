#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/providers/providers.h"
#include "controller/providers/state.h"
#include "controller/version/version.h"

// Native providers come, change and go.
namespace keysphere::controller::providers {
namespace {

// "0f8fad5b-d9cb-469f-a165-70867728950e", in lower case.
absl::StatusOr<std::string> NormaliseUuid(absl::string_view text) {
  bool valid = text.size() == 36;
  for (size_t i = 0; valid && i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    valid = dash ? text[i] == '-' : absl::ascii_isxdigit(static_cast<unsigned char>(text[i]));
  }
  if (valid) return absl::AsciiStrToLower(text);
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("key_id: ", status::Quote(text), " is no UUID"));
}

// The KDK given, or a new one. Its length is fixed (S37).
absl::StatusOr<crypto::SecretKey> KdkOf(const std::string& given) {
  if (given.empty()) return crypto::SecretKey::Random(crypto::kKeyBytes);
  if (given.size() != crypto::kKeyBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("key_derivation_key has ", given.size(), " bytes; it has ",
                                      crypto::kKeyBytes, ", or none to have one made"));
  }
  return crypto::SecretKey::CopyOf(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(given.data()), given.size()));
}

}  // namespace

int64_t Providers::State::Append(absl::string_view type, const std::string& user,
                                 absl::string_view provider, absl::string_view message,
                                 std::map<std::string, std::string> arguments) {
  v1::Event event;
  event.set_type(std::string(type));
  event.set_object(absl::StrCat("provider/", provider));
  event.set_user(user);
  event.set_message(std::string(message));
  for (auto& [name, value] : arguments) {
    if (!value.empty()) (*event.mutable_arguments())[name] = std::move(value);
  }
  (*event.mutable_arguments())["provider"] = std::string(provider);
  return deps.events->Append(std::move(event));
}

absl::Status Providers::State::CheckVersion() const {
  if (version::AtLeast(deps.version, version::kFirstNative)) return absl::OkStatus();
  return status::Error(v1::REASON_VERSION_UNSUPPORTED,
                       absl::StrCat("this vCenter is ", deps.version,
                                    "; native key providers came with 7.0 U2"))
      .Object("vcenter", deps.vcenter_name)
      .NextStep("Upgrade the vCenter.");
}

absl::Status Providers::State::CheckNew(absl::string_view name) const {
  if (Find(name) != nullptr) return ProviderExists(name);
  if (providers.size() < static_cast<size_t>(kMaxProviders)) return absl::OkStatus();
  return status::Error(v1::REASON_TOO_LARGE,
                       absl::StrCat("there are ", kMaxProviders, " key providers already"))
      .Object("provider", name)
      .NextStep("Delete one that is not needed.");
}

void Providers::State::Add(const std::string& user, std::shared_ptr<Provider> provider,
                           bool imported, status::Callback<v1::KeyProvider> done) {
  const std::string name = provider->name;
  changes.Run(
      [this, user, imported, provider]() -> absl::StatusOr<changes::Change> {
        KS_RETURN_IF_ERROR(CheckNew(provider->name));
        KS_ASSIGN_OR_RETURN(crypto::SecretKey kdk, provider->kdk.Clone());
        changes::Change change;
        change.transaction.Compare(absl::StrCat(kProviderPrefix, provider->name), 0);
        PutRecord(&change.transaction, *provider);
        change.transaction.PutSecret(absl::StrCat(kKdkPrefix, provider->name), std::move(kdk));
        change.apply = [this, user, imported, provider](store::Revision revision) {
          provider->etag = revision;
          Added(user, imported, std::move(*provider));
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

void Providers::State::Added(const std::string& user, bool imported, Provider provider) {
  const std::string name = provider.name;
  const Provider& added = providers.insert_or_assign(name, std::move(provider)).first->second;
  Append(events::kProviderCreated, user, name,
         absl::StrCat("Native key provider ", name, imported ? " was imported" : " was created"),
         {{"operation", imported ? "import" : "create"}, {"key_id", added.key_id}});
  if (!added.has_backup) {
    reminder.Missing(name);
  } else if (listener != nullptr) {
    listener->OnProviderUsable(added);
  }
}

void Providers::CreateKeyProvider(const access::Caller& caller,
                                  const v1::CreateKeyProviderRequest& request,
                                  status::Callback<v1::KeyProvider> done) {
  if (request.has_standard()) return state_->CreateStandard(caller.user, request, std::move(done));
  absl::StatusOr<crypto::SecretKey> kdk = KdkOf(request.key_derivation_key());
  Wipe(request.key_derivation_key());
  const absl::StatusOr<std::string> key_id =
      request.key_id().empty() ? state_->deps.random->Uuid() : NormaliseUuid(request.key_id());
  for (const absl::Status& status :
       {files::ValidateName(request.name()), state_->CheckVersion(),
        state_->CheckNew(request.name()), key_id.status(), kdk.status()}) {
    if (!status.ok()) return done(status);
  }
  absl::StatusOr<std::string> check = crypto::KeyCheckValue(*kdk);
  if (!check.ok()) return done(check.status());
  auto provider = std::make_shared<Provider>();
  provider->name = request.name();
  provider->incarnation = state_->deps.random->Uuid();
  provider->key_id = *key_id;
  provider->key_check_value = *std::move(check);
  provider->tpm_required = request.constraints().tpm_required();
  provider->create_time = state_->deps.clock->Now();
  provider->kdk = *std::move(kdk);
  state_->Add(caller.user, std::move(provider), /*imported=*/false, std::move(done));
}

void Providers::UpdateKeyProvider(const access::Caller& caller,
                                  const v1::UpdateKeyProviderRequest& request,
                                  status::Callback<v1::KeyProvider> done) {
  State* const state = state_.get();
  const std::string name = request.name();
  const Provider* const found = state->Find(name);
  const bool of_standard = request.has_standard() || request.has_update_mask();
  if (found != nullptr && found->type == v1::PROVIDER_TYPE_STANDARD) {
    return state->UpdateStandard(request, std::move(done));
  }
  if (found != nullptr && of_standard) {
    Wipe(request.standard().password());
    Wipe(request.standard().client_private_key());
    return done(
        status::Error(v1::REASON_UNSUPPORTED, absl::StrCat("key provider ", status::Quote(name),
                                                           " is a native one: it has no servers"))
            .Object("provider", name));
  }
  const auto prepare = [state, user = caller.user, request]() -> absl::StatusOr<changes::Change> {
    const Provider* const provider = state->Find(request.name());
    if (provider == nullptr) return NoProvider(request.name());
    if (request.has_constraints()) {
      return status::Error(v1::REASON_UNSUPPORTED, "the constraints of a key provider are fixed")
          .Object("provider", request.name())
          .NextStep("Delete the provider and import its backup with other constraints.");
    }
    KS_ASSIGN_OR_RETURN(const std::string key_id, NormaliseUuid(request.key_id()));
    KS_RETURN_IF_ERROR(CheckEtag(*provider, request.etag()));
    changes::Change change;
    if (key_id == provider->key_id) return change;
    Provider changed = WithoutKey(*provider);
    changed.key_id = key_id;
    changed.backup_suggested = changed.has_backup;  // S122; else it needs one anyway
    change.transaction.Compare(absl::StrCat(kProviderPrefix, provider->name), provider->etag);
    PutRecord(&change.transaction, changed);
    change.apply = [state, user, key_id, name = provider->name](store::Revision revision) {
      Provider& provider = state->providers.find(name)->second;
      const std::string old_key_id = std::exchange(provider.key_id, key_id);
      provider.backup_suggested = provider.has_backup;
      provider.etag = revision;
      if (!provider.has_backup) return;
      state->Append(events::kNotBackedUpAfterUpdate, user, name,
                    absl::StrCat("Native key provider ", name,
                                 " has another key id: a new backup is suggested"),
                    {{"key_id", key_id}, {"old_key_id", old_key_id}});
      if (state->listener != nullptr) state->listener->OnProviderUsable(provider);
    };
    return change;
  };
  state->changes.Run(prepare, [state, name, done = std::move(done)](
                                  const absl::StatusOr<store::Revision>& result) mutable {
    if (!result.ok()) return done(result.status());
    done(state->Describe(*state->Find(name)));
  });
}

void Providers::DeleteKeyProvider(const access::Caller& caller,
                                  const v1::DeleteKeyProviderRequest& request,
                                  status::Callback<v1::DeleteKeyProviderResponse> done) {
  State* const state = state_.get();
  const std::string name = request.name();
  auto response = std::make_shared<v1::DeleteKeyProviderResponse>();
  const auto prepare = [state, user = caller.user, name, etag = request.etag(),
                        response]() -> absl::StatusOr<changes::Change> {
    const Provider* const provider = state->Find(name);
    if (provider == nullptr) return NoProvider(name);
    KS_RETURN_IF_ERROR(CheckEtag(*provider, etag));
    if (state->use != nullptr) response->set_vms_in_inventory(state->use->VmsUsing(name));
    changes::Change change;
    change.transaction.Compare(absl::StrCat(kProviderPrefix, name), provider->etag);
    change.transaction.Delete(absl::StrCat(kProviderPrefix, name));
    if (provider->standard != nullptr) {
      DeleteStandardSecrets(*provider->standard, &change.transaction);
    } else {
      change.transaction.Delete(absl::StrCat(kKdkPrefix, name));
    }
    const bool was_default = state->global_default == name;
    if (was_default) change.transaction.Delete(kGlobalDefaultKey);  // no successor (S12)
    change.apply = [state, user, name, was_default](store::Revision) {
      const bool had_backup = state->Find(name)->has_backup;
      const std::string kind(KindOf(*state->Find(name)));
      state->providers.erase(name);
      if (state->deps.kms != nullptr) state->deps.kms->Remove(name);
      if (state->kms_gone) state->kms_gone(name);
      state->tickets.Void(name);
      for (auto it = state->handed_out.begin(); it != state->handed_out.end();) {
        it = it->first.first == name ? state->handed_out.erase(it) : std::next(it);
      }
      state->Append(events::kProviderDeleted, user, name,
                    absl::StrCat(kind, " ", name, " was deleted"));
      if (was_default) {
        state->global_default.clear();
        state->Append(events::kDefaultChanged, user, name,
                      "The default key provider was deleted: there is none", {{"former", name}});
      }
      if (!had_backup) {
        state->reminder.Over(name);
        state->TellAllBackedUp();
      }
      if (state->listener != nullptr) state->listener->OnProviderDeleted(name);
    };
    return change;
  };
  state->changes.Run(prepare, [response, done = std::move(done)](
                                  const absl::StatusOr<store::Revision>& result) mutable {
    if (!result.ok()) return done(result.status());
    done(*response);
  });
}

}  // namespace keysphere::controller::providers
