#include "services/kms/kms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/files/file_system.h"
#include "common/identity/authority.h"
#include "common/identity/credentials.h"
#include "common/log/capturing_logger.h"
#include "common/status/matchers.h"

namespace keysphere::kms {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class KmsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_THAT(files_.MakeFolders(folder_), IsOk());
    const identity::Validity validity = identity::Validity::From(clock_.Now());
    const auto authority = identity::Authority::Create("keysphere.test", validity).value();
    identity::Authority::Request request;
    request.kind = identity::Kind::kKms;
    request.name = "kms-1";
    request.validity = validity;
    request.ip_addresses = {"127.0.0.1"};
    const auto own = identity::CredentialFiles::In(folder_, "kms");
    ASSERT_THAT(authority->Issue(request).value().Write(own), IsOk());
    options_.ip = "127.0.0.1";
    options_.port = 0;
    options_.certificate_file = own.certificate;
    options_.key_file = own.key;
    options_.ca_file = own.ca;
    options_.data_dir = folder_ + "/data";
  }

  void WriteUsers(const std::string& text) {
    options_.users_file = folder_ + "/users";
    ASSERT_THAT(files_.WriteFileAtomically(options_.users_file, text, 0600), IsOk());
  }
  // Starts a node and ends it; the files that it warns of, with their modes.
  std::map<std::string, std::string> OpenFiles() {
    log::CapturingLogger logger;
    EXPECT_THAT(Kms::Create(options_, &clock_, &logger), IsOk());
    std::map<std::string, std::string> open;
    for (const auto& entry : logger.entries()) {
      if (entry.event != "kms.file_open_to_others") continue;
      EXPECT_EQ(entry.level, log::Level::kWarning);
      open[entry.fields.at("path")] = entry.fields.at("mode");
    }
    return open;
  }

  clock::SystemClock clock_;
  files::FileSystem files_;
  std::string folder_;
  Kms::Options options_;
};

TEST_F(KmsTest, WarnsOfSecretsThatOthersMayRead) {
  WriteUsers("alice secret\n");
  EXPECT_THAT(OpenFiles(), IsEmpty());
  const std::string database_key = options_.data_dir + "/kms.db.key";
  ASSERT_EQ(chmod(options_.key_file.c_str(), 0644), 0);
  ASSERT_EQ(chmod(options_.users_file.c_str(), 0640), 0);
  ASSERT_EQ(chmod(database_key.c_str(), 0604), 0);
  EXPECT_THAT(OpenFiles(), ElementsAre(Pair(database_key, "0604"), Pair(options_.key_file, "0644"),
                                       Pair(options_.users_file, "0640")));
  // Through a link it is the file that counts.
  const std::string link = folder_ + "/link";
  ASSERT_EQ(symlink(options_.key_file.c_str(), link.c_str()), 0);
  ASSERT_EQ(chmod(options_.key_file.c_str(), 0600), 0);
  ASSERT_EQ(chmod(options_.users_file.c_str(), 0400), 0);
  ASSERT_EQ(chmod(database_key.c_str(), 0600), 0);
  options_.key_file = link;
  EXPECT_THAT(OpenFiles(), IsEmpty());
}

TEST_F(KmsTest, AUserStandsInTheFileOnce) {
  WriteUsers("alice one\nalice two\n");
  log::CapturingLogger logger;
  EXPECT_THAT(Kms::Create(options_, &clock_, &logger), HasReason(v1::REASON_INVALID_ARGUMENT));
}

}  // namespace
}  // namespace keysphere::kms
