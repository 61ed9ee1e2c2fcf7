#include "controller/tasks/tasks.h"

#include <set>
#include <string>
#include <vector>

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::tasks {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Call;
using testing::Domain;
using ::testing::ElementsAre;
using testing::User;

class TasksTest : public ::testing::Test {
 protected:
  TasksTest() { Load(); }
  void Load() {
    domain_.sim.RunUntilIdle();
    tasks_ = Tasks::Load(&domain_.store, &domain_.strand, &domain_.sim, &domain_.random).value();
    domain_.sim.RunUntilIdle();
  }
  absl::StatusOr<v1::Task> Begin(const char* object = "vm/a", const std::string& note = "") {
    absl::StatusOr<v1::Task> begun = absl::UnknownError("not answered");
    tasks_->Begin(User("olga"), "VirtualMachines.EncryptVm", object, note,
                  [&](absl::StatusOr<v1::Task> task) { begun = std::move(task); });
    EXPECT_FALSE(begun.ok());  // only when durable
    domain_.sim.RunUntilIdle();
    return begun;
  }
  void End(const std::string& id, const absl::Status& status) {
    tasks_->End(id, status);
    domain_.sim.RunUntilIdle();
  }
  absl::StatusOr<v1::Task> Get(const std::string& id) {
    v1::GetTaskRequest request;
    request.set_id(id);
    return Call(&domain_, tasks_.get(), &Tasks::GetTask, User("olga"), request);
  }

  Domain domain_;
  std::unique_ptr<Tasks> tasks_;
};

TEST_F(TasksTest, RunsAndSucceeds) {
  const v1::Task begun = Begin().value();
  EXPECT_EQ(begun.state(), v1::Task::STATE_RUNNING);
  EXPECT_EQ(begun.user(), "olga");
  std::vector<int> seen;
  int last = 0;
  ASSERT_THAT(tasks_->Watch(begun.id(),
                            [&](const v1::Task& task, bool is_last) {
                              seen.push_back(task.progress_percent());
                              last += is_last ? 1 : 0;
                            }),
              IsOk());
  tasks_->Progress(begun.id(), 40);
  tasks_->Progress(begun.id(), 30);  // never back
  tasks_->Progress(begun.id(), 400);
  EXPECT_EQ(last, 0);
  End(begun.id(), absl::OkStatus());
  EXPECT_THAT(seen, ElementsAre(0, 40, 100, 100));
  EXPECT_EQ(last, 1);
  EXPECT_EQ(Get(begun.id())->state(), v1::Task::STATE_SUCCEEDED);
  // Who comes late is told the end at once.
  ASSERT_THAT(tasks_->Watch(begun.id(), [&](const v1::Task&, bool is_last) { last += is_last; }),
              IsOk());
  EXPECT_EQ(last, 2);
}

TEST_F(TasksTest, AFailureTellsItsReason) {
  const std::string id = Begin()->id();
  End(id, status::Error(v1::REASON_NOT_BACKED_UP, "no backup").Object("provider", "p"));
  const v1::Task task = Get(id).value();
  EXPECT_EQ(task.state(), v1::Task::STATE_FAILED);
  EXPECT_EQ(task.error().reason(), v1::REASON_NOT_BACKED_UP);
  EXPECT_EQ(task.error_code(), static_cast<int>(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(task.error_message(), "no backup");
}

TEST_F(TasksTest, S148_WhatRanWhenTheControllerEndedHasFailed) {
  const std::string running = Begin()->id();
  const std::string done = Begin()->id();
  End(done, absl::OkStatus());
  Load();
  EXPECT_EQ(Get(done)->state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_EQ(Get(running)->error().reason(), v1::REASON_CONTROLLER_UNAVAILABLE);
  Load();
  EXPECT_EQ(Get(running)->state(), v1::Task::STATE_FAILED);
}

TEST_F(TasksTest, ANoteOutlivesWhatHasNoKnownOutcome) {
  const auto unknown = [this] {
    std::set<std::string> ids;
    for (const v1::Task& task : tasks_->Unknown()) ids.insert(task.id());
    return ids;
  };
  const std::string known = Begin("vm/a", "a")->id();
  const std::string lost = Begin("vm/b", "b")->id();
  const std::string running = Begin("vm/c", "c")->id();
  tasks_->SetNote(running, "c, as it is now");
  End(known, status::Error(v1::REASON_VM_LOCKED, "locked"));
  tasks_->EndUnknown(lost, status::Error(v1::REASON_HOST_NOT_RESPONDING, "silent"));
  domain_.sim.RunUntilIdle();
  EXPECT_EQ(unknown(), std::set<std::string>{lost});
  EXPECT_EQ(tasks_->NoteOf(known), "");
  EXPECT_EQ(tasks_->NoteOf(lost), "b");

  Load();
  EXPECT_EQ(unknown(), (std::set<std::string>{lost, running}));
  EXPECT_EQ(tasks_->NoteOf(lost), "b");
  EXPECT_EQ(tasks_->NoteOf(running), "c, as it is now");
  tasks_->DropNote(lost);
  EXPECT_EQ(unknown(), std::set<std::string>{running});
  Load();
  EXPECT_EQ(unknown(), std::set<std::string>{running});
  EXPECT_EQ(Get(lost)->error().reason(), v1::REASON_HOST_NOT_RESPONDING);
  domain_.sim.AdvanceBy(absl::Hours(24));
  EXPECT_THAT(unknown(), ::testing::IsEmpty());
}

TEST_F(TasksTest, ATaskThatWasKeptBareIsRead) {
  v1::Task bare;
  bare.set_id("old");
  bare.set_operation("VirtualMachines.EncryptVm");
  bare.set_state(v1::Task::STATE_SUCCEEDED);
  bare.mutable_end_time()->set_seconds(absl::ToUnixSeconds(domain_.sim.Now()));
  store::Transaction transaction;
  store::PutProto(&transaction, "task/0000000000000000007/old", bare);
  domain_.store.Commit(std::move(transaction), [](const absl::StatusOr<store::Revision>&) {});
  Load();
  EXPECT_EQ(Get("old")->operation(), "VirtualMachines.EncryptVm");
  EXPECT_EQ(tasks_->NoteOf("old"), "");
}

TEST_F(TasksTest, AnEndIsToldWhenItIsDurable) {
  const std::string id = Begin()->id();
  domain_.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"));
  End(id, absl::OkStatus());
  EXPECT_EQ(Get(id)->state(), v1::Task::STATE_RUNNING);
  domain_.sim.AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(Get(id)->state(), v1::Task::STATE_SUCCEEDED);
}

TEST_F(TasksTest, ABeginningThatIsNotDurableIsRefused) {
  domain_.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"));
  EXPECT_THAT(Begin(), HasReason(v1::REASON_STORAGE_FULL));
}

TEST_F(TasksTest, EndedOnesAreForgottenAfter24Hours) {
  const std::string first = Begin()->id();
  const std::string running = Begin()->id();
  End(first, absl::OkStatus());
  domain_.sim.AdvanceBy(absl::Hours(23));
  const std::string second = Begin()->id();
  End(second, absl::OkStatus());
  domain_.sim.AdvanceBy(absl::Hours(1));
  EXPECT_THAT(Get(first), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(Get(second), IsOk());
  Load();
  EXPECT_THAT(Get(first), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(Get(running), IsOk());
  domain_.sim.AdvanceBy(absl::Hours(24));
  EXPECT_THAT(Get(second), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(Get(running), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(TasksTest, CancelIsARequest) {
  const std::string id = Begin()->id();
  EXPECT_FALSE(tasks_->CancelRequested(id));
  v1::CancelTaskRequest request;
  request.set_id(id);
  ASSERT_THAT(Call(&domain_, tasks_.get(), &Tasks::CancelTask, User("olga"), request), IsOk());
  EXPECT_TRUE(tasks_->CancelRequested(id));
  EXPECT_EQ(Get(id)->state(), v1::Task::STATE_RUNNING);
  request.set_id("none");
  EXPECT_THAT(Call(&domain_, tasks_.get(), &Tasks::CancelTask, User("olga"), request),
              HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(TasksTest, ListsTheNewestFirstInPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(Begin()->id());
    domain_.sim.AdvanceBy(absl::Seconds(1));
  }
  std::vector<std::string> listed;
  v1::ListTasksRequest request;
  request.set_page_size(2);
  do {
    const auto page = Call(&domain_, tasks_.get(), &Tasks::ListTasks, User("olga"), request);
    ASSERT_THAT(page, IsOk());
    for (const v1::Task& task : page->tasks()) listed.push_back(task.id());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(listed, ElementsAre(ids[4], ids[3], ids[2], ids[1], ids[0]));
  request.set_page_token("x");
  EXPECT_THAT(Call(&domain_, tasks_.get(), &Tasks::ListTasks, User("olga"), request),
              HasReason(v1::REASON_PAGE_TOKEN_INVALID));
}

TEST_F(TasksTest, WhatBeganAtOneInstantIsListedAsItBegan) {
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.insert(ids.begin(), Begin()->id());
  const auto listed = [this] {
    std::vector<std::string> listed;
    v1::ListTasksRequest request;
    request.set_page_size(5);
    do {
      const auto page = Call(&domain_, tasks_.get(), &Tasks::ListTasks, User("olga"), request);
      EXPECT_THAT(page, IsOk());
      for (const v1::Task& task : page->tasks()) listed.push_back(task.id());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return listed;
  };
  EXPECT_EQ(listed(), ids);
  Load();
  EXPECT_EQ(listed(), ids);
  ids.insert(ids.begin(), Begin()->id());
  EXPECT_EQ(listed(), ids);
}

TEST_F(TasksTest, ACancelledWatchHearsNoMore) {
  const std::string id = Begin()->id();
  int heard = 0;
  const auto watch = tasks_->Watch(id, [&](const v1::Task&, bool) { ++heard; });
  ASSERT_THAT(watch, IsOk());
  tasks_->CancelWatch(*watch);
  End(id, absl::OkStatus());
  EXPECT_EQ(heard, 1);
}

}  // namespace
}  // namespace keysphere::controller::tasks
