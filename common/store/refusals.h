#ifndef KEYSPHERE_COMMON_STORE_REFUSALS_H_
#define KEYSPHERE_COMMON_STORE_REFUSALS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// The answers that every Store gives in the same words.
namespace keysphere::store {

absl::Status Conflict(absl::string_view key);
absl::Status NoSuchKey(absl::string_view key);
absl::Status NotASecret(absl::string_view key);
absl::Status Overloaded(size_t limit);

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_REFUSALS_H_
