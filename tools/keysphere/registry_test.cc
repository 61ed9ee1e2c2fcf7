#include "tools/keysphere/registry.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::cli {
namespace {

using status::HasReason;
using status::IsOk;

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() : folder_(testing::TempDir() + "registry-XXXXXX") {
    EXPECT_NE(mkdtemp(&folder_[0]), nullptr);
  }
  std::string folder_;
};

TEST_F(RegistryTest, AClusterThatRunsIsFound) {
  const Registry registry(folder_ + "/run");
  EXPECT_THAT(registry.Newest(), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(registry.Note("/clusters/one", getpid()), IsOk());
  EXPECT_THAT(registry.Newest(), status::IsOkAndHolds(std::string("/clusters/one")));
  registry.Forget(getpid());
  EXPECT_THAT(registry.Newest(), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(RegistryTest, AProcessThatOnlyHasThePidOfOneIsNone) {
  const Registry registry(folder_);
  const std::string note = folder_ + "/" + std::to_string(getpid()) + ".cluster";
  ASSERT_THAT(files::FileSystem().WriteFileAtomically(note, "1\n/clusters/old\n", 0600), IsOk());
  EXPECT_THAT(registry.Newest(), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_FALSE(files::FileSystem().Exists(note).value());
}

TEST_F(RegistryTest, AFolderThatOthersMayWriteIsNotBelieved) {
  const Registry registry(folder_);
  ASSERT_THAT(registry.Note("/clusters/one", getpid()), IsOk());
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_THAT(registry.Newest(), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(registry.Note("/clusters/two", getpid()), HasReason(v1::REASON_STORAGE_READ_ONLY));
}

TEST_F(RegistryTest, RuntimeDirComesFirst) {
  const auto with = [](const std::string& name) {
    return name == "XDG_RUNTIME_DIR" ? testing::TempDir() + "xdg" : std::string();
  };
  ASSERT_THAT(Registry::ForUser(with).Note("/clusters/one", getpid()), IsOk());
  EXPECT_THAT(Registry(testing::TempDir() + "xdg/keysphere").Newest(), IsOk());
}

}  // namespace
}  // namespace keysphere::cli
