#include "common/files/names.h"

#include <openssl/evp.h>

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/utf8.h"

namespace keysphere::files {
namespace {

constexpr int kMaxCharacters = 80;
constexpr size_t kMaxPlainBytes = 200;
constexpr size_t kCutAt = 120;

// Blanks of every kind, and what shows as nothing.
bool IsBlank(uint32_t value) {
  return value == ' ' || value == 0xA0 || value == 0x1680 || (value >= 0x2000 && value <= 0x200F) ||
         value == 0x2028 || value == 0x2029 || value == 0x202F || value == 0x205F ||
         value == 0x2060 || value == 0x3000 || value == 0xFEFF;
}

bool IsControl(uint32_t value) { return value < 0x20 || (value >= 0x7F && value < 0xA0); }

std::string Sha256Hex(absl::string_view text) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  KS_CHECK(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace

absl::Status ValidateName(absl::string_view name) {
  const auto refuse = [name](absl::string_view why) -> absl::Status {
    return status::Error(v1::REASON_INVALID_NAME,
                         absl::StrCat("the name ", status::Quote(name), " ", why))
        .NextStep(
            "Give a name of 1 to 80 characters without control characters, that neither begins nor "
            "ends with a blank.");
  };
  if (name.empty()) return refuse("is empty");
  int characters = 0;
  bool blank = false;  // the last character
  for (absl::string_view rest = name; !rest.empty();) {
    const status::CodePoint c = status::FirstCodePoint(rest);
    if (!c.valid) return refuse("is not valid UTF-8");
    if (IsControl(c.value)) return refuse("has a control character");
    blank = IsBlank(c.value);
    if (blank && characters == 0) return refuse("begins with a blank");
    if (++characters > kMaxCharacters) return refuse("has more than 80 characters");
    rest.remove_prefix(c.bytes);
  }
  if (blank) return refuse("ends with a blank");
  return absl::OkStatus();
}

std::string PathSafe(absl::string_view name) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  if (name.empty()) return "%";
  std::string safe;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool inner = i > 0 && i + 1 < name.size();
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
        (inner && (c == '.' || c == ' '))) {
      safe.push_back(c);
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    safe.push_back('%');
    safe.push_back(kHex[byte >> 4]);
    safe.push_back(kHex[byte & 15]);
  }
  if (safe.size() <= kMaxPlainBytes) return safe;
  // "%h" occurs in no plain result, so that a cut name equals no other.
  size_t cut = kCutAt;
  while (safe[cut - 1] == '%' || safe[cut - 2] == '%') --cut;
  return absl::StrCat(safe.substr(0, cut), "%h", Sha256Hex(name));
}

}  // namespace keysphere::files
