#include "controller/events/event_log.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::events {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Call;
using testing::Domain;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::User;

class EventLogTest : public ::testing::Test {
 protected:
  EventLogTest() { Load(); }
  void Load() {
    domain_.sim.RunUntilIdle();
    log_ = EventLog::Load(&domain_.store, &domain_.strand, &domain_.sim).value();
  }
  int64_t Append(absl::string_view type, absl::string_view object = "vm/a") {
    v1::Event event;
    event.set_type(std::string(type));
    event.set_object(std::string(object));
    event.set_message("Something happened");
    return log_->Append(std::move(event));
  }
  void AppendDurably(int count) {
    for (int i = 0; i < count; ++i) Append("t");
    domain_.sim.RunUntilIdle();
  }
  absl::StatusOr<v1::ListEventsResponse> List(const v1::ListEventsRequest& request) {
    return Call(&domain_, log_.get(), &EventLog::ListEvents, User("admin"), request);
  }
  // What a watcher hears: revisions, or the reason of its end.
  EventLog::Sink Hear(std::vector<std::string>* heard, size_t waiting = 0) {
    return [heard, waiting](absl::StatusOr<v1::Event> event) {
      heard->push_back(event.ok() ? absl::StrCat(event->revision())
                                  : v1::Reason_Name(status::ReasonOf(event.status())));
      return waiting;
    };
  }
  static v1::WatchEventsRequest After(int64_t revision) {
    v1::WatchEventsRequest request;
    request.set_after_revision(revision);
    return request;
  }

  Domain domain_;
  std::unique_ptr<EventLog> log_;
};

std::vector<int64_t> Revisions(const v1::ListEventsResponse& response) {
  std::vector<int64_t> revisions;
  for (const v1::Event& event : response.events()) revisions.push_back(event.revision());
  return revisions;
}

TEST_F(EventLogTest, NobodySeesAnEventBeforeItIsDurable) {
  std::vector<std::string> heard;
  log_->Watch(After(0), Hear(&heard));
  EXPECT_EQ(Append("t"), 1);
  EXPECT_EQ(Append("t"), 2);
  EXPECT_THAT(heard, IsEmpty());
  domain_.sim.RunUntilIdle();
  EXPECT_THAT(heard, ElementsAre("1", "2"));
}

TEST_F(EventLogTest, AfterARevisionThatDoesNotExistYetIsRefused) {
  AppendDurably(3);
  for (const int64_t after : {int64_t{4}, int64_t{99'999'999}, int64_t{-2}, int64_t{-1'000}}) {
    absl::Status refused;
    int heard = 0;
    log_->Watch(After(after), [&](absl::StatusOr<v1::Event> event) -> size_t {
      refused = event.status();
      ++heard;
      return 0;
    });
    AppendDurably(1);
    log_->Watch(After(after), [](const absl::StatusOr<v1::Event>&) -> size_t { return 0; });
    EXPECT_EQ(heard, 1) << after;
    EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT)) << after;
    Load();
  }
  std::vector<std::string> heard;
  log_->Watch(After(99), Hear(&heard));
  EXPECT_THAT(heard, ElementsAre("REASON_INVALID_ARGUMENT"));
  // The newest is one.
  heard.clear();
  log_->Watch(After(7), Hear(&heard));
  AppendDurably(1);
  EXPECT_THAT(heard, ElementsAre("8"));
  absl::Status refused;
  log_->Watch(After(9), [&refused](const absl::StatusOr<v1::Event>& event) -> size_t {
    refused = event.status();
    return 0;
  });
  EXPECT_TRUE(absl::StrContains(refused.message(), "the newest is 8")) << refused;
}

TEST_F(EventLogTest, SurviveARestartAndRevisionsGoOn) {
  Append("t", "vm/a");
  Append("u", "vm/b");
  Load();
  EXPECT_EQ(Append("t"), 3);
  const auto all = List({});
  ASSERT_THAT(all, IsOk());
  EXPECT_THAT(Revisions(*all), ElementsAre(3, 2, 1));
  EXPECT_EQ(all->events(1).object(), "vm/b");
  EXPECT_GT(all->events(1).time().seconds(), 0);
}

TEST_F(EventLogTest, WhatTheStoreRefusesIsTriedAgain) {
  domain_.store.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "full"), 3);
  std::vector<std::string> heard;
  log_->Watch(After(-1), Hear(&heard));
  Append("t");
  domain_.sim.RunUntilIdle();
  Append("t");
  EXPECT_THAT(heard, IsEmpty());
  domain_.sim.AdvanceBy(absl::Seconds(10));
  EXPECT_THAT(heard, ElementsAre("1", "2"));
}

TEST_F(EventLogTest, PagesFiltersAndOrders) {
  for (int i = 0; i < 10; ++i) Append(i % 2 == 0 ? "com.a.X" : "com.b.Y", i < 5 ? "vm/a" : "vm/b");
  v1::ListEventsRequest request;
  request.set_page_size(2);
  request.add_type_prefixes("com.a");
  auto page = List(request);
  ASSERT_THAT(page, IsOk());
  EXPECT_THAT(Revisions(*page), ElementsAre(9, 7));
  request.set_page_token(page->next_page_token());
  Append("com.a.X");  // does not disturb the pages that follow
  page = List(request);
  EXPECT_THAT(Revisions(*page), ElementsAre(5, 3));
  request.set_page_token(page->next_page_token());
  page = List(request);
  EXPECT_THAT(Revisions(*page), ElementsAre(1));
  EXPECT_EQ(page->next_page_token(), "");

  v1::ListEventsRequest ascending;
  ascending.set_ascending(true);
  ascending.set_object("vm/b");
  EXPECT_THAT(Revisions(*List(ascending)), ElementsAre(6, 7, 8, 9, 10));
  ascending.set_page_token(request.page_token());
  EXPECT_THAT(List(ascending), HasReason(v1::REASON_PAGE_TOKEN_INVALID));
  request.set_page_token("x");
  EXPECT_THAT(List(request), HasReason(v1::REASON_PAGE_TOKEN_INVALID));
  request.set_page_size(1001);
  EXPECT_THAT(List(request), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(EventLogTest, WatchFromARevision) {
  AppendDurably(3);
  std::vector<std::string> all;
  std::vector<std::string> after;
  std::vector<std::string> only_new;
  log_->Watch(After(0), Hear(&all));
  const auto id = log_->Watch(After(2), Hear(&after));
  log_->Watch(After(-1), Hear(&only_new));
  AppendDurably(1);
  log_->CancelWatch(id);
  AppendDurably(1);
  EXPECT_THAT(all, ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_THAT(after, ElementsAre("3", "4"));
  EXPECT_THAT(only_new, ElementsAre("4", "5"));
}

TEST_F(EventLogTest, ASlowWatcherIsDroppedWithTheRevisionToResumeFrom) {
  std::vector<std::string> heard;
  absl::Status end;
  size_t waiting = 0;
  log_->Watch(After(0), [&](absl::StatusOr<v1::Event> event) -> size_t {
    if (!event.ok()) end = event.status();
    heard.push_back("");
    return waiting;
  });
  AppendDurably(2);
  waiting = EventLog::kWatcherQueue + 1;
  AppendDurably(3);
  EXPECT_THAT(end, HasReason(v1::REASON_RESUME_FROM));
  EXPECT_EQ(status::DetailOf(end).metadata().at("revision"), "3");
  EXPECT_EQ(heard.size(), 4u);  // three events and the end
}

TEST_F(EventLogTest, KeptEventsWaitForASlowReaderInsteadOfDroppingIt) {
  AppendDurably(5);
  std::vector<std::string> heard;
  const auto id = log_->Watch(After(0), Hear(&heard, EventLog::kWatcherQueue + 1));
  EXPECT_THAT(heard, ElementsAre("1"));
  log_->Resume(id);
  EXPECT_THAT(heard, ElementsAre("1", "2"));
}

}  // namespace
}  // namespace keysphere::controller::events
