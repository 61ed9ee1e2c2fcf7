#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crypto/bundle.h"
#include "common/crypto/digest.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "controller/providers/authority.h"
#include "controller/providers/providers.h"
#include "controller/providers/state.h"
#include "controller/timestamps/timestamps.h"

// Export, download and import of native providers.
namespace keysphere::controller::providers {
namespace {

constexpr size_t kMaxPasswordBytes = 1024;

// The password of a request; an empty field: none, and an empty key.
absl::StatusOr<crypto::SecretKey> PasswordOf(const std::string& field) {
  if (field.empty()) return crypto::SecretKey();
  if (field.size() > kMaxPasswordBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("password has ", field.size(), " bytes; at most ",
                                      kMaxPasswordBytes, " are taken"));
  }
  return crypto::SecretKey::CopyOf(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(field.data()), field.size()));
}

const crypto::SecretKey* OrNone(const crypto::SecretKey& password) {
  return password.empty() ? nullptr : &password;
}

std::string PercentEncoded(absl::string_view name) {
  std::string encoded;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::string_view("-_.~").find(c) != absl::string_view::npos) {
      encoded += c;
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", byte);
    }
  }
  return encoded;
}

}  // namespace

void Providers::ExportKeyProvider(const access::Caller& caller,
                                  const v1::ExportKeyProviderRequest& request,
                                  status::Callback<v1::ExportKeyProviderResponse> done) {
  absl::StatusOr<crypto::SecretKey> password = PasswordOf(request.password());
  Wipe(request.password());
  absl::Status allowed = CheckAuthority(caller.authority, state_->deps.dns_names);
  if (!allowed.ok()) return done(std::move(allowed));
  const Provider* const provider = Find(request.name());
  if (provider == nullptr) return done(NoProvider(request.name()));
  if (provider->type != v1::PROVIDER_TYPE_NATIVE) {
    return done(status::Error(v1::REASON_UNSUPPORTED,
                              absl::StrCat("key provider ", status::Quote(provider->name),
                                           " is a standard one: its keys are its KMS's"))
                    .Object("provider", provider->name)
                    .NextStep("Back up the KMS."));
  }
  if (!password.ok()) return done(password.status());
  const absl::Time expire_time =
      state_->deps.clock->Now() +
      absl::Seconds(state_->deps.options->Integer(options::kExportTokenExpiry));
  absl::StatusOr<std::string> token =
      state_->tickets.Issue(provider->name, caller.user, *std::move(password), expire_time);
  if (!token.ok()) return done(token.status());
  v1::ExportKeyProviderResponse response;
  response.set_location(absl::StrCat(caller.authority, "/", PercentEncoded(provider->name)));
  response.set_token(*std::move(token));
  *response.mutable_token_expire_time() = timestamps::ToProto(expire_time);
  done(std::move(response));
}

void Providers::BeginDownload(const access::Caller& caller,
                              const v1::DownloadKeyProviderRequest& request,
                              status::Callback<std::string> done) {
  absl::Status allowed = CheckAuthority(caller.authority, state_->deps.dns_names);
  if (!allowed.ok()) return done(std::move(allowed));
  const Provider* const provider = Find(request.name());
  if (provider == nullptr) return done(NoProvider(request.name()));
  const absl::StatusOr<const ExportTickets::Ticket*> ticket =
      state_->tickets.Take(provider->name, caller.user, request.token());
  if (!ticket.ok()) return done(ticket.status());

  const std::string name = provider->name;
  State* const state = state_.get();
  auto refuse = [state, name, token = request.token()](const absl::Status& status,
                                                       status::Callback<std::string>* done) {
    state->tickets.Finished(name, token, /*complete=*/false);
    (*done)(status);
  };
  absl::StatusOr<crypto::SecretKey> kdk = provider->kdk.Clone();
  if (!kdk.ok()) return refuse(kdk.status(), &done);
  crypto::SecretKey password;
  if (!(*ticket)->password.empty()) {
    absl::StatusOr<crypto::SecretKey> copy = (*ticket)->password.Clone();
    if (!copy.ok()) return refuse(copy.status(), &done);
    password = *std::move(copy);
  }
  crypto::KeyBundle bundle;
  bundle.provider = name;
  bundle.key_id = provider->key_id;
  bundle.kdk = *std::move(kdk);
  bundle.tpm_required = provider->tpm_required;
  bundle.export_time = state->deps.clock->Now();
  const std::string key_id = bundle.key_id;
  state->Work<absl::StatusOr<std::string>>(
      [bundle = std::move(bundle), password = std::move(password),
       iterations = state->deps.bundle_iterations]() {
        return crypto::WriteBundle(bundle, OrNone(password), iterations);
      },
      [state, name, key_id, token_sha256 = crypto::Sha256(request.token()), refuse,
       done = std::move(done)](absl::StatusOr<std::string> p12) mutable {
        if (!p12.ok()) return refuse(p12.status(), &done);
        if (state->Find(name) == nullptr) {
          Wipe(*p12);
          return refuse(NoProvider(name), &done);
        }
        state->handed_out[{name, token_sha256}] = key_id;
        done(std::move(p12));
      });
}

void Providers::DownloadFinished(const access::Caller& caller,
                                 const v1::DownloadKeyProviderRequest& request, bool complete,
                                 status::DoneCallback done) {
  const std::string& name = request.name();
  state_->tickets.Finished(name, request.token(), complete);
  const auto it = state_->handed_out.find({name, crypto::Sha256(request.token())});
  if (it == state_->handed_out.end()) return done(NoProvider(name));
  const std::string key_id = it->second;
  state_->handed_out.erase(it);
  if (!complete) return done(absl::OkStatus());
  state_->BackedUp(caller.user, name, key_id, std::move(done));
}

void Providers::State::BackedUp(const std::string& user, const std::string& name,
                                const std::string& key_id, status::DoneCallback done) {
  changes.Run(
      [this, user, name, key_id]() -> absl::StatusOr<changes::Change> {
        const Provider* const provider = Find(name);
        if (provider == nullptr) return NoProvider(name);
        Append(events::kCryptoOperation, user, name,
               absl::StrCat("A backup of native key provider ", name, " was downloaded"),
               {{"operation", "KeyProviders.ExportKeyProvider"}, {"key_id", key_id}});
        const bool suggested = provider->backup_suggested && provider->key_id != key_id;
        changes::Change change;
        if (provider->has_backup && provider->backup_suggested == suggested) return change;
        Provider changed = WithoutKey(*provider);
        changed.has_backup = true;
        changed.backup_suggested = suggested;
        change.transaction.Compare(absl::StrCat(kProviderPrefix, name), provider->etag);
        PutRecord(&change.transaction, changed);
        change.apply = [this, name, suggested](store::Revision revision) {
          Provider& provider = providers.find(name)->second;
          const bool is_first = !std::exchange(provider.has_backup, true);
          provider.backup_suggested = suggested;
          provider.etag = revision;
          if (!is_first) return;
          reminder.Over(name);
          TellAllBackedUp();
          if (listener != nullptr) listener->OnProviderUsable(provider);
        };
        return change;
      },
      [done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        done(result.status());
      });
}

void Providers::State::TellAllBackedUp() {
  if (providers.empty()) return;
  for (const auto& [name, provider] : providers) {
    if (!provider.has_backup) return;
  }
  v1::Event event;
  event.set_type(events::kAllBackedUp);
  event.set_object(absl::StrCat("vcenter/", deps.vcenter_name));
  event.set_message("All native key providers are backed up");
  deps.events->Append(std::move(event));
}

void Providers::ImportKeyProvider(const access::Caller& caller,
                                  const v1::ImportKeyProviderRequest& request,
                                  status::Callback<v1::ImportKeyProviderResponse> done) {
  absl::StatusOr<crypto::SecretKey> password = PasswordOf(request.password());
  Wipe(request.password());
  absl::Status supported = state_->CheckVersion();
  const bool too_large = request.bundle().size() > crypto::kMaxBundleBytes;
  std::string p12 = too_large ? "" : request.bundle();
  Wipe(request.bundle());
  if (!supported.ok() || !password.ok()) {
    Wipe(p12);
    return done(supported.ok() ? password.status() : supported);
  }
  if (too_large) {
    return done(
        status::Error(v1::REASON_BUNDLE_INVALID,
                      absl::StrCat("the file has more than ", crypto::kMaxBundleBytes, " bytes"))
            .NextStep("Import a .p12 that was exported from a native key provider."));
  }
  State* const state = state_.get();
  state->Work<absl::StatusOr<crypto::KeyBundle>>(
      [p12 = std::move(p12), password = *std::move(password)]() {
        absl::StatusOr<crypto::KeyBundle> bundle = crypto::ReadBundle(p12, OrNone(password));
        Wipe(p12);
        return bundle;
      },
      [state, user = caller.user, dry_run = request.dry_run(),
       overrides = request.has_constraints(), tpm_required = request.constraints().tpm_required(),
       done = std::move(done)](absl::StatusOr<crypto::KeyBundle> bundle) mutable {
        if (!bundle.ok()) return done(bundle.status());
        absl::StatusOr<std::string> check = crypto::KeyCheckValue(bundle->kdk);
        if (!check.ok()) return done(check.status());
        for (const absl::Status& status :
             {files::ValidateName(bundle->provider), state->CheckNew(bundle->provider)}) {
          if (!status.ok()) return done(status);
        }
        auto provider = std::make_shared<Provider>();
        provider->name = bundle->provider;
        provider->incarnation = state->deps.random->Uuid();
        provider->key_id = bundle->key_id;
        provider->key_check_value = *std::move(check);
        provider->tpm_required = overrides ? tpm_required : bundle->tpm_required;  // S120
        provider->has_backup = true;                                               // S158
        provider->create_time = state->deps.clock->Now();
        provider->kdk = std::move(bundle->kdk);
        v1::ImportKeyProviderResponse response;
        *response.mutable_export_time() = timestamps::ToProto(bundle->export_time);
        if (dry_run) {
          *response.mutable_provider() = state->Describe(*provider);
          response.mutable_provider()->clear_etag();
          response.mutable_provider()->clear_create_time();
          return done(std::move(response));
        }
        state->Add(user, std::move(provider), /*imported=*/true,
                   [response = std::move(response),
                    done = std::move(done)](absl::StatusOr<v1::KeyProvider> added) mutable {
                     if (!added.ok()) return done(added.status());
                     *response.mutable_provider() = *std::move(added);
                     done(std::move(response));
                   });
      });
}

}  // namespace keysphere::controller::providers
