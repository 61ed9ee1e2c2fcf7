#include "tools/keysphere/output.h"

#include <sstream>
#include <string>

#include "common/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "keysphere/v1/types.pb.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

TEST(OutputTest, ALineCannotPlayWithTheTerminal) {
  std::ostringstream out;
  PrintLine("unregistered q\xE2\x80\xAE\x62\x1b[2J\nb\xC3\xBCro", out);
  const std::string line = out.str();
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_EQ(line.find("\xE2\x80\xAE"), std::string::npos);
  EXPECT_NE(line.find("b\xC3\xBCro"), std::string::npos);
}

TEST(TableTest, ColumnsAreAlignedAndNothingPlaysWithTheTerminal) {
  Table table({"NAME", "STATE", "WHY"});
  table.Add({"prüfung", "on", ""});
  table.Add({"a", "off", "line\n\x1b[31mtwo"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "NAME     STATE  WHY\n"
            "prüfung  on     -\n"
            "a        off    line\\n\\x1b[31mtwo\n");
}

TEST(FieldsTest, EmptyValuesAreLeftOut) {
  std::ostringstream out;
  Fields().Add("name", "x").Add("cluster", "").Add("key id", "7").Print(out);
  EXPECT_EQ(out.str(), "name    x\nkey id  7\n");
}

TEST(FormatTest, ReasonsHaveNoPrefix) { EXPECT_EQ(ReasonWord("REASON_VM_LOCKED"), "VM_LOCKED"); }

TEST(FormatTest, TimesAreRfc3339) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(FormatTimestamp(time), "-");
  time.set_seconds(1700000000);
  time.set_nanos(5000000);
  EXPECT_EQ(FormatTimestamp(time), "2023-11-14T22:13:20.005Z");
}

TEST(ParseTest, Timestamps) {
  EXPECT_EQ(ParseTimestamp("2023-11-14T22:13:20Z").value(), absl::FromUnixSeconds(1700000000));
  EXPECT_TRUE(IsUsageError(ParseTimestamp("2023-11-14").status()));
}

TEST(ParseTest, Durations) {
  EXPECT_EQ(ParseDuration("5m").value(), absl::Minutes(5));
  EXPECT_EQ(ParseDuration("1h30m").value(), absl::Minutes(90));
  EXPECT_EQ(ParseDuration("2d").value(), absl::Hours(48));
  EXPECT_EQ(ParseDuration("90").value(), absl::Seconds(90));
  for (const std::string text : {"", "0", "-5m", "soon", "inf", "5 m", "d"}) {
    EXPECT_TRUE(IsUsageError(ParseDuration(text).status())) << text;
  }
}

TEST(ParseTest, Bytes) {
  EXPECT_EQ(ParseBytes("4096").value(), 4096);
  EXPECT_EQ(ParseBytes("64K").value(), 64 << 10);
  EXPECT_EQ(ParseBytes("16MiB").value(), 16 << 20);
  EXPECT_EQ(ParseBytes("2g").value(), int64_t{2} << 30);
  EXPECT_EQ(ParseBytes("0").value(), 0);
  for (const std::string text : {"", "-1", "K", "1X", "9223372036854775807K", "1.5M"}) {
    EXPECT_TRUE(IsUsageError(ParseBytes(text).status())) << text;
  }
  EXPECT_EQ(FormatBytes(32 << 20), "32 MiB");
  EXPECT_EQ(FormatBytes(4097), "4097 B");
}

absl::Status Refusal() {
  return status::Error(v1::REASON_VM_LOCKED, "web-1 is locked")
      .Object("vm", "web-1")
      .Other(v1::REASON_KEY_MISSING_ON_HOST)
      .NextStep("Import the provider.");
}

TEST(ErrorTest, TellsReasonObjectAndNextStep) {
  std::ostringstream err;
  PrintError(Refusal(), false, err);
  EXPECT_EQ(err.str(),
            "error: VM_LOCKED: web-1 is locked\n"
            "  object: vm/web-1\n"
            "  also:   KEY_MISSING_ON_HOST\n"
            "  next:   Import the provider.\n");
}

TEST(ErrorTest, JsonHasTheDetailMessageAndCode) {
  std::ostringstream err;
  PrintError(Refusal(), true, err);
  EXPECT_THAT(err.str(), testing::AllOf(testing::HasSubstr("\"reason\": \"REASON_VM_LOCKED\""),
                                        testing::HasSubstr("\"object\": \"vm/web-1\""),
                                        testing::HasSubstr("\"REASON_KEY_MISSING_ON_HOST\""),
                                        testing::HasSubstr("\"message\": \"web-1 is locked\""),
                                        testing::HasSubstr("\"code\": \"FAILED_PRECONDITION\"")));
}

TEST(JsonTest, FieldsAtTheirDefaultsAreThere) {
  v1::CryptoKeyId key;
  key.set_key_id("7");
  EXPECT_EQ(ToJson(key).value(), "{\n \"keyId\": \"7\",\n \"providerId\": \"\"\n}\n");
}

}  // namespace
}  // namespace keysphere::cli
