#include "common/status/detail.h"

namespace keysphere::status {

absl::Status FromDetail(absl::string_view message, const ErrorDetail& detail) {
  const bool has_reason = detail.reason() != v1::REASON_UNSPECIFIED;
  ErrorBuilder error(has_reason ? detail.reason() : v1::REASON_INTERNAL, message);
  const absl::string_view object = detail.object();
  const size_t slash = object.find('/');
  if (slash != absl::string_view::npos) {
    error.Object(object.substr(0, slash), object.substr(slash + 1));
  }
  if (!detail.next_step().empty()) error.NextStep(detail.next_step());
  for (const int other : detail.others()) error.Other(static_cast<Reason>(other));
  for (const auto& [key, value] : detail.metadata()) error.With(key, value);
  return error;
}

}  // namespace keysphere::status
