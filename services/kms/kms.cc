#include "services/kms/kms.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"

namespace keysphere::kms {

namespace {

constexpr size_t kPage = 1000;
constexpr char kObjects[] = "o/";

// The exit code of a node that a fault ends.
[[noreturn]] void Die() { _exit(1); }

// Warns if others than its owner may read a file of secrets.
void CheckMode(const std::string& path, log::Logger* logger) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0 || (info.st_mode & (S_IRGRP | S_IROTH)) == 0) return;
  logger->Warning("kms.file_open_to_others",
                  {{"path", path}, {"mode", absl::StrFormat("%04o", info.st_mode & 07777)}});
}

struct PemFiles {
  identity::SecretPem certificate;
  identity::SecretPem key;
  identity::SecretPem ca;

  static absl::StatusOr<PemFiles> Read(const std::string& certificate, const std::string& key,
                                       const std::string& ca) {
    PemFiles files;
    KS_ASSIGN_OR_RETURN(files.certificate, identity::ReadPemFile(certificate));
    KS_ASSIGN_OR_RETURN(files.key, identity::ReadPemFile(key));
    KS_ASSIGN_OR_RETURN(files.ca, identity::ReadPemFile(ca));
    return files;
  }
  kmip::net::TlsFiles tls() const {
    return {std::string(certificate.view()), key.view(), std::string(ca.view())};
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Kms>> Kms::Create(Options given, clock::Clock* clock,
                                                 log::Logger* logger) {
  std::unique_ptr<Kms> kms(new Kms(std::move(given), clock));
  const Options& options = kms->options_;
  KS_ASSIGN_OR_RETURN(const PemFiles files,
                      PemFiles::Read(options.certificate_file, options.key_file, options.ca_file));
  CheckMode(options.key_file, logger);

  KS_RETURN_IF_ERROR(kms->files_.MakeFolders(options.data_dir));
  store::SqliteStore::Options store_options;
  store_options.shared = true;
  store_options.clock = clock;
  store_options.wall = &kms->wall_;
  const std::string database = absl::StrCat(options.data_dir, "/kms.db");
  KS_ASSIGN_OR_RETURN(kms->store_, store::SqliteStore::Open(&kms->files_, database, store_options));
  CheckMode(absl::StrCat(database, ".key"), logger);
  kmip::server::Engine::Options engine_options;
  engine_options.logger = logger;
  if (!options.users_file.empty()) {
    KS_ASSIGN_OR_RETURN(const identity::SecretPem users, identity::ReadPemFile(options.users_file));
    CheckMode(options.users_file, logger);
    KS_ASSIGN_OR_RETURN(engine_options.users, kmip::server::Users::Parse(users.view()));
  }
  if (options.simulation) {
    kms->faults_ = std::make_unique<kmip::server::ScriptedFaults>(&kms->random_, &Die);
    engine_options.faults = kms->faults_.get();
  }
  KS_ASSIGN_OR_RETURN(kms->loop_, kmip::net::Loop::Create());
  kms->engine_ = std::make_unique<kmip::server::Engine>(kms->store_.get(), &kms->executor_, clock,
                                                        &kms->random_, std::move(engine_options));
  kmip::server::Listener::Options listener_options;
  listener_options.ip = options.ip;
  listener_options.port = options.port;
  listener_options.faults = kms->faults_.get();
  KS_ASSIGN_OR_RETURN(
      kms->listener_,
      kmip::server::Listener::Create(std::move(listener_options), files.tls(), kms->engine_.get(),
                                     kms->loop_.get(), clock, &kms->wall_, logger));
  return kms;
}

absl::Status Kms::SetCertificate(const std::string& certificate_file, const std::string& key_file) {
  KS_ASSIGN_OR_RETURN(
      const PemFiles files,
      PemFiles::Read(certificate_file.empty() ? options_.certificate_file : certificate_file,
                     key_file.empty() ? options_.key_file : key_file, options_.ca_file));
  return listener_->SetTls(files.tls());
}

absl::StatusOr<int64_t> Kms::CountObjects() {
  int64_t count = 0;
  std::string after;
  while (true) {
    KS_ASSIGN_OR_RETURN(const std::vector<store::Entry> page,
                        store_->Range(kObjects, after, kPage));
    count += static_cast<int64_t>(page.size());
    if (page.size() < kPage) return count;
    after = page.back().key;
  }
}

}  // namespace keysphere::kms
