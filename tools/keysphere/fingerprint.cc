#include "tools/keysphere/fingerprint.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

constexpr size_t kDigits = 64;
// With a colon between each two digits.
constexpr size_t kColonForm = kDigits + kDigits / 2 - 1;

}  // namespace

absl::StatusOr<std::string> ParseFingerprint(absl::string_view text) {
  std::string digits;
  bool well = text.size() == kDigits || text.size() == kColonForm;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.size() == kColonForm && i % 3 == 2) {
      well = well && text[i] == ':';
    } else {
      digits.push_back(absl::ascii_tolower(text[i]));
    }
  }
  well = well && std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit);
  if (!well) {
    return UsageError(
        "--fingerprint: a SHA-256 has 64 hexadecimal digits, like ab12... or AB:12:...");
  }
  return digits;
}

}  // namespace keysphere::cli
