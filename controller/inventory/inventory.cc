#include "controller/inventory/inventory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/paging/paging.h"

namespace keysphere::controller::inventory {
namespace {

constexpr char kClusterPrefix[] = "cluster/";
constexpr char kHostPrefix[] = "host/";

std::string ClusterKey(absl::string_view name) { return absl::StrCat(kClusterPrefix, name); }
std::string HostKey(absl::string_view name) { return absl::StrCat(kHostPrefix, name); }

absl::Status NoCluster(absl::string_view name) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no cluster ", status::Quote(name)))
      .Object("cluster", name)
      .NextStep("List the clusters, or create it.");
}

absl::Status NoHost(absl::string_view name) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no host ", status::Quote(name)))
      .Object("host", name)
      .NextStep("List the hosts of this vCenter.");
}

// A commit that failed because the object came into being meanwhile says so.
absl::Status ConflictAs(const absl::Status& status, const absl::Status& instead) {
  return status::ReasonOf(status) == v1::REASON_CONFLICT ? instead : status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Inventory>> Inventory::Load(store::Store* store,
                                                           executor::Strand* strand) {
  auto inventory = std::unique_ptr<Inventory>(new Inventory(store, strand));
  KS_RETURN_IF_ERROR((store::ForEachProto<ClusterRecord>(
      store, kClusterPrefix, [&](store::ProtoEntry<ClusterRecord> entry) {
        inventory->clusters_.insert(entry.message.name());
        return absl::OkStatus();
      })));
  KS_RETURN_IF_ERROR((
      store::ForEachProto<HostRecord>(store, kHostPrefix, [&](store::ProtoEntry<HostRecord> entry) {
        std::string name = entry.message.name();
        inventory->hosts_.emplace(std::move(name), std::move(entry.message));
        return absl::OkStatus();
      })));
  return inventory;
}

bool Inventory::HasCluster(absl::string_view name) const {
  return clusters_.find(name) != clusters_.end();
}

const HostRecord* Inventory::FindHost(absl::string_view name) const {
  const auto it = hosts_.find(name);
  return it == hosts_.end() ? nullptr : &it->second;
}

std::vector<const HostRecord*> Inventory::HostRecords() const {
  std::vector<const HostRecord*> records;
  records.reserve(hosts_.size());
  for (const auto& [name, record] : hosts_) records.push_back(&record);
  return records;
}

std::vector<std::string> Inventory::HostsOf(absl::string_view cluster) const {
  std::vector<std::string> names;
  for (const auto& [name, record] : hosts_) {
    if (record.cluster() == cluster) names.push_back(name);
  }
  return names;
}

void Inventory::Commit(store::Transaction transaction, absl::AnyInvocable<void()> apply,
                       status::DoneCallback done) {
  store_->Commit(std::move(transaction), [this, apply = std::move(apply), done = std::move(done)](
                                             absl::StatusOr<store::Revision> result) mutable {
    strand_->Post(
        [apply = std::move(apply), done = std::move(done), status = result.status()]() mutable {
          if (status.ok()) apply();
          done(status);
        });
  });
}

void Inventory::AddHost(HostRecord record, status::DoneCallback done) {
  const std::string name = record.name();
  const absl::Status exists =
      status::Error(v1::REASON_ALREADY_EXISTS,
                    absl::StrCat("host ", status::Quote(name), " is in this vCenter already"))
          .Object("host", name);
  if (FindHost(name) != nullptr) return done(exists);
  if (!record.cluster().empty() && !HasCluster(record.cluster())) {
    return done(NoCluster(record.cluster()));
  }
  store::Transaction transaction;
  transaction.Compare(HostKey(name), 0);
  store::PutProto(&transaction, HostKey(name), record);
  Commit(
      std::move(transaction), [this, name, record]() { hosts_.emplace(name, record); },
      [done = std::move(done), exists](absl::Status status) mutable {
        done(ConflictAs(status, exists));
      });
}

void Inventory::ReplaceHost(HostRecord record, status::DoneCallback done) {
  if (!record.cluster().empty() && !HasCluster(record.cluster())) {
    return done(NoCluster(record.cluster()));
  }
  store::Transaction transaction;
  store::PutProto(&transaction, HostKey(record.name()), record);
  Commit(
      std::move(transaction), [this, record]() { hosts_[record.name()] = record; },
      std::move(done));
}

void Inventory::RemoveHost(absl::string_view name, status::DoneCallback done) {
  if (FindHost(name) == nullptr) return done(NoHost(name));
  store::Transaction transaction;
  transaction.Delete(HostKey(name));
  Commit(
      std::move(transaction), [this, name = std::string(name)]() { hosts_.erase(name); },
      std::move(done));
}

void Inventory::MoveHost(absl::string_view name, absl::string_view cluster,
                         status::DoneCallback done) {
  const HostRecord* const found = FindHost(name);
  if (found == nullptr) return done(NoHost(name));
  if (!cluster.empty() && !HasCluster(cluster)) return done(NoCluster(cluster));
  HostRecord record = *found;
  record.set_cluster(std::string(cluster));
  store::Transaction transaction;
  store::PutProto(&transaction, HostKey(name), record);
  Commit(
      std::move(transaction),
      [this, name = record.name(), cluster = record.cluster()]() {
        const auto it = hosts_.find(name);
        if (it != hosts_.end()) it->second.set_cluster(cluster);
      },
      std::move(done));
}

void Inventory::NoteCryptoState(absl::string_view name, v1::CryptoState state,
                                const v1::CryptoKeyId& key, absl::string_view check_value) {
  const auto it = hosts_.find(name);
  if (it == hosts_.end()) return;
  it->second.set_last_crypto_state(state);
  if (!key.key_id().empty()) {
    *it->second.mutable_last_host_key() = key;
    it->second.set_last_host_key_check_value(std::string(check_value));
  }
  store::Transaction transaction;
  store::PutProto(&transaction, HostKey(name), it->second);
  store_->Commit(std::move(transaction), [](absl::StatusOr<store::Revision>) {});
}

void Inventory::NoteVerified(absl::string_view name, int64_t epoch,
                             const std::map<std::string, int64_t>& instances) {
  const auto it = hosts_.find(name);
  if (it == hosts_.end()) return;
  it->second.set_verified_epoch(epoch);
  it->second.clear_verified_instances();
  it->second.mutable_verified_instances()->insert(instances.begin(), instances.end());
  store::Transaction transaction;
  store::PutProto(&transaction, HostKey(name), it->second);
  store_->Commit(std::move(transaction), [](absl::StatusOr<store::Revision>) {});
}

v1::Cluster Inventory::Describe(absl::string_view name) const {
  v1::Cluster cluster;
  cluster.set_name(std::string(name));
  for (const std::string& host : HostsOf(name)) cluster.add_hosts(host);
  if (cluster_default_) {
    cluster.set_default_provider(cluster_default_(name));
    cluster.set_default_provider_missing(default_is_gone_(name));
  }
  return cluster;
}

void Inventory::CreateCluster(const access::Caller&, const v1::CreateClusterRequest& request,
                              status::Callback<v1::Cluster> done) {
  const std::string& name = request.name();
  if (absl::Status valid = files::ValidateName(name); !valid.ok()) return done(valid);
  const absl::Status exists =
      status::Error(v1::REASON_ALREADY_EXISTS,
                    absl::StrCat("cluster ", status::Quote(name), " exists"))
          .Object("cluster", name);
  if (HasCluster(name)) return done(exists);
  ClusterRecord record;
  record.set_name(name);
  store::Transaction transaction;
  transaction.Compare(ClusterKey(name), 0);
  store::PutProto(&transaction, ClusterKey(name), record);
  Commit(
      std::move(transaction), [this, name]() { clusters_.insert(name); },
      [this, name, exists, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(ConflictAs(status, exists));
        done(Describe(name));
      });
}

void Inventory::GetCluster(const access::Caller&, const v1::GetClusterRequest& request,
                           status::Callback<v1::Cluster> done) {
  if (!HasCluster(request.name())) return done(NoCluster(request.name()));
  done(Describe(request.name()));
}

void Inventory::ListClusters(const access::Caller&, const v1::ListClustersRequest& request,
                             status::Callback<v1::ListClustersResponse> done) {
  const absl::StatusOr<paging::Page> page =
      paging::PageOf(clusters_, request.page_size(), request.page_token());
  if (!page.ok()) return done(page.status());
  v1::ListClustersResponse response;
  for (const std::string& name : page->keys) *response.add_clusters() = Describe(name);
  response.set_next_page_token(page->next_token);
  done(std::move(response));
}

void Inventory::DeleteCluster(const access::Caller&, const v1::DeleteClusterRequest& request,
                              status::Callback<v1::DeleteClusterResponse> done) {
  const std::string& name = request.name();
  if (!HasCluster(name)) return done(NoCluster(name));
  if (const std::vector<std::string> hosts = HostsOf(name); !hosts.empty()) {
    return done(status::Error(v1::REASON_INVALID_STATE,
                              absl::StrCat("cluster ", status::Quote(name), " still has ",
                                           hosts.size(), " host(s)"))
                    .Object("cluster", name)
                    .NextStep("Move or remove its hosts first."));
  }
  store::Transaction transaction;
  transaction.Delete(ClusterKey(name));
  Commit(
      std::move(transaction),
      [this, name]() {
        clusters_.erase(name);
        if (cluster_deleted_) cluster_deleted_(name);
      },
      [done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(status);
        done(v1::DeleteClusterResponse());
      });
}

}  // namespace keysphere::controller::inventory
