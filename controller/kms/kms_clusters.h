#ifndef KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTERS_H_
#define KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTERS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/kms/kms_cluster.h"

namespace keysphere::controller::kms {

// The KMS of every standard provider of a vCenter, by the provider's name. Lives on the
// controller's strand.
class KmsClusters {
 public:
  explicit KmsClusters(KmsCluster::Deps deps) : deps_(std::move(deps)) {}

  // The provider is so from now on; what is under way ends with what it was.
  void Put(KmsConfig config, int64_t instance) {
    const std::string name = config.provider;
    std::shared_ptr<KmsCluster>& cluster = clusters_[name];
    const int64_t unanswered = cluster == nullptr ? 0 : cluster->unanswered_creates();
    cluster = std::make_shared<KmsCluster>(deps_, std::move(config), instance, unanswered);
  }
  void Remove(absl::string_view provider) {
    const auto it = clusters_.find(provider);
    if (it != clusters_.end()) clusters_.erase(it);
  }
  // This vCenter stops: nothing is asked any more.
  void Close() {
    for (const auto& [name, cluster] : clusters_) cluster->Close();
  }
  // nullptr: there is no such standard provider.
  std::shared_ptr<KmsCluster> Find(absl::string_view provider) const {
    const auto it = clusters_.find(provider);
    return it == clusters_.end() ? nullptr : it->second;
  }
  std::vector<std::shared_ptr<KmsCluster>> All() const {
    std::vector<std::shared_ptr<KmsCluster>> all;
    for (const auto& [name, cluster] : clusters_) all.push_back(cluster);
    return all;
  }

 private:
  const KmsCluster::Deps deps_;
  std::map<std::string, std::shared_ptr<KmsCluster>, std::less<>> clusters_;
};

}  // namespace keysphere::controller::kms

#endif  // KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTERS_H_
