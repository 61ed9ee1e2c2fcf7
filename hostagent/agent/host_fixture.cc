#include "hostagent/agent/host_fixture.h"

#include <stdlib.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/keyset/keyset.h"

namespace keysphere::hostagent::agent {
namespace {

constexpr int64_t kDiskBytes = 64 << 10;

std::string MakeTemporaryFolder() {
  std::string path = ::testing::TempDir() + "/ks-host-XXXXXX";
  KS_CHECK(mkdtemp(&path[0]) != nullptr);
  return path;
}

}  // namespace

TestProvider TestProvider::Make(const std::string& name, bool tpm_required) {
  static random::SystemRandom random;
  auto kdk = crypto::SecretKey::Random(crypto::kKeyBytes);
  KS_CHECK(kdk.ok());
  return {name, random.Uuid(), std::make_shared<const crypto::SecretKey>(*std::move(kdk)),
          tpm_required};
}

host::v1::KeyEntry TestProvider::Entry() const {
  host::v1::KeyEntry entry;
  entry.set_provider(name);
  entry.set_type(v1::PROVIDER_TYPE_NATIVE);
  entry.set_key_id(key_id);
  entry.set_key_check_value(crypto::KeyCheckValue(*kdk).value());
  entry.set_tpm_required(tpm_required);
  return entry;
}

std::string TestStandardProvider::NewKey() {
  static random::SystemRandom random;
  auto key = crypto::SecretKey::Random(crypto::kKeyBytes);
  KS_CHECK(key.ok());
  const std::string id = random.Uuid();
  keys[id] = std::make_shared<const crypto::SecretKey>(*std::move(key));
  return id;
}

std::string TestStandardProvider::CheckValue(const std::string& key_id) const {
  return crypto::KeyCheckValue(*keys.at(key_id)).value();
}

v1::CryptoKeyId TestStandardProvider::Id(const std::string& key_id) const {
  v1::CryptoKeyId id;
  id.set_provider_id(name);
  id.set_key_id(key_id);
  return id;
}

host::v1::StandardProviderState TestStandardProvider::State() const {
  host::v1::StandardProviderState state;
  state.set_provider(name);
  return state;
}

identity::Identity ControllerId(const std::string& name) {
  return {"keysphere.test", identity::Kind::kController, name};
}

identity::Identity UserId(const std::string& name) {
  return {"keysphere.test", identity::Kind::kUser, name};
}

TestHost::TestHost(executor::SimulatedExecutor* executor, Settings settings)
    : executor_(executor),
      settings_(std::move(settings)),
      root_(MakeTemporaryFolder()),
      state_dir_(root_ + "/state"),
      random_(1),
      hardware_(std::make_shared<tpm::FakeTpmHardware>(settings_.tpm)) {
  if (settings_.datastore.empty()) settings_.datastore = root_ + "/ds1";
  KS_CHECK(files_.MakeFolders(settings_.datastore).ok());
}

TestHost::~TestHost() {
  agent_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

absl::Status TestHost::Start() {
  tpm_ = std::make_unique<tpm::FakeTpm>(hardware_);
  HostOptions options;
  options.name = settings_.name;
  options.version = settings_.version;
  options.clock = executor_;
  options.executor = executor_;
  options.random = &random_;
  options.tpm = tpm_.get();
  options.files = &files_;
  options.state_dir = state_dir_;
  options.datastores = {{"ds1", settings_.datastore}};
  options.access.allowed_controllers = {"vcenter-a", "vcenter-b"};
  options.access.administrators = {"root"};
  options.logger = &logger_;
  options.memory = &memory_;
  agent_ = std::make_unique<HostAgent>(std::move(options));
  absl::Status booted = absl::InternalError("no answer");
  agent_->Boot([&booted](const absl::Status& status) { booted = status; });
  executor_->RunUntilIdle();
  return booted;
}

void TestHost::Kill() {
  agent_.reset();
  tpm_.reset();
}

absl::Status TestHost::Stop() {
  absl::Status stopped = absl::InternalError("no answer");
  agent_->Shutdown([&stopped](const absl::Status& status) { stopped = status; });
  executor_->RunUntilIdle();
  Kill();
  return stopped;
}

void TestHost::Reboot() {
  ASSERT_THAT(Stop(), status::IsOk());
  ASSERT_THAT(Start(), status::IsOk());
}

absl::StatusOr<host::v1::AttachResponse> TestHost::Attach(const std::string& controller,
                                                          const std::string& cluster, bool force) {
  host::v1::AttachRequest request;
  request.set_cluster(cluster);
  request.set_force(force);
  auto response = Call(&HostAgent::Attach, ControllerId(controller), request);
  if (response.ok()) {
    controller_ = controller;
    if (response->epoch() != epoch_) generation_ = 0;
    epoch_ = response->epoch();
  }
  return response;
}

host::v1::ApplyKeysRequest TestHost::KeysRequest(const std::vector<TestProvider>& providers) {
  const host::v1::GetHostStatusResponse status = Status();
  host::v1::ApplyKeysRequest request;
  request.set_generation(++generation_);
  request.set_cluster("cluster-a");
  for (const TestProvider& provider : providers) {
    host::v1::SealedKey* key = request.add_keys();
    *key->mutable_entry() = provider.Entry();
    const std::string info =
        keyset::SealInfo(settings_.name, status.boot_id(), epoch_, provider.name, provider.key_id);
    key->set_sealed(crypto::SealTo(status.transport_public_key(), info, *provider.kdk).value());
  }
  return request;
}

absl::StatusOr<host::v1::ApplyKeysResponse> TestHost::Add(
    const std::vector<TestProvider>& providers, bool first_sync) {
  host::v1::ApplyKeysRequest request = KeysRequest(providers);
  request.set_first_sync(first_sync);
  return Manage(&HostAgent::ApplyKeys, request);
}

absl::StatusOr<host::v1::ApplyKeysResponse> TestHost::Tick(
    const std::vector<TestProvider>& providers,
    const std::vector<host::v1::WithheldProvider>& withheld) {
  host::v1::ApplyKeysRequest request = KeysRequest(providers);
  request.set_allow_removal(true);
  for (const host::v1::WithheldProvider& provider : withheld) *request.add_withheld() = provider;
  return Manage(&HostAgent::ApplyKeys, request);
}

absl::Status TestHost::MakeSafe(const TestProvider& provider) {
  host::v1::SetCryptoModeRequest request;
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_PREPARE);
  KS_RETURN_IF_ERROR(Manage(&HostAgent::SetCryptoMode, request).status());
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
  request.mutable_host_key()->set_provider_id(provider.name);
  request.mutable_host_key()->set_key_id(random_.Uuid());
  return Manage(&HostAgent::SetCryptoMode, request).status();
}

host::v1::SealedStandardKeys TestHost::Seal(const TestStandardProvider& provider,
                                            const std::vector<std::string>& key_ids) {
  const host::v1::GetHostStatusResponse status = Status();
  auto session = crypto::TransportSession::Begin(status.transport_public_key());
  KS_CHECK(session.ok());
  host::v1::SealedStandardKeys sealed;
  sealed.set_provider(provider.name);
  for (const std::string& key_id : key_ids) {
    host::v1::SealedStandardKeys::Key* key = sealed.add_keys();
    key->set_key_id(key_id);
    const std::string info =
        keyset::SealInfo(settings_.name, status.boot_id(), epoch_, provider.name, key_id);
    key->set_sealed(session->Seal(info, *provider.keys.at(key_id)).value());
  }
  return sealed;
}

absl::StatusOr<host::v1::ApplyKeysResponse> TestHost::AddStandard(
    const TestStandardProvider& provider, const std::vector<std::string>& key_ids,
    bool first_sync) {
  host::v1::ApplyKeysRequest request = KeysRequest({});
  *request.add_standard_keys() = Seal(provider, key_ids);
  *request.add_standard_providers() = provider.State();
  request.set_first_sync(first_sync);
  return Manage(&HostAgent::ApplyKeys, request);
}

absl::StatusOr<host::v1::ApplyKeysResponse> TestHost::TickStandard(
    const std::vector<host::v1::StandardProviderState>& standard,
    const std::vector<TestProvider>& native) {
  host::v1::ApplyKeysRequest request = KeysRequest(native);
  request.set_allow_removal(true);
  for (const auto& state : standard) *request.add_standard_providers() = state;
  return Manage(&HostAgent::ApplyKeys, request);
}

absl::Status TestHost::MakeSafe(const TestStandardProvider& provider, const std::string& key_id) {
  host::v1::SetCryptoModeRequest request;
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_PREPARE);
  KS_RETURN_IF_ERROR(Manage(&HostAgent::SetCryptoMode, request).status());
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
  *request.mutable_host_key() = provider.Id(key_id);
  *request.mutable_host_key_material() = Seal(provider, {key_id});
  return Manage(&HostAgent::SetCryptoMode, request).status();
}

host::v1::GetHostStatusResponse TestHost::Status() {
  return Direct(&HostAgent::GetHostStatus, host::v1::GetHostStatusRequest()).value();
}

absl::StatusOr<host::v1::HostVm> TestHost::Create(const std::string& name) {
  host::v1::CreateHostVmRequest request;
  request.set_name(name);
  request.add_disks()->set_capacity_bytes(kDiskBytes);
  request.set_guest_os("debian12-64");
  return Manage(&HostAgent::CreateHostVm, request);
}

absl::StatusOr<host::v1::HostVm> TestHost::CreateEncrypted(const std::string& name,
                                                           const TestProvider& provider) {
  KS_RETURN_IF_ERROR(Create(name).status());
  return Encrypt(name, provider);
}

absl::StatusOr<host::v1::HostVm> TestHost::Encrypt(const std::string& name,
                                                   const TestProvider& provider) {
  host::v1::EncryptHostVmRequest request;
  request.set_vm(name);
  request.mutable_key()->set_provider_id(provider.name);
  request.mutable_key()->set_key_id(random_.Uuid());
  return Manage(&HostAgent::EncryptHostVm, request);
}

absl::StatusOr<host::v1::HostVm> TestHost::Encrypt(const std::string& name,
                                                   const v1::CryptoKeyId& key) {
  host::v1::EncryptHostVmRequest request;
  request.set_vm(name);
  *request.mutable_key() = key;
  return Manage(&HostAgent::EncryptHostVm, request);
}

absl::StatusOr<host::v1::HostVm> TestHost::CreateEncrypted(const std::string& name,
                                                           const v1::CryptoKeyId& key) {
  KS_RETURN_IF_ERROR(Create(name).status());
  return Encrypt(name, key);
}

absl::StatusOr<host::v1::HostVm> TestHost::Register(const std::string& name) {
  host::v1::RegisterHostVmRequest request;
  request.set_vmx_path(absl::StrCat("[ds1] ", name, "/", name, ".vmx"));
  return Manage(&HostAgent::RegisterHostVm, request);
}

absl::Status TestHost::Unregister(const std::string& name) {
  host::v1::UnregisterHostVmRequest request;
  request.set_vm(name);
  return Manage(&HostAgent::UnregisterHostVm, request).status();
}

absl::StatusOr<host::v1::HostVm> TestHost::PowerOn(const std::string& name, bool may_enable_host) {
  host::v1::PowerOnHostVmRequest request;
  request.set_vm(name);
  request.set_may_enable_host(may_enable_host);
  return Manage(&HostAgent::PowerOnHostVm, request);
}

absl::StatusOr<host::v1::HostVm> TestHost::PowerOff(const std::string& name) {
  host::v1::PowerOffHostVmRequest request;
  request.set_vm(name);
  return Manage(&HostAgent::PowerOffHostVm, request);
}

absl::StatusOr<host::v1::HostVm> TestHost::Unlock(const std::string& name) {
  host::v1::UnlockHostVmRequest request;
  request.set_vm(name);
  return Manage(&HostAgent::UnlockHostVm, request);
}

absl::StatusOr<host::v1::UnlockAllHostVmsResponse> TestHost::UnlockAll() {
  return Manage(&HostAgent::UnlockAllHostVms, host::v1::UnlockAllHostVmsRequest());
}

v1::Vm TestHost::Vm(const std::string& name) {
  host::v1::GetHostVmRequest request;
  request.set_vm(name);
  return Direct(&HostAgent::GetHostVm, request).value().vm();
}

absl::Status TestHost::Write(const std::string& name, const std::string& data) {
  host::v1::WriteGuestDiskRequest request;
  request.set_vm(name);
  request.set_data(data);
  request.set_flush(true);
  return Manage(&HostAgent::WriteGuestDisk, request).status();
}

absl::StatusOr<std::string> TestHost::Read(const std::string& name, int length) {
  host::v1::ReadGuestDiskRequest request;
  request.set_vm(name);
  request.set_length(length);
  const auto response = Manage(&HostAgent::ReadGuestDisk, request);
  KS_RETURN_IF_ERROR(response.status());
  return response->data();
}

HostTest::HostTest()
    : executor_(1, absl::FromUnixSeconds(1'700'000'000)),
      host_(std::make_unique<TestHost>(&executor_, TestHost::Settings())) {
  EXPECT_THAT(host_->Start(), status::IsOk());
  EXPECT_THAT(host_->Attach("vcenter-a"), status::IsOk());
}

void HostTest::UseProvider(const TestProvider& provider) {
  ASSERT_THAT(host_->Add({provider}), status::IsOk());
  ASSERT_THAT(host_->MakeSafe(provider), status::IsOk());
}

}  // namespace keysphere::hostagent::agent
