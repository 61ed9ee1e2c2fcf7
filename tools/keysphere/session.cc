#include "tools/keysphere/session.h"

#include <google/protobuf/util/json_util.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/clock/system_clock.h"
#include "common/files/file_system.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "tools/keysphere/command.h"
#include "tools/keysphere/registry.h"

namespace keysphere::cli {
namespace {

constexpr size_t kMaxClusterFileBytes = 16 << 20;

// Absolute, or below the cluster's folder.
std::string Below(const std::string& dir, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : absl::StrCat(dir, "/", path);
}

}  // namespace

std::string UserStem(const std::string& dir, const std::string& user) {
  return absl::StrCat(dir, "/pki/user-", files::PathSafe(user));
}

Session::Session(const Environment* environment, const GlobalOptions* globals)
    : environment_(environment), globals_(globals) {}

Session::~Session() = default;

clock::Clock* Session::clock() {
  // Its thread would take the signals for which `up` waits; `up` asks nobody for the time. gRPC may
  // ask on its own threads until the program has ended: the clock stays.
  if (clock_ == nullptr) clock_ = new clock::SystemClock();
  return clock_;
}

absl::Time Session::Now() { return clock()->Now(); }

absl::Status Session::PrintJson(const google::protobuf::Message& message) {
  KS_ASSIGN_OR_RETURN(const std::string text, ToJson(message));
  out() << text;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Session::ClusterDir() {
  if (!globals_->dir.empty()) return globals_->dir;
  const std::string dir = environment_->variable("KEYSPHERE_DIR");
  if (!dir.empty()) return dir;
  return Registry::ForUser(environment_->variable).Newest();
}

absl::Status Session::RefusePeer() const {
  if (globals_->peer.empty()) return absl::OkStatus();
  return UsageError("--peer is for a server outside a cluster, but this command is for a cluster");
}

absl::StatusOr<const sim::v1::SimulatedCluster*> Session::Cluster() {
  KS_RETURN_IF_ERROR(RefusePeer());
  return ReadCluster();
}

absl::StatusOr<const sim::v1::SimulatedCluster*> Session::ReadCluster() {
  if (cluster_.has_value()) return &*cluster_;
  KS_ASSIGN_OR_RETURN(const std::string dir, ClusterDir());
  const std::string path = absl::StrCat(dir, "/cluster.json");
  absl::StatusOr<std::string> text =
      files::FileSystem().ReadFile(path, kMaxClusterFileBytes, files::Links::kFollow);
  if (!text.ok()) {
    if (text.status().code() != absl::StatusCode::kNotFound) return text.status();
    return status::Error(v1::REASON_NOT_FOUND,
                         absl::StrCat("no cluster runs in ", status::Quote(dir)))
        .NextStep("Start one with `keysphere up`, or name the folder of one that runs by --dir.");
  }
  sim::v1::SimulatedCluster cluster;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(*text, &cluster, options).ok()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(path), " describes no cluster"))
        .NextStep("Start the cluster again with `keysphere up`.");
  }
  cluster.set_dir(dir);
  cluster_ = std::move(cluster);
  return &*cluster_;
}

absl::StatusOr<const sim::v1::SimulatedProcess*> Session::Process(const std::string& name) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedCluster* cluster, Cluster());
  for (const sim::v1::SimulatedProcess& process : cluster->processes()) {
    if (process.name() == name) return &process;
  }
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("this cluster has no process ", status::Quote(name)))
      .Object("process", name)
      .NextStep("`keysphere status` lists them.");
}

absl::StatusOr<identity::CredentialFiles> Session::CredentialFiles() {
  identity::CredentialFiles files{globals_->ca, globals_->certificate, globals_->key};
  if (files.ca.empty() || files.certificate.empty() || files.key.empty()) {
    const absl::StatusOr<const sim::v1::SimulatedCluster*> found = ReadCluster();
    if (!found.ok() && !globals_->peer.empty()) {
      return UsageError("outside a cluster --peer needs --ca-file, --cert-file and --key-file");
    }
    if (!found.ok()) return found.status();
    const sim::v1::SimulatedCluster* const cluster = *found;
    const std::string& dir = cluster->dir();
    if (files.ca.empty()) files.ca = Below(dir, cluster->ca_certificate());
    if (!globals_->user.empty()) {
      const std::string stem = UserStem(dir, globals_->user);
      files.certificate = stem + ".crt";
      files.key = stem + ".key";
      if (!files::FileSystem().Exists(files.certificate).value_or(false)) {
        return status::Error(v1::REASON_NOT_FOUND,
                             absl::StrCat("the user ", status::Quote(globals_->user),
                                          " has no certificate in ", dir, "/pki"))
            .Object("user", globals_->user)
            .NextStep("Make one with `keysphere user issue NAME`.");
      }
    }
    if (files.certificate.empty()) files.certificate = Below(dir, cluster->user_certificate());
    if (files.key.empty()) files.key = Below(dir, cluster->user_key());
  }
  return files;
}

absl::StatusOr<Session::ChannelPtr> Session::Dial(const Peer& peer) {
  KS_ASSIGN_OR_RETURN(const identity::CredentialFiles files, CredentialFiles());
  rpc::ChannelOptions options;
  options.target =
      absl::StrCat(absl::StartsWith(peer.address, "[") ? "ipv6:" : "ipv4:", peer.address);
  KS_ASSIGN_OR_RETURN(options.peer, identity::Identity::Parse(peer.spiffe_id));
  KS_ASSIGN_OR_RETURN(options.credentials, identity::Credentials::Load(files));
  options.clock = clock();
  options.authority = peer.authority;
  options.unreachable = peer.unreachable;
  return rpc::Channel::Create(std::move(options));
}

Session::Peer Session::PeerOf(const sim::v1::SimulatedProcess& process) {
  Peer peer;
  peer.address = process.address();
  peer.spiffe_id = process.spiffe_id();
  if (!process.dns_name().empty()) {
    const std::string port = peer.address.substr(peer.address.rfind(':') + 1);
    peer.authority = absl::StrCat(process.dns_name(), ":", port);
  }
  peer.unreachable = process.kind() == sim::v1::PROCESS_KIND_CONTROLLER
                         ? v1::REASON_CONTROLLER_UNAVAILABLE
                         : v1::REASON_HOST_NOT_RESPONDING;
  return peer;
}

absl::StatusOr<Session::Peer> Session::ServerPeer() {
  const std::string& server = globals_->server;
  if (!globals_->peer.empty()) {
    Peer peer;
    peer.address = server;
    peer.spiffe_id = globals_->peer;
    peer.unreachable = v1::REASON_CONTROLLER_UNAVAILABLE;
    const absl::Status understood = identity::Identity::Parse(peer.spiffe_id).status();
    if (!understood.ok()) {
      return UsageError(absl::StrCat("--peer: ", std::string(understood.message())));
    }
    if (server.empty()) return UsageError("--peer needs --server IP:PORT");
    return peer;
  }
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedCluster* cluster, Cluster());
  for (const sim::v1::SimulatedProcess& process : cluster->processes()) {
    const bool meant = server.empty()
                           ? process.kind() == sim::v1::PROCESS_KIND_CONTROLLER
                           : server == process.name() || server == process.address() ||
                                 (server == process.dns_name() && !process.dns_name().empty());
    if (meant) return PeerOf(process);
  }
  if (server.empty()) {
    return status::Error(v1::REASON_NOT_FOUND, "this cluster has no controller");
  }
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("this cluster has no controller ", status::Quote(server)))
      .Object("controller", server)
      .NextStep("`keysphere status` lists them; for a server outside the cluster say --peer, too.");
}

absl::StatusOr<Session::ChannelPtr> Session::Controller() {
  KS_ASSIGN_OR_RETURN(Peer peer, ServerPeer());
  if (!globals_->authority.empty()) peer.authority = globals_->authority;
  return Dial(peer);
}

absl::StatusOr<Session::ChannelPtr> Session::ControllerNamed(const std::string& name) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess* process, Process(name));
  return Dial(PeerOf(*process));
}

absl::StatusOr<Session::ChannelPtr> Session::Host(const std::string& name) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess* process, Process(name));
  return Dial(PeerOf(*process));
}

absl::StatusOr<Session::ChannelPtr> Session::KmsControl(const std::string& name) {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess* process, Process(name));
  if (process->control_address().empty()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(name), " is no KMS node"))
        .Object("process", name)
        .NextStep("`keysphere kms list` lists them.");
  }
  Peer peer;
  peer.address = process->control_address();
  peer.spiffe_id = process->spiffe_id();
  return Dial(peer);
}

absl::StatusOr<Session::ChannelPtr> Session::Simulator() {
  KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedCluster* cluster, Cluster());
  Peer peer;
  peer.address = cluster->address();
  peer.spiffe_id = !cluster->spiffe_id().empty()
                       ? cluster->spiffe_id()
                       : absl::StrCat("spiffe://", cluster->trust_domain(), "/user/simulator");
  return Dial(peer);
}

}  // namespace keysphere::cli
