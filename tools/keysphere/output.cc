#include "tools/keysphere/output.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/status/status.h"
#include "common/status/text.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

constexpr size_t kCellLimit = 400;
constexpr size_t kLineLimit = 4096;

// Characters of valid UTF-8, not bytes.
size_t Width(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string Padded(const std::string& text, size_t width) {
  const size_t own = Width(text);
  return own >= width ? text : absl::StrCat(text, std::string(width - own, ' '));
}

google::protobuf::util::JsonPrintOptions JsonOptions() {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  return options;
}

// The detail as a JSON object with two members more.
std::string ErrorJson(const absl::Status& status) {
  std::string detail;
  google::protobuf::Struct object;
  if (!google::protobuf::util::MessageToJsonString(status::DetailOf(status), &detail, JsonOptions())
           .ok() ||
      !google::protobuf::util::JsonStringToMessage(detail, &object).ok()) {
    return "{}";
  }
  auto& fields = *object.mutable_fields();
  const absl::string_view message = status.message();
  fields["message"].set_string_value(message.data(), message.size());
  fields["code"].set_string_value(absl::StatusCodeToString(status.code()));
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  if (!google::protobuf::util::MessageToJsonString(object, &text, options).ok()) return "{}";
  return text;
}

}  // namespace

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  std::vector<std::vector<std::string>> cells;
  for (const std::vector<std::string>& row : rows_) {
    std::vector<std::string>& clean = cells.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      clean.push_back(row[i].empty() ? "-" : Printable(row[i]));
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], Width(clean[i]));
    }
  }
  for (const std::vector<std::string>& row : cells) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      // No blanks at the end of a line.
      absl::StrAppend(&line, i + 1 == row.size() ? row[i] : Padded(row[i], widths[i] + 2));
    }
    out << line << '\n';
  }
}

Fields& Fields::Add(const std::string& name, const std::string& value) {
  if (!value.empty()) fields_.emplace_back(name, value);
  return *this;
}

void Fields::Print(std::ostream& out) const {
  size_t width = 0;
  for (const auto& [name, value] : fields_) width = std::max(width, name.size());
  for (const auto& [name, value] : fields_) {
    out << Padded(name, width + 2) << Printable(value) << '\n';
  }
}

std::string Printable(absl::string_view text) { return status::Printable(text, kCellLimit); }

void PrintLine(absl::string_view text, std::ostream& out) {
  out << status::Printable(text, kLineLimit) << '\n';
}

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, JsonOptions()).ok()) {
    return status::Error(v1::REASON_INTERNAL,
                         absl::StrCat("cannot print a ", message.GetTypeName(), " as JSON"));
  }
  return text;
}

std::string FormatTimestamp(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                          absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()),
                          absl::UTCTimeZone());
}

absl::StatusOr<absl::Time> ParseTimestamp(const std::string& text) {
  absl::Time time;
  std::string problem;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &problem)) return time;
  return UsageError(absl::StrCat("\"", status::Printable(text, 64),
                                 "\" is no time in RFC 3339, as 2030-01-31T12:00:00Z"));
}

absl::StatusOr<absl::Duration> ParseDuration(const std::string& text) {
  absl::Duration duration;
  int64_t count = 0;
  absl::string_view days = text;
  if (absl::SimpleAtoi(text, &count)) {
    duration = absl::Seconds(count);
  } else if (absl::ConsumeSuffix(&days, "d") && absl::SimpleAtoi(days, &count)) {
    duration = absl::Hours(24) * count;
  } else if (!absl::ParseDuration(text, &duration)) {
    duration = absl::ZeroDuration();
  }
  if (duration > absl::ZeroDuration() && duration != absl::InfiniteDuration()) return duration;
  return UsageError(absl::StrCat("\"", status::Printable(text, 64),
                                 "\" is no duration above zero, as 5m, 1h30m, 2d or 90 (seconds)"));
}

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  absl::string_view digits = text;
  int shift = 0;
  if (!absl::ConsumeSuffix(&digits, "B") || !absl::ConsumeSuffix(&digits, "i")) digits = text;
  if (!digits.empty()) {
    const size_t unit = absl::string_view("KMGT").find(absl::ascii_toupper(digits.back()));
    if (unit != absl::string_view::npos) {
      shift = 10 * (static_cast<int>(unit) + 1);
      digits.remove_suffix(1);
    }
  }
  int64_t count = 0;
  if (absl::SimpleAtoi(digits, &count) && count >= 0 &&
      count <= (std::numeric_limits<int64_t>::max() >> shift)) {
    return count << shift;
  }
  return UsageError(absl::StrCat("\"", status::Printable(text, 64),
                                 "\" is no count of bytes, as 4096, 64K, 16M or 2G"));
}

std::string FormatBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, " ", kUnits[unit]);
}

std::string ReasonWord(absl::string_view reason) {
  return std::string(absl::StripPrefix(reason, "REASON_"));
}

std::string YesNo(bool value) { return value ? "yes" : "no"; }

std::string Join(const google::protobuf::RepeatedPtrField<std::string>& words) {
  return absl::StrJoin(words, ", ");
}

void PrintError(const absl::Status& status, bool json, std::ostream& err) {
  if (json && !IsUsageError(status)) {
    err << ErrorJson(status);
    return;
  }
  if (IsUsageError(status)) {
    err << "usage: " << status::Printable(status.message(), kLineLimit)
        << "\nRun with --help for more.\n";
    return;
  }
  const v1::ErrorDetail detail = status::DetailOf(status);
  err << "error: " << ReasonWord(v1::Reason_Name(detail.reason())) << ": "
      << status::Printable(status.message(), 4096) << '\n';
  if (!detail.object().empty()) {
    err << "  object: " << status::Printable(detail.object(), kCellLimit) << '\n';
  }
  if (detail.others_size() > 0) {
    std::vector<std::string> others;
    for (const int other : detail.others()) {
      others.push_back(ReasonWord(v1::Reason_Name(static_cast<v1::Reason>(other))));
    }
    err << "  also:   " << absl::StrJoin(others, ", ") << '\n';
  }
  if (!detail.next_step().empty()) {
    err << "  next:   " << status::Printable(detail.next_step(), 1024) << '\n';
  }
}

}  // namespace keysphere::cli
