#include "common/log/writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/basic_file_sink.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace keysphere::log {
namespace {

// `text`, which has no control characters, between quotes: as JSON, which logfmt readers take too.
std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  return out;
}

// logfmt leaves words as they are.
bool IsWord(absl::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       absl::string_view("-_./:+@%,").find(c) != absl::string_view::npos;
    if (!plain) return false;
  }
  return !text.empty();
}

class Writer : public Logger {
 public:
  Writer(clock::Clock* clock, WriterOptions options, spdlog::sink_ptr sink)
      : clock_(clock), options_(std::move(options)), logger_("keysphere", std::move(sink)) {
    // The line is made here; spdlog writes and flushes it, whole, under its own lock.
    logger_.set_pattern("%v");
    logger_.set_level(spdlog::level::trace);
    logger_.flush_on(spdlog::level::trace);
    logger_.set_error_handler([](const std::string&) {});
  }

 protected:
  void Log(Level level, absl::string_view event, Fields fields) override {
    if (level < options_.level) return;
    std::string line;
    if (clock_ != nullptr) {
      Append("time", absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", clock_->Now(), absl::UTCTimeZone()),
             true, &line);
    }
    Append("level", LevelName(level), true, &line);
    Append("event", event, true, &line);
    if (!options_.process.empty()) Append("process", options_.process, true, &line);
    for (const Field& field : fields) Append(field.key(), field.value(), field.quoted(), &line);
    if (options_.format == Format::kJson) line = absl::StrCat("{", line, "}");
    logger_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  void Append(absl::string_view key, absl::string_view value, bool quoted,
              std::string* line) const {
    const bool json = options_.format == Format::kJson;
    if (!line->empty()) *line += json ? ',' : ' ';
    if (json) {
      absl::StrAppend(line, Quoted(key), ":", quoted ? Quoted(value) : std::string(value));
    } else {
      absl::StrAppend(line, key, "=", IsWord(value) ? std::string(value) : Quoted(value));
    }
  }

  clock::Clock* const clock_;
  const WriterOptions options_;
  spdlog::logger logger_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Logger>> NewWriter(clock::Clock* clock,
                                                  const WriterOptions& options) {
  spdlog::sink_ptr sink;
  try {
    if (options.file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    }
  } catch (const spdlog::spdlog_ex& error) {
    return status::Error(v1::REASON_STORAGE_ERROR,
                         absl::StrCat("cannot open the log file: ", error.what()))
        .Object("log", options.file);
  }
  return std::unique_ptr<Logger>(new Writer(clock, options, std::move(sink)));
}

}  // namespace keysphere::log
