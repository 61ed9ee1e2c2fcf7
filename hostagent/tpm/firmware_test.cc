#include "hostagent/tpm/firmware.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::hostagent::tpm {
namespace {

using status::HasReason;

class FirmwareTest : public ::testing::Test {
 protected:
  std::string Measure(absl::string_view json) {
    EXPECT_TRUE(files_.WriteFileAtomically(absl::StrCat(dir_, "/firmware.json"), json, 0600).ok());
    return MeasureFirmware(files_, dir_).value();
  }

  const files::FileSystem files_;
  const std::string dir_ = ::testing::TempDir() + "/firmware/" +
                           ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(FirmwareTest, MissingSettingsAreMadeWithSecureBootOn) {
  const std::string made = MeasureFirmware(files_, dir_).value();
  EXPECT_EQ(made.size(), 32u);
  EXPECT_EQ(Measure("{\"secureBoot\":true}"), made);
}

TEST_F(FirmwareTest, S138_AnyMemberCountsAndSpacingDoesNot) {
  ASSERT_TRUE(files_.MakeFolders(dir_).ok());
  const std::string on = Measure("{\"secureBoot\": true, \"platformKey\": \"a\"}");
  EXPECT_EQ(Measure("{ \"platformKey\":\"a\",\n \"secureBoot\":true }"), on);
  EXPECT_NE(Measure("{\"secureBoot\": false, \"platformKey\": \"a\"}"), on);
  EXPECT_NE(Measure("{\"secureBoot\": true, \"platformKey\": \"b\"}"), on);
  EXPECT_NE(Measure("{\"secureBoot\": true}"), on);
}

TEST_F(FirmwareTest, SettingsThatAreNoObjectAreRefused) {
  ASSERT_TRUE(files_.MakeFolders(dir_).ok());
  for (const char* json : {"", "{", "[true]", "secureBoot", "\"x\""}) {
    ASSERT_TRUE(files_.WriteFileAtomically(absl::StrCat(dir_, "/firmware.json"), json, 0600).ok());
    EXPECT_THAT(MeasureFirmware(files_, dir_), HasReason(v1::REASON_INVALID_ARGUMENT)) << json;
  }
}

}  // namespace
}  // namespace keysphere::hostagent::tpm
