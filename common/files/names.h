#ifndef KEYSPHERE_COMMON_FILES_NAMES_H_
#define KEYSPHERE_COMMON_FILES_NAMES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keysphere::files {

// The rule of every resource name: 1 to 80 characters of valid UTF-8, none of them a control
// character (C0, DEL, C1), the first and the last no blank: two names that look the same are one.
// INVALID_NAME says which part is broken.
absl::Status ValidateName(absl::string_view name);

// A file name for a resource name: one path component that is never ".", "..", hidden, or longer
// than 255 bytes. ASCII letters, digits, '-', '_', ' ' and inner '.' stay; every other byte becomes
// %XX. What would be longer than 200 bytes is cut and ends in "%h" and the SHA-256 of the name.
// Different names give different file names.
std::string PathSafe(absl::string_view name);

}  // namespace keysphere::files

#endif  // KEYSPHERE_COMMON_FILES_NAMES_H_
