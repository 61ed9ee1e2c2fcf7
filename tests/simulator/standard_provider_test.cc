// A standard key provider with real daemons: controller, hosts and the nodes of a KMS.
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/identity/authority.h"
#include "common/identity/openssl.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "keysphere/sim/v1/kms_faults.grpc.pb.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "keysphere/v1/tasks.grpc.pb.h"
#include "tests/simulator/running_cluster.h"

namespace keysphere::tests {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using HostsStub = class v1::Hosts::Stub::async;
using KmsStub = class sim::v1::KmsFaults::Stub::async;
using ProvidersStub = class v1::KeyProviders::Stub::async;
using SimulatorStub = class sim::v1::Simulator::Stub::async;
using TasksStub = class v1::Tasks::Stub::async;
using VmsStub = class v1::VirtualMachines::Stub::async;

constexpr char kVCenter[] = "vcenter-a";
constexpr char kProvider[] = "skp-1";

rpc::CallOptions Patient() {
  rpc::CallOptions options;
  options.timeout = absl::Seconds(60);
  return options;
}

class StandardProviderTest : public ::testing::Test {
 protected:
  void Up(const std::vector<std::string>& flags) {
    cluster_ = std::make_unique<RunningCluster>(
        absl::StrCat(::testing::TempDir(), "/",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name()),
        flags);
    ASSERT_THAT(cluster_->ready(), HasSubstr("READY {")) << "see the log above";
  }
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Ask(
      const std::string& process,
      rpc::internal::UnaryMethod<typename rpc::Client<Service>::Async, Request, Response> method,
      Request request) {
    return cluster_->Client<Service>(process).CallSync(method, std::move(request), Patient());
  }

  template <typename Request>
  void Do(rpc::internal::UnaryMethod<SimulatorStub, Request, sim::v1::SimulatedProcess> method,
          const std::string& name) {
    Request request;
    request.set_name(name);
    ASSERT_THAT(Ask<sim::v1::Simulator>("", method, std::move(request)), IsOk()) << name;
  }
  void Advance(absl::Duration by) {
    sim::v1::AdvanceClockRequest request;
    request.mutable_by()->set_seconds(absl::ToInt64Seconds(by));
    ASSERT_THAT(Ask<sim::v1::Simulator>("", &SimulatorStub::AdvanceClock, request), IsOk());
  }
  v1::KeyProvider Provider() {
    v1::GetKeyProviderRequest request;
    request.set_name(kProvider);
    return Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::GetKeyProvider, request)
        .value_or(v1::KeyProvider());
  }
  v1::Vm Vm(const std::string& name) {
    v1::GetVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::GetVm, request).value_or(v1::Vm());
  }
  v1::Host Host(const std::string& name) {
    v1::GetHostRequest request;
    request.set_name(name);
    return Ask<v1::Hosts>(kVCenter, &HostsStub::GetHost, request).value_or(v1::Host());
  }
  absl::Status PowerOn(const std::string& name) {
    v1::PowerOnVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::PowerOnVm, request).status();
  }
  absl::Status PowerOff(const std::string& name) {
    v1::PowerOffVmRequest request;
    request.set_vm(name);
    return Ask<v1::VirtualMachines>(kVCenter, &VmsStub::PowerOffVm, request).status();
  }
  // Begins to make an encrypted VM.
  v1::Task Create(const std::string& name, const std::string& host) {
    v1::CreateVmRequest request;
    request.set_name(name);
    request.set_host(host);
    request.mutable_crypto()->mutable_key()->set_provider_id(kProvider);
    auto task = Ask<v1::VirtualMachines>(kVCenter, &VmsStub::CreateVm, request);
    EXPECT_THAT(task, IsOk());
    return task.value_or(v1::Task());
  }
  v1::Task Now(const v1::Task& task) {
    v1::GetTaskRequest request;
    request.set_id(task.id());
    return Ask<v1::Tasks>(kVCenter, &TasksStub::GetTask, request).value_or(v1::Task());
  }
  // The task when time has gone on, by a minute, and nothing is under way.
  v1::Task Ended(const v1::Task& task) {
    Advance(absl::Minutes(1));
    return Now(task);
  }
  void SetFault(const std::string& node, sim::v1::SetKmsFaultRequest request) {
    request.set_name(node);
    ASSERT_THAT(Ask<sim::v1::Simulator>("", &SimulatorStub::SetKmsFault, std::move(request)),
                IsOk());
  }
  sim::v1::KmsStats Stats(const std::string& node) {
    return Ask<sim::v1::KmsFaults>(node, &KmsStub::GetKmsStats, sim::v1::GetKmsStatsRequest())
        .value_or(sim::v1::KmsStats());
  }

  absl::Time SimulatedNow() {
    const auto state =
        Ask<sim::v1::Simulator>("", &SimulatorStub::GetClock, sim::v1::GetClockRequest());
    EXPECT_THAT(state, IsOk());
    return absl::FromUnixSeconds(state.ok() ? state->now().seconds() : 0);
  }

  std::unique_ptr<RunningCluster> cluster_;
};

TEST_F(StandardProviderTest, S38_AsManyKeysAsVmsAndHostsWhoeverEncryptsAtOnce) {
  Up({"--hosts", "4", "--kms", "2", "--vms", "24", "--encrypted", "24", "--encrypted-by",
      "standard"});
  // The nodes are one key server.
  for (const char* node : {"kms-1", "kms-2"}) EXPECT_EQ(Stats(node).objects(), 24 + 4) << node;
  int64_t created = 0;
  for (const char* node : {"kms-1", "kms-2"}) created += Stats(node).requests().at("Create");
  EXPECT_EQ(created, 24 + 4);
}

// What stands between a provider whose servers are named and one that serves.
class KmsTrustTest : public StandardProviderTest {
 protected:
  // One host, two nodes, and a provider that trusts nobody yet.
  void UpWithoutTrust() {
    Up({"--hosts", "1", "--kms", "2", "--simulated-time"});
    v1::CreateKeyProviderRequest create;
    create.set_name(kProvider);
    for (const char* node : {"kms-1", "kms-2"}) {
      v1::KmsServer* const server = create.mutable_standard()->add_servers();
      server->set_name(node);
      server->set_address(cluster_->Process(node).address());
    }
    ASSERT_THAT(Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::CreateKeyProvider, create), IsOk());
  }
  // As the servers are now.
  v1::StandardProviderInfo Check() {
    v1::CheckKmsServersRequest request;
    request.set_name(kProvider);
    const auto checked = Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::CheckKmsServers, request);
    EXPECT_THAT(checked, IsOk());
    if (!checked.ok()) return v1::StandardProviderInfo();
    // The health of the provider tells the same (S92).
    const bool red = checked->standard_info().status() == v1::KMS_STATUS_RED;
    EXPECT_EQ(checked->health().status() == v1::ProviderHealth::STATUS_ERROR, red);
    return checked->standard_info();
  }
  void ExpectRed(const std::string& reason) {
    const v1::StandardProviderInfo info = Check();
    EXPECT_EQ(info.status(), v1::KMS_STATUS_RED);
    EXPECT_THAT(info.status_reason(), HasSubstr(reason));
    for (const v1::KmsServerStatus& server : info.server_statuses()) {
      EXPECT_EQ(server.status(), v1::KMS_STATUS_RED);
      EXPECT_THAT(server.reason(), HasSubstr(reason)) << server.server().name();
    }
  }
  v1::RetrieveKmsServerCertificateResponse Shown(const std::string& node) {
    v1::RetrieveKmsServerCertificateRequest request;
    request.set_name(kProvider);
    request.set_server(node);
    const auto shown =
        Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::RetrieveKmsServerCertificate, request);
    EXPECT_THAT(shown, IsOk());
    return shown.value_or(v1::RetrieveKmsServerCertificateResponse());
  }
  void Trust(const std::string& pem) {
    v1::TrustKmsServerRequest request;
    request.set_name(kProvider);
    request.set_certificate(pem);
    ASSERT_THAT(Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::TrustKmsServer, request), IsOk());
  }
  absl::Status SetClient(const std::string& certificate, absl::string_view key = "") {
    v1::SetKmsClientCertificateRequest request;
    request.set_name(kProvider);
    request.set_certificate(certificate);
    request.set_private_key(std::string(key));
    return Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::SetKmsClientCertificate, request)
        .status();
  }
  absl::Status SetClient(const identity::Credentials& credentials) {
    return SetClient(credentials.certificate_pem, credentials.key_pem.view());
  }
  std::string Csr() {
    v1::GenerateKmsClientCsrRequest request;
    request.set_name(kProvider);
    const auto made =
        Ask<v1::KeyProviders>(kVCenter, &ProvidersStub::GenerateKmsClientCsr, request);
    EXPECT_THAT(made, IsOk());
    return made.ok() ? made->csr() : "";
  }
  std::string CaFolder() { return files::FolderOf(cluster_->Read().ca_certificate()); }
  // What the CA that the nodes trust makes of a request.
  std::string Sign(const std::string& csr) {
    const files::FileSystem files;
    const auto pem = [&files, this](const char* name) {
      return files.ReadFile(CaFolder() + name, 1 << 20).value();
    };
    const auto ca = identity::ParseCertificates(pem("/ca.crt"));
    const identity::KeyPtr ca_key = identity::ParseKey(pem("/ca.key"));
    const identity::BioPtr in(BIO_new_mem_buf(csr.data(), static_cast<int>(csr.size())));
    const std::unique_ptr<X509_REQ, identity::OpensslFree<X509_REQ_free>> request(
        PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
    const identity::X509Ptr made(X509_new());
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 4711);
    X509_set_issuer_name(made.get(), X509_get_subject_name(ca[0].get()));
    X509_set_subject_name(made.get(), X509_REQ_get_subject_name(request.get()));
    X509_set1_notBefore(made.get(), X509_get0_notBefore(ca[0].get()));
    X509_set1_notAfter(made.get(), X509_get0_notAfter(ca[0].get()));
    X509_set_pubkey(made.get(), X509_REQ_get0_pubkey(request.get()));
    EXPECT_GT(X509_sign(made.get(), ca_key.get(), EVP_sha256()), 0);
    const identity::BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), made.get());
    char* data = nullptr;
    const auto size = BIO_get_mem_data(out.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  }
  identity::Credentials Issue(const identity::Authority& authority, absl::Duration lasts) {
    identity::Authority::Request request;
    request.name = "vcenter";
    request.validity = {SimulatedNow() - absl::Hours(1), SimulatedNow() + lasts};
    return *authority.Issue(request);
  }
};

TEST_F(KmsTrustTest, S129_FromNoTrustToAKeyStepByStep) {
  UpWithoutTrust();
  // Nobody trusts anybody.
  ExpectRed("certificate");
  EXPECT_EQ(Ended(Create("early", "esx-1")).error().reason(), v1::REASON_KMS_UNREACHABLE);
  const auto shown = Shown("kms-1");
  EXPECT_FALSE(shown.trusted());
  EXPECT_THAT(shown.certificate(), HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_THAT(shown.subject(), HasSubstr("kms-1"));
  EXPECT_NE(shown.fingerprint(), Shown("kms-2").fingerprint());

  // Each node's certificate; that of one is not that of the other.
  Trust(shown.certificate());
  EXPECT_TRUE(Shown("kms-1").trusted());
  EXPECT_FALSE(Shown("kms-2").trusted());
  Trust(Shown("kms-2").certificate());
  EXPECT_TRUE(Shown("kms-2").trusted());

  // The nodes do not know this client yet: it has no certificate.
  ExpectRed("certificate");
  EXPECT_GT(Stats("kms-1").handshakes_refused(), 0);

  // One for a request whose key never leaves the vCenter.
  const std::string csr = Csr();
  const std::string certificate = Sign(csr);
  // A later request has another key: the certificate is not for it.
  const std::string again = Csr();
  EXPECT_THAT(SetClient(certificate), HasReason(v1::REASON_INVALID_ARGUMENT));
  ASSERT_THAT(SetClient(Sign(again)), IsOk());
  const v1::StandardProviderInfo info = Check();
  EXPECT_EQ(info.status(), v1::KMS_STATUS_GREEN) << info.status_reason();
  EXPECT_EQ(Ended(Create("vm", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_THAT(PowerOn("vm"), IsOk());

  // It outlives the vCenter, as the trust does.
  Do(&SimulatorStub::RebootProcess, kVCenter);
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_GREEN);
}

TEST_F(KmsTrustTest, S94_S92_CertificatesThatAreWrongOrOverAreToldWithTheReason) {
  UpWithoutTrust();
  const auto ca = identity::Authority::Load(CaFolder());
  ASSERT_THAT(ca, IsOk());
  Trust((*ca)->certificate_pem());
  const identity::Credentials good = Issue(**ca, absl::Hours(24 * 365));
  ASSERT_THAT(SetClient(good), IsOk());
  EXPECT_EQ(Check().status(), v1::KMS_STATUS_GREEN);

  // A whole and valid certificate, of a CA that the nodes do not trust.
  const auto stranger =
      identity::Authority::Create("stranger.test", identity::Validity::From(SimulatedNow()));
  ASSERT_THAT(stranger, IsOk());
  ASSERT_THAT(SetClient(Issue(**stranger, absl::Hours(24 * 365))), IsOk());
  ExpectRed("certificate");

  // One that ends soon, and then is over.
  ASSERT_THAT(SetClient(Issue(**ca, absl::Minutes(10))), IsOk());
  const v1::StandardProviderInfo soon = Check();
  EXPECT_EQ(soon.status(), v1::KMS_STATUS_YELLOW);
  EXPECT_THAT(soon.status_reason(), HasSubstr("client certificate ends"));
  Advance(absl::Minutes(20));
  ExpectRed("not valid now");
  EXPECT_THAT(Provider().standard_info().status_reason(), HasSubstr("client certificate ended"));
  EXPECT_EQ(Ended(Create("never", "esx-1")).error().reason(), v1::REASON_KMS_UNREACHABLE);
  ASSERT_THAT(SetClient(good), IsOk());
  EXPECT_EQ(Check().status(), v1::KMS_STATUS_GREEN);

  // The servers': one is over, and the other one serves; then both are.
  sim::v1::SetKmsFaultRequest ends;
  ends.mutable_certificate_ends_in()->set_seconds(600);
  SetFault("kms-2", ends);
  Advance(absl::Minutes(20));
  const v1::StandardProviderInfo half = Check();
  EXPECT_EQ(half.status(), v1::KMS_STATUS_YELLOW);
  ASSERT_THAT(half.server_statuses(), SizeIs(2));
  EXPECT_EQ(half.server_statuses(0).status(), v1::KMS_STATUS_GREEN);
  EXPECT_EQ(half.server_statuses(1).status(), v1::KMS_STATUS_RED);
  EXPECT_THAT(half.server_statuses(1).reason(), HasSubstr("expired"));
  SetFault("kms-1", ends);
  Advance(absl::Minutes(20));
  ExpectRed("expired");
  // A fault ends with its process: the node starts with the certificate that it had.
  Do(&SimulatorStub::RebootProcess, "kms-1");
  EXPECT_EQ(Check().status(), v1::KMS_STATUS_YELLOW);
}

TEST_F(StandardProviderTest, S89_S90_AKmsThatHasLostAllKeysIsNamed) {
  Up({"--hosts", "1", "--kms", "1", "--vms", "1", "--encrypted", "1", "--encrypted-by", "standard",
      "--simulated-time"});
  sim::v1::SetKmsFaultRequest missing;
  missing.mutable_fault()->set_all_keys_missing(true);
  SetFault("kms-1", missing);
  EXPECT_EQ(cluster_->Process("kms-1").name(), "kms-1");
  Do(&SimulatorStub::RebootProcess, "esx-1");
  Advance(absl::Minutes(2));
  EXPECT_EQ(Host("esx-1").crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(Vm("vm-1").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
}

// A latency or a hang that was set on a node ends with its process, however it ends.
TEST_F(StandardProviderTest, AFaultEndsWithItsNode) {
  Up({"--hosts", "1", "--kms", "1", "--encrypted-by", "standard", "--simulated-time"});
  sim::v1::SetKmsFaultRequest hang;
  hang.mutable_fault()->set_mode(sim::v1::KmsFault::MODE_HANG);
  SetFault("kms-1", hang);
  EXPECT_EQ(Ended(Create("never", "esx-1")).error().reason(), v1::REASON_KMS_UNREACHABLE);
  Do(&SimulatorStub::KillProcess, "kms-1");
  Do(&SimulatorStub::StartProcess, "kms-1");
  EXPECT_EQ(Ended(Create("vm", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);
}

TEST_F(StandardProviderTest, S52_S53_S54_S60_S68_FromItsMakingThroughAnOutage) {
  Up({"--hosts", "2", "--kms", "2", "--vms", "2", "--encrypted", "2", "--encrypted-by", "standard",
      "--simulated-time"});
  EXPECT_TRUE(Provider().is_default());
  ASSERT_THAT(Provider().standard_info().servers(), SizeIs(2));
  for (const char* vm : {"vm-1", "vm-2"}) {
    EXPECT_EQ(Vm(vm).key_id().provider_id(), kProvider);
    EXPECT_THAT(PowerOn(vm), IsOk());
  }
  // S60: one node dies, and the other one makes the next key.
  Do(&SimulatorStub::KillProcess, "kms-1");
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_YELLOW);
  EXPECT_EQ(Ended(Create("vm-3", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);

  // S52: all are dead, and what is registered goes on.
  Do(&SimulatorStub::KillProcess, "kms-2");
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_RED);
  EXPECT_THAT(PowerOff("vm-2"), IsOk());
  EXPECT_THAT(PowerOn("vm-2"), IsOk());

  // S53: nothing new is encrypted, and nothing of it is left.
  const v1::Task refused = Ended(Create("vm-4", "esx-1"));
  EXPECT_EQ(refused.state(), v1::Task::STATE_FAILED);
  EXPECT_EQ(refused.error().reason(), v1::REASON_KMS_UNREACHABLE);
  EXPECT_EQ(Vm("vm-4").name(), "");

  // S54: a host that boots now has no key.
  Do(&SimulatorStub::RebootProcess, "esx-1");
  Advance(absl::Minutes(2));
  EXPECT_EQ(Host("esx-1").connection_state(), v1::CONNECTION_STATE_CONNECTED);
  EXPECT_EQ(Host("esx-1").crypto_state(), v1::CRYPTO_STATE_INCAPABLE);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(Vm("vm-1").lock().cause(), v1::LOCK_CAUSE_KMS_CLUSTER_ERROR);
  EXPECT_EQ(Vm("vm-2").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_EQ(Vm("vm-2").power_state(), v1::POWER_STATE_ON);

  // The KMS is back, and locks stay until somebody ends them (S68).
  Do(&SimulatorStub::StartProcess, "kms-1");
  Do(&SimulatorStub::StartProcess, "kms-2");
  Advance(absl::Minutes(10));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_GREEN);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_LOCKED);
  v1::ConfigureCryptoKeyRequest configure;
  configure.set_host("esx-1");
  const auto configured = Ask<v1::Hosts>(kVCenter, &HostsStub::ConfigureCryptoKey, configure);
  ASSERT_THAT(configured, IsOk());
  EXPECT_THAT(configured->unlocked_vms(), Contains("vm-1"));
  EXPECT_EQ(Host("esx-1").crypto_state(), v1::CRYPTO_STATE_SAFE);
  EXPECT_EQ(Vm("vm-1").lock_state(), v1::LOCK_STATE_UNLOCKED);
  EXPECT_THAT(PowerOn("vm-1"), IsOk());
}

TEST_F(StandardProviderTest, S60_S63_S89_S94_FaultsOfAKmsAsItsVCenterSeesThem) {
  Up({"--hosts", "1", "--kms", "2", "--encrypted-by", "standard", "--simulated-time"});
  const std::vector<std::string> nodes = {"kms-1", "kms-2"};

  // S63: latency makes it slow, and no more.
  sim::v1::SetKmsFaultRequest slow;
  slow.mutable_fault()->mutable_latency()->set_seconds(2);
  for (const std::string& node : nodes) SetFault(node, slow);
  const v1::Task late = Create("slow", "esx-1");
  EXPECT_EQ(Now(late).state(), v1::Task::STATE_RUNNING);
  EXPECT_EQ(Ended(late).state(), v1::Task::STATE_SUCCEEDED);
  for (const std::string& node : nodes) SetFault(node, {});

  // A node dies between a key's commit and its answer: another one makes a key, and one is left.
  const int64_t before = Stats("kms-2").objects();
  // What a check has found dead comes last, until a check finds it well.
  Do(&SimulatorStub::StopProcess, "kms-2");
  Advance(absl::Minutes(6));
  Do(&SimulatorStub::StartProcess, "kms-2");
  sim::v1::SetKmsFaultRequest die;
  die.mutable_fault()->set_die_after_create(true);
  SetFault("kms-1", die);
  EXPECT_EQ(Ended(Create("next", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_EQ(cluster_->Process("kms-1").exit_status(), "exit 1");
  EXPECT_EQ(Provider().standard_info().unanswered_creates(), 1);
  EXPECT_EQ(Stats("kms-2").objects(), before + 2);
  Do(&SimulatorStub::StartProcess, "kms-1");

  // S60: a node that fails the whole of a request is passed over. It is kms-2, which did well last.
  sim::v1::SetKmsFaultRequest fail;
  fail.mutable_fault()->set_fail_request(1);
  SetFault("kms-2", fail);
  EXPECT_EQ(Stats("kms-1").requests().count("Create"), 0);
  EXPECT_EQ(Ended(Create("passed-on", "esx-1")).state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_EQ(Stats("kms-1").requests().count("Create"), 1);
  SetFault("kms-2", {});

  // No node answers in time.
  sim::v1::SetKmsFaultRequest hang;
  hang.mutable_fault()->set_mode(sim::v1::KmsFault::MODE_HANG);
  for (const std::string& node : nodes) SetFault(node, hang);
  const v1::Task never = Ended(Create("never", "esx-1"));
  EXPECT_EQ(never.error().reason(), v1::REASON_KMS_UNREACHABLE);
  // Each server is named, and once.
  EXPECT_THAT(never.error_message(), HasSubstr("kms-1: no answer within"));
  EXPECT_THAT(never.error_message(), HasSubstr("kms-2: no answer within"));
  for (const std::string& node : nodes) SetFault(node, {});

  // S94: a certificate that ends soon is warned of.
  sim::v1::SetKmsFaultRequest ends;
  ends.mutable_certificate_ends_in()->set_seconds(absl::ToInt64Seconds(absl::Hours(24 * 10)));
  SetFault("kms-2", ends);
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_YELLOW);
  EXPECT_THAT(Provider().standard_info().status_reason(), HasSubstr("certificate"));
  SetFault("kms-2", {});
  Advance(absl::Minutes(6));
  EXPECT_EQ(Provider().standard_info().status(), v1::KMS_STATUS_GREEN);

  // S89: the KMS answers, and says that it has no such key.
  sim::v1::SetKmsFaultRequest missing;
  missing.mutable_fault()->add_missing_keys(Vm("slow").key_id().key_id());
  for (const std::string& node : nodes) SetFault(node, missing);
  Do(&SimulatorStub::RebootProcess, "esx-1");
  Advance(absl::Minutes(2));
  EXPECT_EQ(Vm("slow").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_EQ(Vm("slow").lock().cause(), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  EXPECT_EQ(Vm("next").lock_state(), v1::LOCK_STATE_UNLOCKED);
}

}  // namespace
}  // namespace keysphere::tests
