#include "common/status/text.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keysphere::status {
namespace {

constexpr absl::string_view kEllipsis = "...";

struct CodePoint {
  uint32_t value = 0;
  size_t bytes = 1;
  bool valid = false;
};

// The first character of `text`, which is not empty. Overlong forms, surrogates and stray bytes are
// invalid single bytes.
CodePoint Decode(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t size = lead >= 0xf0 && lead < 0xf8   ? 4
                      : lead >= 0xe0 && lead < 0xf0 ? 3
                      : lead >= 0xc2 && lead < 0xe0 ? 2
                                                    : 0;
  if (size == 0 || text.size() < size) return {lead, 1, false};
  uint32_t value = lead & (0xffu >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {lead, 1, false};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  const uint32_t least = size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (value < least || value > 0x10ffff || surrogate) return {lead, 1, false};
  return {value, size, true};
}

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
    const CodePoint c = Decode(text);
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

}  // namespace keysphere::status
