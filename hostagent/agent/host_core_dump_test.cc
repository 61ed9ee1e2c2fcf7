// Core dumps of a host and of its VMs.
#include <filesystem>

#include "common/crypto/kdf.h"
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"
#include "hostagent/dump/dump_file.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::WriteCoreDumpResponse;
using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class CoreDumpTest : public HostTest {
 protected:
  absl::StatusOr<WriteCoreDumpResponse> Dump(const std::string& vm = "") {
    host::v1::WriteCoreDumpRequest request;
    request.set_vm(vm);
    return host().Manage(&HostAgent::WriteCoreDump, request);
  }
  absl::StatusOr<std::string> Read(const std::string& path, const crypto::SecretKey& key) {
    std::string content;
    KS_RETURN_IF_ERROR(dump::ReadDump(
        host().files(), path, [&key](const dump::DumpHeader&) { return key.Clone(); },
        [&content](absl::string_view piece) {
          content.append(piece.data(), piece.size());
          return absl::OkStatus();
        }));
    return content;
  }
  absl::StatusOr<host::v1::ReadCoreDumpResponse> ReadPart(const std::string& path, int64_t part) {
    host::v1::ReadCoreDumpRequest request;
    request.set_path(path);
    request.set_part(part);
    return host().Manage(&HostAgent::ReadCoreDump, request);
  }
  std::string Raw(const std::string& path) {
    return host().files().ReadFile(path, 64 << 20).value();
  }

  TestStandardProvider kms_{"kms"};
  const std::string host_key_ = kms_.NewKey();
  const std::string vm_key_ = kms_.NewKey();
};

TEST_F(CoreDumpTest, S103_TheHostKeyEncryptsTheHostsCore) {
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  const auto dumped = Dump();
  ASSERT_THAT(dumped, IsOk());
  EXPECT_EQ(dumped->key().key_id(), host_key_);
  EXPECT_THAT(dumped->path(), StartsWith(host().state_dir() + "/dumps/"));
  const std::string raw = Raw(dumped->path());
  EXPECT_EQ(dumped->bytes(), static_cast<int64_t>(raw.size()));
  const std::string memory(1000, 'm');  // what the host's memory holds here
  EXPECT_THAT(raw, Not(HasSubstr(memory)));
  const auto content = Read(dumped->path(), *kms_.keys.at(host_key_));
  ASSERT_THAT(content, IsOk());
  EXPECT_THAT(*content, StartsWith("\x7f"
                                   "ELF"));
  EXPECT_THAT(*content, HasSubstr(memory));
  EXPECT_THAT(Read(dumped->path(), *kms_.keys.at(vm_key_)),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(CoreDumpTest, S103_S150_APurgeTakesTheHostKeyFromNoDumpBeforeTheReboot) {
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  ASSERT_THAT(host().TickStandard({}), IsOk());
  const auto dumped = Dump();
  ASSERT_THAT(dumped, IsOk());
  EXPECT_THAT(Read(dumped->path(), *kms_.keys.at(host_key_)), IsOk());
}

TEST_F(CoreDumpTest, S103_TheHostOpensADumpWhileItHasTheKey) {
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  ASSERT_THAT(host().AddStandard(kms_, {vm_key_}), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", kms_.Id(vm_key_)), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const auto of_host = Dump();
  const auto of_vm = Dump("web");
  ASSERT_THAT(of_vm, IsOk());

  const auto first = ReadPart(of_host->path(), 0);
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(first->data(), StartsWith("\x7f"
                                        "ELF"));
  EXPECT_EQ(first->key().key_id(), host_key_);
  EXPECT_THAT(ReadPart(of_host->path(), first->parts()), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(ReadPart(of_host->path(), -1), HasReason(v1::REASON_INVALID_ARGUMENT));
  const auto vm = ReadPart(of_vm->path(), 0);
  ASSERT_THAT(vm, IsOk());
  EXPECT_THAT(vm->data(), HasSubstr("debian12-64"));
  EXPECT_EQ(vm->key().key_id(), vm_key_);

  // S150: the host key serves until the reboot.
  ASSERT_THAT(host().TickStandard({}), IsOk());
  EXPECT_THAT(ReadPart(of_host->path(), 0), IsOk());
  EXPECT_THAT(ReadPart(of_vm->path(), 0), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  host().Reboot();
  EXPECT_THAT(ReadPart(of_host->path(), 0), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
}

TEST_F(CoreDumpTest, NothingBesideItsDumpsIsReadAsADump) {
  const auto dumped = Dump();
  ASSERT_THAT(dumped, IsOk());
  const auto plain = ReadPart(dumped->path(), 0);
  ASSERT_THAT(plain, IsOk());
  EXPECT_FALSE(plain->has_key());
  for (const std::string& path :
       {std::string(), std::string("/etc/passwd"), host().state_dir() + "/config.ks",
        host().state_dir() + "/dumps/../config.ks", host().state_dir() + "/dumps/none.kscore",
        host().state_dir() + "/dumps/.."}) {
    EXPECT_FALSE(ReadPart(path, 0).ok()) << path;
  }
  const std::string other = host().state_dir() + "/dumps/other";
  ASSERT_THAT(host().files().WriteFileAtomically(other, "something else", 0600), IsOk());
  EXPECT_THAT(ReadPart(other, 0), HasReason(v1::REASON_VM_FILE_INVALID));
}

TEST_F(CoreDumpTest, S139_S103_ADerivedHostKeyServesAfterABootToo) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  const std::string key_id = host().Status().host_key().key_id();
  host().Reboot();
  const auto dumped = Dump();
  ASSERT_THAT(dumped, IsOk());
  EXPECT_EQ(dumped->key().key_id(), key_id);
  EXPECT_THAT(Read(dumped->path(), crypto::DeriveHostKey(*nkp.kdk, key_id).value()), IsOk());
}

TEST_F(CoreDumpTest, WithoutEncryptionModeACoreIsPlain) {
  const auto dumped = Dump();
  ASSERT_THAT(dumped, IsOk());
  EXPECT_FALSE(dumped->has_key());
  EXPECT_THAT(Raw(dumped->path()), HasSubstr(std::string(1000, 'm')));
}

TEST_F(CoreDumpTest, S103_AnEncryptedVmsCoreGoesUnderItsOwnKey) {
  ASSERT_THAT(host().MakeSafe(kms_, host_key_), IsOk());
  ASSERT_THAT(host().AddStandard(kms_, {vm_key_}), IsOk());
  ASSERT_THAT(host().CreateEncrypted("web", kms_.Id(vm_key_)), IsOk());
  EXPECT_THAT(Dump("web"), HasReason(v1::REASON_INVALID_POWER_STATE));
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const auto dumped = Dump("web");
  ASSERT_THAT(dumped, IsOk());
  EXPECT_EQ(dumped->key().key_id(), vm_key_);
  EXPECT_THAT(Raw(dumped->path()), Not(HasSubstr("debian12-64")));
  EXPECT_THAT(Read(dumped->path(), *kms_.keys.at(host_key_)),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  const auto content = Read(dumped->path(), *kms_.keys.at(vm_key_));
  ASSERT_THAT(content, IsOk());
  EXPECT_THAT(*content, HasSubstr("debian12-64"));
}

TEST_F(CoreDumpTest, S103_TheNamedKeyOpensAVmsCoreAlsoAfterTheVmWasRekeyedAndIsGone) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const auto before = Dump("web");
  ASSERT_THAT(before, IsOk());
  host::v1::RekeyHostVmRequest rekey;
  rekey.set_vm("web");
  rekey.set_depth(v1::REKEY_DEPTH_SHALLOW);
  rekey.mutable_key()->set_provider_id("nkp");
  rekey.mutable_key()->set_key_id("second");
  ASSERT_THAT(host().Manage(&HostAgent::RekeyHostVm, rekey), IsOk());
  const auto after = Dump("web");
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->key().key_id(), "second");
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  ASSERT_THAT(host().Unregister("web"), IsOk());
  std::filesystem::remove_all(host().datastore() + "/web");

  const auto kek = [&nkp](const std::string& key_id) {
    return crypto::DeriveVmKek(*nkp.kdk, key_id).value();
  };
  EXPECT_THAT(Read(before->path(), kek(before->key().key_id())),
              status::IsOkAndHolds(HasSubstr("debian12-64")));
  EXPECT_THAT(Read(after->path(), kek("second")), status::IsOkAndHolds(HasSubstr("debian12-64")));
  EXPECT_THAT(Read(after->path(), kek(before->key().key_id())),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(CoreDumpTest, APlainVmsCoreIsPlain) {
  ASSERT_THAT(host().Create("plain"), IsOk());
  ASSERT_THAT(host().PowerOn("plain"), IsOk());
  const auto dumped = Dump("plain");
  ASSERT_THAT(dumped, IsOk());
  EXPECT_FALSE(dumped->has_key());
  EXPECT_THAT(Raw(dumped->path()), HasSubstr("debian12-64"));
  EXPECT_THAT(Dump("no-such"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(CoreDumpTest, OneAtATimeAndALossOfPowerLeavesNoneHalf) {
  host::v1::WriteCoreDumpRequest request;
  request.set_epoch(host().epoch());
  absl::Status second;
  for (int i = 0; i < 2; ++i) {
    host().agent().WriteCoreDump(ControllerId("vcenter-a"), request,
                                 [&second](const absl::StatusOr<WriteCoreDumpResponse>& dumped) {
                                   second = dumped.status();
                                 });
  }
  executor_.RunUntil([&second] { return !second.ok(); }, absl::ZeroDuration());
  EXPECT_THAT(second, HasReason(v1::REASON_OVERLOADED));
  host().Kill();
  executor_.RunUntilIdle();
  ASSERT_THAT(host().Start(), IsOk());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(host().state_dir())) {
    EXPECT_NE(entry.path().extension(), ".part");
  }
  EXPECT_THAT(host().Attach("vcenter-a"), IsOk());
  EXPECT_THAT(Dump(), IsOk());
}

}  // namespace
}  // namespace keysphere::hostagent::agent
