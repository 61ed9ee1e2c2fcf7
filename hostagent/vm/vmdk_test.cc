#include "hostagent/vm/vmdk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "hostagent/vm/mutate_for_test.h"

namespace keysphere::hostagent::vm {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;

constexpr char kReal[] =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"windows-1252\"\n"
    "CID=fffffffe\n"
    "parentCID=ffffffff\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"monolithicFlat\"\n"
    "\n"
    "# Extent description\n"
    "RW 20480 FLAT \"db prod-flat.vmdk\" 0\n"
    "\n"
    "# The Disk Data Base \n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "ddb.uuid = \"60 00 C2 9e 5a 10 77 02-4d 3b 8e 0a 91 44 d2 aa\"\n";

TEST(VmdkTest, ARealDescriptorGoesThroughUnchanged) {
  for (const bool crlf : {false, true}) {
    std::string text = kReal;
    if (crlf) text = absl::StrReplaceAll(text, {{"\n", "\r\n"}});
    const auto vmdk = Vmdk::Parse(text, "db.vmdk");
    ASSERT_THAT(vmdk, IsOk());
    EXPECT_EQ(vmdk->Serialize(), text);
    EXPECT_EQ(vmdk->Get("createtype"), "monolithicFlat");
    EXPECT_EQ(vmdk->Sectors(), 20480);
    EXPECT_FALSE(vmdk->IsSnapshot());
    const auto extent = vmdk->FlatExtent("db.vmdk");
    ASSERT_THAT(extent, IsOk());
    EXPECT_EQ(extent->file, "db prod-flat.vmdk");
  }
}

TEST(VmdkTest, ANewDescriptorParses) {
  const Vmdk vmdk = Vmdk::New("a-1-flat.vmdk", 2048, 0x12345678, "60 00");
  EXPECT_EQ(vmdk.FlatExtent("a-1.vmdk")->file, "a-1-flat.vmdk");
  EXPECT_EQ(vmdk.Get("CID"), "12345678");
  EXPECT_EQ(vmdk.Get(Vmdk::kUuid), "60 00");
}

TEST(VmdkTest, KeysComeAndGo) {
  auto vmdk = Vmdk::Parse(kReal, "db.vmdk");
  ASSERT_THAT(vmdk, IsOk());
  vmdk->Set(Vmdk::kEncryptionKeys, "vmware:key/x");
  EXPECT_THAT(vmdk->Serialize(), HasSubstr("\nencryptionKeys=\"vmware:key/x\"\n"));
  EXPECT_EQ(Vmdk::Parse(vmdk->Serialize(), "db.vmdk")->Get(Vmdk::kEncryptionKeys), "vmware:key/x");
  vmdk->Set(Vmdk::kEncryptionKeys, "y");
  EXPECT_EQ(vmdk->Get(Vmdk::kEncryptionKeys), "y");
  EXPECT_TRUE(vmdk->Erase(Vmdk::kEncryptionKeys));
  EXPECT_EQ(vmdk->Serialize(), kReal);
}

TEST(VmdkTest, WhatIsMalformedIsNamed) {
  for (const char* const line :
       {"RW x FLAT \"a\" 0", "RW 1 FLAT a 0", "RW 1 FLAT \"a", "RW 1", "RW 1 FLAT \"../a\" 0",
        "RW 1 FLAT \"/etc/passwd\" 0", "RW 1 FLAT \"..\" 0", "RW 1 FLAT \"\" 0",
        "RW 1 FLAT \"a\" z", "RW 99999999999999 FLAT \"a\" 0", "words", "=x", "k=\"x", "version=2",
        "RW -1 FLAT \"a\" 0"}) {
    const auto vmdk = Vmdk::Parse(absl::StrCat(kReal, line, "\n"), "d.vmdk");
    ASSERT_THAT(vmdk, HasReason(v1::REASON_VM_FILE_INVALID)) << line;
    EXPECT_THAT(vmdk.status().message(), HasSubstr("d.vmdk")) << line;
    EXPECT_EQ(status::DetailOf(vmdk.status()).metadata().at("line"), "17") << line;
  }
  EXPECT_THAT(Vmdk::Parse("", "d"), HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmdk::Parse("# Disk DescriptorFile\nversion=1\n", "d"),
              HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmdk::Parse("PNG\n", "d"), HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmdk::Parse(kReal + std::string(Vmdk::kMaxFileBytes, '\n'), "d"),
              HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(Vmdk::Parse("KDMV\x01", "d"), HasReason(v1::REASON_UNSUPPORTED));
}

TEST(VmdkTest, OtherLayoutsAreUnsupported) {
  const std::string text = absl::StrReplaceAll(kReal, {{" FLAT ", " SPARSE "}});
  const auto sparse = Vmdk::Parse(text, "d.vmdk");
  ASSERT_THAT(sparse, IsOk());
  EXPECT_THAT(sparse->FlatExtent("d.vmdk"), HasReason(v1::REASON_UNSUPPORTED));
  const auto two = Vmdk::Parse(absl::StrCat(kReal, "RW 1 FLAT \"b\" 0\n"), "d.vmdk");
  ASSERT_THAT(two, IsOk());
  EXPECT_THAT(two->FlatExtent("d.vmdk"), HasReason(v1::REASON_UNSUPPORTED));
  const auto delta = Vmdk::Parse(
      absl::StrReplaceAll(kReal, {{"parentCID=ffffffff", "parentCID=12345678"}}), "d.vmdk");
  EXPECT_TRUE(delta->IsSnapshot());
}

TEST(VmdkTest, MutatedDescriptorsAreRefusedOrKept) {
  std::mt19937_64 random(7);
  int parsed = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = Mutate(kReal, random);
    auto vmdk = Vmdk::Parse(text, "m.vmdk");
    if (!vmdk.ok()) continue;
    ++parsed;
    EXPECT_EQ(vmdk->Serialize(), text);
    for (const VmdkExtent& extent : vmdk->extents()) {
      EXPECT_FALSE(absl::StrContains(extent.file, "/"));
    }
    vmdk->Set(Vmdk::kEncryptionKeys, "k");
    const auto again = Vmdk::Parse(vmdk->Serialize(), "m.vmdk");
    ASSERT_THAT(again, IsOk()) << vmdk->Serialize();
    EXPECT_EQ(again->Get(Vmdk::kEncryptionKeys), "k");
  }
  EXPECT_GT(parsed, 500);
}

}  // namespace
}  // namespace keysphere::hostagent::vm
