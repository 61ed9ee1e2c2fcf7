#ifndef KEYSPHERE_COMMON_STATUS_STATUS_H_
#define KEYSPHERE_COMMON_STATUS_STATUS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keysphere/v1/errors.pb.h"

namespace keysphere::status {

using v1::ErrorDetail;
using v1::Reason;

// The canonical code that goes with a reason (errors.proto names it beside each).
absl::StatusCode CodeOf(Reason reason);

// Quoted input in messages and details: at most 64 characters, control characters escaped, quoted.
std::string Quote(absl::string_view input);

// A status whose code is CodeOf(reason) and that carries ErrorDetail as its payload. Message and
// detail are cut to 2 KiB together.
class ErrorBuilder {
 public:
  ErrorBuilder(Reason reason, absl::string_view message);
  ErrorBuilder& Object(absl::string_view kind, absl::string_view name);  // "vm/web-1"
  ErrorBuilder& NextStep(absl::string_view sentence);
  ErrorBuilder& Other(Reason reason);
  ErrorBuilder& With(absl::string_view key, absl::string_view value);
  operator absl::Status() const;  // NOLINT: so that `return Error(…).Object(…)` reads well
  template <typename T>
  operator absl::StatusOr<T>() const {  // NOLINT
    return absl::Status(*this);
  }

 private:
  std::string message_;
  ErrorDetail detail_;
};
inline ErrorBuilder Error(Reason reason, absl::string_view message) {
  return ErrorBuilder(reason, message);
}

// The detail of a status made here (or received); for another status a reason by its code.
ErrorDetail DetailOf(const absl::Status& status);
inline Reason ReasonOf(const absl::Status& status) { return DetailOf(status).reason(); }

// Of several refusals the one whose reason comes first in S154's order, with the others in its
// detail. OK entries are passed over; OK when nothing refuses.
absl::Status First(const std::vector<absl::Status>& refusals);

// "REASON: message (object; next step)" for logs and terminals.
std::string ToString(const absl::Status& status);

}  // namespace keysphere::status

// The three macros of the project.
#define KS_RETURN_IF_ERROR(expr)             \
  do {                                       \
    const absl::Status ks_status_ = (expr);  \
    if (!ks_status_.ok()) return ks_status_; \
  } while (false)
#define KS_CONCAT_INNER_(a, b) a##b
#define KS_CONCAT_(a, b) KS_CONCAT_INNER_(a, b)
#define KS_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return std::move(tmp).status();  \
  lhs = std::move(tmp).value()
#define KS_ASSIGN_OR_RETURN(lhs, expr) \
  KS_ASSIGN_OR_RETURN_IMPL_(KS_CONCAT_(ks_status_or_, __LINE__), lhs, expr)
// For code that cannot go on: prints file, line and the condition, then aborts.
#define KS_CHECK(condition) \
  ((condition) ? (void)0 : ::keysphere::status::CheckFailed(__FILE__, __LINE__, #condition))

namespace keysphere::status {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_STATUS_H_
