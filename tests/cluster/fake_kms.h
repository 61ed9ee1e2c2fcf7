#ifndef KEYSPHERE_TESTS_CLUSTER_FAKE_KMS_H_
#define KEYSPHERE_TESTS_CLUSTER_FAKE_KMS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/executor/simulated_executor.h"
#include "common/random/random.h"
#include "kmip/client/fake_key_server.h"

namespace keysphere::tests {

// The KMS of a simulated cluster: nodes that share their keys. Outlives the vCenters that ask it.
class FakeKms {
 public:
  using Node = kmip::client::FakeKeyServer;

  FakeKms(executor::SimulatedExecutor* executor, std::string name, size_t nodes, uint64_t seed);

  const std::string& name() const { return name_; }
  // "NAME-1:5696" and so on.
  std::vector<std::string> addresses() const;
  size_t size() const { return nodes_.size(); }
  Node& node(size_t index) { return *nodes_[index]; }
  // nullptr: not one of its addresses.
  Node* Find(const std::string& address);
  kmip::client::FakeKeys& keys() { return keys_; }

  // All nodes from now on.
  void SetMode(Node::Mode mode);
  void SetDown(bool down = true) { SetMode(down ? Node::Mode::kDown : Node::Mode::kUp); }
  void SetLatency(absl::Duration latency);
  // What all nodes were asked so far; an empty operation: everything.
  int Calls(const std::string& operation = "");
  // Besides health checks.
  int KeyCalls() { return Calls() - Calls("DiscoverVersions"); }

 private:
  const std::string name_;
  random::SeededRandom random_;
  kmip::client::FakeKeys keys_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_CLUSTER_FAKE_KMS_H_
