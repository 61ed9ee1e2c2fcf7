#include "services/simulator/address_block.h"

#include <set>

#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::simulator {
namespace {

using status::HasReason;
using status::IsOk;

class AddressBlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/locks-" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    ASSERT_THAT(files_.MakeFolders(folder_), IsOk());
  }
  const files::FileSystem files_;
  std::string folder_;
};

TEST_F(AddressBlockTest, TwoClustersHaveDifferentBlocks) {
  const auto first = AddressBlock::Take(&files_, folder_, 7);
  const auto second = AddressBlock::Take(&files_, folder_, 7);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ((*first)->number(), 7);
  EXPECT_EQ((*second)->number(), 8);
}

TEST_F(AddressBlockTest, ABlockIsFreeAgainAndLeavesNoFile) {
  ASSERT_THAT(AddressBlock::Take(&files_, folder_, 254), IsOk());
  EXPECT_THAT(files_.List(folder_).value(), ::testing::IsEmpty());
  const auto again = AddressBlock::Take(&files_, folder_, 254);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ((*again)->number(), 254);
}

TEST_F(AddressBlockTest, ALockFileWithoutItsProcessIsTaken) {
  // Given what a killed simulator leaves: the file, and no lock.
  ASSERT_THAT(files_.WriteFileAtomically(folder_ + "/keysphere-127.9.lock", "", 0600), IsOk());
  const auto block = AddressBlock::Take(&files_, folder_, 9);
  ASSERT_THAT(block, IsOk());
  EXPECT_EQ((*block)->number(), 9);
}

TEST_F(AddressBlockTest, TheLockFileOfAKilledClusterIsRemovedUnlessAnotherHasIt) {
  const std::string file = folder_ + "/keysphere-127.9.lock";
  ASSERT_THAT(files_.WriteFileAtomically(file, "", 0600), IsOk());
  {
    const auto block = AddressBlock::Take(&files_, folder_, 9);
    ASSERT_THAT(block, IsOk());
    EXPECT_THAT(AddressBlock::RemoveDead(&files_, folder_, 9), HasReason(v1::REASON_VM_IN_USE));
    EXPECT_TRUE(files_.Exists(file).value());
  }
  EXPECT_THAT(AddressBlock::RemoveDead(&files_, folder_, 9), HasReason(v1::REASON_NOT_FOUND));
  ASSERT_THAT(files_.WriteFileAtomically(file, "", 0600), IsOk());
  EXPECT_THAT(AddressBlock::RemoveDead(&files_, folder_, 9), IsOk());
  EXPECT_FALSE(files_.Exists(file).value());
}

TEST_F(AddressBlockTest, AllTakenIsSaid) {
  EXPECT_THAT(AddressBlock::Take(&files_, folder_ + "/missing", 1),
              HasReason(v1::REASON_TOO_LARGE));
}

TEST_F(AddressBlockTest, EveryProcessHasAnAddressOfItsOwn) {
  const auto block = AddressBlock::Take(&files_, folder_, 77);
  ASSERT_THAT(block, IsOk());
  std::set<std::string> seen = {(*block)->Simulator()};
  for (int i = 0; i < 64; ++i) seen.insert((*block)->Controller(i));
  for (int i = 0; i < 2500; ++i) seen.insert((*block)->Host(i));
  for (int i = 0; i < 16; ++i) seen.insert({(*block)->Kms(i), (*block)->KmsControl(i)});
  EXPECT_EQ(seen.size(), 1 + 64 + 2500 + 2 * 16);
  EXPECT_EQ((*block)->Kms(2), "127.77.5.3:5696");
  EXPECT_EQ((*block)->KmsControl(2), "127.77.5.3:8991");
  EXPECT_EQ((*block)->Simulator(), "127.77.0.1:8980");
  EXPECT_EQ((*block)->Controller(1), "127.77.1.2:8989");
  EXPECT_EQ((*block)->Host(250), "127.77.11.1:8990");
  EXPECT_EQ(IpOf((*block)->Host(0)), "127.77.10.1");
  EXPECT_EQ(BlockOf((*block)->Host(0)), 77);
  for (const char* const other : {"", "127.0.0.1:80", "127.255.0.1:80", "10.77.0.1:80", "::1"}) {
    EXPECT_EQ(BlockOf(other), 0) << other;
  }
}

}  // namespace
}  // namespace keysphere::simulator
