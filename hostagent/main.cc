// keysphere-hostagent: one ESXi host.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/daemon/daemon.h"
#include "common/files/file_system.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/api/services.h"
#include "hostagent/dump/process_memory.h"
#include "hostagent/tpm/real_tpm.h"
#include "hostagent/tpm/tpm.h"

namespace keysphere::hostagent {
namespace {

struct Flags {
  daemon::DaemonOptions daemon;
  std::string version = "8.0.3";
  std::string tpm = "2.0";
  std::string tpm_dir;
  std::string boot_key_wait = "60s";
  std::vector<std::string> datastores;
  std::vector<std::string> allowed_controllers;
  std::vector<std::string> administrators;
};

// "NAME=PATH", each once.
absl::StatusOr<std::map<std::string, std::string>> ReadDatastores(
    const std::vector<std::string>& flags) {
  std::map<std::string, std::string> datastores;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    const bool good = equals != std::string::npos && equals > 0 && equals + 1 < flag.size() &&
                      flag.find_first_of("[]") == std::string::npos;
    if (!good || !datastores.emplace(flag.substr(0, equals), flag.substr(equals + 1)).second) {
      return status::Error(
          v1::REASON_INVALID_ARGUMENT,
          absl::StrCat("--datastore takes NAME=PATH, each name once: ", status::Quote(flag)));
    }
  }
  return datastores;
}

absl::StatusOr<std::unique_ptr<tpm::Tpm>> MakeTpm(const Flags& flags,
                                                  const files::FileSystem& files) {
  if (flags.tpm == "none") return tpm::MakeNoTpm(tpm::TpmVersion::kNone);
  if (flags.tpm == "1.2") return tpm::MakeNoTpm(tpm::TpmVersion::k12);
  tpm::RealTpm::Options options;
  options.files = &files;
  if (flags.tpm != "2.0") options.tcti = flags.tpm;
  if (flags.tpm_dir.empty()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "a TPM needs --tpm-dir");
  }
  options.tpm_dir = flags.tpm_dir;
  return tpm::RealTpm::Create(std::move(options));
}

// S149: how long the VMs whose keys the host lacks are not judged after its boot. nullopt: no time.
absl::optional<absl::Duration> ReadBootKeyWait(const std::string& flag) {
  absl::Duration wait;
  if (!absl::ParseDuration(flag, &wait) || wait < absl::ZeroDuration() ||
      wait == absl::InfiniteDuration()) {
    return absl::nullopt;
  }
  return wait;
}

absl::Status Run(const Flags& flags) {
  KS_ASSIGN_OR_RETURN(auto datastores, ReadDatastores(flags.datastores));
  KS_ASSIGN_OR_RETURN(std::unique_ptr<daemon::Daemon> process,
                      daemon::Daemon::Create(identity::Kind::kHost, flags.daemon));
  const files::FileSystem file_system;
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<tpm::Tpm> tpm, MakeTpm(flags, file_system));
  // Ids must differ from boot to boot, whatever the seed: they are the kernel's.
  random::SystemRandom random;

  agent::HostOptions options;
  options.name = flags.daemon.name;
  options.version = flags.version;
  options.clock = process->clock();
  options.executor = process->executor();
  options.random = &random;
  options.tpm = tpm.get();
  options.files = &file_system;
  options.state_dir = flags.daemon.state_dir;
  options.datastores = std::move(datastores);
  options.boot_key_wait = ReadBootKeyWait(flags.boot_key_wait).value();
  options.access.allowed_controllers.insert(flags.allowed_controllers.begin(),
                                            flags.allowed_controllers.end());
  options.access.administrators.insert(flags.administrators.begin(), flags.administrators.end());
  options.logger = process->logger();
  options.process_figures = [](host::v1::HostStats* stats) {
    const daemon::ProcessFigures figures = daemon::ReadProcessFigures();
    stats->set_threads(figures.threads);
    stats->set_anonymous_memory_bytes(figures.anonymous_bytes);
    stats->set_handshakes_refused(rpc::FailedHandshakes());
  };
  const dump::OwnMemory memory;
  options.memory = &memory;
  agent::HostAgent agent(std::move(options));

  executor::Strand strand(process->executor());
  absl::Status booted;
  process->RunToEnd(&strand, [&agent, &booted](absl::AnyInvocable<void()> done) {
    agent.Boot([&booted, done = std::move(done)](const absl::Status& status) mutable {
      booted = status;
      done();
    });
  });
  absl::Status stopped;
  const std::unique_ptr<rpc::RuleTable> rules = api::HostRules();
  api::Services services(process->MakeGate(rules.get()), &agent);
  if (booted.ok()) {
    booted = process->Serve(services.Entries());
    if (booted.ok()) process->WaitForSignal();
    process->Drain(absl::Seconds(5));
    process->RunToEnd(&strand, [&agent, &stopped](absl::AnyInvocable<void()> done) {
      agent.Shutdown([&stopped, done = std::move(done)](const absl::Status& status) mutable {
        stopped = status;
        done();
      });
    });
  }
  process->StopWork();
  return booted.ok() ? stopped : booted;
}

}  // namespace
}  // namespace keysphere::hostagent

int main(int argc, char** argv) {
  keysphere::hostagent::Flags flags;
  CLI::App app{"keysphere-hostagent: one ESXi host, with its TPM, its keys and its VMs."};
  keysphere::daemon::AddFlags(&app, &flags.daemon);
  app.add_option("--version", flags.version, "ESXi's version: major.minor.update")
      ->capture_default_str();
  app.add_option("--tpm", flags.tpm, "none, 1.2, 2.0 (in the process) or a TCTI string")
      ->capture_default_str();
  app.add_option("--tpm-dir", flags.tpm_dir, "folder of the TPM's memory: hardware, not state");
  app.add_option("--datastore", flags.datastores, "NAME=PATH; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--boot-key-wait", flags.boot_key_wait,
                 "after a boot without a controller, VMs whose keys are not on the host are judged "
                 "at this age; until then their power-on is refused")
      ->check([](const std::string& flag) {
        return keysphere::hostagent::ReadBootKeyWait(flag).has_value() ? "" : "a time, as 90s";
      })
      ->capture_default_str();
  app.add_option("--allowed-controllers", flags.allowed_controllers,
                 "controllers that may attach this host, separated by commas; *: all")
      ->delimiter(',');
  app.add_option("--administrators", flags.administrators,
                 "users with the host role, separated by commas")
      ->delimiter(',');
  int exit_code = 0;
  if (!keysphere::daemon::Parse(&app, argc, argv, &exit_code)) return exit_code;
  if (!keysphere::daemon::ProtectProcess(flags.daemon)) return 1;
  const absl::Status status = keysphere::hostagent::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "keysphere-hostagent: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
