// keysphere-controller: one vCenter.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/daemon/daemon.h"
#include "common/files/file_system.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "common/store/sqlite_store.h"
#include "controller/api/grpc_host_link.h"
#include "controller/api/kmip_key_servers.h"
#include "controller/api/services.h"
#include "controller/vcenter/vcenter.h"

namespace keysphere::controller {
namespace {

struct Flags {
  daemon::DaemonOptions daemon;
  std::string version = "8.0.3";
  std::vector<std::string> administrators;
  std::string edition = "enterprise-plus";
};

absl::Status Run(const Flags& flags) {
  KS_ASSIGN_OR_RETURN(std::unique_ptr<daemon::Daemon> process,
                      daemon::Daemon::Create(identity::Kind::kController, flags.daemon));
  const files::FileSystem file_system;
  KS_RETURN_IF_ERROR(file_system.MakeFolders(flags.daemon.state_dir));
  store::SqliteStore::Options store_options;
  store_options.clock = process->clock();
  KS_ASSIGN_OR_RETURN(
      std::unique_ptr<store::SqliteStore> store,
      store::SqliteStore::Open(&file_system, absl::StrCat(flags.daemon.state_dir, "/controller.db"),
                               store_options));

  api::GrpcHostLinkFactory links(process.get());
  api::KmipKeyServers key_servers(process.get());
  vcenter::VCenter::Options options;
  options.name = flags.daemon.name;
  options.version = flags.version;
  options.administrators = flags.administrators;
  options.dns_names = process->certificate().dns_names;
  options.edition = flags.edition == "standard" ? encryption::Edition::kStandard
                                                : encryption::Edition::kEnterprisePlus;
  options.process_figures = [](v1::ControllerStats* stats) {
    const daemon::ProcessFigures figures = daemon::ReadProcessFigures();
    stats->set_threads(figures.threads);
    stats->set_anonymous_memory_bytes(figures.anonymous_bytes);
    stats->set_handshakes_refused(rpc::FailedHandshakes());
  };
  vcenter::VCenter::Deps deps;
  deps.store = store.get();
  deps.executor = process->executor();
  deps.clock = process->clock();
  deps.random = process->random();
  deps.links = &links;
  deps.key_servers = &key_servers;
  KS_ASSIGN_OR_RETURN(std::unique_ptr<vcenter::VCenter> vcenter,
                      vcenter::VCenter::Create(std::move(options), deps));

  const std::unique_ptr<rpc::RuleTable> rules = api::UsersOnly();
  api::Services services(process->MakeGate(rules.get()), vcenter.get());
  vcenter->strand()->Post([v = vcenter.get()]() { v->Start(); });
  KS_RETURN_IF_ERROR(process->Serve(services.Entries()));
  process->WaitForSignal();
  process->Drain(absl::Seconds(5));
  process->RunToEnd(vcenter->strand(), [v = vcenter.get()](absl::AnyInvocable<void()> done) {
    v->Stop();
    done();
  });
  store.reset();
  process->StopWork();
  return absl::OkStatus();
}

}  // namespace
}  // namespace keysphere::controller

int main(int argc, char** argv) {
  keysphere::controller::Flags flags;
  flags.daemon.secure_heap_bytes = 4 << 20;
  CLI::App app{"keysphere-controller: one vCenter and its key providers."};
  keysphere::daemon::AddFlags(&app, &flags.daemon);
  app.add_option("--version", flags.version, "vCenter's version")->capture_default_str();
  app.add_option("--administrators", flags.administrators,
                 "users with the role Administrator, separated by commas")
      ->delimiter(',');
  app.add_option("--edition", flags.edition, "what may be encrypted")
      ->check(CLI::IsMember({"enterprise-plus", "standard"}))
      ->capture_default_str();
  int exit_code = 0;
  if (!keysphere::daemon::Parse(&app, argc, argv, &exit_code)) return exit_code;
  if (!keysphere::daemon::ProtectProcess(flags.daemon)) return 1;
  const absl::Status status = keysphere::controller::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "keysphere-controller: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
