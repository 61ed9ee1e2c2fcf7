#include "tests/cluster/vcenter_node.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::tests {

using controller::access::Access;
using controller::encryption::HostEncryption;
using controller::encryption::VmEncryption;
using controller::hosts::Hosts;
using controller::inventory::Inventory;
using controller::providers::Providers;
using controller::remediation::Remediator;
using controller::vms::Vms;

namespace {

constexpr int64_t kDiskBytes = 64 << 10;

absl::Status StatusOfTask(const v1::Task& task) {
  if (task.state() == v1::Task::STATE_SUCCEEDED) return absl::OkStatus();
  if (task.state() != v1::Task::STATE_FAILED) return absl::InternalError("the task has not ended");
  status::ErrorBuilder error(task.error().reason(), task.error_message());
  for (const int other : task.error().others()) error.Other(static_cast<v1::Reason>(other));
  for (const auto& [key, value] : task.error().metadata()) error.With(key, value);
  return error;
}

}  // namespace

VCenterNode::Run::Run(VCenterNode* node)
    : executor(node->executor_, life), clock(node->executor_, life), store(&node->store_, life) {}

VCenterNode::VCenterNode(executor::SimulatedExecutor* executor, Settings settings,
                         FindHost find_host, FindKeyServer find_key_server, uint64_t seed)
    : executor_(executor),
      settings_(std::move(settings)),
      find_host_(std::move(find_host)),
      find_key_server_(std::move(find_key_server)),
      store_(executor),
      random_(seed) {
  caller.user = "administrator";
  caller.authority = absl::StrCat(Fqdn(), ":7443");
}

VCenterNode::~VCenterNode() {
  if (running()) Crash();
}

absl::Status VCenterNode::Start() {
  KS_CHECK(vcenter_ == nullptr);
  runs_.push_back(std::make_unique<Run>(this));
  Run& run = *runs_.back();
  VCenter::Options options;
  options.name = settings_.name;
  options.version = settings_.version;
  options.dns_names = {Fqdn()};
  options.administrators = {"administrator"};
  options.edition = settings_.edition;
  options.bundle_iterations = 1000;  // 0.4 ms
  VCenter::Deps deps{&run.store, &run.executor, &run.clock, &random_, this, this};
  KS_ASSIGN_OR_RETURN(vcenter_, VCenter::Create(std::move(options), deps));
  OnStrand([](VCenter& vcenter) { vcenter.Start(); });
  return absl::OkStatus();
}

void VCenterNode::OnStrand(std::function<void(VCenter&)> body) {
  vcenter_->strand()->Post([this, body = std::move(body)] { body(*vcenter_); });
  executor_->RunUntilIdle();
}

void VCenterNode::Stop() {
  OnStrand([](VCenter& vcenter) { vcenter.Stop(); });
  Destroy();
}

void VCenterNode::Crash() {
  // From here on nothing that it does has an effect; Stop ends what refers to its parts.
  runs_.back()->life.End();
  vcenter_->Stop();
  Destroy();
}

void VCenterNode::Destroy() {
  runs_.back()->life.End();
  vcenter_.reset();
  executor_->RunUntilIdle();
}

absl::StatusOr<std::unique_ptr<controller::hosts::HostLink>> VCenterNode::Connect(
    absl::string_view name, absl::string_view /*address*/) {
  HostNode* const host = find_host_(std::string(name));
  if (host == nullptr) {
    return status::Error(v1::REASON_HOST_NOT_RESPONDING, "no such host").Object("host", name);
  }
  return host->wire().Connect(settings_.name, runs_.back()->life);
}

namespace {

// A node, as one vCenter reaches it.
class KeyServerLink : public kmip::client::KeyServer {
 public:
  explicit KeyServerLink(FakeKms::Node* node) : node_(node) {}

  void CheckHealth(absl::Duration timeout, status::Callback<kmip::client::Health> done) override {
    node_->CheckHealth(timeout, std::move(done));
  }
  void CreateKey(absl::Duration timeout, status::Callback<std::string> done) override {
    node_->CreateKey(timeout, std::move(done));
  }
  void AddAttributes(std::string uid, std::vector<kmip::client::TextAttribute> attributes,
                     absl::Duration timeout, status::DoneCallback done) override {
    node_->AddAttributes(std::move(uid), std::move(attributes), timeout, std::move(done));
  }
  void GetKeys(std::vector<std::string> uids, absl::Duration timeout,
               status::Callback<Keys> done) override {
    node_->GetKeys(std::move(uids), timeout, std::move(done));
  }
  void Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) override {
    node_->Activate(std::move(uid), timeout, std::move(done));
  }
  void GetStates(std::vector<std::string> uids, absl::Duration timeout,
                 status::Callback<States> done) override {
    node_->GetStates(std::move(uids), timeout, std::move(done));
  }
  absl::optional<kmip::client::ServerCertificate> LastCertificate() override {
    return node_->LastCertificate();
  }

 private:
  FakeKms::Node* const node_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<kmip::client::KeyServer>> VCenterNode::Connect(
    const controller::kms::KmsConfig& /*config*/, const v1::KmsServer& server) {
  FakeKms::Node* const node = find_key_server_(server.address());
  if (node == nullptr) {
    return status::Error(v1::REASON_KMS_UNREACHABLE, "no such key server");
  }
  return std::unique_ptr<kmip::client::KeyServer>(std::make_unique<KeyServerLink>(node));
}

absl::Status VCenterNode::Authorize(const std::string& user, const std::string& method) {
  return vcenter_->access().AuthorizeMethod({user, caller.authority},
                                            absl::StrCat("/keysphere.v1.", method));
}

absl::Status VCenterNode::SetRole(const std::string& role,
                                  const std::vector<std::string>& privileges) {
  v1::SetRoleRequest request;
  request.mutable_role()->set_name(role);
  for (const std::string& privilege : privileges) request.mutable_role()->add_privileges(privilege);
  return Call(&VCenter::access, &Access::SetRole, request).status();
}

absl::Status VCenterNode::GiveRole(const std::string& user, const std::string& role) {
  v1::SetUserRoleRequest request;
  request.set_user(user);
  request.set_role(role);
  return Call(&VCenter::access, &Access::SetUserRole, request).status();
}

absl::StatusOr<v1::KeyProvider> VCenterNode::CreateNkp(const std::string& name, bool tpm_required) {
  v1::CreateKeyProviderRequest request;
  request.set_name(name);
  if (tpm_required) request.mutable_constraints()->set_tpm_required(true);
  return Call(&VCenter::providers, &Providers::CreateKeyProvider, request);
}

absl::StatusOr<v1::KeyProvider> VCenterNode::CreateSkp(const std::string& name,
                                                       const FakeKms& kms) {
  v1::CreateKeyProviderRequest request;
  request.set_name(name);
  for (const std::string& address : kms.addresses()) {
    request.mutable_standard()->add_servers()->set_address(address);
  }
  return Call(&VCenter::providers, &Providers::CreateKeyProvider, request);
}

absl::StatusOr<std::string> VCenterNode::BackUp(const std::string& name,
                                                const std::string& password) {
  v1::ExportKeyProviderRequest request;
  request.set_name(name);
  request.set_password(password);
  KS_ASSIGN_OR_RETURN(const v1::ExportKeyProviderResponse exported,
                      Call(&VCenter::providers, &Providers::ExportKeyProvider, request));
  v1::DownloadKeyProviderRequest download;
  download.set_name(name);
  download.set_token(exported.token());
  KS_ASSIGN_OR_RETURN(const std::string bundle,
                      Call(&VCenter::providers, &Providers::BeginDownload, download));
  auto finished = std::make_shared<absl::Status>(absl::InternalError("not answered"));
  OnStrand([this, download, finished](VCenter& vcenter) {
    vcenter.providers().DownloadFinished(
        caller, download, /*complete=*/true,
        [finished](absl::Status status) { *finished = std::move(status); });
  });
  KS_RETURN_IF_ERROR(*finished);
  return bundle;
}

absl::Status VCenterNode::CreateUsableNkp(const std::string& name, bool tpm_required) {
  KS_RETURN_IF_ERROR(CreateNkp(name, tpm_required).status());
  return BackUp(name).status();
}

absl::StatusOr<v1::ImportKeyProviderResponse> VCenterNode::Import(const std::string& bundle,
                                                                  const std::string& password) {
  v1::ImportKeyProviderRequest request;
  request.set_bundle(bundle);
  request.set_password(password);
  return Call(&VCenter::providers, &Providers::ImportKeyProvider, request);
}

absl::StatusOr<v1::KeyProvider> VCenterNode::Provider(const std::string& name) {
  v1::GetKeyProviderRequest request;
  request.set_name(name);
  return Call(&VCenter::providers, &Providers::GetKeyProvider, request);
}

absl::Status VCenterNode::SetDefault(const std::string& provider, const std::string& cluster) {
  v1::SetDefaultKeyProviderRequest request;
  request.set_name(provider);
  request.set_cluster(cluster);
  return Call(&VCenter::providers, &Providers::SetDefaultKeyProvider, request).status();
}

absl::Status VCenterNode::DeleteProvider(const std::string& name) {
  v1::DeleteKeyProviderRequest request;
  request.set_name(name);
  return Call(&VCenter::providers, &Providers::DeleteKeyProvider, request).status();
}

absl::Status VCenterNode::CreateCluster(const std::string& name) {
  v1::CreateClusterRequest request;
  request.set_name(name);
  return Call(&VCenter::inventory, &Inventory::CreateCluster, request).status();
}

absl::StatusOr<v1::Host> VCenterNode::AddHost(const std::string& host, const std::string& cluster,
                                              bool force) {
  v1::AddHostRequest request;
  request.set_name(host);
  request.set_address("127.0.0.1:9443");
  request.set_cluster(cluster);
  request.set_force(force);
  return Call(&VCenter::hosts, &Hosts::AddHost, request);
}

absl::StatusOr<v1::Host> VCenterNode::MoveHost(const std::string& host,
                                               const std::string& cluster) {
  v1::MoveHostRequest request;
  request.set_name(host);
  request.set_cluster(cluster);
  return Call(&VCenter::hosts, &Hosts::MoveHost, request);
}

absl::Status VCenterNode::RemoveHost(const std::string& host) {
  v1::RemoveHostRequest request;
  request.set_name(host);
  return Call(&VCenter::hosts, &Hosts::RemoveHost, request).status();
}

v1::Host VCenterNode::Host(const std::string& name) {
  v1::GetHostRequest request;
  request.set_name(name);
  const auto host = Call(&VCenter::hosts, &Hosts::GetHost, request);
  return host.ok() ? *host : v1::Host();
}

int64_t VCenterNode::Cached(const std::string& host, const std::string& provider) {
  const v1::Host described = Host(host);
  for (const v1::HeldStandardKeys& held : described.held_standard_keys()) {
    if (held.provider() == provider) return held.keys();
  }
  return 0;
}

bool VCenterNode::Holds(const std::string& host, const std::string& provider) {
  const v1::Host described = Host(host);
  for (const v1::HeldProvider& held : described.held_providers()) {
    if (held.provider() == provider) return true;
  }
  return false;
}

absl::Status VCenterNode::CreateVm(const std::string& host, const std::string& vm) {
  v1::CreateVmRequest request;
  request.set_host(host);
  request.set_name(vm);
  request.add_disks()->set_capacity_bytes(kDiskBytes);
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::CreateVm, request));
}

absl::Status VCenterNode::CreateEncryptedVm(const std::string& host, const std::string& vm,
                                            const std::string& provider) {
  v1::CreateVmRequest request;
  request.set_host(host);
  request.set_name(vm);
  request.add_disks()->set_capacity_bytes(kDiskBytes);
  request.mutable_crypto()->mutable_key()->set_provider_id(provider);
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::CreateVm, request));
}

absl::Status VCenterNode::EncryptVm(const std::string& vm, const std::string& provider) {
  v1::EncryptVmRequest request;
  request.set_vm(vm);
  request.mutable_crypto()->mutable_key()->set_provider_id(provider);
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::EncryptVm, request));
}

absl::Status VCenterNode::DecryptVm(const std::string& vm) {
  v1::DecryptVmRequest request;
  request.set_vm(vm);
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::DecryptVm, request));
}

absl::Status VCenterNode::RekeyVm(const std::string& vm, const std::string& provider, bool deep,
                                  bool skip_hard_disks) {
  v1::RekeyVmRequest request;
  request.set_vm(vm);
  request.set_depth(deep ? v1::REKEY_DEPTH_DEEP : v1::REKEY_DEPTH_SHALLOW);
  request.mutable_crypto()->mutable_key()->set_provider_id(provider);
  request.mutable_crypto()->set_skip_hard_disks(skip_hard_disks);
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::RekeyVm, request));
}

absl::Status VCenterNode::AddVtpm(const std::string& vm, bool encrypt) {
  v1::AddVtpmRequest request;
  request.set_vm(vm);
  if (encrypt) request.mutable_crypto();
  return Await(Call(&VCenter::vm_encryption, &VmEncryption::AddVtpm, request));
}

absl::StatusOr<v1::Vm> VCenterNode::Register(const std::string& host, const std::string& vm) {
  v1::RegisterVmRequest request;
  request.set_host(host);
  request.set_vmx_path(HostNode::VmxPath(vm));
  return Call(&VCenter::vms, &Vms::RegisterVm, request);
}

absl::Status VCenterNode::Unregister(const std::string& vm) {
  v1::UnregisterVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::UnregisterVm, request).status();
}

absl::StatusOr<v1::Vm> VCenterNode::Reload(const std::string& vm) {
  v1::ReloadVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::ReloadVm, request);
}

absl::Status VCenterNode::PowerOn(const std::string& vm) {
  v1::PowerOnVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::PowerOnVm, request).status();
}

absl::Status VCenterNode::PowerOff(const std::string& vm) {
  v1::PowerOffVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::PowerOffVm, request).status();
}

absl::Status VCenterNode::Reset(const std::string& vm) {
  v1::ResetVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::ResetVm, request).status();
}

absl::StatusOr<v1::Vm> VCenterNode::Unlock(const std::string& vm) {
  v1::UnlockVmRequest request;
  request.set_vm(vm);
  return Call(&VCenter::vms, &Vms::UnlockVm, request);
}

v1::Vm VCenterNode::Vm(const std::string& vm) {
  v1::GetVmRequest request;
  request.set_vm(vm);
  const auto found = Call(&VCenter::vms, &Vms::GetVm, request);
  return found.ok() ? *found : v1::Vm();
}

v1::LockExplanation VCenterNode::Explain(const std::string& vm) {
  v1::ExplainVmRequest request;
  request.set_vm(vm);
  const auto explained = Call(&VCenter::vms, &Vms::ExplainVm, request);
  return explained.ok() ? explained->explanation() : v1::LockExplanation();
}

absl::StatusOr<v1::RemediateResponse> VCenterNode::Remediate(const std::string& host) {
  v1::RemediateRequest request;
  request.set_host(host);
  return Call(&VCenter::remediator, &Remediator::Remediate, request);
}

absl::StatusOr<v1::ConfigureCryptoKeyResponse> VCenterNode::ConfigureCryptoKey(
    const std::string& host, const std::string& provider) {
  v1::ConfigureCryptoKeyRequest request;
  request.set_host(host);
  if (!provider.empty()) request.mutable_key()->set_provider_id(provider);
  return Call(&VCenter::host_encryption, &HostEncryption::ConfigureCryptoKey, request);
}

absl::Status VCenterNode::SetOption(const std::string& name, const std::string& value) {
  v1::SetOptionRequest request;
  request.set_name(name);
  request.set_value(value);
  return Call(&VCenter::options, &controller::options::Options::SetOption, request).status();
}

std::vector<v1::Event> VCenterNode::Events(const std::string& type_prefix,
                                           const std::string& object) {
  v1::ListEventsRequest request;
  request.set_page_size(1000);
  request.add_type_prefixes(type_prefix);
  request.set_object(object);
  request.set_ascending(true);
  const auto listed = Call(&VCenter::events, &controller::events::EventLog::ListEvents, request);
  if (!listed.ok()) return {};
  return {listed->events().begin(), listed->events().end()};
}

std::vector<v1::Alarm> VCenterNode::Alarms(const std::string& object) {
  v1::ListAlarmsRequest request;
  request.set_object(object);
  const auto listed = Call(&VCenter::alarms, &controller::alarms::Alarms::ListAlarms, request);
  if (!listed.ok()) return {};
  return {listed->alarms().begin(), listed->alarms().end()};
}

bool VCenterNode::Shows(const std::string& alarm, const std::string& object) {
  for (const v1::Alarm& showing : Alarms(object)) {
    if (showing.name() == alarm) return true;
  }
  return false;
}

absl::Status VCenterNode::Await(const absl::StatusOr<v1::Task>& task) {
  if (!task.ok()) return task.status();
  auto last = std::make_shared<v1::Task>();
  OnStrand([id = task->id(), last](VCenter& vcenter) {
    vcenter.tasks()
        .Watch(id, [last](const v1::Task& now, bool /*last*/) { *last = now; })
        .status()
        .IgnoreError();
  });
  executor_->RunUntil(
      [&last] {
        return last->state() == v1::Task::STATE_SUCCEEDED ||
               last->state() == v1::Task::STATE_FAILED;
      },
      absl::Hours(2));
  executor_->RunUntilIdle();
  return StatusOfTask(*last);
}

}  // namespace keysphere::tests
