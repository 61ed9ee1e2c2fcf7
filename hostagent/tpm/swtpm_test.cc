// RealTpm against swtpm, a TPM in another process, reached through TCTI strings.

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/real_tpm.h"

extern char** environ;

namespace keysphere::hostagent::tpm {
namespace {

using crypto::SecretKey;
using status::HasReason;
using status::IsOk;

// A swtpm process on Unix sockets, in a folder with a short path.
class Swtpm {
 public:
  explicit Swtpm(bool tpm2) {
    char name[] = "/tmp/swtpm-XXXXXX";
    dir_ = mkdtemp(name);
    std::vector<std::string> words = {
        "/usr/bin/swtpm", "socket",
        "--tpmstate",     absl::StrCat("dir=", dir_),
        "--server",       absl::StrCat("type=unixio,path=", Socket()),
        "--ctrl",         absl::StrCat("type=unixio,path=", Socket(), ".ctrl"),
        "--log",          absl::StrCat("file=", dir_, "/log"),
        "--flags",        "not-need-init",
        "--pid",          absl::StrCat("file=", dir_, "/pid")};
    if (tpm2) words.push_back("--tpm2");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(&word[0]);
    arguments.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, "/usr/bin/swtpm", nullptr, nullptr, arguments.data(), environ), 0)
        << "the package swtpm is not installed";
    // It writes its process id when it listens.
    while (access(absl::StrCat(dir_, "/pid").c_str(), F_OK) != 0 &&
           waitpid(pid_, nullptr, WNOHANG) == 0) {
      sched_yield();
    }
  }
  ~Swtpm() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    const files::FileSystem files;
    const std::vector<std::string> names = files.List(dir_).value();
    for (const std::string& name : names) {
      EXPECT_THAT(files.Remove(absl::StrCat(dir_, "/", name)), IsOk());
    }
    EXPECT_THAT(files.RemoveFolder(dir_), IsOk());
  }

  std::string tcti() const { return absl::StrCat("swtpm:path=", Socket()); }

 private:
  std::string Socket() const { return absl::StrCat(dir_, "/tpm"); }

  std::string dir_;
  pid_t pid_ = 0;
};

class SwtpmTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<RealTpm>> PowerOn(const std::string& tcti) {
    RealTpm::Options options;
    options.tpm_dir = tpm_dir_;
    options.tcti = tcti;
    options.files = &files_;
    return RealTpm::Create(options);
  }

  const files::FileSystem files_;
  const std::string tpm_dir_ = ::testing::TempDir() + "/swtpm/" +
                               ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(SwtpmTest, S138_EachPowerOnResetsTheChipSoThatPcr7IsExtendedOnce) {
  const Swtpm swtpm(/*tpm2=*/true);
  const SecretKey secret = SecretKey::Random(32).value();
  std::string blob;
  std::string pcr7;
  for (int i = 0; i < 3; ++i) {
    const auto tpm = PowerOn(swtpm.tcti()).value();
    if (i == 0) {
      blob = tpm->Seal(secret).value();
      pcr7 = tpm->ReadPcr7().value();
    }
    EXPECT_EQ(tpm->ReadPcr7().value(), pcr7) << i;
    EXPECT_TRUE(tpm->Unseal(blob).value().Equals(secret)) << i;
    if (i == 1) {
      EXPECT_THAT(tpm->Shutdown(), IsOk());
    }
    EXPECT_EQ(tpm->Stats().transport, swtpm.tcti());
  }
  EXPECT_THAT(files_.WriteFileAtomically(absl::StrCat(tpm_dir_, "/firmware.json"),
                                         "{\"secureBoot\": false}", 0600),
              IsOk());
  EXPECT_THAT(PowerOn(swtpm.tcti()).value()->Unseal(blob), HasReason(v1::REASON_RECOVERY_REQUIRED));
}

TEST_F(SwtpmTest, S29_Tpm12IsRecognisedAndCountsAsNone) {
  const Swtpm swtpm(/*tpm2=*/false);
  const auto tpm = PowerOn(swtpm.tcti()).value();
  EXPECT_EQ(tpm->version(), TpmVersion::k12);
  EXPECT_FALSE(tpm->usable());
  EXPECT_THAT(tpm->Seal(SecretKey::Random(32).value()), HasReason(v1::REASON_TPM_FAILED));
}

TEST_F(SwtpmTest, TpmThatIsNotThereIsReported) {
  EXPECT_THAT(PowerOn("swtpm:path=/nowhere/tpm"), HasReason(v1::REASON_TPM_FAILED));
  EXPECT_THAT(PowerOn("device:/dev/no-such-tpm"), HasReason(v1::REASON_TPM_FAILED));
  EXPECT_THAT(PowerOn("swtpm:host=127.0.0.1,port=x"), HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::hostagent::tpm
