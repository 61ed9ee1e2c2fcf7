#include "tools/keysphere/standard_provider.h"

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"

namespace keysphere::cli {
namespace {

constexpr size_t kMaxPemBytes = 256 << 10;

std::string StatusWord(v1::KmsStatus status) {
  return EnumWord(v1::KmsStatus_Name(status), "KMS_STATUS_");
}

absl::Status FillPassword(const SecretOptions& options, v1::StandardProviderSpec* spec) {
  KS_ASSIGN_OR_RETURN(const absl::optional<Secret> password,
                      ReadSecret(options, "Password for the KMS", false));
  if (password.has_value()) {
    spec->set_password(password->view().data(), password->view().size());
  }
  return absl::OkStatus();
}

absl::Status FillKey(const std::string& file, v1::StandardProviderSpec* spec) {
  KS_ASSIGN_OR_RETURN(const identity::SecretPem key, identity::ReadPemFile(file));
  spec->set_client_private_key(key.view().data(), key.view().size());
  return absl::OkStatus();
}

absl::Status FillFromCluster(Session* session, v1::StandardProviderSpec* spec) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedCluster* cluster, session->Cluster());
  for (const sim::v1::SimulatedProcess& process : cluster->processes()) {
    if (process.kind() != sim::v1::PROCESS_KIND_KMS) continue;
    v1::KmsServer* const server = spec->add_servers();
    server->set_name(process.name());
    server->set_address(process.address());
  }
  if (spec->servers().empty()) return UsageError("say --server: this cluster has no KMS");
  if (spec->trusted_certificates().empty()) {
    KS_ASSIGN_OR_RETURN(*spec->mutable_trusted_certificates(), ReadText(cluster->ca_certificate()));
  }
  if (!spec->client_certificate().empty()) return absl::OkStatus();
  KS_ASSIGN_OR_RETURN(*spec->mutable_client_certificate(),
                      ReadText(cluster->kms_client_certificate()));
  return FillKey(cluster->kms_client_key(), spec);
}

}  // namespace

absl::StatusOr<std::string> ReadText(const std::string& file) {
  return files::FileSystem().ReadFile(file, kMaxPemBytes, files::Links::kFollow);
}

v1::KmsServer ParseServer(const std::string& text) {
  v1::KmsServer server;
  const size_t equals = text.find('=');
  if (equals != std::string::npos) server.set_name(text.substr(0, equals));
  server.set_address(equals == std::string::npos ? text : text.substr(equals + 1));
  return server;
}

void StandardArgs::AddTo(Command* command) {
  command->Option(&servers, "--kms-server", "[NAME=]HOST:PORT", "a node of the KMS");
  command->Option(&trust, "--trust", "FILE", "PEM: CAs, or the servers' own certificates");
  command->Option(&user, "--kms-user", "NAME",
                  "KMIP user name; '': none any more, and no password");
  password.AddTo(command, "kms-password");
}

void StandardArgs::AddClientTo(Command* command) {
  command->Option(&client_certificate, "--client-cert", "FILE",
                  "PEM: the certificate that the KMS is shown");
  command->Option(&client_key, "--client-key", "FILE", "PEM: its private key");
}

bool StandardArgs::any() const {
  return !servers.empty() || !trust.empty() || !client_certificate.empty() || !client_key.empty() ||
         user.has_value() || password.given();
}

absl::Status StandardArgs::Fill(Session* session, v1::StandardProviderSpec* spec) const {
  if (client_certificate.empty() != client_key.empty()) {
    return UsageError("--client-cert and --client-key go together");
  }
  for (const std::string& server : servers) *spec->add_servers() = ParseServer(server);
  if (!trust.empty()) {
    KS_ASSIGN_OR_RETURN(*spec->mutable_trusted_certificates(), ReadText(trust));
  }
  if (!client_certificate.empty()) {
    KS_ASSIGN_OR_RETURN(*spec->mutable_client_certificate(), ReadText(client_certificate));
    KS_RETURN_IF_ERROR(FillKey(client_key, spec));
  }
  if (!user.value_or("").empty()) {
    spec->set_user_name(*user);
    KS_RETURN_IF_ERROR(FillPassword(password, spec));
    if (spec->password().empty()) return UsageError("--kms-user goes with a password");
  } else if (password.given()) {
    return UsageError("a password goes with --kms-user");
  }
  return servers.empty() ? FillFromCluster(session, spec) : absl::OkStatus();
}

absl::Status StandardArgs::FillUpdate(v1::UpdateKeyProviderRequest* request) const {
  v1::StandardProviderSpec* const spec = request->mutable_standard();
  const auto names = [request](const char* field) {
    request->mutable_update_mask()->add_paths(absl::StrCat("standard.", field));
  };
  for (const std::string& server : servers) *spec->add_servers() = ParseServer(server);
  if (!servers.empty()) names("servers");
  if (!trust.empty()) {
    KS_ASSIGN_OR_RETURN(*spec->mutable_trusted_certificates(), ReadText(trust));
    names("trusted_certificates");
  }
  const bool no_user = user.has_value() && user->empty();
  if (no_user && password.given()) return UsageError("a password goes with a --kms-user");
  if (user.has_value()) {
    spec->set_user_name(*user);
    names("user_name");
  }
  if (no_user) names("password");
  if (password.given()) {
    KS_RETURN_IF_ERROR(FillPassword(password, spec));
    names("password");
  }
  return absl::OkStatus();
}

void AddStandardFields(const v1::StandardProviderInfo& info, Fields* fields) {
  std::string servers;
  for (const v1::KmsServer& server : info.servers()) {
    absl::StrAppend(&servers, servers.empty() ? "" : ", ", server.name(), "=", server.address());
  }
  fields->Add("servers", servers)
      .Add("KMS user", info.user_name())
      .Add("KMS", StatusWord(info.status()))
      .Add("", info.status_reason())
      .Add("trusts", info.trusted_certificates().empty() ? "no server yet" : "")
      .Add("client certificate",
           info.client_certificate().empty()
               ? std::string("none yet")
               : absl::StrCat("until ", FormatTimestamp(info.client_certificate_expire_time())));
  if (info.unanswered_creates() > 0) {
    fields->Add("unanswered creates", absl::StrCat(info.unanswered_creates()));
  }
}

void PrintServers(const v1::StandardProviderInfo& info, std::ostream& out) {
  Table table({"SERVER", "ADDRESS", "STATUS", "CHECKED", "KMIP", "CERTIFICATE UNTIL", "REASON"});
  for (const v1::KmsServerStatus& status : info.server_statuses()) {
    table.Add({status.server().name(), status.server().address(), StatusWord(status.status()),
               FormatTimestamp(status.check_time()), Join(status.kmip_versions()),
               FormatTimestamp(status.server_certificate_expire_time()), status.reason()});
  }
  table.Print(out);
}

}  // namespace keysphere::cli
