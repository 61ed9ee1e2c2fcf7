#include "controller/alarms/alarms.h"

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/testing/domain.h"
#include "gtest/gtest.h"

namespace keysphere::controller::alarms {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Call;
using testing::Domain;
using testing::User;

class AlarmsTest : public ::testing::Test {
 protected:
  AlarmsTest() { Load(); }
  void Load() {
    domain_.sim.RunUntilIdle();
    alarms_ = Alarms::Load(&domain_.store, &domain_.strand, &domain_.sim).value();
  }
  void Raise(const char* name, const char* object, const char* message, bool again = false) {
    alarms_->Raise(name, object, v1::Alarm::SEVERITY_RED, message, 7, again);
  }
  absl::StatusOr<v1::ListAlarmsResponse> List(const char* object = "") {
    v1::ListAlarmsRequest request;
    request.set_object(object);
    return Call(&domain_, alarms_.get(), &Alarms::ListAlarms, User("admin"), request);
  }
  absl::StatusOr<v1::Alarm> Acknowledge(const char* name, const char* object) {
    v1::AcknowledgeAlarmRequest request;
    request.set_name(name);
    request.set_object(object);
    return Call(&domain_, alarms_.get(), &Alarms::AcknowledgeAlarm, User("olga"), request);
  }

  Domain domain_;
  std::unique_ptr<Alarms> alarms_;
};

TEST_F(AlarmsTest, S89_RaisedShowsUntilCleared) {
  Raise(kVmLocked, "vm/b", "locked");
  domain_.sim.AdvanceBy(absl::Seconds(1));
  Raise(kVmLocked, "vm/a", "locked");
  EXPECT_TRUE(alarms_->Shows(kVmLocked, "vm/a"));
  EXPECT_FALSE(alarms_->Shows(kNotBackedUp, "vm/a"));
  const auto all = List();
  ASSERT_THAT(all, IsOk());
  ASSERT_EQ(all->alarms_size(), 2);
  EXPECT_EQ(all->alarms(0).object(), "vm/b");  // by time
  EXPECT_EQ(List("vm/a")->alarms_size(), 1);
  alarms_->Clear(kVmLocked, "vm/b");
  alarms_->Clear(kVmLocked, "vm/c");
  EXPECT_EQ(List()->alarms_size(), 1);
}

TEST_F(AlarmsTest, SurviveARestart) {
  Raise(kVmLocked, "vm/a", "locked");
  Raise(kVmLocked, "vm/b", "locked");
  alarms_->Clear(kVmLocked, "vm/b");
  ASSERT_THAT(Acknowledge(kVmLocked, "vm/a"), IsOk());
  Load();
  const auto all = List();
  ASSERT_EQ(all->alarms_size(), 1);
  EXPECT_TRUE(all->alarms(0).acknowledged());
  EXPECT_EQ(all->alarms(0).acknowledged_by(), "olga");
  EXPECT_EQ(all->alarms(0).event_revision(), 7);
}

TEST_F(AlarmsTest, S88_OnlyRaisedAgainItLosesItsAcknowledgement) {
  Raise(kNotBackedUp, "provider/p", "no backup");
  ASSERT_THAT(Acknowledge(kNotBackedUp, "provider/p"), IsOk());
  const absl::Time raised = *alarms_->RaisedAt(kNotBackedUp, "provider/p");
  domain_.sim.AdvanceBy(absl::Hours(24));
  Raise(kNotBackedUp, "provider/p", "still no backup");
  EXPECT_TRUE(List()->alarms(0).acknowledged());
  EXPECT_EQ(List()->alarms(0).message(), "still no backup");
  EXPECT_EQ(*alarms_->RaisedAt(kNotBackedUp, "provider/p"), raised);
  Raise(kNotBackedUp, "provider/p", "still no backup", /*again=*/true);
  EXPECT_FALSE(List()->alarms(0).acknowledged());
  EXPECT_EQ(*alarms_->RaisedAt(kNotBackedUp, "provider/p"), raised + absl::Hours(24));
}

TEST_F(AlarmsTest, AcknowledgingWhatDoesNotShowIsNotFound) {
  EXPECT_THAT(Acknowledge(kVmLocked, "vm/a"), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(AlarmsTest, AListThatIsNotDurableIsNotTold) {
  domain_.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"));
  Raise(kVmLocked, "vm/a", "locked");
  EXPECT_THAT(List(), HasReason(v1::REASON_STORAGE_FULL));
  domain_.sim.AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(List()->alarms_size(), 1);
}

}  // namespace
}  // namespace keysphere::controller::alarms
