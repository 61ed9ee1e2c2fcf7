#include "common/rpc/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/identity/certificate.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/grpc_init.h"
#include "common/rpc/limits.h"
#include "common/rpc/peer_check.h"
#include "common/rpc/reflection/reflection_service.h"
#include "common/status/status.h"

namespace keysphere::rpc {
namespace {

std::shared_ptr<grpc::ServerCredentials> NewServerCredentials(
    const identity::Credentials& credentials, const std::string& trust_domain, clock::Clock* clock,
    const std::shared_ptr<std::atomic<int64_t>>& refused) {
  grpc::experimental::TlsServerCredentialsOptions options(NewCertificateProvider(credentials));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_check_call_host(false);
  options.set_certificate_verifier(NewPeerVerifier(
      clock,
      [trust_domain](const identity::Identity& peer) -> absl::Status {
        if (peer.trust_domain == trust_domain) return absl::OkStatus();
        return status::Error(v1::REASON_CERT_UNTRUSTED,
                             absl::StrCat("another trust domain: ", status::Quote(peer.ToUri())));
      },
      [refused](const absl::Status&) { refused->fetch_add(1, std::memory_order_relaxed); }));
  return grpc::experimental::TlsServerCredentials(options);
}

void Configure(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

}  // namespace

Server::Server(Gate* gate, std::shared_ptr<std::atomic<int64_t>> refused)
    : gate_(gate), refused_(std::move(refused)) {}

Server::~Server() { Drain(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Create(ServerOptions options) {
  InitGrpc();
  KeepGrpcRunning();
  clock::Clock* const clock = options.gate->clock();
  const identity::Credentials& own = options.credentials;
  KS_ASSIGN_OR_RETURN(const identity::CertificateInfo info,
                      identity::CheckCertificate(own.certificate_pem, own.ca_pem, clock->Now()));

  auto refused = std::make_shared<std::atomic<int64_t>>(0);
  std::unique_ptr<Server> server(new Server(options.gate, refused));
  grpc::ServerBuilder builder;
  Configure(&builder);
  builder.AddListeningPort(options.address,
                           NewServerCredentials(own, info.identity.trust_domain, clock, refused),
                           &server->port_);
  std::vector<std::string> names = {"grpc.health.v1.Health"};
  for (const ServiceEntry& entry : options.services) {
    builder.RegisterService(entry.service);
    names.push_back(entry.name);
    for (std::string& method : MethodsOf(entry.name)) {
      server->methods_.push_back(std::move(method));
    }
  }
  server->reflection_ = NewReflectionService(std::move(names));
  builder.RegisterService(server->reflection_.get());
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("cannot listen on ", status::Quote(options.address)))
        .NextStep(
            "See whether another process listens there, and whether the address is one of "
            "this machine.");
  }
  if (auto* health = server->server_->GetHealthCheckService()) {
    for (const ServiceEntry& entry : options.services) health->SetServingStatus(entry.name, true);
  }
  const std::string host = options.address.substr(0, options.address.rfind(':'));
  server->address_ = absl::StrCat(host, ":", server->port_);
  return server;
}

void Server::SetServing(bool serving) {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(serving);
}

void Server::Drain(absl::Duration grace) {
  if (server_ == nullptr || drained_.exchange(true)) return;
  SetServing(false);
  gate_->BeginDrain();
  // LINT-ALLOW(time): gRPC takes deadlines in its own time; a drain is a matter of wall time.
  server_->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(absl::ToInt64Milliseconds(grace), GPR_TIMESPAN)));
  server_->Wait();
}

}  // namespace keysphere::rpc
