// keysphere-kms: one node of a KMIP key server.
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock/page/page_clock.h"
#include "common/clock/system_clock.h"
#include "common/crypto/secret_key.h"
#include "common/daemon/process.h"
#include "common/identity/credentials.h"
#include "common/log/writer.h"
#include "common/rpc/gate.h"
#include "common/rpc/grpc_init.h"
#include "common/rpc/server.h"
#include "common/status/status.h"
#include "kmip/net/host_port.h"
#include "kmip/net/socket.h"
#include "services/kms/control.h"
#include "services/kms/control_api.h"
#include "services/kms/kms.h"

namespace keysphere::kms {
namespace {

// What its administrator asked for is done by then.
constexpr absl::Duration kDrain = absl::Seconds(5);

struct Flags {
  Kms::Options kms;
  std::string name = "kms";
  std::string listen;
  std::string log_file;
  std::string clock_page;
  std::string control;
  size_t secure_heap_bytes = 4 << 20;
};

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option("--listen", flags->listen, "IP or name[:PORT] to serve on (default port: 5696)")
      ->required();
  app->add_option("--cert", flags->kms.certificate_file, "its certificate, PEM")->required();
  app->add_option("--key", flags->kms.key_file, "its private key, PEM, mode 0600")->required();
  app->add_option("--ca", flags->kms.ca_file, "the CA of all clients, PEM")->required();
  app->add_option("--data", flags->kms.data_dir,
                  "folder of its keys; nodes with one folder are one key server")
      ->required();
  app->add_option("--users", flags->kms.users_file,
                  "file of lines NAME PASSWORD for clients that give a credential, mode 0600");
  app->add_option("--name", flags->name, "its name in the log and the READY line")
      ->capture_default_str();
  app->add_option("--log-file", flags->log_file, "file to log to (default: stderr)");
  app->add_flag("--simulation", flags->kms.simulation, "faults and simulated time are possible");
  app->add_option("--clock-page", flags->clock_page,
                  "PATH:SLOT of simulated time; needs --simulation");
  app->add_option("--control", flags->control,
                  "IP:PORT where its faults are set, by the user that started the cluster; needs "
                  "--simulation");
  app->add_option("--secure-heap", flags->secure_heap_bytes,
                  "bytes of locked key memory, a power of two")
      ->capture_default_str();
}

// Where its faults are set. What stands later is destroyed first.
struct ControlServer {
  std::unique_ptr<Control> control;
  std::unique_ptr<rpc::RuleTable> rules;
  std::unique_ptr<rpc::Gate> gate;
  std::unique_ptr<ControlApi> api;
  std::unique_ptr<rpc::Server> server;
};

absl::StatusOr<ControlServer> ServeControl(const Flags& flags, clock::Clock* clock, Kms* kms) {
  ControlServer serves;
  serves.control = std::make_unique<Control>(kms);
  serves.rules = ControlRules();
  rpc::Gate::Options gate;
  gate.clock = clock;
  gate.authorizer = serves.rules.get();
  serves.gate = std::make_unique<rpc::Gate>(gate);
  serves.api = std::make_unique<ControlApi>(serves.gate.get(), serves.control.get());
  rpc::ServerOptions options;
  options.address = flags.control;
  const identity::CredentialFiles files{flags.kms.ca_file, flags.kms.certificate_file,
                                        flags.kms.key_file};
  KS_ASSIGN_OR_RETURN(options.credentials, identity::Credentials::Load(files));
  options.services = {rpc::Serving<sim::v1::KmsFaults>(serves.api.get())};
  options.gate = serves.gate.get();
  KS_ASSIGN_OR_RETURN(serves.server, rpc::Server::Create(std::move(options)));
  return serves;
}

absl::Status Run(Flags flags) {
  daemon::LeaveSignalsToMain();
  daemon::RaiseDescriptorLimit();
  if (!flags.control.empty() && !flags.kms.simulation) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "--control needs --simulation");
  }
  rpc::InitOptions init;
  init.simulation = flags.kms.simulation;
  if (!flags.control.empty()) rpc::InitGrpc(init);
  KS_RETURN_IF_ERROR(crypto::InitKeyMemory(flags.secure_heap_bytes));
  KS_ASSIGN_OR_RETURN(const kmip::net::HostPort address,
                      kmip::net::ParseHostPort(flags.listen, flags.kms.port));
  flags.kms.ip = address.host;
  if (!kmip::net::IsIpAddress(address.host)) {
    KS_ASSIGN_OR_RETURN(flags.kms.ip, kmip::net::Resolve(address.host));
  }
  flags.kms.port = address.port;

  clock::SystemClock system_clock;
  std::unique_ptr<clock::page::PageClock> page_clock;
  if (!flags.clock_page.empty()) {
    if (!flags.kms.simulation) {
      return status::Error(v1::REASON_INVALID_ARGUMENT, "--clock-page needs --simulation");
    }
    KS_ASSIGN_OR_RETURN(page_clock, clock::page::PageClock::Open(flags.clock_page));
  }
  clock::Clock* const clock =
      page_clock != nullptr ? static_cast<clock::Clock*>(page_clock.get()) : &system_clock;
  log::WriterOptions writer;
  writer.file = flags.log_file;
  writer.process = absl::StrCat("kms/", flags.name);
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<log::Logger> logger, log::NewWriter(clock, writer));
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<Kms> kms, Kms::Create(flags.kms, clock, logger.get()));
  ControlServer control;
  if (!flags.control.empty()) {
    KS_ASSIGN_OR_RETURN(control, ServeControl(flags, clock, kms.get()));
  }

  const std::string serves = kmip::net::FormatHostPort({address.host, kms->port()});
  logger->Info("process.ready", {{"address", serves}, {"pid", getpid()}});
  daemon::PrintReady(flags.name, serves);
  const int number = daemon::WaitForEndSignal();
  logger->Info("process.ending", {{"signal", number}});
  if (control.server != nullptr) control.server->Drain(kDrain);
  if (page_clock != nullptr) page_clock->StopTimers();
  return absl::OkStatus();
}

}  // namespace
}  // namespace keysphere::kms

int main(int argc, char** argv) {
  prctl(PR_SET_DUMPABLE, 0);
  keysphere::kms::Flags flags;
  CLI::App app("keysphere-kms: one node of a KMIP key server (KMIP 1.0, 1.1, 1.2)");
  keysphere::kms::AddFlags(&app, &flags);
  int exit_code = 0;
  if (!keysphere::daemon::Parse(&app, argc, argv, &exit_code)) return exit_code;
  const absl::Status status = keysphere::kms::Run(std::move(flags));
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
