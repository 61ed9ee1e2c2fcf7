#include "common/log/log.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "common/executor/simulated_executor.h"
#include "common/log/capturing_logger.h"
#include "common/log/writer.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::log {
namespace {

using status::HasReason;
using status::IsOk;

// No type that can hold a secret or that prints without meaning.
static_assert(!std::is_constructible_v<Field, const char*, double>);
static_assert(!std::is_constructible_v<Field, const char*, const void*>);
static_assert(!std::is_constructible_v<Field, const char*, std::vector<uint8_t>>);
static_assert(!std::is_constructible_v<Field, const char*, v1::ErrorDetail>);

class WriterTest : public ::testing::Test {
 protected:
  std::unique_ptr<Logger> Make(WriterOptions options) {
    options.file = file_;
    auto logger = NewWriter(&sim_, options);
    EXPECT_THAT(logger, IsOk());
    return *std::move(logger);
  }

  std::string Written() const {
    std::ifstream in(file_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  const std::string file_ =
      ::testing::TempDir() + "/" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  executor::SimulatedExecutor sim_{1, absl::FromUnixMillis(1'700'000'000'123)};
};

TEST_F(WriterTest, ALineAnEventInLogfmt) {
  auto logger = Make({});
  logger->Info("host.attached", {{"host", "esx 3"},
                                 {"vms", 12},
                                 {"forced", true},
                                 {"after", absl::Seconds(90)},
                                 {"expires", absl::FromUnixSeconds(0)},
                                 {"empty", ""}});
  EXPECT_EQ(Written(),
            "time=2023-11-14T22:13:20.123Z level=info event=host.attached host=\"esx 3\" vms=12 "
            "forced=true after=1m30s expires=1970-01-01T00:00:00+00:00 empty=\"\"\n");
}

TEST_F(WriterTest, ALineAnEventInJson) {
  WriterOptions options;
  options.format = Format::kJson;
  options.process = "host/esx-3";
  auto logger = Make(options);
  logger->Error("vm.locked", {{"vm", "a\"b\\c"}, {"disks", 2u}});
  EXPECT_EQ(Written(), R"({"time":"2023-11-14T22:13:20.123Z","level":"error","event":"vm.locked",)"
                       R"("process":"host/esx-3","vm":"a\"b\\c","disks":2})"
                       "\n");
}

TEST_F(WriterTest, AValueCannotBeginALine) {
  auto logger = Make({});
  logger->Warning("x", {{"name", "a\nlevel=error event=forged\x1b[0m"}});
  EXPECT_EQ(Written(),
            "time=2023-11-14T22:13:20.123Z level=warning event=x "
            R"(name="a\\nlevel=error event=forged\\x1b[0m")"
            "\n");
}

TEST_F(WriterTest, LessImportantEventsAreDropped) {
  WriterOptions options;
  options.level = Level::kWarning;
  auto logger = Make(options);
  logger->Debug("a");
  logger->Info("b");
  logger->Warning("c");
  EXPECT_EQ(Written(), "time=2023-11-14T22:13:20.123Z level=warning event=c\n");
}

TEST_F(WriterTest, AFileThatCannotBeOpenedIsAnError) {
  WriterOptions options;
  options.file = "/proc/none/log";
  EXPECT_THAT(NewWriter(&sim_, options), HasReason(v1::REASON_STORAGE_ERROR));
}

TEST(FieldTest, TextsAreCutAt256Characters) {
  EXPECT_EQ(Field("k", std::string(256, 'x')).value(), std::string(256, 'x'));
  EXPECT_EQ(Field("k", std::string(257, 'x')).value(), std::string(253, 'x') + "...");
  std::string umlauts;
  std::string cut;
  for (int i = 0; i < 300; ++i) umlauts += "\xc3\xbc";
  for (int i = 0; i < 253; ++i) cut += "\xc3\xbc";
  EXPECT_EQ(Field("k", umlauts).value(), cut + "...");
  EXPECT_LE(Field("k", std::string(100'000, '\x80')).value().size(), 256u);
}

TEST(FieldTest, AStatusReadsAsItsReason) {
  const absl::Status status = status::Error(v1::REASON_NOT_FOUND, "no such VM").Object("vm", "a");
  EXPECT_EQ(Field("k", status).value(), "NOT_FOUND: no such VM (vm/a)");
}

TEST(LevelTest, LevelsHaveNames) {
  Level level = Level::kInfo;
  EXPECT_THAT(ParseLevel("error", &level), IsOk());
  EXPECT_EQ(level, Level::kError);
  EXPECT_THAT(ParseLevel("loud", &level), HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST(CapturingLoggerTest, KeepsEvents) {
  CapturingLogger logger;
  logger.Info("host.attached", {{"host", "esx-3"}});
  ASSERT_EQ(logger.entries().size(), 1u);
  EXPECT_EQ(logger.entries()[0].event, "host.attached");
  EXPECT_EQ(logger.entries()[0].fields.at("host"), "esx-3");
}

}  // namespace
}  // namespace keysphere::log
