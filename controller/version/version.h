#ifndef KEYSPHERE_CONTROLLER_VERSION_VERSION_H_
#define KEYSPHERE_CONTROLLER_VERSION_VERSION_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

// Versions of vCenter and ESXi, as "8.0.3".
namespace keysphere::controller::version {

// 7.0 U2: the first with native key providers (S22).
inline constexpr char kFirstNative[] = "7.0.2";

// Number by number; what is missing or no number counts as 0.
inline bool AtLeast(absl::string_view version, absl::string_view minimum) {
  const std::vector<std::string> have = absl::StrSplit(version, '.');
  const std::vector<std::string> need = absl::StrSplit(minimum, '.');
  for (size_t i = 0; i < std::max(have.size(), need.size()); ++i) {
    int a = 0;
    int b = 0;
    if (i >= have.size() || !absl::SimpleAtoi(have[i], &a)) a = 0;
    if (i >= need.size() || !absl::SimpleAtoi(need[i], &b)) b = 0;
    if (a != b) return a > b;
  }
  return true;
}

}  // namespace keysphere::controller::version

#endif  // KEYSPHERE_CONTROLLER_VERSION_VERSION_H_
