#include "tests/cluster/fake_kms.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace keysphere::tests {

FakeKms::FakeKms(executor::SimulatedExecutor* executor, std::string name, size_t nodes,
                 uint64_t seed)
    : name_(std::move(name)), random_(seed), keys_(&random_) {
  for (size_t i = 1; i <= nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(&keys_, executor, executor));
  }
}

std::vector<std::string> FakeKms::addresses() const {
  std::vector<std::string> addresses;
  for (size_t i = 1; i <= nodes_.size(); ++i) {
    addresses.push_back(absl::StrCat(name_, "-", i, ":5696"));
  }
  return addresses;
}

FakeKms::Node* FakeKms::Find(const std::string& address) {
  for (size_t i = 1; i <= nodes_.size(); ++i) {
    if (address == absl::StrCat(name_, "-", i, ":5696")) return nodes_[i - 1].get();
  }
  return nullptr;
}

void FakeKms::SetMode(Node::Mode mode) {
  for (const auto& node : nodes_) node->set_mode(mode);
}

void FakeKms::SetLatency(absl::Duration latency) {
  for (const auto& node : nodes_) node->set_latency(latency);
}

int FakeKms::Calls(const std::string& operation) {
  int sum = 0;
  for (const auto& node : nodes_) {
    for (const auto& [name, count] : node->calls()) {
      if (operation.empty() || operation == name) sum += count;
    }
  }
  return sum;
}

}  // namespace keysphere::tests
