#ifndef KEYSPHERE_CONTROLLER_PAGING_PAGING_H_
#define KEYSPHERE_CONTROLLER_PAGING_PAGING_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Pages of lists that are ordered by a name.
namespace keysphere::controller::paging {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

struct Page {
  std::vector<std::string> keys;
  std::string next_token;  // empty: the last page
};

// The size to use for one asked. INVALID_ARGUMENT below 0 or above 1,000.
absl::StatusOr<int> PageSize(int asked);
// A token for the page after `last_key`, and the key back. PAGE_TOKEN_INVALID: not one of ours.
std::string MakeToken(absl::string_view last_key);
absl::StatusOr<std::string> ReadToken(absl::string_view token);

inline const std::string& KeyOf(const std::string& key) { return key; }
template <typename Pair>
const std::string& KeyOf(const Pair& pair) {
  return pair.first;
}

// A page of an ordered set of strings, or map from them.
template <typename Ordered>
absl::StatusOr<Page> PageOf(const Ordered& all, int page_size, absl::string_view page_token) {
  const absl::StatusOr<int> size = PageSize(page_size);
  if (!size.ok()) return size.status();
  auto it = all.begin();
  if (!page_token.empty()) {
    const absl::StatusOr<std::string> after = ReadToken(page_token);
    if (!after.ok()) return after.status();
    it = all.upper_bound(*after);
  }
  Page page;
  for (; it != all.end() && page.keys.size() < static_cast<size_t>(*size); ++it) {
    page.keys.push_back(KeyOf(*it));
  }
  if (it != all.end() && !page.keys.empty()) page.next_token = MakeToken(page.keys.back());
  return page;
}

}  // namespace keysphere::controller::paging

#endif  // KEYSPHERE_CONTROLLER_PAGING_PAGING_H_
