// How many events are kept: a test that makes more of them than that.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "controller/events/event_log.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::events {
namespace {

using ::testing::ElementsAre;

// The revisions that a watcher from `revision` hears, or the reason of its end.
std::vector<std::string> Heard(EventLog* log, int64_t revision) {
  std::vector<std::string> heard;
  v1::WatchEventsRequest request;
  request.set_after_revision(revision);
  const auto id = log->Watch(request, [&heard](absl::StatusOr<v1::Event> event) -> size_t {
    heard.push_back(event.ok() ? absl::StrCat(event->revision())
                               : v1::Reason_Name(status::ReasonOf(event.status())));
    return 0;
  });
  log->CancelWatch(id);
  return heard;
}

TEST(EventLogKeptTest, TheLastOnesAreKeptAndOlderOnesAreCompacted) {
  EXPECT_EQ(EventLog::kKept, 100'000);
  constexpr int kMost = 1000;
  testing::Domain domain;
  auto log = EventLog::Load(&domain.store, &domain.strand, &domain.sim, kMost).value();
  for (int i = 0; i < kMost + 200; ++i) {
    v1::Event event;
    event.set_type("t");
    event.set_object("vm/a");
    log->Append(std::move(event));
  }
  domain.sim.RunUntilIdle();
  EXPECT_THAT(Heard(log.get(), 100), ElementsAre("REASON_REVISION_COMPACTED"));
  const std::vector<std::string> kept = Heard(log.get(), 0);
  ASSERT_EQ(kept.size(), size_t{kMost});
  EXPECT_EQ(kept.front(), "201");
  // In the store too, but for a batch.
  EXPECT_FALSE(domain.store.Get("event/0000000000000000100").value().has_value());
  log = EventLog::Load(&domain.store, &domain.strand, &domain.sim, kMost).value();
  EXPECT_EQ(Heard(log.get(), 200).size(), size_t{kMost});
}

}  // namespace
}  // namespace keysphere::controller::events
