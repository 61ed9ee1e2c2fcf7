#include "common/crypto/labels.h"

#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace keysphere::crypto::labels {
namespace {

TEST(LabelsTest, S136_LabelsNeverChange) {
  EXPECT_STREQ(kVmKek, "keysphere vm kek");
  EXPECT_STREQ(kHostKey, "keysphere host key");
  EXPECT_STREQ(kDiskXts, "keysphere disk xts");
  EXPECT_STREQ(kCheckValue, "keysphere kcv");
  EXPECT_STREQ(kHostConfigBody, "keysphere host config body");
  EXPECT_STREQ(kHostConfigJournal, "keysphere host config journal");
  EXPECT_STREQ(kHostConfigSecrets, "keysphere host config secrets");
}

TEST(LabelsTest, S136_EachPurposeHasItsOwnLabel) {
  const std::set<std::string> all = {
      kVmKek,          kHostKey,           kDiskXts,          kCheckValue,
      kHostConfigBody, kHostConfigJournal, kHostConfigSecrets};
  EXPECT_EQ(all.size(), 7u);
}

TEST(LabelsTest, TransportInfoIsFixed) {
  EXPECT_EQ(absl::BytesToHexString(TransportInfo("esx-1", "boot", 7, "nkp", "k")),
            absl::BytesToHexString("keysphere transport 1") +
                "000000056573782d31"
                "00000004626f6f74"
                "0000000137"
                "000000036e6b70"
                "000000016b");
}

TEST(LabelsTest, TransportInfoOfDifferentPartsDiffers) {
  std::set<std::string> infos;
  infos.insert(TransportInfo("a", "b", 1, "c", "d"));
  infos.insert(TransportInfo("ab", "", 1, "c", "d"));
  infos.insert(TransportInfo("a", "b", 11, "c", "d"));
  infos.insert(TransportInfo("a", "b", 1, "cd", ""));
  infos.insert(TransportInfo("a", "b", 1, "", "cd"));
  EXPECT_EQ(infos.size(), 5u);
}

}  // namespace
}  // namespace keysphere::crypto::labels
