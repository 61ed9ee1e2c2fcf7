#ifndef KEYSPHERE_COMMON_STATUS_DETAIL_H_
#define KEYSPHERE_COMMON_STATUS_DETAIL_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/status/status.h"

namespace keysphere::status {

// An error of a detail that was kept, sent or edited: DetailOf gives it back. INTERNAL where it has
// no reason.
absl::Status FromDetail(absl::string_view message, const ErrorDetail& detail);

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_DETAIL_H_
