// Datastores that are full or read-only: real file systems, mounted by the test for itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "common/status/matchers.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::HostDriver;
using processes::HostProcess;
using processes::NativeProvider;
using status::HasReason;
using status::IsOk;
using status::IsOkAndHolds;

// A datastore on a file system of 1 MiB that only this thread and its children see.
class StorageTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // As root, which tests are at least in their sandbox.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "needs the right to mount";
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  }
  StorageTest() {
    folder_ = processes::MakeFolder("small");
    KS_CHECK(mount("small", folder_.c_str(), "tmpfs", 0, "size=1m") == 0);
    processes::HostSettings settings;
    settings.datastore = folder_;
    host_ = &lab_.AddHost(settings);
    driver_ = std::make_unique<HostDriver>(host_);
    KS_CHECK(host_->Start().ok());
    KS_CHECK(driver_->Prepare(nkp_).ok());
    KS_CHECK(driver_->CreateEncrypted("web", nkp_, data_).ok());
    KS_CHECK(driver_->Create("plain").ok());
  }
  ~StorageTest() override {
    EXPECT_TRUE(host_->Running());
    host_->Kill();
    EXPECT_EQ(umount2(folder_.c_str(), MNT_DETACH), 0);
  }

  void Fill() {
    std::ofstream big(folder_ + "/big", std::ios::binary);
    while (big << std::string(4096, 'x') << std::flush) {
    }
  }

  processes::Lab lab_;
  std::string folder_;
  HostProcess* host_ = nullptr;
  std::unique_ptr<HostDriver> driver_;
  const NativeProvider nkp_ = NativeProvider::Make("nkp");
  const std::string data_ = processes::GuestData(31);
};

TEST_F(StorageTest, AFullDatastoreFailsWhatNeedsRoomAndHarmsNothing) {
  Fill();
  const auto full = driver_->Create("new");
  EXPECT_THAT(full, HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_THAT(std::string(full.status().message()), ::testing::HasSubstr("[ds1] new"));
  EXPECT_THAT(driver_->Encrypt("plain", nkp_), HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_THAT(driver_->Get("new"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_EQ(driver_->Get("plain")->key_id().key_id(), "");
  // What needs no room works.
  EXPECT_THAT(driver_->OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
  // With room again, what failed succeeds: nothing half done stands in its way.
  std::filesystem::remove(folder_ + "/big");
  EXPECT_THAT(driver_->Create("new"), IsOk());
  EXPECT_THAT(driver_->Encrypt("plain", nkp_), IsOk());
  EXPECT_THAT(driver_->OpenAndRead("plain", 16), IsOkAndHolds(std::string(16, '\0')));
}

TEST_F(StorageTest, AReadOnlyDatastoreFailsChangesAndHarmsNothing) {
  ASSERT_EQ(mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_THAT(driver_->Create("new"), HasReason(v1::REASON_STORAGE_READ_ONLY));
  EXPECT_THAT(driver_->Encrypt("plain", nkp_), HasReason(v1::REASON_STORAGE_READ_ONLY));
  const auto on = driver_->PowerOn("web");
  EXPECT_THAT(on, HasReason(v1::REASON_STORAGE_READ_ONLY));
  EXPECT_EQ(status::DetailOf(on.status()).object(), "vm/web");
  ASSERT_EQ(mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT, nullptr), 0);
  EXPECT_THAT(driver_->OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
  EXPECT_THAT(driver_->Encrypt("plain", nkp_), IsOk());
}

}  // namespace
}  // namespace keysphere::faults
