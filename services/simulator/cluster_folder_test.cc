#include "services/simulator/cluster_folder.h"

#include <sys/stat.h>

#include <filesystem>

#include "common/clock/system_clock.h"
#include "common/identity/certificate.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ClusterFolderTest : public ::testing::Test {
 protected:
  ClusterFolder::Options Options(const std::string& name) {
    ClusterFolder::Options options;
    options.path = ::testing::TempDir() + "/" + name;
    options.temporary = ::testing::TempDir();
    options.now = clock_.Now();
    return options;
  }
  clock::SystemClock clock_;
  const files::FileSystem files_;
};

TEST_F(ClusterFolderTest, ANewFolderIsItsOwnersAloneAndGoesWhole) {
  auto folder = ClusterFolder::Make(&files_, Options("new/one"));
  ASSERT_THAT(folder, IsOk());
  const std::string path = (*folder)->path();
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  ASSERT_THAT((*folder)->WriteClusterFile(sim::v1::SimulatedCluster()), IsOk());
  (*folder)->StateFolder("esx-1");
  folder->reset();
  EXPECT_FALSE(files_.Exists(path).value());
}

TEST_F(ClusterFolderTest, AFolderThatWasThereStaysAndIsEmptyAgain) {
  const auto options = Options("was-there");
  ASSERT_THAT(files_.MakeFolders(options.path), IsOk());
  auto folder = ClusterFolder::Make(&files_, options);
  ASSERT_THAT(folder, IsOk());
  EXPECT_FALSE(files_.List(options.path).value().empty());
  folder->reset();
  EXPECT_THAT(files_.List(options.path).value(), IsEmpty());
}

TEST_F(ClusterFolderTest, KeptIsKept) {
  auto options = Options("kept");
  options.keep = true;
  auto folder = ClusterFolder::Make(&files_, options);
  ASSERT_THAT(folder, IsOk());
  folder->reset();
  EXPECT_TRUE(files_.Exists(options.path + "/pki/ca.crt").value());
  // And nobody starts a cluster over it.
  EXPECT_THAT(ClusterFolder::Make(&files_, options), HasReason(v1::REASON_INVALID_STATE));
}

// What a killed simulator leaves: all but its lock.
class DeadClusterTest : public ClusterFolderTest {
 protected:
  // A copy, as the folder itself is removed with its object.
  std::string Left(const std::string& name, bool keep = false) {
    auto options = Options(name + "-alive");
    options.keep = keep;
    auto folder = ClusterFolder::Make(&files_, options);
    EXPECT_THAT(folder, IsOk());
    EXPECT_THAT((*folder)->WriteClusterFile(sim::v1::SimulatedCluster()), IsOk());
    (*folder)->TpmFolder("esx-1");
    const std::string left = ::testing::TempDir() + "/" + name;
    std::filesystem::copy((*folder)->path(), left, std::filesystem::copy_options::recursive);
    return left;
  }
};

TEST_F(DeadClusterTest, WhatWasMadeGoesAndNothingElse) {
  const std::string left = Left("killed");
  ASSERT_THAT(files_.WriteFileAtomically(left + "/notes.txt", "mine", 0600), IsOk());
  EXPECT_THAT(ClusterFolder::Make(&files_, Options("killed")), HasReason(v1::REASON_INVALID_STATE));
  const auto kept = ClusterFolder::RemoveDead(&files_, left);
  ASSERT_THAT(kept, IsOk());
  EXPECT_FALSE(*kept);
  EXPECT_THAT(files_.List(left).value(), ElementsAre("notes.txt"));
  // A second time there is nothing.
  EXPECT_THAT(ClusterFolder::RemoveDead(&files_, left), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(DeadClusterTest, AFolderThatWasMadeGoesToo) {
  const std::string left = Left("killed-whole");
  ASSERT_THAT(ClusterFolder::RemoveDead(&files_, left), IsOk());
  EXPECT_FALSE(files_.Exists(left).value());
}

TEST_F(DeadClusterTest, AFolderOfOthersIsLeftAlone) {
  const std::string other = ::testing::TempDir() + "/others";
  ASSERT_THAT(files_.MakeFolders(other + "/state"), IsOk());
  EXPECT_THAT(ClusterFolder::RemoveDead(&files_, other), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_TRUE(files_.Exists(other + "/state").value());
}

TEST_F(DeadClusterTest, WhatIsToBeKeptStays) {
  const std::string left = Left("killed-kept", /*keep=*/true);
  const auto kept = ClusterFolder::RemoveDead(&files_, left);
  ASSERT_THAT(kept, IsOk());
  EXPECT_TRUE(*kept);
  EXPECT_TRUE(files_.Exists(left + "/pki/ca.crt").value());
}

TEST_F(DeadClusterTest, OneThatRunsIsNotDead) {
  const auto folder = ClusterFolder::Make(&files_, Options("runs"));
  ASSERT_THAT(folder, IsOk());
  EXPECT_THAT(ClusterFolder::RemoveDead(&files_, (*folder)->path()),
              HasReason(v1::REASON_VM_IN_USE));
  EXPECT_TRUE(files_.Exists((*folder)->path() + "/pki/ca.crt").value());
}

TEST_F(ClusterFolderTest, WithoutAPathThereIsATemporaryOne) {
  auto options = Options("");
  options.path.clear();
  const auto folder = ClusterFolder::Make(&files_, options);
  ASSERT_THAT(folder, IsOk());
  EXPECT_THAT((*folder)->path(), ::testing::HasSubstr("/keysphere-"));
}

TEST_F(ClusterFolderTest, CertificatesSayWhoAndWhere) {
  const auto folder = ClusterFolder::Make(&files_, Options("pki"));
  ASSERT_THAT(folder, IsOk());
  const auto files = (*folder)->Issue(identity::Kind::kController, "vcenter-a", "127.9.1.1");
  ASSERT_THAT(files, IsOk());
  const auto credentials = identity::Credentials::Load(*files);
  ASSERT_THAT(credentials, IsOk());
  EXPECT_THAT(
      identity::CheckCertificate(credentials->certificate_pem, credentials->ca_pem, clock_.Now()),
      IsOk());
  const auto info = identity::ReadCertificate(credentials->certificate_pem);
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->identity.ToUri(), "spiffe://keysphere.test/controller/vcenter-a");
  EXPECT_THAT(info->dns_names, ElementsAre("vcenter-a.keysphere.test"));
  EXPECT_THAT(info->ip_addresses, ElementsAre("127.9.1.1"));
}

TEST_F(ClusterFolderTest, AUsersSecondCertificateReplacesTheFirst) {
  const auto folder = ClusterFolder::Make(&files_, Options("users"));
  ASSERT_THAT(folder, IsOk());
  const auto first = (*folder)->Issue(identity::Kind::kUser, "al/ice", "");
  ASSERT_THAT(first, IsOk());
  const auto before = identity::Credentials::Load(*first);
  ASSERT_THAT(before, IsOk());
  const auto second = (*folder)->Issue(identity::Kind::kUser, "al/ice", "");
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first->certificate, second->certificate);
  const auto after = identity::Credentials::Load(*second);
  ASSERT_THAT(after, IsOk());
  EXPECT_NE(before->certificate_pem, after->certificate_pem);
  EXPECT_THAT(first->key, StartsWith((*folder)->path() + "/pki/user-al%2F"));
}

TEST_F(ClusterFolderTest, AProcessKeepsItsFirstCertificate) {
  const auto folder = ClusterFolder::Make(&files_, Options("processes"));
  ASSERT_THAT(folder, IsOk());
  const auto first = (*folder)->Issue(identity::Kind::kKms, "kms-1", "127.0.0.1");
  const auto second = (*folder)->Issue(identity::Kind::kKms, "kms-1", "127.0.0.1");
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_NE(first->certificate, second->certificate);
  EXPECT_THAT(identity::Credentials::Load(*first), IsOk());
  EXPECT_THAT(identity::Credentials::Load(*second), IsOk());
}

TEST_F(ClusterFolderTest, ClusterJsonIsReadBack) {
  const auto folder = ClusterFolder::Make(&files_, Options("json"));
  ASSERT_THAT(folder, IsOk());
  sim::v1::SimulatedCluster cluster;
  cluster.set_dir("/a \"b\"");
  cluster.set_simulated_time(true);
  auto* const process = cluster.add_processes();
  process->set_name("esx-1");
  process->set_kind(sim::v1::PROCESS_KIND_HOST);
  process->set_state(sim::v1::PROCESS_STATE_PAUSED);
  process->set_pid(77);
  (*cluster.mutable_datastores())["ds1"] = "/x";
  ASSERT_THAT((*folder)->WriteClusterFile(cluster), IsOk());
  const auto text = files_.ReadFile((*folder)->ClusterFile(), 1 << 20);
  ASSERT_THAT(text, IsOk());
  const auto read = ClusterFromJson(*text);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->SerializeAsString(), cluster.SerializeAsString());
  EXPECT_THAT(*text, ::testing::HasSubstr("\"PROCESS_STATE_PAUSED\""));
  EXPECT_THAT(ClusterFromJson("{\"dir\":"), HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::simulator
