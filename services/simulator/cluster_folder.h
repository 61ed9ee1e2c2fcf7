#ifndef KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_FOLDER_H_
#define KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_FOLDER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/files/file_system.h"
#include "common/identity/authority.h"
#include "common/identity/credentials.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/simulator.pb.h"

namespace keysphere::simulator {

inline constexpr char kTrustDomain[] = "keysphere.test";
// The user that starts a cluster: administrator of its controllers and hosts, and the only one that
// may use its simulator.
inline constexpr char kAdministrator[] = "administrator";
// The name of the simulator's own certificate; not given to a user.
inline constexpr char kSimulatorName[] = "simulator";
inline constexpr char kDatastore[] = "ds1";
// The user whose certificate is for clients of the KMS; the keys belong to it.
inline constexpr char kKmipClient[] = "kmip-client";

// The folder of a running cluster (0700):
//   .keysphere-cluster    says that the rest is a cluster's; locked while its simulator runs
//   cluster.json          what clients need to know
//   clock                 the page of simulated time
//   pki/                  ca.crt, ca.key, and KIND-NAME.crt and .key of each process and user
//   state/NAME/           of each process; tpm/NAME/ apart from it, as the TPM is hardware
//   state/kms/            of all KMS nodes together
//   datastores/ds1/       mounted by every host
//   logs/NAME.log
// Thread safe.
class ClusterFolder {
 public:
  struct Options {
    // Made if it is not there, and must be empty; none given: a new one in `temporary`.
    std::string path;
    std::string temporary = "/tmp";
    // Everything stays when this object goes. Else the content is removed, and the folder too if it
    // was made here.
    bool keep = false;
    absl::Time now;  // certificates serve from a day before it
  };

  // INVALID_STATE: the folder is not empty; the next step says how it becomes so where a cluster
  // left something.
  static absl::StatusOr<std::unique_ptr<ClusterFolder>> Make(const files::FileSystem* files,
                                                             const Options& options);
  // Removes what a cluster left whose simulator was killed, and the folder too if that made it.
  // True: it was to be kept, and was. NOT_FOUND: there is none; VM_IN_USE: its simulator runs.
  static absl::StatusOr<bool> RemoveDead(const files::FileSystem* files, const std::string& path);
  ~ClusterFolder();
  ClusterFolder(const ClusterFolder&) = delete;
  ClusterFolder& operator=(const ClusterFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string ClusterFile() const { return path_ + "/cluster.json"; }
  std::string ClockPage() const { return path_ + "/clock"; }
  std::string Datastore() const { return path_ + "/datastores/" + kDatastore; }
  // These exist once they were asked for.
  std::string StateFolder(absl::string_view name) const;
  std::string TpmFolder(absl::string_view name) const;
  std::string LogFile(absl::string_view name) const;

  // A key pair and certificate. `ip` may be empty. A user's come in place of the former; a process
  // may have several, of which the second's files are KIND-NAME-2 and so on.
  absl::StatusOr<identity::CredentialFiles> Issue(identity::Kind kind, const std::string& name,
                                                  const std::string& ip,
                                                  const identity::Validity& validity);
  // With 20 years from the folder's making.
  absl::StatusOr<identity::CredentialFiles> Issue(identity::Kind kind, const std::string& name,
                                                  const std::string& ip) {
    return Issue(kind, name, ip, validity_);
  }

  // Replaces cluster.json whole.
  absl::Status WriteClusterFile(const sim::v1::SimulatedCluster& cluster) const;

 private:
  ClusterFolder(const files::FileSystem* files, std::string path, bool made, bool keep,
                identity::Validity validity);
  std::string Folder(absl::string_view kind, absl::string_view name) const;

  const files::FileSystem* const files_;
  const std::string path_;
  const bool made_;
  const bool keep_;
  const identity::Validity validity_;
  files::FileLock mark_;
  std::unique_ptr<identity::Authority> authority_;
  sync::Mutex issue_mutex_;  // held while the two files of a certificate are written
};

// The proto3 JSON of cluster.json, and back. INVALID_ARGUMENT: not such a text.
std::string ClusterToJson(const sim::v1::SimulatedCluster& cluster);
// In one line, with the fields that are set alone.
std::string ClusterToJsonLine(const sim::v1::SimulatedCluster& cluster);
absl::StatusOr<sim::v1::SimulatedCluster> ClusterFromJson(absl::string_view json);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_CLUSTER_FOLDER_H_
