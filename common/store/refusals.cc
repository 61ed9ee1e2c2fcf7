#include "common/store/refusals.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::store {

absl::Status Conflict(absl::string_view key) {
  return status::Error(v1::REASON_CONFLICT,
                       absl::StrCat("the entry ", status::Quote(key), " was changed meanwhile"))
      .NextStep("Read it again and repeat the change.");
}

absl::Status NoSuchKey(absl::string_view key) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no entry ", status::Quote(key)));
}

absl::Status NotASecret(absl::string_view key) {
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("the entry ", status::Quote(key), " holds no secret"));
}

absl::Status Overloaded(size_t limit) {
  return status::Error(v1::REASON_OVERLOADED,
                       absl::StrCat("more than ", limit, " commits wait for the disk"))
      .NextStep("Try again in a moment.");
}

}  // namespace keysphere::store
