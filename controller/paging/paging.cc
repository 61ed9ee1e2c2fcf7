#include "controller/paging/paging.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::paging {
namespace {

// Tells our tokens from any other text that decodes.
constexpr char kMark[] = "k1:";

}  // namespace

absl::StatusOr<int> PageSize(int asked) {
  if (asked < 0 || asked > kMaxPageSize) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("page_size is ", asked, "; it is 0 (", kDefaultPageSize,
                                      ") to ", kMaxPageSize));
  }
  return asked == 0 ? kDefaultPageSize : asked;
}

std::string MakeToken(absl::string_view last_key) {
  return absl::WebSafeBase64Escape(absl::StrCat(kMark, last_key));
}

absl::StatusOr<std::string> ReadToken(absl::string_view token) {
  std::string text;
  if (token.size() > 1024 || !absl::WebSafeBase64Unescape(token, &text) ||
      !absl::StartsWith(text, kMark)) {
    return status::Error(v1::REASON_PAGE_TOKEN_INVALID, "page_token is not one that this list gave")
        .NextStep("List again without a page_token.");
  }
  return text.substr(sizeof(kMark) - 1);
}

}  // namespace keysphere::controller::paging
