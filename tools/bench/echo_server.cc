// The reference of the benchmarks: a server that answers what it got, over mutual TLS, either on
// bare gRPC (--layers none) or on common/rpc as the daemons have it (--layers rpc).
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/identity/credentials.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/gate.h"
#include "common/rpc/grpc_init.h"
#include "common/rpc/server.h"
#include "common/rpc/unary_handler.h"
#include "common/status/status.h"
#include "tools/bench/echo.grpc.pb.h"

namespace keysphere::bench {
namespace {

class BareEcho : public Echo::CallbackService {
 public:
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoMessage* request,
                                  EchoMessage* response) override {
    *response = *request;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class LayeredEcho : public Echo::CallbackService {
 public:
  explicit LayeredEcho(rpc::Gate* gate) : gate_(gate) {}
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoMessage* request,
                                  EchoMessage* response) override {
    return rpc::HandleUnary(gate_, KS_RPC_METHOD(Echo), context, request, response,
                            [](const rpc::CallInfo&, const EchoMessage& message,
                               rpc::Done<EchoMessage> done) { done(message); });
  }

 private:
  rpc::Gate* const gate_;
};

void PrintReady(const std::string& address) {
  std::printf("READY {\"address\":\"%s\",\"pid\":%d}\n", address.c_str(), getpid());
  std::fflush(stdout);
}

void WaitForSignal(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
}

absl::Status ServeBare(const std::string& listen, identity::Credentials own, const sigset_t& end) {
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = own.ca_pem;
  tls.pem_key_cert_pairs.push_back({std::string(own.key_pem.view()), own.certificate_pem});
  BareEcho service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(listen, grpc::SslServerCredentials(tls), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return status::Error(v1::REASON_INVALID_STATE, "cannot listen");
  PrintReady(absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port));
  WaitForSignal(end);
  return absl::OkStatus();
}

absl::Status ServeLayered(const std::string& listen, identity::Credentials own,
                          const sigset_t& end) {
  clock::SystemClock clock;
  rpc::RuleTable rules;
  rules.Add("/keysphere.bench.Echo/Unary", rpc::RuleTable::Anyone());
  rpc::Gate::Options gate_options;
  gate_options.clock = &clock;
  gate_options.authorizer = &rules;
  rpc::Gate gate(gate_options);
  LayeredEcho service(&gate);
  rpc::ServerOptions options;
  options.address = listen;
  options.credentials = std::move(own);
  options.services = {rpc::Serving<Echo>(&service)};
  options.gate = &gate;
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                      rpc::Server::Create(std::move(options)));
  PrintReady(server->address());
  WaitForSignal(end);
  return absl::OkStatus();
}

absl::Status Run(const std::string& listen, const identity::CredentialFiles& files,
                 const std::string& layers) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
  if (layers == "rpc") rpc::InitGrpc();  // bare: as gRPC comes
  KS_ASSIGN_OR_RETURN(identity::Credentials own, identity::Credentials::Load(files));
  return layers == "none" ? ServeBare(listen, std::move(own), end)
                          : ServeLayered(listen, std::move(own), end);
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  std::string listen = "127.0.0.1:0";
  keysphere::identity::CredentialFiles files;
  std::string layers = "none";
  CLI::App app{"An echo server, to compare with."};
  app.add_option("--listen", listen, "IP:PORT");
  app.add_option("--cert", files.certificate, "certificate")->required();
  app.add_option("--key", files.key, "its key")->required();
  app.add_option("--ca", files.ca, "the authority's certificate")->required();
  app.add_option("--layers", layers, "what stands on gRPC")->check(CLI::IsMember({"none", "rpc"}));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(listen, files, layers);
  if (status.ok()) return 0;
  std::fprintf(stderr, "echo_server: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
