#ifndef KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_FIXTURE_H_
#define KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/real_tpm.h"

namespace keysphere::hostagent::tpm {

// Every use of libtpms is in a process of its own, which is also a host's power-on.
class RealTpmTest : public ::testing::Test {
 protected:
  RealTpmTest() {
    dir_ = absl::StrCat(::testing::TempDir(), "/tpm/",
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    EXPECT_TRUE(files_.MakeFolders(dir_).ok());
  }

  std::unique_ptr<RealTpm> PowerOn(absl::string_view chip = "chip") {
    RealTpm::Options options;
    options.tpm_dir = absl::StrCat(dir_, "/", chip);
    options.files = &files_;
    return RealTpm::Create(options).value();
  }

  void Write(absl::string_view name, absl::string_view content) {
    EXPECT_TRUE(files_.WriteFileAtomically(absl::StrCat(dir_, "/", name), content, 0600).ok());
  }
  std::string Read(absl::string_view name) {
    return files_.ReadFile(absl::StrCat(dir_, "/", name), 1 << 20).value();
  }

  // A fixed secret, so that processes can compare.
  static crypto::SecretKey Secret() {
    crypto::SecretKey secret = crypto::SecretKey::Zeroed(32).value();
    for (int i = 0; i < 32; ++i) {
      secret.mutable_bytes(crypto::SecretKeyAccess::Token())[i] = static_cast<uint8_t>(i * 7 + 1);
    }
    return secret;
  }

  const files::FileSystem files_;
  std::string dir_;
};

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_REAL_TPM_FIXTURE_H_
