// The daemon as a process: it boots, serves over mutual TLS, keeps its keys over a power loss, and
// stops in order.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/identity/authority.h"
#include "common/keyset/keyset.h"
#include "common/rpc/client.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"

extern char** environ;

namespace keysphere::hostagent {
namespace {

using host::v1::HostManagement;
using host::v1::HostStatus;
using host::v1::HostVms;
using status::HasReason;
using status::IsOk;

constexpr char kDomain[] = "lab.example";

// One run of the daemon.
class Process {
 public:
  // Returns when it is READY, or has ended before.
  explicit Process(std::vector<std::string> arguments) {
    int out[2];
    KS_CHECK(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(&argument[0]);
    argv.push_back(nullptr);
    KS_CHECK(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    char c = 0;
    while (read(out[0], &c, 1) == 1 && c != '\n') ready_line_.push_back(c);
    close(out[0]);
  }
  ~Process() {
    if (pid_ > 0) End(SIGKILL);
  }

  const std::string& ready_line() const { return ready_line_; }
  std::string address() const {
    const std::string key = "\"address\":\"";
    const size_t begin = ready_line_.find(key) + key.size();
    return ready_line_.substr(begin, ready_line_.find('"', begin) - begin);
  }
  // The status of waitpid.
  int End(int signal) {
    kill(pid_, signal);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  std::string ready_line_;
};

class HostAgentProcessTest : public ::testing::Test {
 protected:
  HostAgentProcessTest() {
    root_ = ::testing::TempDir() + "/ks-agent-XXXXXX";
    KS_CHECK(mkdtemp(&root_[0]) != nullptr);
    std::filesystem::create_directories(root_ + "/ds1");
    authority_ = identity::Authority::Create(kDomain, validity_).value();
    const identity::Credentials host = Issue(identity::Kind::kHost, "esx-1", "127.0.0.1");
    KS_CHECK(host.Write(identity::CredentialFiles::In(root_, "host")).ok());
  }
  ~HostAgentProcessTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  identity::Credentials Issue(identity::Kind kind, const std::string& name,
                              const std::string& ip = "") {
    identity::Authority::Request request;
    request.kind = kind;
    request.name = name;
    request.validity = validity_;
    if (!ip.empty()) request.ip_addresses.push_back(ip);
    return authority_->Issue(request).value();
  }

  std::unique_ptr<Process> Start(const std::string& tpm) {
    const char* source = getenv("TEST_SRCDIR");
    const std::string program =
        absl::StrCat(source == nullptr ? "." : source, "/keysphere/hostagent/keysphere-hostagent");
    return std::make_unique<Process>(std::vector<std::string>{
        program, "--name=esx-1", "--listen=127.0.0.1:0", "--cert=" + root_ + "/host.crt",
        "--key=" + root_ + "/host.key", "--ca=" + root_ + "/ca.crt",
        "--state-dir=" + root_ + "/state", "--tpm=" + tpm, "--tpm-dir=" + root_ + "/tpm",
        "--datastore=ds1=" + root_ + "/ds1", "--allowed-controllers=vcenter-a",
        "--administrators=root", "--log-file=" + root_ + "/log"});
  }

  template <typename Service>
  rpc::Client<Service> Dial(const Process& process, identity::Kind kind, const std::string& name) {
    rpc::ChannelOptions options;
    options.target = absl::StrCat("ipv4:", process.address());
    options.peer = {kDomain, identity::Kind::kHost, "esx-1"};
    options.credentials = Issue(kind, name);
    options.clock = &clock_;
    return rpc::Client<Service>(rpc::Channel::Create(std::move(options)).value());
  }

  host::v1::GetHostStatusResponse Status(const Process& process) {
    return Dial<HostStatus>(process, identity::Kind::kUser, "root")
        .CallSync(&HostStatus::Stub::async::GetHostStatus, host::v1::GetHostStatusRequest())
        .value();
  }

  clock::SystemClock clock_;
  const identity::Validity validity_ = identity::Validity::From(clock_.Now());
  std::string root_;
  std::unique_ptr<identity::Authority> authority_;
};

TEST_F(HostAgentProcessTest, ServesAndIsSmallAtRestWithATpmAndWithout) {
  for (const char* tpm : {"none", "2.0"}) {
    std::filesystem::remove_all(root_ + "/state");
    const auto process = Start(tpm);
    ASSERT_THAT(process->ready_line(), ::testing::StartsWith("READY {\"name\":\"esx-1\""));
    const auto stats =
        Dial<HostStatus>(*process, identity::Kind::kUser, "root")
            .CallSync(&HostStatus::Stub::async::GetHostStats, host::v1::GetHostStatsRequest());
    ASSERT_THAT(stats, IsOk());
    EXPECT_LE(stats->threads(), 12);
    EXPECT_GT(stats->threads(), 1);
    EXPECT_LE(stats->anonymous_memory_bytes(), 5 << 20);
    EXPECT_GT(stats->anonymous_memory_bytes(), 0);
    // Who has no role is refused; so is a host.
    EXPECT_THAT(
        Dial<HostStatus>(*process, identity::Kind::kUser, "eve")
            .CallSync(&HostStatus::Stub::async::GetHostStatus, host::v1::GetHostStatusRequest()),
        HasReason(v1::REASON_NO_PERMISSION));
    EXPECT_EQ(process->End(SIGTERM), 0);
  }
}

TEST_F(HostAgentProcessTest, S50_S138_KeysAndVmsOutliveKillsWithARealTpm) {
  const crypto::SecretKey kdk = crypto::SecretKey::Random(crypto::kKeyBytes).value();
  std::string boot_id;
  {
    const auto process = Start("2.0");
    auto manage = Dial<HostManagement>(*process, identity::Kind::kController, "vcenter-a");
    host::v1::AttachRequest attach;
    attach.set_cluster("cluster-a");
    const auto attached = manage.CallSync(&HostManagement::Stub::async::Attach, attach);
    ASSERT_THAT(attached, IsOk());
    boot_id = attached->status().boot_id();
    host::v1::ApplyKeysRequest apply;
    apply.set_epoch(attached->epoch());
    apply.set_generation(1);
    host::v1::SealedKey* key = apply.add_keys();
    key->mutable_entry()->set_provider("nkp");
    key->mutable_entry()->set_type(v1::PROVIDER_TYPE_NATIVE);
    key->mutable_entry()->set_key_id("kdk-1");
    key->mutable_entry()->set_tpm_required(true);
    key->mutable_entry()->set_key_check_value(crypto::KeyCheckValue(kdk).value());
    key->set_sealed(
        crypto::SealTo(attached->status().transport_public_key(),
                       keyset::SealInfo("esx-1", boot_id, attached->epoch(), "nkp", "kdk-1"), kdk)
            .value());
    ASSERT_THAT(manage.CallSync(&HostManagement::Stub::async::ApplyKeys, apply), IsOk());
    host::v1::SetCryptoModeRequest mode;
    mode.set_epoch(attached->epoch());
    mode.set_action(host::v1::SetCryptoModeRequest::ACTION_PREPARE);
    ASSERT_THAT(manage.CallSync(&HostManagement::Stub::async::SetCryptoMode, mode), IsOk());
    mode.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
    mode.mutable_host_key()->set_provider_id("nkp");
    mode.mutable_host_key()->set_key_id("host-key");
    ASSERT_THAT(manage.CallSync(&HostManagement::Stub::async::SetCryptoMode, mode), IsOk());
    host::v1::CreateHostVmRequest create;
    create.set_epoch(attached->epoch());
    create.set_name("web");
    create.add_disks()->set_capacity_bytes(64 << 10);
    *create.mutable_key() = mode.host_key();
    create.mutable_key()->set_key_id("vm-key");
    ASSERT_THAT(Dial<HostVms>(*process, identity::Kind::kController, "vcenter-a")
                    .CallSync(&HostVms::Stub::async::CreateHostVm, create),
                IsOk());
    process->End(SIGKILL);
  }
  const auto process = Start("2.0");
  const host::v1::GetHostStatusResponse status = Status(*process);
  EXPECT_NE(status.boot_id(), boot_id);
  EXPECT_EQ(status.configuration_mode(), host::v1::CONFIGURATION_MODE_TPM);
  EXPECT_EQ(status.crypto_state(), v1::CRYPTO_STATE_SAFE);
  auto vms = Dial<HostVms>(*process, identity::Kind::kUser, "root");
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  EXPECT_THAT(vms.CallSync(&HostVms::Stub::async::PowerOnHostVm, on), IsOk());
  EXPECT_EQ(process->End(SIGTERM), 0);

  // The state without its TPM does not open (S144).
  std::filesystem::remove_all(root_ + "/tpm");
  const auto stolen = Start("2.0");
  EXPECT_EQ(Status(*stolen).configuration_state(), host::v1::CONFIGURATION_STATE_RECOVERY_REQUIRED);
  EXPECT_EQ(stolen->End(SIGTERM), 0);
}

TEST_F(HostAgentProcessTest, TheControllerSeesEveryChangeThroughItsWatch) {
  const auto process = Start("none");
  auto manage = Dial<HostManagement>(*process, identity::Kind::kController, "vcenter-a");
  const auto attached =
      manage.CallSync(&HostManagement::Stub::async::Attach, host::v1::AttachRequest());
  ASSERT_THAT(attached, IsOk());
  struct Seen {
    sync::Mutex mutex;
    sync::CondVar changed;
    std::vector<host::v1::HostEvent> events ABSL_GUARDED_BY(mutex);
    bool ended ABSL_GUARDED_BY(mutex) = false;
  };
  auto seen = std::make_shared<Seen>();
  host::v1::WatchHostRequest request;
  request.set_epoch(attached->epoch());
  const rpc::Subscription watch = manage.Watch(
      &HostManagement::Stub::async::WatchHost, request, {},
      [seen](host::v1::HostEvent event) {
        sync::MutexLock lock(&seen->mutex);
        seen->events.push_back(std::move(event));
        seen->changed.Signal();
      },
      [seen](const absl::Status&) {
        sync::MutexLock lock(&seen->mutex);
        seen->ended = true;
        seen->changed.Signal();
      });
  {
    sync::MutexLock lock(&seen->mutex);
    while (seen->events.empty() && !seen->ended) seen->changed.Wait(&seen->mutex);
    ASSERT_FALSE(seen->ended);
    EXPECT_TRUE(seen->events[0].has_snapshot());
  }
  host::v1::CreateHostVmRequest create;
  create.set_epoch(attached->epoch());
  create.set_name("web");
  ASSERT_THAT(Dial<HostVms>(*process, identity::Kind::kController, "vcenter-a")
                  .CallSync(&HostVms::Stub::async::CreateHostVm, create),
              IsOk());
  {
    sync::MutexLock lock(&seen->mutex);
    while (seen->events.size() < 2 && !seen->ended) seen->changed.Wait(&seen->mutex);
    ASSERT_FALSE(seen->ended);
    EXPECT_EQ(seen->events[1].vm_changed().vm().name(), "web");
  }
  EXPECT_EQ(process->End(SIGTERM), 0);
  sync::MutexLock lock(&seen->mutex);
  while (!seen->ended) seen->changed.Wait(&seen->mutex);
}

TEST_F(HostAgentProcessTest, FlagsThatAreWrongAreSaidAndEndIt) {
  const char* source = getenv("TEST_SRCDIR");
  const std::string program = absl::StrCat(source, "/keysphere/hostagent/keysphere-hostagent");
  Process process({program, "--name=esx-1"});
  EXPECT_EQ(process.ready_line(), "");
  EXPECT_EQ(WEXITSTATUS(process.End(SIGTERM)), 2);
  // S149's wait is a time.
  for (const char* const wait : {"soon", "-1s", "inf", "90"}) {
    Process waiting({program, "--name=esx-1", "--listen=127.0.0.1:0", "--state-dir=" + root_,
                     "--cert=" + root_ + "/host.crt", "--key=" + root_ + "/host.key",
                     "--ca=" + root_ + "/ca.crt", "--tpm=none",
                     std::string("--boot-key-wait=") + wait});
    EXPECT_EQ(waiting.ready_line(), "");
    EXPECT_EQ(WEXITSTATUS(waiting.End(SIGTERM)), 2) << wait;
  }
}

}  // namespace
}  // namespace keysphere::hostagent
