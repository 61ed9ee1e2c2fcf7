#include "common/status/status.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "common/status/text.h"

namespace keysphere::status {
namespace {

constexpr char kTypeUrl[] = "type.googleapis.com/keysphere.v1.ErrorDetail";
constexpr size_t kMaxBytes = 2048;  // of message and detail together
constexpr size_t kMaxQuoted = 64;
constexpr size_t kMaxMessage = 1024;
constexpr size_t kMaxNextStep = 400;
constexpr size_t kMaxValue = 160;
constexpr size_t kMaxEntries = 16;
constexpr size_t kMaxOthers = 32;

// Makes message and detail fit into kMaxBytes: the message gives way first, then the next step,
// then metadata, the longest first.
void Fit(std::string* message, ErrorDetail* detail) {
  const auto size = [&] { return message->size() + detail->ByteSizeLong(); };
  if (size() > kMaxBytes) *message = Printable(*message, 256);
  if (size() > kMaxBytes) detail->set_next_step(Printable(detail->next_step(), 128));
  auto* metadata = detail->mutable_metadata();
  while (size() > kMaxBytes && !metadata->empty()) {
    auto longest = metadata->begin();
    for (auto it = metadata->begin(); it != metadata->end(); ++it) {
      const bool longer = it->second.size() > longest->second.size();
      const bool equal = it->second.size() == longest->second.size();
      if (longer || (equal && it->first < longest->first)) longest = it;
    }
    metadata->erase(longest->first);
  }
}

absl::Status Make(std::string message, ErrorDetail detail) {
  Fit(&message, &detail);
  absl::Status status(CodeOf(detail.reason()), message);
  status.SetPayload(kTypeUrl, absl::Cord(detail.SerializeAsString()));
  return status;
}

Reason ReasonOfCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return v1::REASON_UNSPECIFIED;
    case absl::StatusCode::kCancelled:
      return v1::REASON_CANCELLED;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return v1::REASON_INVALID_ARGUMENT;
    case absl::StatusCode::kDeadlineExceeded:
      return v1::REASON_DEADLINE_EXCEEDED;
    case absl::StatusCode::kNotFound:
      return v1::REASON_NOT_FOUND;
    case absl::StatusCode::kAlreadyExists:
      return v1::REASON_ALREADY_EXISTS;
    case absl::StatusCode::kPermissionDenied:
      return v1::REASON_NO_PERMISSION;
    case absl::StatusCode::kResourceExhausted:
      return v1::REASON_TOO_LARGE;
    case absl::StatusCode::kFailedPrecondition:
      return v1::REASON_INVALID_STATE;
    case absl::StatusCode::kAborted:
      return v1::REASON_CONFLICT;
    case absl::StatusCode::kUnimplemented:
      return v1::REASON_UNSUPPORTED;
    case absl::StatusCode::kUnavailable:
      return v1::REASON_UNREACHABLE;
    case absl::StatusCode::kUnauthenticated:
      return v1::REASON_CERT_UNTRUSTED;
    default:
      return v1::REASON_INTERNAL;
  }
}

// The place in S154's order. Reasons outside it come after those in it.
int Rank(Reason reason) {
  const bool ordered = reason >= v1::REASON_NO_PERMISSION && reason <= v1::REASON_KMS_UNREACHABLE;
  return ordered ? static_cast<int>(reason) : v1::REASON_KMS_UNREACHABLE + 1;
}

}  // namespace

absl::StatusCode CodeOf(Reason reason) {
  switch (reason) {
    case v1::REASON_NO_PERMISSION:
    case v1::REASON_TOKEN_INVALID:
      return absl::StatusCode::kPermissionDenied;
    case v1::REASON_INVALID_POWER_STATE:
    case v1::REASON_LICENSE:
    case v1::REASON_NO_DEFAULT_PROVIDER:
    case v1::REASON_NOT_BACKED_UP:
    case v1::REASON_NOT_IN_CLUSTER:
    case v1::REASON_VERSION_UNSUPPORTED:
    case v1::REASON_TPM_REQUIRED:
    case v1::REASON_HOST_NOT_SAFE:
    case v1::REASON_KEY_MISMATCH:
    case v1::REASON_VM_LOCKED:
    case v1::REASON_KEY_MISSING_ON_HOST:
    case v1::REASON_INVALID_STATE:
    case v1::REASON_PROVIDER_MISSING:
    case v1::REASON_FQDN_REQUIRED:
    case v1::REASON_HOST_ATTACHED:
    case v1::REASON_STALE_EPOCH:
    case v1::REASON_STALE_GENERATION:
    case v1::REASON_RECOVERY_REQUIRED:
    case v1::REASON_STORAGE_READ_ONLY:
    case v1::REASON_VM_IN_USE:
    case v1::REASON_KEY_MEMORY_UNPROTECTED:
    case v1::REASON_KMS_VERSION_UNSUPPORTED:
    case v1::REASON_KMS_REFUSED:
    case v1::REASON_KEY_MISSING_ON_KMS:
      return absl::StatusCode::kFailedPrecondition;
    case v1::REASON_KEYS_PENDING:
    case v1::REASON_KMS_UNREACHABLE:
    case v1::REASON_HOST_NOT_RESPONDING:
    case v1::REASON_CONTROLLER_UNAVAILABLE:
    case v1::REASON_SHUTTING_DOWN:
    case v1::REASON_UNREACHABLE:
    case v1::REASON_STORAGE_ERROR:
    case v1::REASON_TPM_FAILED:
      return absl::StatusCode::kUnavailable;
    case v1::REASON_INVALID_ARGUMENT:
    case v1::REASON_INVALID_NAME:
    case v1::REASON_REQUEST_ID_REUSED:
    case v1::REASON_UNSUPPORTED:
    case v1::REASON_PAGE_TOKEN_INVALID:
    case v1::REASON_WRONG_PASSWORD:
    case v1::REASON_BUNDLE_INVALID:
    case v1::REASON_KMIP_INVALID:
      return absl::StatusCode::kInvalidArgument;
    case v1::REASON_NOT_FOUND:
    case v1::REASON_VM_FILE_MISSING:
      return absl::StatusCode::kNotFound;
    case v1::REASON_ALREADY_EXISTS:
      return absl::StatusCode::kAlreadyExists;
    case v1::REASON_CONFLICT:
      return absl::StatusCode::kAborted;
    case v1::REASON_OVERLOADED:
    case v1::REASON_TOO_LARGE:
    case v1::REASON_RESUME_FROM:
    case v1::REASON_STORAGE_FULL:
    case v1::REASON_KEY_MEMORY_FULL:
      return absl::StatusCode::kResourceExhausted;
    case v1::REASON_CHECK_VALUE_MISMATCH:
    case v1::REASON_VM_FILE_INVALID:
    case v1::REASON_CIPHERTEXT_CORRUPT:
    case v1::REASON_STORE_CORRUPT:
    case v1::REASON_KMS_BAD_RESPONSE:
      return absl::StatusCode::kDataLoss;
    case v1::REASON_REVISION_COMPACTED:
      return absl::StatusCode::kOutOfRange;
    case v1::REASON_CANCELLED:
      return absl::StatusCode::kCancelled;
    case v1::REASON_DEADLINE_EXCEEDED:
    case v1::REASON_NOT_QUIESCENT:
      return absl::StatusCode::kDeadlineExceeded;
    case v1::REASON_CERT_EXPIRED:
    case v1::REASON_CERT_UNTRUSTED:
      return absl::StatusCode::kUnauthenticated;
    case v1::REASON_INTERNAL:
      return absl::StatusCode::kInternal;
    default:
      return absl::StatusCode::kUnknown;
  }
}

std::string Quote(absl::string_view input) {
  return absl::StrCat("\"", Printable(input, kMaxQuoted, /*escape_quotes=*/true), "\"");
}

ErrorBuilder::ErrorBuilder(Reason reason, absl::string_view message)
    : message_(Printable(message, kMaxMessage)) {
  detail_.set_reason(reason);
}

ErrorBuilder& ErrorBuilder::Object(absl::string_view kind, absl::string_view name) {
  detail_.set_object(absl::StrCat(Printable(kind, kMaxQuoted), "/", Printable(name, kMaxQuoted)));
  return *this;
}

ErrorBuilder& ErrorBuilder::NextStep(absl::string_view sentence) {
  detail_.set_next_step(Printable(sentence, kMaxNextStep));
  return *this;
}

ErrorBuilder& ErrorBuilder::Other(Reason reason) {
  const auto& others = detail_.others();
  const bool known = std::find(others.begin(), others.end(), reason) != others.end();
  if (!known && reason != detail_.reason() && others.size() < kMaxOthers) {
    detail_.add_others(reason);
  }
  return *this;
}

ErrorBuilder& ErrorBuilder::With(absl::string_view key, absl::string_view value) {
  if (detail_.metadata_size() < kMaxEntries) {
    (*detail_.mutable_metadata())[Printable(key, kMaxQuoted)] = Printable(value, kMaxValue);
  }
  return *this;
}

ErrorBuilder::operator absl::Status() const { return Make(message_, detail_); }

ErrorDetail DetailOf(const absl::Status& status) {
  ErrorDetail detail;
  const absl::optional<absl::Cord> payload = status.GetPayload(kTypeUrl);
  if (payload.has_value() && detail.ParseFromString(std::string(*payload))) return detail;
  detail.Clear();
  detail.set_reason(ReasonOfCode(status.code()));
  return detail;
}

absl::Status First(const std::vector<absl::Status>& refusals) {
  std::vector<Reason> reasons;
  const absl::Status* first = nullptr;
  for (const absl::Status& refusal : refusals) {
    if (refusal.ok()) continue;
    const ErrorDetail detail = DetailOf(refusal);
    reasons.push_back(detail.reason());
    for (const int other : detail.others()) reasons.push_back(static_cast<Reason>(other));
    if (first == nullptr || Rank(detail.reason()) < Rank(ReasonOf(*first))) first = &refusal;
  }
  if (first == nullptr) return absl::OkStatus();
  std::stable_sort(reasons.begin(), reasons.end(),
                   [](Reason a, Reason b) { return Rank(a) < Rank(b); });
  ErrorDetail detail = DetailOf(*first);
  detail.clear_others();
  for (const Reason reason : reasons) {
    const auto& others = detail.others();
    const bool known = std::find(others.begin(), others.end(), reason) != others.end();
    if (!known && reason != detail.reason() && others.size() < kMaxOthers) {
      detail.add_others(reason);
    }
  }
  return Make(std::string(first->message()), std::move(detail));
}

std::string ToString(const absl::Status& status) {
  if (status.ok()) return "OK";
  const ErrorDetail detail = DetailOf(status);
  const std::string& name = v1::Reason_Name(detail.reason());
  std::string text = absl::StrCat(name.empty() ? absl::StrCat("REASON ", detail.reason())
                                               : std::string(absl::StripPrefix(name, "REASON_")),
                                  ": ", Printable(status.message(), kMaxMessage));
  const std::string object = Printable(detail.object(), 2 * kMaxQuoted);
  const std::string next_step = Printable(detail.next_step(), kMaxNextStep);
  if (object.empty() && next_step.empty()) return text;
  absl::StrAppend(&text, " (", object, object.empty() || next_step.empty() ? "" : "; ", next_step,
                  ")");
  return text;
}

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace keysphere::status
