#ifndef KEYSPHERE_TOOLS_BENCH_LAB_H_
#define KEYSPHERE_TOOLS_BENCH_LAB_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/clock/system_clock.h"
#include "common/crypto/hpke.h"
#include "common/crypto/secret_key.h"
#include "common/identity/authority.h"
#include "common/rpc/channel.h"
#include "keysphere/host/v1/host_management.grpc.pb.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"
#include "tools/bench/child.h"
#include "tools/bench/load.h"

namespace keysphere::bench {

inline constexpr char kController[] = "bench";
inline constexpr char kCluster[] = "bench-cluster";
inline constexpr char kAdministrator[] = "admin";

// What has to be known to start programs.
struct Programs {
  std::string host_agent;
  std::string controller;
  std::string echo_server;
};

// A folder in which programs are started, an authority for their certificates, and the clock.
// Removed with all that it holds.
class Lab {
 public:
  // Below `parent`: /dev/shm, where fsync costs nothing, or a folder on a disk.
  static absl::StatusOr<std::unique_ptr<Lab>> Create(const std::string& parent, Programs programs);
  ~Lab();

  clock::Clock* clock() { return &clock_; }
  const std::string& folder() const { return folder_; }
  const Programs& programs() const { return programs_; }

  // Writes a certificate for `name` into the folder.
  absl::StatusOr<identity::CredentialFiles> Issue(identity::Kind kind, const std::string& name);
  // --cert, --key, --ca of it.
  absl::StatusOr<std::vector<std::string>> CredentialFlags(identity::Kind kind,
                                                           const std::string& name);
  // To `peer`, as `own`.
  absl::StatusOr<std::shared_ptr<rpc::Channel>> Dial(
      identity::Kind own_kind, const std::string& own_name, identity::Kind peer_kind,
      const std::string& peer_name, const std::string& address, const std::string& authority = "");
  absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& argv,
                                               const std::string& name);
  void Rest(absl::Duration duration);

 private:
  Lab(std::string folder, Programs programs)
      : folder_(std::move(folder)), programs_(std::move(programs)) {}

  const std::string folder_;
  const Programs programs_;
  clock::SystemClock clock_;
  std::unique_ptr<identity::Authority> authority_;
};

// An echo server and a stub for it.
struct EchoServer {
  std::unique_ptr<Child> process;
  std::shared_ptr<rpc::Channel> channel;

  static absl::StatusOr<std::unique_ptr<EchoServer>> Start(Lab* lab, const std::string& name,
                                                           const std::string& layers);
};

// A native key provider's key as its controller has it.
struct ProviderKey {
  host::v1::KeyEntry entry;
  crypto::SecretKey kdk;

  static absl::StatusOr<ProviderKey> Make(const std::string& name);
};

// A real host agent, and its controller's part: this program.
class Host {
 public:
  // `tpm`: "none" or "2.0". Ready, not attached.
  static absl::StatusOr<std::unique_ptr<Host>> Start(Lab* lab, const std::string& name,
                                                     const std::string& tpm,
                                                     const std::string& allowed = kController);

  absl::Status Attach();
  // Encryption mode and one provider's key.
  absl::Status Prepare(const ProviderKey& key);
  // Powered-off encrypted VMs "vm-0" ... with a disk of 1 MiB.
  absl::Status CreateVms(const ProviderKey& key, int count);
  // The message that brings `key`, for this boot and attachment: under the one agreement that a
  // controller has with a host, or as the first key under an agreement of its own.
  absl::StatusOr<host::v1::SealedKey> Seal(const ProviderKey& key);
  absl::StatusOr<host::v1::SealedKey> SealFirst(const ProviderKey& key) const;
  absl::StatusOr<host::v1::HostStats> Stats();

  const std::string& name() const { return name_; }
  const std::string& address() const { return address_; }
  int64_t epoch() const { return epoch_; }
  Child& process() { return *process_; }
  // What it ran until it was ready. Nanoseconds.
  int64_t start_cpu() const { return start_cpu_; }
  host::v1::HostManagement::Stub& management() { return *management_; }
  host::v1::HostVms::Stub& vms() { return *vms_; }

 private:
  explicit Host(std::string name) : name_(std::move(name)) {}
  std::string SealInfo(const ProviderKey& key) const;

  const std::string name_;
  std::string address_;
  int64_t start_cpu_ = 0;
  std::unique_ptr<Child> process_;
  std::shared_ptr<rpc::Channel> channel_;
  std::unique_ptr<host::v1::HostManagement::Stub> management_;
  std::unique_ptr<host::v1::HostVms::Stub> vms_;
  std::unique_ptr<host::v1::HostStatus::Stub> status_;
  int64_t epoch_ = 0;
  std::string boot_id_;
  std::string transport_key_;
  absl::optional<crypto::TransportSession> session_;
};

// The error of a call, said what it was for.
absl::Status Check(const std::string& what, const grpc::Status& status);

}  // namespace keysphere::bench

#endif  // KEYSPHERE_TOOLS_BENCH_LAB_H_
