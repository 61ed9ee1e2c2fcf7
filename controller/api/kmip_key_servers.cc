#include "controller/api/kmip_key_servers.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/client/kmip_client.h"
#include "kmip/net/host_port.h"

namespace keysphere::controller::api {
namespace {

identity::SecretPem PemOf(const kms::SharedKey& secret) {
  if (secret == nullptr) return identity::SecretPem();
  const auto bytes = secret->bytes(crypto::SecretKeyAccess::Token());
  return identity::SecretPem(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<kmip::client::KeyServer>> KmipKeyServers::Connect(
    const kms::KmsConfig& config, const v1::KmsServer& server) {
  if (loop_ == nullptr) {
    KS_ASSIGN_OR_RETURN(loop_, kmip::net::Loop::Create());
  }
  kmip::client::KmipClientOptions options;
  KS_ASSIGN_OR_RETURN(const kmip::net::HostPort address,
                      kmip::net::ParseHostPort(server.address(), kmip::net::kKmipPort));
  options.host = address.host;
  options.port = address.port;
  options.trusted_pem = config.trusted_certificates;
  options.certificate_pem = config.client_certificate;
  options.key_pem = PemOf(config.client_private_key);
  options.username = config.user_name;
  options.password = PemOf(config.password);
  options.wall = daemon_->wall_clock();
  options.link_faults = daemon_->link_faults();
  // How a simulated cluster names its KMS nodes: whoever makes a provider may call them anything.
  options.link_name = absl::StrCat("kms/", server.address());
  KS_ASSIGN_OR_RETURN(std::unique_ptr<kmip::client::KmipClient> client,
                      kmip::client::KmipClient::Create(std::move(options), loop_.get(),
                                                       daemon_->executor(), daemon_->clock()));
  return std::unique_ptr<kmip::client::KeyServer>(std::move(client));
}

}  // namespace keysphere::controller::api
