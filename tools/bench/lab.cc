#include "tools/bench/lab.h"

#include <grpcpp/channel.h>
#include <stdlib.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/keyset/keyset.h"
#include "common/status/grpc.h"
#include "common/status/status.h"

namespace keysphere::bench {
namespace {

constexpr char kTrustDomain[] = "bench.keysphere.test";
constexpr int64_t kDiskBytes = 1 << 20;

}  // namespace

absl::Status Check(const std::string& what, const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_STATE,
                       absl::StrCat(what, ": ", status::ToString(status::FromGrpc(status))));
}

absl::StatusOr<std::unique_ptr<Lab>> Lab::Create(const std::string& parent, Programs programs) {
  std::string folder = absl::StrCat(parent, "/ksbench-XXXXXX");
  if (mkdtemp(&folder[0]) == nullptr) {
    return status::Error(v1::REASON_STORAGE_ERROR, absl::StrCat("no folder below ", parent));
  }
  auto lab = absl::WrapUnique(new Lab(std::move(folder), std::move(programs)));
  KS_ASSIGN_OR_RETURN(
      lab->authority_,
      identity::Authority::Create(kTrustDomain, identity::Validity::From(lab->clock_.Now())));
  return lab;
}

Lab::~Lab() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

absl::StatusOr<identity::CredentialFiles> Lab::Issue(identity::Kind kind, const std::string& name) {
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = identity::Validity::From(clock_.Now());
  request.ip_addresses = {"127.0.0.1"};
  KS_ASSIGN_OR_RETURN(const identity::Credentials credentials, authority_->Issue(request));
  const std::string stem = absl::StrCat(std::string(identity::KindName(kind)), "-", name);
  const auto files = identity::CredentialFiles::In(folder_, stem);
  KS_RETURN_IF_ERROR(credentials.Write(files));
  return files;
}

absl::StatusOr<std::vector<std::string>> Lab::CredentialFlags(identity::Kind kind,
                                                              const std::string& name) {
  KS_ASSIGN_OR_RETURN(const identity::CredentialFiles files, Issue(kind, name));
  return std::vector<std::string>{"--cert", files.certificate, "--key", files.key,
                                  "--ca",   files.ca};
}

absl::StatusOr<std::shared_ptr<rpc::Channel>> Lab::Dial(
    identity::Kind own_kind, const std::string& own_name, identity::Kind peer_kind,
    const std::string& peer_name, const std::string& address, const std::string& authority) {
  KS_ASSIGN_OR_RETURN(const identity::CredentialFiles files, Issue(own_kind, own_name));
  rpc::ChannelOptions options;
  options.target = absl::StrCat("ipv4:", address);
  options.peer = identity::Identity{kTrustDomain, peer_kind, peer_name};
  KS_ASSIGN_OR_RETURN(options.credentials, identity::Credentials::Load(files));
  options.clock = &clock_;
  options.authority = authority;
  return rpc::Channel::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<Child>> Lab::Start(const std::vector<std::string>& argv,
                                                  const std::string& name) {
  return Child::Start(argv, absl::StrCat(folder_, "/", name, ".log"));
}

void Lab::Rest(absl::Duration duration) {
  sync::Mutex mutex;
  sync::CondVar changed;
  bool over = false;
  clock_.RunAfter(duration, [&] {
    sync::MutexLock lock(&mutex);
    over = true;
    changed.Signal();
  });
  sync::MutexLock lock(&mutex);
  while (!over) changed.Wait(&mutex);
}

absl::StatusOr<std::unique_ptr<EchoServer>> EchoServer::Start(Lab* lab, const std::string& name,
                                                              const std::string& layers) {
  auto echo = std::make_unique<EchoServer>();
  KS_ASSIGN_OR_RETURN(std::vector<std::string> flags,
                      lab->CredentialFlags(identity::Kind::kHost, name));
  std::vector<std::string> argv = {lab->programs().echo_server, "--layers", layers};
  argv.insert(argv.end(), flags.begin(), flags.end());
  KS_ASSIGN_OR_RETURN(echo->process, lab->Start(argv, name));
  KS_ASSIGN_OR_RETURN(const std::string address, echo->process->WaitAddress());
  KS_ASSIGN_OR_RETURN(echo->channel, lab->Dial(identity::Kind::kController, kController,
                                               identity::Kind::kHost, name, address));
  return echo;
}

absl::StatusOr<ProviderKey> ProviderKey::Make(const std::string& name) {
  ProviderKey key;
  KS_ASSIGN_OR_RETURN(key.kdk, crypto::SecretKey::Random(32));
  key.entry.set_provider(name);
  key.entry.set_type(v1::PROVIDER_TYPE_NATIVE);
  key.entry.set_key_id(absl::StrCat("id-of-", name));
  KS_ASSIGN_OR_RETURN(*key.entry.mutable_key_check_value(), crypto::KeyCheckValue(key.kdk));
  return key;
}

absl::StatusOr<std::unique_ptr<Host>> Host::Start(Lab* lab, const std::string& name,
                                                  const std::string& tpm,
                                                  const std::string& allowed) {
  auto host = absl::WrapUnique(new Host(name));
  const std::string home = absl::StrCat(lab->folder(), "/", name);
  for (const char* folder : {"/state", "/tpm", "/ds"}) {
    std::filesystem::create_directories(home + folder);
  }
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> flags,
                      lab->CredentialFlags(identity::Kind::kHost, name));
  std::vector<std::string> argv = {lab->programs().host_agent,
                                   "--name",
                                   name,
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--state-dir",
                                   home + "/state",
                                   "--tpm",
                                   tpm,
                                   "--datastore",
                                   absl::StrCat("ds=", home, "/ds"),
                                   "--allowed-controllers",
                                   allowed,
                                   "--administrators",
                                   kAdministrator,
                                   "--log-file",
                                   home + "/log"};
  if (tpm != "none") argv.insert(argv.end(), {"--tpm-dir", home + "/tpm"});
  argv.insert(argv.end(), flags.begin(), flags.end());
  KS_ASSIGN_OR_RETURN(host->process_, lab->Start(argv, name));
  KS_ASSIGN_OR_RETURN(host->address_, host->process_->WaitAddress());
  host->start_cpu_ = host->process_->CpuNanoseconds();
  KS_ASSIGN_OR_RETURN(host->channel_, lab->Dial(identity::Kind::kController, kController,
                                                identity::Kind::kHost, name, host->address_));
  host->management_ = host::v1::HostManagement::NewStub(host->channel_->grpc_channel());
  host->vms_ = host::v1::HostVms::NewStub(host->channel_->grpc_channel());
  host->status_ = host::v1::HostStatus::NewStub(host->channel_->grpc_channel());
  return host;
}

absl::Status Host::Attach() {
  using Async = class host::v1::HostManagement::Stub::async;
  host::v1::AttachRequest attach;
  attach.set_cluster(kCluster);
  host::v1::AttachResponse attached;
  KS_RETURN_IF_ERROR(
      Check("attach", SendAndWait(management_->async(), &Async::Attach, attach, &attached)));
  epoch_ = attached.epoch();
  boot_id_ = attached.status().boot_id();
  transport_key_ = attached.status().transport_public_key();
  KS_ASSIGN_OR_RETURN(session_, crypto::TransportSession::Begin(transport_key_));
  return absl::OkStatus();
}

std::string Host::SealInfo(const ProviderKey& key) const {
  return keyset::SealInfo(name_, boot_id_, epoch_, key.entry.provider(), key.entry.key_id());
}

absl::StatusOr<host::v1::SealedKey> Host::Seal(const ProviderKey& key) {
  host::v1::SealedKey sealed;
  *sealed.mutable_entry() = key.entry;
  KS_ASSIGN_OR_RETURN(*sealed.mutable_sealed(), session_->Seal(SealInfo(key), key.kdk));
  return sealed;
}

absl::StatusOr<host::v1::SealedKey> Host::SealFirst(const ProviderKey& key) const {
  host::v1::SealedKey sealed;
  *sealed.mutable_entry() = key.entry;
  KS_ASSIGN_OR_RETURN(*sealed.mutable_sealed(),
                      crypto::SealTo(transport_key_, SealInfo(key), key.kdk));
  return sealed;
}

absl::Status Host::Prepare(const ProviderKey& key) {
  using Async = class host::v1::HostManagement::Stub::async;
  host::v1::ApplyKeysRequest apply;
  apply.set_epoch(epoch_);
  apply.set_generation(1);
  apply.set_cluster(kCluster);
  apply.set_first_sync(true);
  KS_ASSIGN_OR_RETURN(*apply.add_keys(), Seal(key));
  host::v1::ApplyKeysResponse applied;
  KS_RETURN_IF_ERROR(
      Check("apply keys", SendAndWait(management_->async(), &Async::ApplyKeys, apply, &applied)));
  for (const auto action : {host::v1::SetCryptoModeRequest::ACTION_PREPARE,
                            host::v1::SetCryptoModeRequest::ACTION_ENABLE}) {
    host::v1::SetCryptoModeRequest mode;
    mode.set_epoch(epoch_);
    mode.set_action(action);
    if (action == host::v1::SetCryptoModeRequest::ACTION_ENABLE) {
      mode.mutable_host_key()->set_provider_id(key.entry.provider());
      mode.mutable_host_key()->set_key_id("host-key");
    }
    host::v1::SetCryptoModeResponse changed;
    KS_RETURN_IF_ERROR(Check(
        "crypto mode", SendAndWait(management_->async(), &Async::SetCryptoMode, mode, &changed)));
  }
  return absl::OkStatus();
}

absl::Status Host::CreateVms(const ProviderKey& key, int count) {
  using Async = class host::v1::HostVms::Stub::async;
  for (int i = 0; i < count; ++i) {
    host::v1::CreateHostVmRequest create;
    create.set_epoch(epoch_);
    create.set_name(absl::StrCat("vm-", i));
    create.add_disks()->set_capacity_bytes(kDiskBytes);
    create.mutable_key()->set_provider_id(key.entry.provider());
    create.mutable_key()->set_key_id(absl::StrCat("key-of-vm-", i));
    host::v1::HostVm created;
    KS_RETURN_IF_ERROR(
        Check("create a VM", SendAndWait(vms_->async(), &Async::CreateHostVm, create, &created)));
  }
  return absl::OkStatus();
}

absl::StatusOr<host::v1::HostStats> Host::Stats() {
  using Async = class host::v1::HostStatus::Stub::async;
  host::v1::HostStats stats;
  KS_RETURN_IF_ERROR(Check("stats", SendAndWait(status_->async(), &Async::GetHostStats,
                                                host::v1::GetHostStatsRequest(), &stats)));
  return stats;
}

}  // namespace keysphere::bench
