#include "hostagent/config/recovery_key.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;

constexpr size_t kKeyBytes = 32;
constexpr size_t kGroups = kKeyBytes / 2;
constexpr size_t kDigits = 6;
constexpr uint32_t kFactor = 11;
constexpr uint32_t kMaxGroup = 0xFFFF * kFactor;

absl::Status Malformed(absl::string_view what) {
  return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat("the recovery key ", what))
      .NextStep("Give the 16 groups of 6 digits that were shown when the host was set up.");
}

}  // namespace

absl::StatusOr<SecretKey> FormatRecoveryKey(const SecretKey& key) {
  if (key.size() != kKeyBytes) return Malformed("has not 32 bytes");
  KS_ASSIGN_OR_RETURN(SecretKey text, SecretKey::Zeroed(kGroups * (kDigits + 1) - 1));
  const auto in = key.bytes(SecretKeyAccess::Token());
  const auto out = text.mutable_bytes(SecretKeyAccess::Token());
  for (size_t group = 0; group < kGroups; ++group) {
    uint32_t value = (uint32_t{in[2 * group]} << 8 | in[2 * group + 1]) * kFactor;
    const size_t start = group * (kDigits + 1);
    if (group > 0) out[start - 1] = '-';
    for (size_t digit = kDigits; digit-- > 0; value /= 10) out[start + digit] = '0' + value % 10;
  }
  return text;
}

absl::StatusOr<SecretKey> ParseRecoveryKey(absl::string_view text) {
  KS_ASSIGN_OR_RETURN(SecretKey key, SecretKey::Zeroed(kKeyBytes));
  const auto out = key.mutable_bytes(SecretKeyAccess::Token());
  size_t digits = 0;
  uint32_t value = 0;
  for (const char c : text) {
    if (c == '-' || absl::ascii_isspace(c)) continue;
    if (!absl::ascii_isdigit(c)) return Malformed("holds something else than digits and dashes");
    if (digits == kGroups * kDigits) return Malformed("has too many digits");
    value = value * 10 + static_cast<uint32_t>(c - '0');
    if (++digits % kDigits != 0) continue;
    const size_t group = digits / kDigits - 1;
    if (value % kFactor != 0 || value > kMaxGroup) {
      return Malformed(absl::StrCat("has an error in its group ", group + 1));
    }
    out[2 * group] = static_cast<uint8_t>(value / kFactor >> 8);
    out[2 * group + 1] = static_cast<uint8_t>(value / kFactor);
    value = 0;
  }
  if (digits != kGroups * kDigits) {
    return Malformed(absl::StrCat("has ", digits, " digits, not ", kGroups * kDigits));
  }
  return key;
}

}  // namespace keysphere::hostagent::config
