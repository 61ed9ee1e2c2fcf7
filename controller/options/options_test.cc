#include "controller/options/options.h"

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/testing/domain.h"
#include "gtest/gtest.h"

namespace keysphere::controller::options {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Call;
using testing::Domain;
using testing::User;

class OptionsTest : public ::testing::Test {
 protected:
  OptionsTest() { Load(); }
  void Load() { options_ = Options::Load(&domain_.store, &domain_.strand).value(); }
  absl::StatusOr<v1::Option> Set(const char* name, const char* value) {
    v1::SetOptionRequest request;
    request.set_name(name);
    request.set_value(value);
    return Call(&domain_, options_.get(), &Options::SetOption, User("admin"), request);
  }

  Domain domain_;
  std::unique_ptr<Options> options_;
};

TEST_F(OptionsTest, Defaults) {
  EXPECT_EQ(options_->RemediationInterval(), absl::Minutes(5));  // S70
  EXPECT_EQ(options_->Integer(kExportTokenExpiry), 300);         // S117
  EXPECT_EQ(options_->Integer(kBackupCheckInterval), 1440);      // S88
  EXPECT_TRUE(options_->Boolean(kNewHostKeyIfMissing));          // S104
  EXPECT_EQ(options_->Integer(kKmsStatusInterval), 5);           // S92
  EXPECT_EQ(options_->Integer(kCertificateThreshold), 30);       // S94
  const auto all = Call(&domain_, options_.get(), &Options::ListOptions, User("admin"),
                        v1::ListOptionsRequest());
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all->options_size(), 6);
}

TEST_F(OptionsTest, S70_OutsideItsRangeIsRefusedAndNothingChanges) {
  for (const char* value :
       {"0", "1441", "-1", "", "5m", "+5", " 5", "1e1", "99999999999999999999"}) {
    EXPECT_THAT(Set(kRemediationInterval, value), HasReason(v1::REASON_INVALID_ARGUMENT)) << value;
  }
  EXPECT_EQ(options_->RemediationInterval(), absl::Minutes(5));
  EXPECT_THAT(Set(kRemediationInterval, "1"), IsOk());
  EXPECT_THAT(Set(kRemediationInterval, "1440"), IsOk());
  EXPECT_THAT(Set(kNewHostKeyIfMissing, "yes"), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Set("vpxd.nothing", "1"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(OptionsTest, ListenersHearOfDurableChangesOnly) {
  int heard = 0;
  options_->OnChange(kRemediationInterval, [&] { ++heard; });
  ASSERT_THAT(Set(kRemediationInterval, "7"), IsOk());
  ASSERT_THAT(Set(kRemediationInterval, "007"), IsOk());  // the same
  EXPECT_EQ(heard, 1);
  domain_.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"));
  EXPECT_THAT(Set(kRemediationInterval, "9"), HasReason(v1::REASON_STORAGE_FULL));
  EXPECT_EQ(heard, 1);
  EXPECT_EQ(options_->RemediationInterval(), absl::Minutes(7));
}

TEST_F(OptionsTest, SurviveARestart) {
  ASSERT_THAT(Set(kExportTokenExpiry, "60"), IsOk());
  ASSERT_THAT(Set(kNewHostKeyIfMissing, "false"), IsOk());
  Load();
  EXPECT_EQ(options_->Integer(kExportTokenExpiry), 60);
  EXPECT_FALSE(options_->Boolean(kNewHostKeyIfMissing));
}

}  // namespace
}  // namespace keysphere::controller::options
