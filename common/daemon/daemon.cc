#include "common/daemon/daemon.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/secret_key.h"
#include "common/log/writer.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"

namespace keysphere::daemon {
namespace {

std::string ReadSmallFile(const char* path) {
  std::string text;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[4096];
  for (ssize_t n = read(fd, buffer, sizeof(buffer)); n > 0; n = read(fd, buffer, sizeof(buffer))) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return text;
}

// The number behind "NAME:" in a file of lines.
int64_t NumberBehind(absl::string_view text, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, name)) continue;
    int64_t number = 0;
    for (absl::string_view word : absl::StrSplit(line, absl::ByAnyChar(" \t"))) {
      if (absl::SimpleAtoi(word, &number)) return number;
    }
  }
  return 0;
}

}  // namespace

void AddFlags(CLI::App* app, DaemonOptions* options) {
  app->add_option("--name", options->name, "the NAME of its SPIFFE id")->required();
  app->add_option("--listen", options->listen, "IP:PORT to serve on; port 0: any free one")
      ->required();
  app->add_option("--cert", options->files.certificate, "its certificate, PEM")->required();
  app->add_option("--key", options->files.key, "its private key, PEM, mode 0600")->required();
  app->add_option("--ca", options->files.ca, "the CA of all peers, PEM")->required();
  app->add_option("--state-dir", options->state_dir, "folder of its state")->required();
  app->add_option("--log-file", options->log_file, "file to log to (default: stderr)");
  app->add_flag("--simulation", options->simulation,
                "part of a simulated cluster: simulated time and faults are possible");
  app->add_option("--clock-page", options->clock_page,
                  "PATH:SLOT of simulated time; needs --simulation");
  app->add_option("--random-seed", options->random_seed,
                  "seed of ids and jitter; never of keys (default: the system's randomness)");
  app->add_option("--secure-heap", options->secure_heap_bytes,
                  "bytes of locked key memory, a power of two")
      ->capture_default_str();
  app->add_flag("--allow-core-dumps", options->allow_core_dumps,
                "for debugging; needs --simulation");
}

bool ProtectProcess(const DaemonOptions& options) {
  if (options.allow_core_dumps && !options.simulation) {
    std::fprintf(stderr, "--allow-core-dumps needs --simulation\n");
    return false;
  }
  if (!options.allow_core_dumps) prctl(PR_SET_DUMPABLE, 0);
  if (absl::Status status = crypto::InitKeyMemory(options.secure_heap_bytes); !status.ok()) {
    std::fprintf(stderr, "%s\n", status::ToString(status).c_str());
    return false;
  }
  setenv("TSS2_LOG", "all+NONE", /*overwrite=*/0);
  rpc::InitOptions init;
  init.simulation = options.simulation;
  rpc::InitGrpc(init);
  return true;
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Create(identity::Kind kind, DaemonOptions options) {
  LeaveSignalsToMain();
  if (!options.clock_page.empty() && !options.simulation) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "--clock-page needs --simulation");
  }
  auto daemon = std::unique_ptr<Daemon>(new Daemon(std::move(options)));
  Daemon& d = *daemon;
  KS_ASSIGN_OR_RETURN(d.credentials_, identity::Credentials::Load(d.options_.files));
  KS_ASSIGN_OR_RETURN(d.certificate_, identity::ReadCertificate(d.credentials_.certificate_pem));
  if (d.identity().kind != kind || d.identity().name != d.options_.name) {
    return status::Error(v1::REASON_CERT_UNTRUSTED,
                         absl::StrCat("the certificate is that of ", d.identity().ToUri(),
                                      ", not of ", identity::KindName(kind), "/", d.options_.name))
        .NextStep("Give the certificate that was issued for this process.");
  }
  if (!d.options_.clock_page.empty()) {
    KS_ASSIGN_OR_RETURN(d.page_clock_, clock::page::PageClock::Open(d.options_.clock_page));
    d.clock_ = d.page_clock_.get();
    d.links_ = std::make_unique<rpc::PageLinks>(d.page_clock_.get());
  } else {
    d.system_clock_ = std::make_unique<clock::SystemClock>();
    d.clock_ = d.system_clock_.get();
  }
  if (d.options_.random_seed != 0) {
    d.random_ = std::make_unique<random::SeededRandom>(
        random::SeededRandom::DeriveSeed(d.options_.random_seed, d.options_.name));
  } else {
    d.random_ = std::make_unique<random::SystemRandom>();
  }
  log::WriterOptions writer;
  writer.file = d.options_.log_file;
  writer.process = absl::StrCat(identity::KindName(kind), "/", d.options_.name);
  KS_ASSIGN_OR_RETURN(d.logger_, log::NewWriter(d.clock_, writer));
  d.executor_ = std::make_unique<executor::RealExecutor>(d.clock_);
  return daemon;
}

Daemon::~Daemon() {
  if (server_ != nullptr) server_->Drain(absl::ZeroDuration());
  server_.reset();
  StopWork();
  gate_.reset();
  links_.reset();
}

rpc::ChannelOptions Daemon::Channel(const identity::Identity& peer,
                                    absl::string_view address) const {
  rpc::ChannelOptions options;
  options.target = absl::StrCat("ipv4:", address);
  options.peer = peer;
  options.credentials = credentials_.Clone();
  options.clock = clock_;
  options.simulated_time = page_clock_ != nullptr;
  options.link_faults = links_.get();
  options.stream_counters = links_.get();
  return options;
}

clock::Clock* Daemon::wall_clock() {
  if (page_clock_ == nullptr) return nullptr;
  if (system_clock_ == nullptr) system_clock_ = std::make_unique<clock::SystemClock>();
  return system_clock_.get();
}

rpc::Gate* Daemon::MakeGate(const rpc::Authorizer* authorizer) {
  rpc::Gate::Options options;
  options.clock = clock_;
  options.authorizer = authorizer;
  options.stream_counters = links_.get();
  gate_ = std::make_unique<rpc::Gate>(options);
  return gate_.get();
}

absl::Status Daemon::Serve(std::vector<rpc::ServiceEntry> services) {
  rpc::ServerOptions options;
  options.address = options_.listen;
  options.credentials = credentials_.Clone();
  options.services = std::move(services);
  options.gate = gate_.get();
  KS_ASSIGN_OR_RETURN(server_, rpc::Server::Create(std::move(options)));
  logger_->Info("process.ready", {{"address", server_->address()}, {"pid", getpid()}});
  PrintReady(options_.name, server_->address());
  return absl::OkStatus();
}

void Daemon::WaitForSignal() {
  const int number = WaitForEndSignal();
  logger_->Info("process.ending", {{"signal", number}});
}

void Daemon::Drain(absl::Duration grace) {
  if (server_ != nullptr) server_->Drain(grace);
}

void Daemon::RunToEnd(executor::Strand* strand,
                      std::function<void(absl::AnyInvocable<void()> done)> task) {
  struct Latch {
    sync::Mutex mutex;
    sync::CondVar changed;
    bool done ABSL_GUARDED_BY(mutex) = false;
  };
  auto latch = std::make_shared<Latch>();
  strand->Post([latch, task = std::move(task)]() {
    task([latch]() {
      sync::MutexLock lock(&latch->mutex);
      latch->done = true;
      latch->changed.Signal();
    });
  });
  sync::MutexLock lock(&latch->mutex);
  while (!latch->done) latch->changed.Wait(&latch->mutex);
}

void Daemon::StopWork() {
  if (page_clock_ != nullptr) page_clock_->StopTimers();
  if (system_clock_ != nullptr) system_clock_->StopTimers();
  executor_.reset();
}

ProcessFigures ReadProcessFigures() {
  ProcessFigures figures;
  figures.threads = static_cast<int>(NumberBehind(ReadSmallFile("/proc/self/status"), "Threads:"));
  figures.anonymous_bytes =
      NumberBehind(ReadSmallFile("/proc/self/smaps_rollup"), "Anonymous:") * 1024;
  return figures;
}

}  // namespace keysphere::daemon
