#ifndef KEYSPHERE_TESTS_CLUSTER_IN_PROCESS_CLUSTER_H_
#define KEYSPHERE_TESTS_CLUSTER_IN_PROCESS_CLUSTER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/executor/simulated_executor.h"
#include "tests/cluster/fake_kms.h"
#include "tests/cluster/host_node.h"
#include "tests/cluster/vcenter_node.h"

namespace keysphere::tests {

// vCenters and ESXi hosts in one process, on virtual time, from one seed: the real domain code of
// both over real files and real cryptography, without the network. All hosts share one datastore,
// "ds1". Folders are temporary.
class InProcessCluster {
 public:
  explicit InProcessCluster(uint64_t seed = 1);
  ~InProcessCluster();
  InProcessCluster(const InProcessCluster&) = delete;
  InProcessCluster& operator=(const InProcessCluster&) = delete;

  // Started.
  VCenterNode& AddVCenter(VCenterNode::Settings settings);
  VCenterNode& AddVCenter(const std::string& name) {
    VCenterNode::Settings settings;
    settings.name = name;
    return AddVCenter(settings);
  }
  // Booted, and nobody's yet.
  HostNode& AddHost(HostNode::Settings settings);
  HostNode& AddHost(const std::string& name,
                    hostagent::tpm::TpmVersion tpm = hostagent::tpm::TpmVersion::k20) {
    HostNode::Settings settings;
    settings.name = name;
    settings.tpm = tpm;
    return AddHost(settings);
  }
  // Up; its addresses are "NAME-1:5696" and so on.
  FakeKms& AddKms(const std::string& name, size_t nodes = 2);
  FakeKms::Node* FindKeyServer(const std::string& address);
  HostNode* FindHost(const std::string& name) {
    const auto it = hosts_.find(name);
    return it == hosts_.end() ? nullptr : it->second.get();
  }

  executor::SimulatedExecutor& executor() { return executor_; }
  void Advance(absl::Duration duration) { executor_.AdvanceBy(duration); }
  void Settle() { executor_.RunUntilIdle(); }
  const std::string& root() const { return root_; }

 private:
  const uint64_t seed_;
  const std::string root_;
  executor::SimulatedExecutor executor_;
  std::map<std::string, std::unique_ptr<FakeKms>> kms_;
  std::map<std::string, std::unique_ptr<HostNode>> hosts_;
  std::map<std::string, std::unique_ptr<VCenterNode>> vcenters_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_IN_PROCESS_CLUSTER_H_
