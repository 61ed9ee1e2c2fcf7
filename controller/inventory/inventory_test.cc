#include "controller/inventory/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/executor/simulated_executor.h"
#include "common/status/matchers.h"
#include "common/store/memory_store.h"

namespace keysphere::controller::inventory {
namespace {

using ::testing::ElementsAre;

class InventoryTest : public ::testing::Test {
 protected:
  InventoryTest() { Load(); }

  void Load() {
    auto loaded = Inventory::Load(&store_, &strand_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    inventory_ = *std::move(loaded);
  }

  absl::StatusOr<v1::Cluster> CreateCluster(const std::string& name) {
    v1::CreateClusterRequest request;
    request.set_name(name);
    absl::StatusOr<v1::Cluster> result = absl::UnknownError("not called");
    inventory_->CreateCluster({}, request, [&](absl::StatusOr<v1::Cluster> r) { result = r; });
    executor_.RunUntilIdle();
    return result;
  }

  absl::Status AddHost(const std::string& name, const std::string& cluster) {
    HostRecord record;
    record.set_name(name);
    record.set_cluster(cluster);
    absl::Status result = absl::UnknownError("not called");
    inventory_->AddHost(record, [&](absl::Status s) { result = s; });
    executor_.RunUntilIdle();
    return result;
  }

  executor::SimulatedExecutor executor_{1, absl::FromUnixSeconds(1'700'000'000)};
  store::MemoryStore store_{&executor_};
  executor::Strand strand_{&executor_};
  std::unique_ptr<Inventory> inventory_;
};

TEST_F(InventoryTest, KeepsClustersAndHostsOverARestart) {
  ASSERT_TRUE(CreateCluster("cluster-a").ok());
  ASSERT_TRUE(AddHost("esx-1", "cluster-a").ok());
  ASSERT_TRUE(AddHost("esx-2", "").ok());
  Load();
  EXPECT_TRUE(inventory_->HasCluster("cluster-a"));
  EXPECT_THAT(inventory_->HostsOf("cluster-a"), ElementsAre("esx-1"));
  ASSERT_NE(inventory_->FindHost("esx-2"), nullptr);
  EXPECT_EQ(inventory_->FindHost("esx-2")->cluster(), "");
}

TEST_F(InventoryTest, RefusesBadDuplicateAndUnknownNames) {
  for (const std::string& name : {std::string(), std::string(81, 'x'), std::string("a\nb")}) {
    EXPECT_EQ(status::ReasonOf(CreateCluster(name).status()), v1::REASON_INVALID_NAME);
  }
  ASSERT_TRUE(CreateCluster("../up").ok()) << "a name is no path";
  ASSERT_TRUE(CreateCluster("c").ok());
  EXPECT_EQ(status::ReasonOf(CreateCluster("c").status()), v1::REASON_ALREADY_EXISTS);
  EXPECT_EQ(status::ReasonOf(AddHost("esx-1", "none")), v1::REASON_NOT_FOUND);
  ASSERT_TRUE(AddHost("esx-1", "c").ok());
  EXPECT_EQ(status::ReasonOf(AddHost("esx-1", "c")), v1::REASON_ALREADY_EXISTS);
}

TEST_F(InventoryTest, OfTwoCreatesOfOneNameOneWins) {
  v1::CreateClusterRequest request;
  request.set_name("c");
  std::vector<absl::Status> results;
  for (int i = 0; i < 2; ++i) {
    inventory_->CreateCluster(
        {}, request, [&](absl::StatusOr<v1::Cluster> r) { results.push_back(r.status()); });
  }
  executor_.RunUntilIdle();
  ASSERT_EQ(results.size(), 2);
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(status::ReasonOf(results[1]), v1::REASON_ALREADY_EXISTS);
}

TEST_F(InventoryTest, ACommitThatFailsChangesNothing) {
  store_.FailCommits(absl::ResourceExhaustedError("disk full"));
  EXPECT_FALSE(CreateCluster("c").ok());
  EXPECT_FALSE(inventory_->HasCluster("c"));
  EXPECT_TRUE(CreateCluster("c").ok());
}

TEST_F(InventoryTest, AClusterWithHostsStays) {
  ASSERT_TRUE(CreateCluster("c").ok());
  ASSERT_TRUE(AddHost("esx-1", "c").ok());
  v1::DeleteClusterRequest request;
  request.set_name("c");
  absl::Status result;
  inventory_->DeleteCluster(
      {}, request, [&](absl::StatusOr<v1::DeleteClusterResponse> r) { result = r.status(); });
  executor_.RunUntilIdle();
  EXPECT_EQ(status::ReasonOf(result), v1::REASON_INVALID_STATE);
  EXPECT_TRUE(inventory_->HasCluster("c"));
}

TEST_F(InventoryTest, ListsInPages) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(CreateCluster(name).ok());
  v1::ListClustersRequest request;
  request.set_page_size(2);
  v1::ListClustersResponse page;
  inventory_->ListClusters({}, request, [&](auto r) { page = *r; });
  ASSERT_EQ(page.clusters_size(), 2);
  request.set_page_token(page.next_page_token());
  inventory_->ListClusters({}, request, [&](auto r) { page = *r; });
  ASSERT_EQ(page.clusters_size(), 1);
  EXPECT_EQ(page.clusters(0).name(), "c");
  EXPECT_TRUE(page.next_page_token().empty());

  request.set_page_token("rubbish!");
  absl::Status status;
  inventory_->ListClusters({}, request, [&](auto r) { status = r.status(); });
  EXPECT_EQ(status::ReasonOf(status), v1::REASON_PAGE_TOKEN_INVALID);
  request.clear_page_token();
  request.set_page_size(1001);
  inventory_->ListClusters({}, request, [&](auto r) { status = r.status(); });
  EXPECT_EQ(status::ReasonOf(status), v1::REASON_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace keysphere::controller::inventory
