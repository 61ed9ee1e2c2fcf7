#include "tests/cluster/in_process_cluster.h"

#include <stdlib.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "gtest/gtest.h"

namespace keysphere::tests {
namespace {

// In memory where that is possible: no test of one process can tell whether a disk is durable, and
// each waits for hundreds of fsyncs.
std::string MakeTemporaryFolder() {
  for (const std::string& parent : {std::string("/dev/shm"), ::testing::TempDir()}) {
    std::string path = parent + "/ks-cluster-XXXXXX";
    if (mkdtemp(&path[0]) != nullptr) return path;
  }
  KS_CHECK(false);
}

}  // namespace

InProcessCluster::InProcessCluster(uint64_t seed)
    : seed_(seed),
      root_(MakeTemporaryFolder()),
      executor_(seed, absl::FromUnixSeconds(1'700'000'000)) {
  std::filesystem::create_directories(root_ + "/ds1");
}

InProcessCluster::~InProcessCluster() {
  vcenters_.clear();
  hosts_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

VCenterNode& InProcessCluster::AddVCenter(VCenterNode::Settings settings) {
  const std::string name = settings.name;
  auto node = std::make_unique<VCenterNode>(
      &executor_, std::move(settings), [this](const std::string& host) { return FindHost(host); },
      [this](const std::string& address) { return FindKeyServer(address); },
      random::SeededRandom::DeriveSeed(seed_, absl::StrCat("controller/", name)));
  EXPECT_TRUE(node->Start().ok());
  return *(vcenters_[name] = std::move(node));
}

FakeKms& InProcessCluster::AddKms(const std::string& name, size_t nodes) {
  auto kms = std::make_unique<FakeKms>(
      &executor_, name, nodes, random::SeededRandom::DeriveSeed(seed_, absl::StrCat("kms/", name)));
  return *(kms_[name] = std::move(kms));
}

FakeKms::Node* InProcessCluster::FindKeyServer(const std::string& address) {
  for (const auto& [name, kms] : kms_) {
    if (FakeKms::Node* const node = kms->Find(address); node != nullptr) return node;
  }
  return nullptr;
}

HostNode& InProcessCluster::AddHost(HostNode::Settings settings) {
  const std::string name = settings.name;
  auto node = std::make_unique<HostNode>(
      &executor_, std::move(settings), absl::StrCat(root_, "/", name), root_ + "/ds1",
      random::SeededRandom::DeriveSeed(seed_, absl::StrCat("host/", name)));
  EXPECT_TRUE(node->Boot().ok());
  return *(hosts_[name] = std::move(node));
}

}  // namespace keysphere::tests
