#ifndef KEYSPHERE_TOOLS_KEYSPHERE_FINGERPRINT_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_FINGERPRINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::cli {

// A certificate's SHA-256 as people hand it on: 64 hexadecimal digits of either case, with or
// without a colon between each two. As keysphere writes it: lower case, no colons. A usage error
// for what is no SHA-256.
absl::StatusOr<std::string> ParseFingerprint(absl::string_view text);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_FINGERPRINT_H_
