#include "services/kms/kms.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"

namespace keysphere::kms {

absl::StatusOr<std::unique_ptr<Kms>> Kms::Create(Options options, clock::Clock* clock,
                                                 log::Logger* logger) {
  std::unique_ptr<Kms> kms(new Kms(clock));
  KS_ASSIGN_OR_RETURN(const identity::SecretPem certificate,
                      identity::ReadPemFile(options.certificate_file));
  KS_ASSIGN_OR_RETURN(const identity::SecretPem key, identity::ReadPemFile(options.key_file));
  KS_ASSIGN_OR_RETURN(const identity::SecretPem ca, identity::ReadPemFile(options.ca_file));

  KS_RETURN_IF_ERROR(kms->files_.MakeFolders(options.data_dir));
  store::SqliteStore::Options store_options;
  store_options.shared = true;
  store_options.clock = clock;
  KS_ASSIGN_OR_RETURN(
      kms->store_, store::SqliteStore::Open(&kms->files_, absl::StrCat(options.data_dir, "/kms.db"),
                                            store_options));
  kmip::server::Engine::Options engine_options;
  if (!options.users_file.empty()) {
    KS_ASSIGN_OR_RETURN(const identity::SecretPem users, identity::ReadPemFile(options.users_file));
    KS_ASSIGN_OR_RETURN(engine_options.users, kmip::server::Users::Parse(users.view()));
  }
  if (options.simulation) {
    kms->faults_ = std::make_unique<kmip::server::ScriptedFaults>(&kms->random_);
    engine_options.faults = kms->faults_.get();
  }
  KS_ASSIGN_OR_RETURN(kms->loop_, kmip::net::Loop::Create());
  kms->engine_ = std::make_unique<kmip::server::Engine>(kms->store_.get(), &kms->executor_, clock,
                                                        &kms->random_, std::move(engine_options));
  kmip::server::Listener::Options listener_options;
  listener_options.ip = options.ip;
  listener_options.port = options.port;
  listener_options.faults = kms->faults_.get();
  const kmip::net::TlsFiles tls{std::string(certificate.view()), key.view(),
                                std::string(ca.view())};
  KS_ASSIGN_OR_RETURN(kms->listener_, kmip::server::Listener::Create(
                                          std::move(listener_options), tls, kms->engine_.get(),
                                          kms->loop_.get(), clock, &kms->wall_, logger));
  return kms;
}

}  // namespace keysphere::kms
