#ifndef KEYSPHERE_CONTROLLER_INVENTORY_INVENTORY_H_
#define KEYSPHERE_CONTROLLER_INVENTORY_INVENTORY_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/inventory/records.pb.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::inventory {

// The clusters and hosts that belong to this vCenter: durable, and no more than that. What hosts
// are doing is in controller/hosts. Lives on the controller's strand; memory changes after the
// commit.
class Inventory {
 public:
  static absl::StatusOr<std::unique_ptr<Inventory>> Load(store::Store* store,
                                                         executor::Strand* strand);

  bool HasCluster(absl::string_view name) const;
  // nullptr: none. Good until the task ends.
  const HostRecord* FindHost(absl::string_view name) const;
  // By name.
  std::vector<const HostRecord*> HostRecords() const;
  std::vector<std::string> HostsOf(absl::string_view cluster) const;

  // ALREADY_EXISTS; NOT_FOUND for its cluster.
  void AddHost(HostRecord record, status::DoneCallback done);
  // What is known of a host of this vCenter gives way to `record`. NOT_FOUND for its cluster.
  void ReplaceHost(HostRecord record, status::DoneCallback done);
  // NOT_FOUND.
  void RemoveHost(absl::string_view name, status::DoneCallback done);
  // NOT_FOUND for host or cluster. An empty cluster: standalone.
  void MoveHost(absl::string_view name, absl::string_view cluster, status::DoneCallback done);
  // Notes what the host told of its encryption mode. Nothing waits for it.
  // `check_value` is that of the KDK from which the host key was derived.
  void NoteCryptoState(absl::string_view name, v1::CryptoState state, const v1::CryptoKeyId& key,
                       absl::string_view check_value);
  // Notes what of the host's cached keys was found in the KMS (S152). Nothing waits for it.
  void NoteVerified(absl::string_view name, int64_t epoch,
                    const std::map<std::string, int64_t>& instances);

  // Names where a cluster's default comes from, for Cluster.default_provider.
  using ClusterDefault = std::function<std::string(absl::string_view)>;
  // Whether that provider was deleted.
  using DefaultIsGone = std::function<bool(absl::string_view)>;
  void SetDefaults(ClusterDefault cluster_default, DefaultIsGone default_is_gone) {
    cluster_default_ = std::move(cluster_default);
    default_is_gone_ = std::move(default_is_gone);
  }
  // Called when a cluster was deleted.
  void OnClusterDeleted(std::function<void(const std::string&)> listener) {
    cluster_deleted_ = std::move(listener);
  }

  void CreateCluster(const access::Caller& caller, const v1::CreateClusterRequest& request,
                     status::Callback<v1::Cluster> done);
  void GetCluster(const access::Caller& caller, const v1::GetClusterRequest& request,
                  status::Callback<v1::Cluster> done);
  void ListClusters(const access::Caller& caller, const v1::ListClustersRequest& request,
                    status::Callback<v1::ListClustersResponse> done);
  void DeleteCluster(const access::Caller& caller, const v1::DeleteClusterRequest& request,
                     status::Callback<v1::DeleteClusterResponse> done);

 private:
  Inventory(store::Store* store, executor::Strand* strand) : store_(store), strand_(strand) {}

  v1::Cluster Describe(absl::string_view name) const;
  // Commits, then runs `apply` and `done` on the strand.
  void Commit(store::Transaction transaction, absl::AnyInvocable<void()> apply,
              status::DoneCallback done);

  store::Store* const store_;
  executor::Strand* const strand_;
  ClusterDefault cluster_default_;
  DefaultIsGone default_is_gone_;
  std::function<void(const std::string&)> cluster_deleted_;
  std::set<std::string, std::less<>> clusters_;
  std::map<std::string, HostRecord, std::less<>> hosts_;
};

}  // namespace keysphere::controller::inventory

#endif  // KEYSPHERE_CONTROLLER_INVENTORY_INVENTORY_H_
