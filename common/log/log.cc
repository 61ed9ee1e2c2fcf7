#include "common/log/log.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::log {
namespace {

constexpr size_t kMaxCharacters = 256;
constexpr absl::string_view kEllipsis = "...";

// At most kMaxCharacters characters; a multi-byte character is not cut.
std::string Cut(absl::string_view text) {
  size_t characters = 0;
  size_t cut = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (!begins) continue;
    if (characters == kMaxCharacters - kEllipsis.size()) cut = i;
    if (++characters > kMaxCharacters) return absl::StrCat(text.substr(0, cut), kEllipsis);
  }
  // A text of continuation bytes only is no UTF-8: count its bytes.
  return std::string(text.substr(0, 4 * kMaxCharacters));
}

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

Field::Field(absl::string_view key, absl::string_view value) : key_(key), value_(Cut(value)) {}

Field::Field(absl::string_view key, absl::Time value)
    : Field(key,
            absl::string_view(absl::FormatTime(absl::RFC3339_full, value, absl::UTCTimeZone()))) {}

Field::Field(absl::string_view key, absl::Duration value)
    : Field(key, absl::string_view(absl::FormatDuration(value))) {}

Field::Field(absl::string_view key, const absl::Status& value)
    : Field(key, absl::string_view(status::ToString(value))) {}

}  // namespace keysphere::log
