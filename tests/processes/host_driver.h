#ifndef KEYSPHERE_TESTS_PROCESSES_HOST_DRIVER_H_
#define KEYSPHERE_TESTS_PROCESSES_HOST_DRIVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret_key.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"
#include "tests/processes/lab.h"

namespace keysphere::processes {

using host::v1::HostManagement;
using host::v1::HostStatus;
using host::v1::HostVms;
using ManagementCalls = class HostManagement::Stub::async;
using StatusCalls = class HostStatus::Stub::async;
using VmCalls = class HostVms::Stub::async;

// A native key provider whose key the test knows.
struct NativeProvider {
  std::string name;
  std::string key_id;
  std::shared_ptr<const crypto::SecretKey> kdk;
  bool tpm_required = false;

  static NativeProvider Make(const std::string& name, bool tpm_required = false);
  host::v1::KeyEntry Entry() const;
};

// A VM's data: what a guest wrote, from a seed.
std::string GuestData(uint64_t seed, size_t bytes = 8192);

// Plays the controller of one host, and a user with the host role beside it.
class HostDriver {
 public:
  explicit HostDriver(HostProcess* host, const std::string& controller = "vcenter-a")
      : host_(host), controller_(controller) {}

  HostProcess& host() { return *host_; }
  Caller AsController() { return host_->As(identity::Kind::kController, controller_); }
  // The user "root", who has the host role.
  Caller AsUser() { return host_->As(identity::Kind::kUser, "root"); }

  absl::StatusOr<host::v1::AttachResponse> Attach(bool force = false,
                                                  const std::string& cluster = "cluster-a");
  // The desired state with these providers, sealed to this boot of the host.
  absl::StatusOr<host::v1::ApplyKeysRequest> KeysRequest(
      const std::vector<NativeProvider>& providers);
  absl::StatusOr<host::v1::ApplyKeysResponse> Add(const std::vector<NativeProvider>& providers);
  // A tick: the host holds these alone afterwards.
  absl::StatusOr<host::v1::ApplyKeysResponse> Tick(const std::vector<NativeProvider>& providers);
  // Encryption mode on, with a host key of this provider.
  absl::Status MakeSafe(const NativeProvider& provider);
  // Attach, Add and MakeSafe.
  absl::Status Prepare(const NativeProvider& provider);

  absl::StatusOr<host::v1::GetHostStatusResponse> Status();
  // One disk of 64 KiB.
  absl::StatusOr<host::v1::HostVm> Create(const std::string& vm);
  absl::StatusOr<host::v1::HostVm> Encrypt(const std::string& vm, const NativeProvider& provider);
  // Create, Encrypt, power on, write `data` durably and power off.
  absl::Status CreateEncrypted(const std::string& vm, const NativeProvider& provider,
                               const std::string& data);

  // As the user.
  absl::StatusOr<v1::Vm> Get(const std::string& vm);
  absl::StatusOr<host::v1::HostVm> Register(const std::string& vmx_path);
  absl::Status Unregister(const std::string& vm);
  absl::StatusOr<host::v1::HostVm> PowerOn(const std::string& vm);
  absl::StatusOr<host::v1::HostVm> PowerOff(const std::string& vm);
  absl::Status Write(const std::string& vm, const std::string& data);
  absl::StatusOr<std::string> Read(const std::string& vm, size_t bytes);
  // Powers on, reads, powers off: what the guest has.
  absl::StatusOr<std::string> OpenAndRead(const std::string& vm, size_t bytes);

  int64_t epoch() const { return epoch_; }
  int64_t& generation() { return generation_; }
  std::string Folder(const std::string& vm) const { return host_->datastore() + "/" + vm; }

 private:
  HostProcess* const host_;
  const std::string controller_;
  int64_t epoch_ = 0;
  int64_t generation_ = 0;
};

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_HOST_DRIVER_H_
