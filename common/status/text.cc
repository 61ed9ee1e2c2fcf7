#include "common/status/text.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/status/utf8.h"

namespace keysphere::status {
namespace {

constexpr absl::string_view kEllipsis = "...";

// What a terminal would obey instead of show: controls, line separators, changes of direction.
bool IsControl(uint32_t value) {
  return value < 0x20 || (value >= 0x7f && value < 0xa0) || value == 0x2028 || value == 0x2029 ||
         (value >= 0x202a && value <= 0x202e) || (value >= 0x2066 && value <= 0x2069);
}

}  // namespace

std::string Printable(absl::string_view text, size_t limit, bool escape_quotes) {
  std::string out;
  size_t characters = 0;
  size_t cut_bytes = 0;  // where the ellipsis goes if the text does not fit
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    std::string piece;
    if (!c.valid) {
      piece = absl::StrFormat("\\x%02x", c.value);
    } else if (c.value == '\n') {
      piece = "\\n";
    } else if (c.value == '\t') {
      piece = "\\t";
    } else if (IsControl(c.value)) {
      piece = c.value < 0x100 ? absl::StrFormat("\\x%02x", c.value)
                              : absl::StrFormat("\\u%04x", c.value);
    } else if (escape_quotes && (c.value == '"' || c.value == '\\')) {
      piece = absl::StrCat("\\", text.substr(0, 1));
    }
    const size_t width = piece.empty() ? 1 : piece.size();
    if (characters + width > limit) {
      out.resize(cut_bytes);
      absl::StrAppend(&out, kEllipsis);
      return out;
    }
    if (piece.empty()) {
      absl::StrAppend(&out, text.substr(0, c.bytes));
    } else {
      absl::StrAppend(&out, piece);
    }
    characters += width;
    if (characters + kEllipsis.size() <= limit) cut_bytes = out.size();
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::string EnumWord(absl::string_view enum_value, absl::string_view prefix) {
  absl::ConsumePrefix(&enum_value, prefix);
  if (enum_value.empty() || enum_value == "UNSPECIFIED") return "-";
  std::string word;
  bool upper = false;
  for (const char c : enum_value) {
    if (c == '_') {
      upper = true;
      continue;
    }
    word.push_back(upper ? c : absl::ascii_tolower(c));
    upper = false;
  }
  return word;
}

}  // namespace keysphere::status
