#ifndef KEYSPHERE_COMMON_STATUS_TEXT_H_
#define KEYSPHERE_COMMON_STATUS_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace keysphere::status {

// `text` as valid UTF-8 without control characters (they and stray bytes are escaped, as are quotes
// and backslashes if `escape_quotes`), at most `limit` characters, which count the escapes and the
// "..." of a cut.
std::string Printable(absl::string_view text, size_t limit, bool escape_quotes = false);

// "CRYPTO_STATE_PENDING_INCAPABLE" as vSphere writes it: "pendingIncapable". "-" where nothing is
// known.
std::string EnumWord(absl::string_view enum_value, absl::string_view prefix);

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_TEXT_H_
