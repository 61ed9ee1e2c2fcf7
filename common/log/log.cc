#include "common/log/log.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/text.h"

namespace keysphere::log {
namespace {

constexpr size_t kMaxCharacters = 256;

}  // namespace

absl::string_view LevelName(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      break;
  }
  return "error";
}

absl::Status ParseLevel(absl::string_view name, Level* level) {
  for (const Level l : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (LevelName(l) != name) continue;
    *level = l;
    return absl::OkStatus();
  }
  return status::Error(
      v1::REASON_INVALID_ARGUMENT,
      absl::StrCat("log level: debug, info, warning or error, not ", status::Quote(name)));
}

Field::Field(absl::string_view key, absl::string_view value)
    : key_(key), value_(status::Printable(value, kMaxCharacters)) {}

Field::Field(absl::string_view key, absl::Time value)
    : Field(key,
            absl::string_view(absl::FormatTime(absl::RFC3339_full, value, absl::UTCTimeZone()))) {}

Field::Field(absl::string_view key, absl::Duration value)
    : Field(key, absl::string_view(absl::FormatDuration(value))) {}

Field::Field(absl::string_view key, const absl::Status& value)
    : Field(key, absl::string_view(status::ToString(value))) {}

}  // namespace keysphere::log
