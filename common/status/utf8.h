#ifndef KEYSPHERE_COMMON_STATUS_UTF8_H_
#define KEYSPHERE_COMMON_STATUS_UTF8_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

// The one place that reads UTF-8 (RFC 3629): overlong forms, surrogates, what lies beyond U+10FFFF
// and stray bytes are invalid.
namespace keysphere::status {

struct CodePoint {
  uint32_t value = 0;  // of an invalid one: the byte
  size_t bytes = 1;
  bool valid = false;
};

// The first character of `text`, which is not empty. An invalid one is a single byte.
CodePoint FirstCodePoint(absl::string_view text);

bool IsUtf8(absl::string_view text);

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_UTF8_H_
