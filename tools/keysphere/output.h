#ifndef KEYSPHERE_TOOLS_KEYSPHERE_OUTPUT_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_OUTPUT_H_

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/status/text.h"

namespace keysphere::cli {

// Rows under headings, each column as wide as its widest cell. Cells hold no control characters
// when printed: a name chosen by others cannot play with the terminal.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : rows_{std::move(headings)} {}
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "NAME  VALUE" lines of one object; values that are empty are left out.
class Fields {
 public:
  Fields& Add(const std::string& name, const std::string& value);
  void Print(std::ostream& out) const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// `text`, escaped as a cell is.
std::string Printable(absl::string_view text);
// The same, and a newline.
void PrintLine(absl::string_view text, std::ostream& out);

// proto3 JSON with the fields at their defaults, so that a script need not know them.
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message);

// RFC 3339 in UTC with milliseconds; "-" if not set.
std::string FormatTimestamp(const google::protobuf::Timestamp& time);
absl::StatusOr<absl::Time> ParseTimestamp(const std::string& text);

// "5m", "1h30m", "2d", "90" (seconds); more than zero.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& text);

// "4K", "1M", "2G", "4096": bytes. Not negative.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);
// "1 MiB", "4096 B".
std::string FormatBytes(int64_t bytes);

using status::EnumWord;
// "REASON_VM_LOCKED" -> "VM_LOCKED".
std::string ReasonWord(absl::string_view reason);

std::string YesNo(bool value);
std::string Join(const google::protobuf::RepeatedPtrField<std::string>& words);

// "error: REASON: message", the object and what to do next; as JSON the ErrorDetail with the
// message and the canonical code.
void PrintError(const absl::Status& status, bool json, std::ostream& err);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_OUTPUT_H_
