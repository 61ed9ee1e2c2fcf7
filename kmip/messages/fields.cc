#include "kmip/messages/fields.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keysphere::kmip::messages {
namespace {

constexpr char kReasonKey[] = "result_reason";

}  // namespace

absl::Status Refusal(ResultReason reason, absl::string_view message) {
  return status::Error(v1::REASON_KMS_REFUSED, message)
      .With(kReasonKey, absl::StrCat(static_cast<uint32_t>(reason)));
}

ResultReason ResultReasonOf(const absl::Status& status) {
  const v1::ErrorDetail detail = status::DetailOf(status);
  const auto found = detail.metadata().find(kReasonKey);
  uint32_t number = 0;
  if (found != detail.metadata().end() && absl::SimpleAtoi(found->second, &number)) {
    return static_cast<ResultReason>(number);
  }
  switch (detail.reason()) {
    case v1::REASON_INVALID_ARGUMENT:
    case v1::REASON_TOO_LARGE:
      return ResultReason::kInvalidField;
    case v1::REASON_NOT_FOUND:
      return ResultReason::kItemNotFound;
    case v1::REASON_NO_PERMISSION:
      return ResultReason::kPermissionDenied;
    default:
      return ResultReason::kGeneralFailure;
  }
}

bool Fields::Missing(ttlv::Tag tag) {
  if (status_.ok()) {
    status_ = Refusal(ResultReason::kMissingData,
                      absl::StrCat(ttlv::TagName(structure_), " without ", ttlv::TagName(tag)));
  }
  return false;
}

absl::Status Fields::Unexpected() const {
  return Refusal(
      ResultReason::kInvalidField,
      absl::StrCat("unexpected ", ttlv::TagName((*at_).tag()), " in ", ttlv::TagName(structure_)));
}

}  // namespace keysphere::kmip::messages
