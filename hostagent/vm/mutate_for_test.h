#ifndef KEYSPHERE_HOSTAGENT_VM_MUTATE_FOR_TEST_H_
#define KEYSPHERE_HOSTAGENT_VM_MUTATE_FOR_TEST_H_

#include <random>
#include <string>

#include "absl/strings/string_view.h"

namespace keysphere::hostagent::vm {

// One to four seeded changes of `text`: bits flipped, pieces cut out, doubled, or put elsewhere,
// and bytes that parsers care about put in.
inline std::string Mutate(std::string text, std::mt19937_64& random) {
  constexpr absl::string_view kSpicy("\"|#=\r\n%/(),<>.\0\xFF ", 18);
  const int changes = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < changes; ++i) {
    if (text.empty()) return text;
    const size_t at = random() % text.size();
    const size_t length = 1 + random() % 40;
    switch (random() % 5) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ (1 << (random() % 8)));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(random() % text.size(), text.substr(at, length));
        break;
      case 3:
        text.insert(at, 1, kSpicy[random() % kSpicy.size()]);
        break;
      default:
        text.resize(at);
    }
  }
  return text;
}

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_MUTATE_FOR_TEST_H_
