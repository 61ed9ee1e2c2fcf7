// Bad input and damaged files at a host, over its real services.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::HostDriver;
using processes::HostProcess;
using processes::HostVms;
using processes::NativeProvider;
using processes::VmCalls;
using status::HasReason;
using status::IsOk;
using status::IsOkAndHolds;
using ::testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class HostInputTest : public ::testing::Test {
 protected:
  HostInputTest() : host_(lab_.AddHost({})), driver_(&host_) {
    KS_CHECK(host_.Start().ok());
    KS_CHECK(driver_.Prepare(nkp_).ok());
    KS_CHECK(driver_.CreateEncrypted("web", nkp_, data_).ok());
  }
  // Whatever was tried, the process lives and the good VM opens.
  ~HostInputTest() override {
    EXPECT_TRUE(host_.Running());
    EXPECT_THAT(driver_.OpenAndRead("web", data_.size()), IsOkAndHolds(data_));
  }

  // A copy of "web" under another name, as a backup that is restored: path of its folder.
  std::string CopyOfWeb(const std::string& name) {
    const std::string folder = driver_.Folder(name);
    std::filesystem::copy(driver_.Folder("web"), folder, std::filesystem::copy_options::recursive);
    return folder;
  }
  absl::StatusOr<host::v1::HostVm> RegisterCopy(const std::string& name) {
    host::v1::RegisterHostVmRequest request;
    request.set_vmx_path(absl::StrCat("[ds1] ", name, "/web.vmx"));
    request.set_name(name);
    return driver_.AsUser().Call<HostVms>(&VmCalls::RegisterHostVm, request);
  }

  processes::Lab lab_;
  HostProcess& host_;
  HostDriver driver_;
  const NativeProvider nkp_ = NativeProvider::Make("nkp");
  const std::string data_ = processes::GuestData(21);
};

TEST_F(HostInputTest, NamesThatAreNoneAreRefused) {
  for (const std::string& name :
       {std::string(), std::string(10'000, 'n'), std::string("line\nbreak"),
        std::string("nul\0byte", 8), std::string("bell\a")}) {
    EXPECT_THAT(driver_.Create(name), HasReason(v1::REASON_INVALID_NAME)) << name.size();
  }
  // A name is never a path.
  const auto climber = driver_.Create("../../climber");
  if (climber.ok()) {
    EXPECT_THAT(climber->vm().vmx_path(), ::testing::Not(HasSubstr("../")));
  } else {
    EXPECT_THAT(climber, HasReason(v1::REASON_INVALID_NAME));
  }
  EXPECT_FALSE(std::filesystem::exists(lab_.root() + "/climber"));
  EXPECT_FALSE(std::filesystem::exists(lab_.root() + "/../climber"));
  EXPECT_THAT(driver_.Create("web"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(driver_.PowerOn("nobody"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(driver_.PowerOn(std::string(10'000, 'n')), ::testing::Not(IsOk()));
}

TEST_F(HostInputTest, PathsOutsideTheDatastoreAreRefused) {
  WriteFile(lab_.root() + "/outside.vmx", "displayName = \"outside\"\n");
  for (const char* const path :
       {"", "web/web.vmx", "[ds1] ../outside.vmx", "[ds1] web/../../outside.vmx",
        "[ds1] /etc/passwd", "[nods] web/web.vmx", "[ds1]", "[ds1] web/none.vmx", "[ds1"}) {
    const auto registered = driver_.Register(path);
    EXPECT_FALSE(registered.ok()) << path;
    EXPECT_NE(status::ReasonOf(registered.status()), v1::REASON_INTERNAL) << path;
  }
  EXPECT_THAT(driver_.Register("[ds1] web/web.vmx"), HasReason(v1::REASON_ALREADY_EXISTS));
}

TEST_F(HostInputTest, A64MegabyteMessageIsRefused) {
  ASSERT_THAT(driver_.PowerOn("web"), IsOk());
  EXPECT_THAT(driver_.Write("web", std::string(64 << 20, 'x')), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(driver_.Write("web", std::string((1 << 20) + 1, 'x')), ::testing::Not(IsOk()));
  host::v1::ReadGuestDiskRequest beyond;
  beyond.set_vm("web");
  beyond.set_offset(1 << 30);
  beyond.set_length(4096);
  EXPECT_FALSE(driver_.AsUser().Call<HostVms>(&VmCalls::ReadGuestDisk, beyond).ok());
  beyond.set_offset(-1);
  EXPECT_FALSE(driver_.AsUser().Call<HostVms>(&VmCalls::ReadGuestDisk, beyond).ok());
  beyond.set_offset(0);
  beyond.set_length(-4096);
  EXPECT_FALSE(driver_.AsUser().Call<HostVms>(&VmCalls::ReadGuestDisk, beyond).ok());
  EXPECT_THAT(driver_.PowerOff("web"), IsOk());
}

TEST_F(HostInputTest, ABrokenVmxNamesItsLine) {
  const std::string folder = CopyOfWeb("broken");
  const std::string vmx = ReadFile(folder + "/web.vmx");
  WriteFile(folder + "/web.vmx", vmx + "this is no entry\n");
  const auto registered = RegisterCopy("broken");
  EXPECT_THAT(registered, HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(std::string(registered.status().message()), HasSubstr("web.vmx"));
  WriteFile(folder + "/web.vmx", vmx + "unclosed = \"quote\n");
  EXPECT_THAT(RegisterCopy("broken"), HasReason(v1::REASON_VM_FILE_INVALID));
  WriteFile(folder + "/web.vmx", std::string("a = \"\0\"\n", 8));
  EXPECT_THAT(RegisterCopy("broken"), HasReason(v1::REASON_VM_FILE_INVALID));
  WriteFile(folder + "/web.vmx", vmx);
  EXPECT_THAT(RegisterCopy("broken"), IsOk());
}

TEST_F(HostInputTest, S135_AChangedKeySafeOrCiphertextDoesNotOpen) {
  const std::string folder = CopyOfWeb("flipped");
  const std::string vmx = ReadFile(folder + "/web.vmx");
  const std::string marker = "HMAC-SHA-256,";
  for (const char* const field : {"encryption.keySafe", "encryption.data"}) {
    std::string changed = vmx;
    size_t at = changed.find(field);
    ASSERT_NE(at, std::string::npos) << vmx;
    at = std::string(field) == "encryption.keySafe" ? changed.find(marker, at) + marker.size() + 20
                                                    : changed.find('"', at) + 20;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    WriteFile(folder + "/web.vmx", changed);
    const auto registered = RegisterCopy("flipped");
    if (registered.ok()) {
      // Registered, and found not to open (S109).
      EXPECT_EQ(registered->vm().lock_state(), v1::LOCK_STATE_LOCKED) << field;
      EXPECT_FALSE(driver_.PowerOn("flipped").ok()) << field;
      EXPECT_THAT(driver_.Unregister("flipped"), IsOk());
    } else {
      EXPECT_THAT(registered, ::testing::AnyOf(HasReason(v1::REASON_VM_FILE_INVALID),
                                               HasReason(v1::REASON_CIPHERTEXT_CORRUPT)))
          << field;
    }
  }
  // The files of the VM as they were: it opens.
  WriteFile(folder + "/web.vmx", vmx);
  ASSERT_THAT(RegisterCopy("flipped"), IsOk());
  EXPECT_THAT(driver_.OpenAndRead("flipped", data_.size()), IsOkAndHolds(data_));
}

TEST_F(HostInputTest, AMissingOrShortDiskFailsThePowerOnAndNamesTheFile) {
  const std::string folder = CopyOfWeb("short");
  ASSERT_THAT(RegisterCopy("short"), IsOk());
  std::string flat;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().string().find("-flat.vmdk") != std::string::npos) flat = entry.path();
  }
  ASSERT_FALSE(flat.empty());
  const std::string name = std::filesystem::path(flat).filename();
  const auto size = std::filesystem::file_size(flat);
  std::filesystem::resize_file(flat, size / 2);
  const auto too_short = driver_.PowerOn("short");
  EXPECT_THAT(too_short, HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(std::string(too_short.status().message()), HasSubstr(name));
  std::filesystem::remove(flat);
  const auto missing = driver_.PowerOn("short");
  EXPECT_THAT(missing, HasReason(v1::REASON_VM_FILE_MISSING));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(name));
}

}  // namespace
}  // namespace keysphere::faults
