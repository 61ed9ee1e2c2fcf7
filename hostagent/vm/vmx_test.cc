#include "hostagent/vm/vmx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "hostagent/vm/mutate_for_test.h"

namespace keysphere::hostagent::vm {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As vSphere and Workstation write them.
constexpr char kReal[] =
    "#!/usr/bin/vmware\n"
    ".encoding = \"UTF-8\"\n"
    "config.version = \"8\"\n"
    "virtualHW.version = \"19\"\n"
    "nvram = \"db-prod-01.nvram\"\n"
    "svga.present = \"TRUE\"\n"
    "\n"
    "# edited by the backup team\n"
    "memSize = \"8192\"\n"
    "scsi0.virtualDev = \"pvscsi\"\n"
    "scsi0:0.deviceType = \"scsi-hardDisk\"\n"
    "scsi0:0.fileName = \"db-prod-01.vmdk\"\n"
    "sched.scsi0:0.shares = \"normal\"   # a comment\n"
    "displayName = \"db|22prod|22 #1\"\n"
    "  guestOS=\"rhel8-64\"\n"
    "uuid.bios = \"42 1c 8f 6e 0e 5f 7a 41-9b 3d 5a 2e 11 70 c4 9d\"\n"
    "toolScripts.afterPowerOn = TRUE\n"
    "annotation = \"line 1|0Aline 2\"\n"
    "empty = \"\"\n"
    "none =\n";

TEST(VmxTest, ARealFileGoesThroughUnchanged) {
  for (const bool crlf : {false, true}) {
    std::string text = kReal;
    if (crlf) text = "\xEF\xBB\xBF" + absl::StrReplaceAll(text, {{"\n", "\r\n"}});
    const auto vmx = Vmx::Parse(text, "db-prod-01.vmx");
    ASSERT_THAT(vmx, IsOk());
    EXPECT_EQ(vmx->Serialize(), text);
    EXPECT_EQ(vmx->Get("displayname"), "db\"prod\" #1");
    EXPECT_EQ(vmx->Get("GUESTOS"), "rhel8-64");
    EXPECT_EQ(vmx->Get("annotation"), "line 1\nline 2");
    EXPECT_EQ(vmx->Get("sched.scsi0:0.shares"), "normal");
    EXPECT_TRUE(vmx->GetBool("toolScripts.afterPowerOn", false));
    EXPECT_EQ(vmx->Get("empty", "x"), "");
    EXPECT_EQ(vmx->Get("none", "x"), "");
    EXPECT_EQ(vmx->Find("absent"), nullptr);
  }
}

TEST(VmxTest, AnEditTouchesItsLineOnly) {
  auto vmx = Vmx::Parse("a = \"1\"\r\n# c\r\nB = 2\r\nc = \"3\"", "x.vmx");
  ASSERT_THAT(vmx, IsOk());
  vmx->Set("b", "q\"|\x01");
  vmx->Set("a", "1");
  vmx->Set("new", "n");
  EXPECT_EQ(vmx->Serialize(),
            "a = \"1\"\r\n# c\r\nB = \"q|22|7C|01\"\r\nc = \"3\"\r\nnew = \"n\"\r\n");
  EXPECT_EQ(vmx->Get("B"), "q\"|\x01");
  EXPECT_TRUE(vmx->Erase("A"));
  EXPECT_FALSE(vmx->Erase("A"));
  EXPECT_THAT(vmx->Names(), ElementsAre("B", "c", "new"));
  EXPECT_EQ(vmx->Get("new"), "n");
}

TEST(VmxTest, BrokenLinesAreNamed) {
  for (const char* const line :
       {"just words", "= \"x\"", "a = \"x", "a = \"x\" y", "\"a\" = \"b\"", "a = b\"c",
        "ok = \"2\"", "OK = \"2\"", "key with blank = \"1\"", "key # = \"1\""}) {
    const auto vmx = Vmx::Parse(absl::StrCat("ok = \"1\"\n\n", line, "\nz = \"1\"\n"), "w.vmx");
    ASSERT_THAT(vmx, HasReason(v1::REASON_VM_FILE_INVALID)) << line;
    EXPECT_THAT(vmx.status().message(), HasSubstr("w.vmx"));
    EXPECT_THAT(vmx.status().message(), HasSubstr("line 3"));
    EXPECT_EQ(status::DetailOf(vmx.status()).metadata().at("line"), "3");
  }
}

TEST(VmxTest, Limits) {
  EXPECT_THAT(Vmx::Parse(std::string("a = \"\0\"", 7), "x"), HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmx::Parse(std::string(Vmx::kMaxFileBytes + 1, '\n'), "x"),
              HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmx::Parse(std::string(Vmx::kMaxLines + 1, '\n'), "x"),
              HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmx::Parse(std::string(Vmx::kMaxLines, '\n'), "x"), IsOk());
  EXPECT_THAT(Vmx::Parse("a = \"" + std::string(Vmx::kMaxLineBytes, 'x') + "\"", "x"),
              HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmx::Parse(std::string(Vmx::kMaxNameBytes + 1, 'n') + " = \"1\"", "x"),
              HasReason(v1::REASON_VM_FILE_INVALID));
}

TEST(VmxTest, EscapesComeBack) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(UnescapeVmx(EscapeVmx(all)), all);
  EXPECT_EQ(UnescapeVmx("a|2"), "a|2");
  EXPECT_EQ(UnescapeVmx("a|zz|"), "a|zz|");
}

TEST(VmxTest, MutatedFilesAreRefusedOrKept) {
  std::mt19937_64 random(20240601);
  int parsed = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = Mutate(kReal, random);
    auto vmx = Vmx::Parse(text, "m.vmx");
    if (!vmx.ok()) {
      EXPECT_THAT(vmx, HasReason(v1::REASON_VM_FILE_INVALID));
      continue;
    }
    ++parsed;
    EXPECT_EQ(vmx->Serialize(), text);
    vmx->Set("displayName", "x|y\n");
    vmx->Set("brand.new", "\"");
    const auto again = Vmx::Parse(vmx->Serialize(), "m.vmx");
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(again->Get("displayName"), "x|y\n");
    EXPECT_EQ(again->Get("brand.new"), "\"");
  }
  EXPECT_GT(parsed, 500);
}

}  // namespace
}  // namespace keysphere::hostagent::vm
