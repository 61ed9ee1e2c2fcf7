// A quiet remediation pass of a real controller over real host agents, beside as many concurrent
// echoes to as many processes; then the same with one host that does not answer.
#include <grpcpp/channel.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/secret_key.h"
#include "common/rpc/grpc_init.h"
#include "common/status/status.h"
#include "keysphere/v1/controller.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "tools/bench/echo.grpc.pb.h"
#include "tools/bench/lab.h"
#include "tools/bench/load.h"
#include "tools/bench/report.h"

namespace keysphere::bench {
namespace {

using ControllerAsync = class v1::Controller::Stub::async;
using EchoAsync = class Echo::Stub::async;
using HostResult = v1::RemediateResponse::HostResult;

constexpr char kVCenter[] = "vcenter";
constexpr char kAuthority[] = "vcenter.keysphere.test";
constexpr double kMostOfEcho = 2.0;

struct Flags {
  Programs programs;
  std::string memory = "/dev/shm";
  int hosts = 64;
  int rounds = 40;
};

// A controller with hosts and one backed-up provider.
class Cluster {
 public:
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(Lab* lab, int hosts) {
    auto self = std::make_unique<Cluster>();
    KS_RETURN_IF_ERROR(self->StartController(lab));
    KS_RETURN_IF_ERROR(self->CreateProvider());
    KS_RETURN_IF_ERROR(self->AddHosts(lab, hosts));
    return self;
  }

  grpc::Status Remediate(const std::string& host, v1::RemediateResponse* answer) {
    v1::RemediateRequest request;
    request.set_host(host);
    return SendAndWait(controller_->async(), &ControllerAsync::Remediate, request, answer);
  }
  v1::Controller::Stub* controller() { return controller_.get(); }
  Host& host(int i) { return *hosts_[i]; }
  Child& process() { return *process_; }

 private:
  absl::Status StartController(Lab* lab) {
    KS_ASSIGN_OR_RETURN(const std::vector<std::string> flags,
                        lab->CredentialFlags(identity::Kind::kController, kVCenter));
    std::vector<std::string> argv = {lab->programs().controller,
                                     "--name",
                                     kVCenter,
                                     "--listen",
                                     "127.0.0.1:0",
                                     "--state-dir",
                                     absl::StrCat(lab->folder(), "/", kVCenter),
                                     "--administrators",
                                     kAdministrator,
                                     "--log-file",
                                     absl::StrCat(lab->folder(), "/", kVCenter, "-log")};
    argv.insert(argv.end(), flags.begin(), flags.end());
    KS_ASSIGN_OR_RETURN(process_, lab->Start(argv, kVCenter));
    KS_ASSIGN_OR_RETURN(const std::string address, process_->WaitAddress());
    KS_ASSIGN_OR_RETURN(
        channel_, lab->Dial(identity::Kind::kUser, kAdministrator, identity::Kind::kController,
                            kVCenter, address, kAuthority));
    controller_ = v1::Controller::NewStub(channel_->grpc_channel());
    return absl::OkStatus();
  }

  absl::Status CreateProvider() {
    using Async = class v1::KeyProviders::Stub::async;
    const auto stub = v1::KeyProviders::NewStub(channel_->grpc_channel());
    v1::CreateKeyProviderRequest create;
    create.set_name("nkp");
    v1::KeyProvider created;
    KS_RETURN_IF_ERROR(
        Check("create a provider",
              SendAndWait(stub->async(), &Async::CreateKeyProvider, create, &created)));
    v1::ExportKeyProviderRequest begin;
    begin.set_name("nkp");
    v1::ExportKeyProviderResponse place;
    KS_RETURN_IF_ERROR(
        Check("export it", SendAndWait(stub->async(), &Async::ExportKeyProvider, begin, &place)));
    v1::DownloadKeyProviderRequest download;
    download.set_name("nkp");
    download.set_token(place.token());
    grpc::ClientContext context;
    const auto reader = stub->DownloadKeyProvider(&context, download);
    v1::DownloadKeyProviderResponse part;
    while (reader->Read(&part)) {
    }
    KS_RETURN_IF_ERROR(Check("download it", reader->Finish()));
    v1::SetDefaultKeyProviderRequest choose;
    choose.set_name("nkp");
    v1::SetDefaultKeyProviderResponse chosen;
    return Check("make it the default",
                 SendAndWait(stub->async(), &Async::SetDefaultKeyProvider, choose, &chosen));
  }

  absl::Status AddHosts(Lab* lab, int count) {
    using Async = class v1::Hosts::Stub::async;
    const auto stub = v1::Hosts::NewStub(channel_->grpc_channel());
    for (int i = 0; i < count; ++i) {
      KS_ASSIGN_OR_RETURN(std::unique_ptr<Host> host,
                          Host::Start(lab, absl::StrCat("esx-", i), "none", kVCenter));
      v1::AddHostRequest add;
      add.set_name(host->name());
      add.set_address(host->address());
      v1::Host added;
      KS_RETURN_IF_ERROR(
          Check("add a host", SendAndWait(stub->async(), &Async::AddHost, add, &added)));
      hosts_.push_back(std::move(host));
    }
    return absl::OkStatus();
  }

  std::vector<std::unique_ptr<Host>> hosts_;
  std::unique_ptr<Child> process_;
  std::shared_ptr<rpc::Channel> channel_;
  std::unique_ptr<v1::Controller::Stub> controller_;
};

// Echo servers, and one stub for each.
struct Echoes {
  std::vector<std::unique_ptr<EchoServer>> servers;
  std::vector<std::unique_ptr<Echo::Stub>> stubs;

  static absl::StatusOr<Echoes> Start(Lab* lab, int count) {
    Echoes echoes;
    for (int i = 0; i < count; ++i) {
      KS_ASSIGN_OR_RETURN(auto server, EchoServer::Start(lab, absl::StrCat("echo-", i), "none"));
      echoes.stubs.push_back(Echo::NewStub(server->channel->grpc_channel()));
      echoes.servers.push_back(std::move(server));
    }
    return echoes;
  }
};

absl::Status ExpectOutcome(const v1::RemediateResponse& answer, int hosts, int not_responding) {
  int silent = 0;
  int quiet = 0;
  for (const HostResult& host : answer.hosts()) {
    silent += host.outcome() == HostResult::OUTCOME_NOT_RESPONDING ? 1 : 0;
    quiet += host.outcome() == HostResult::OUTCOME_UNCHANGED ? 1 : 0;
  }
  if (silent == not_responding && quiet == hosts - not_responding) return absl::OkStatus();
  return status::Error(
      v1::REASON_INVALID_STATE,
      absl::StrCat("the pass found ", quiet, " hosts unchanged and ", silent, " not responding"));
}

// Milliseconds of a pass.
absl::StatusOr<double> TimePass(Lab* lab, Cluster* cluster, int hosts, int not_responding) {
  v1::RemediateResponse answer;
  const absl::Time begin = lab->clock()->Now();
  KS_RETURN_IF_ERROR(Check("remediate", cluster->Remediate("", &answer)));
  const double took = absl::ToDoubleMilliseconds(lab->clock()->Now() - begin);
  KS_RETURN_IF_ERROR(ExpectOutcome(answer, hosts, not_responding));
  return took;
}

absl::StatusOr<double> TimeEchoes(Lab* lab, const Echoes& echoes, int calls,
                                  const EchoMessage& message) {
  const LoadResult result = RunBurst(lab->clock(), calls, [&](int slot, CallDone done) {
    Echo::Stub* const stub = echoes.stubs[static_cast<size_t>(slot) % echoes.stubs.size()].get();
    Send(stub->async(), &EchoAsync::Unary, &message, std::move(done));
  });
  KS_RETURN_IF_ERROR(Check("echo", result.failure));
  return absl::ToDoubleMilliseconds(result.elapsed);
}

struct Times {
  std::vector<double> pass;
  std::vector<double> echoes;      // one to each process
  std::vector<double> one_server;  // all to one
};

absl::StatusOr<Times> Measure(const Flags& flags, Lab* lab, Cluster* cluster, const Echoes& many,
                              const Echoes& one, int not_responding) {
  EchoMessage message;
  message.set_number(1);
  Times times;
  for (int round = -3; round < flags.rounds; ++round) {  // the first ones warm up
    KS_ASSIGN_OR_RETURN(const double pass, TimePass(lab, cluster, flags.hosts, not_responding));
    KS_ASSIGN_OR_RETURN(const double echoes, TimeEchoes(lab, many, flags.hosts, message));
    KS_ASSIGN_OR_RETURN(const double single, TimeEchoes(lab, one, flags.hosts, message));
    if (round < 0) continue;
    times.pass.push_back(pass);
    times.echoes.push_back(echoes);
    times.one_server.push_back(single);
  }
  return times;
}

// How long the hosts that live wait while a pass waits for one that hangs: each is asked for a pass
// of its own, which comes after its part of the great one.
absl::Status TellWithHungHost(const Flags& flags, Lab* lab, Cluster* cluster, double quiet_ms) {
  cluster->host(0).process().Signal(SIGSTOP);
  sync::Mutex mutex;
  sync::CondVar changed;
  bool over = false;
  v1::RemediateResponse of_all;
  const v1::RemediateRequest all;
  const absl::Time begin = lab->clock()->Now();
  Send<ControllerAsync, v1::RemediateRequest, v1::RemediateResponse>(
      cluster->controller()->async(), &ControllerAsync::Remediate, &all,
      [&](const grpc::Status&) {
        sync::MutexLock lock(&mutex);
        over = true;
        changed.Signal();
      },
      [&](const v1::RemediateResponse& answer) { of_all = answer; });
  std::vector<v1::RemediateRequest> each(flags.hosts - 1);
  for (int i = 0; i < flags.hosts - 1; ++i) each[i].set_host(cluster->host(i + 1).name());
  const LoadResult others = RunBurst(lab->clock(), flags.hosts - 1, [&](int slot, CallDone done) {
    Send(cluster->controller()->async(), &ControllerAsync::Remediate, &each[slot], std::move(done));
  });
  const double others_ms = absl::ToDoubleMilliseconds(lab->clock()->Now() - begin);
  {
    sync::MutexLock lock(&mutex);
    while (!over) changed.Wait(&mutex);
  }
  const double pass_ms = absl::ToDoubleMilliseconds(lab->clock()->Now() - begin);
  KS_RETURN_IF_ERROR(Check("remediate one", others.failure));
  KS_RETURN_IF_ERROR(ExpectOutcome(of_all, flags.hosts, 1));
  Row row;
  row.metric = "a host hangs: two passes of all others end while the pass waits for it";
  row.unit = "ms";
  row.ours = others_ms;
  row.reference = pass_ms;
  row.ratio = others_ms / pass_ms;
  row.at_most = 0.5;
  Print(row);
  Row known = row;
  known.metric = "a host hangs: the next pass, median, against one in which all answer";
  std::vector<double> next;
  for (int round = 0; round < std::min(flags.rounds, 10); ++round) {
    KS_ASSIGN_OR_RETURN(const double took, TimePass(lab, cluster, flags.hosts, 1));
    next.push_back(took);
  }
  known.ours = Median(next);
  known.reference = quiet_ms;
  known.ratio = known.ours / quiet_ms;
  known.at_most = 1.2;
  Print(known);
  cluster->host(0).process().Signal(SIGCONT);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  KS_RETURN_IF_ERROR(crypto::InitKeyMemory(size_t{1} << 20));
  KS_ASSIGN_OR_RETURN(const auto lab, Lab::Create(flags.memory, flags.programs));
  KS_ASSIGN_OR_RETURN(const Echoes many, Echoes::Start(lab.get(), flags.hosts));
  KS_ASSIGN_OR_RETURN(const Echoes one, Echoes::Start(lab.get(), 1));
  KS_ASSIGN_OR_RETURN(const auto cluster, Cluster::Start(lab.get(), flags.hosts));
  v1::RemediateResponse first;
  KS_RETURN_IF_ERROR(Check("remediate", cluster->Remediate("", &first)));
  KS_ASSIGN_OR_RETURN(const Times times, Measure(flags, lab.get(), cluster.get(), many, one, 0));
  const std::string pass = absl::StrCat("quiet remediation pass over ", flags.hosts, " hosts");
  Row row = Compare(absl::StrCat(pass, ", to echoes of as many processes"), "ms", times.pass,
                    times.echoes);
  row.at_most = kMostOfEcho;
  Print(row);
  Print(Compare(absl::StrCat(pass, ", to echoes of one process"), "ms", times.pass,
                times.one_server));
  return TellWithHungHost(flags, lab.get(), cluster.get(), Median(times.pass));
}

}  // namespace
}  // namespace keysphere::bench

int main(int argc, char** argv) {
  keysphere::rpc::InitGrpc();
  keysphere::bench::Flags flags;
  CLI::App app{"The remediation pass of a controller beside echoes."};
  app.add_option("--host-agent", flags.programs.host_agent, "program")->required();
  app.add_option("--controller", flags.programs.controller, "program")->required();
  app.add_option("--echo-server", flags.programs.echo_server, "program")->required();
  app.add_option("--memory", flags.memory, "a folder in memory");
  app.add_option("--hosts", flags.hosts, "host agents");
  app.add_option("--rounds", flags.rounds, "passes");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keysphere::bench::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "remediation_bench: %s\n", keysphere::status::ToString(status).c_str());
  return 1;
}
