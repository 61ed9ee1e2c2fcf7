#include "tests/processes/host_driver.h"

#include <random>

#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/keyset/keyset.h"
#include "common/random/random.h"
#include "common/status/status.h"

namespace keysphere::processes {
namespace {

constexpr int64_t kDiskBytes = 64 << 10;

std::string NewUuid() {
  static random::SystemRandom random;
  return random.Uuid();
}

}  // namespace

NativeProvider NativeProvider::Make(const std::string& name, bool tpm_required) {
  auto kdk = crypto::SecretKey::Random(crypto::kKeyBytes);
  KS_CHECK(kdk.ok());
  return {name, NewUuid(), std::make_shared<const crypto::SecretKey>(*std::move(kdk)),
          tpm_required};
}

host::v1::KeyEntry NativeProvider::Entry() const {
  host::v1::KeyEntry entry;
  entry.set_provider(name);
  entry.set_type(v1::PROVIDER_TYPE_NATIVE);
  entry.set_key_id(key_id);
  entry.set_key_check_value(crypto::KeyCheckValue(*kdk).value());
  entry.set_tpm_required(tpm_required);
  return entry;
}

std::string GuestData(uint64_t seed, size_t bytes) {
  std::mt19937_64 random(seed);
  std::string data(bytes, '\0');
  for (char& byte : data) byte = static_cast<char>(random());
  return data;
}

absl::StatusOr<host::v1::AttachResponse> HostDriver::Attach(bool force,
                                                            const std::string& cluster) {
  host::v1::AttachRequest request;
  request.set_force(force);
  request.set_cluster(cluster);
  auto response = AsController().Call<HostManagement>(&ManagementCalls::Attach, request);
  if (response.ok()) {
    if (response->epoch() != epoch_) generation_ = 0;
    epoch_ = response->epoch();
  }
  return response;
}

absl::StatusOr<host::v1::ApplyKeysRequest> HostDriver::KeysRequest(
    const std::vector<NativeProvider>& providers) {
  KS_ASSIGN_OR_RETURN(const host::v1::GetHostStatusResponse status, Status());
  host::v1::ApplyKeysRequest request;
  request.set_epoch(epoch_);
  request.set_generation(++generation_);
  request.set_cluster("cluster-a");
  for (const NativeProvider& provider : providers) {
    host::v1::SealedKey* const key = request.add_keys();
    *key->mutable_entry() = provider.Entry();
    const std::string info =
        keyset::SealInfo(host_->name(), status.boot_id(), epoch_, provider.name, provider.key_id);
    KS_ASSIGN_OR_RETURN(*key->mutable_sealed(),
                        crypto::SealTo(status.transport_public_key(), info, *provider.kdk));
  }
  return request;
}

absl::StatusOr<host::v1::ApplyKeysResponse> HostDriver::Add(
    const std::vector<NativeProvider>& providers) {
  KS_ASSIGN_OR_RETURN(const host::v1::ApplyKeysRequest request, KeysRequest(providers));
  return AsController().Call<HostManagement>(&ManagementCalls::ApplyKeys, request);
}

absl::StatusOr<host::v1::ApplyKeysResponse> HostDriver::Tick(
    const std::vector<NativeProvider>& providers) {
  KS_ASSIGN_OR_RETURN(host::v1::ApplyKeysRequest request, KeysRequest(providers));
  request.set_allow_removal(true);
  return AsController().Call<HostManagement>(&ManagementCalls::ApplyKeys, request);
}

absl::Status HostDriver::MakeSafe(const NativeProvider& provider) {
  host::v1::SetCryptoModeRequest request;
  request.set_epoch(epoch_);
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_PREPARE);
  KS_RETURN_IF_ERROR(
      AsController().Call<HostManagement>(&ManagementCalls::SetCryptoMode, request).status());
  request.set_action(host::v1::SetCryptoModeRequest::ACTION_ENABLE);
  request.mutable_host_key()->set_provider_id(provider.name);
  request.mutable_host_key()->set_key_id(NewUuid());
  return AsController().Call<HostManagement>(&ManagementCalls::SetCryptoMode, request).status();
}

absl::Status HostDriver::Prepare(const NativeProvider& provider) {
  KS_RETURN_IF_ERROR(Attach().status());
  KS_RETURN_IF_ERROR(Add({provider}).status());
  return MakeSafe(provider);
}

absl::StatusOr<host::v1::GetHostStatusResponse> HostDriver::Status() {
  return AsUser().Call<HostStatus>(&StatusCalls::GetHostStatus, host::v1::GetHostStatusRequest());
}

absl::StatusOr<host::v1::HostVm> HostDriver::Create(const std::string& vm) {
  host::v1::CreateHostVmRequest request;
  request.set_epoch(epoch_);
  request.set_name(vm);
  request.set_guest_os("debian12-64");
  request.add_disks()->set_capacity_bytes(kDiskBytes);
  return AsController().Call<HostVms>(&VmCalls::CreateHostVm, request);
}

absl::StatusOr<host::v1::HostVm> HostDriver::Encrypt(const std::string& vm,
                                                     const NativeProvider& provider) {
  host::v1::EncryptHostVmRequest request;
  request.set_epoch(epoch_);
  request.set_vm(vm);
  request.mutable_key()->set_provider_id(provider.name);
  request.mutable_key()->set_key_id(NewUuid());
  return AsController().Call<HostVms>(&VmCalls::EncryptHostVm, request);
}

absl::Status HostDriver::CreateEncrypted(const std::string& vm, const NativeProvider& provider,
                                         const std::string& data) {
  KS_RETURN_IF_ERROR(Create(vm).status());
  KS_RETURN_IF_ERROR(Encrypt(vm, provider).status());
  KS_RETURN_IF_ERROR(PowerOn(vm).status());
  KS_RETURN_IF_ERROR(Write(vm, data));
  return PowerOff(vm).status();
}

absl::StatusOr<v1::Vm> HostDriver::Get(const std::string& vm) {
  host::v1::GetHostVmRequest request;
  request.set_vm(vm);
  KS_ASSIGN_OR_RETURN(host::v1::HostVm answer,
                      AsUser().Call<HostVms>(&VmCalls::GetHostVm, request));
  return answer.vm();
}

absl::StatusOr<host::v1::HostVm> HostDriver::Register(const std::string& vmx_path) {
  host::v1::RegisterHostVmRequest request;
  request.set_vmx_path(vmx_path);
  return AsUser().Call<HostVms>(&VmCalls::RegisterHostVm, request);
}

absl::Status HostDriver::Unregister(const std::string& vm) {
  host::v1::UnregisterHostVmRequest request;
  request.set_vm(vm);
  return AsUser().Call<HostVms>(&VmCalls::UnregisterHostVm, request).status();
}

absl::StatusOr<host::v1::HostVm> HostDriver::PowerOn(const std::string& vm) {
  host::v1::PowerOnHostVmRequest request;
  request.set_vm(vm);
  return AsUser().Call<HostVms>(&VmCalls::PowerOnHostVm, request);
}

absl::StatusOr<host::v1::HostVm> HostDriver::PowerOff(const std::string& vm) {
  host::v1::PowerOffHostVmRequest request;
  request.set_vm(vm);
  return AsUser().Call<HostVms>(&VmCalls::PowerOffHostVm, request);
}

absl::Status HostDriver::Write(const std::string& vm, const std::string& data) {
  host::v1::WriteGuestDiskRequest request;
  request.set_vm(vm);
  request.set_data(data);
  request.set_flush(true);
  return AsUser().Call<HostVms>(&VmCalls::WriteGuestDisk, request).status();
}

absl::StatusOr<std::string> HostDriver::Read(const std::string& vm, size_t bytes) {
  host::v1::ReadGuestDiskRequest request;
  request.set_vm(vm);
  request.set_length(static_cast<int32_t>(bytes));
  KS_ASSIGN_OR_RETURN(host::v1::ReadGuestDiskResponse response,
                      AsUser().Call<HostVms>(&VmCalls::ReadGuestDisk, request));
  return response.data();
}

absl::StatusOr<std::string> HostDriver::OpenAndRead(const std::string& vm, size_t bytes) {
  KS_RETURN_IF_ERROR(PowerOn(vm).status());
  KS_ASSIGN_OR_RETURN(std::string data, Read(vm, bytes));
  KS_RETURN_IF_ERROR(PowerOff(vm).status());
  return data;
}

}  // namespace keysphere::processes
