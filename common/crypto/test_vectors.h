#ifndef KEYSPHERE_COMMON_CRYPTO_TEST_VECTORS_H_
#define KEYSPHERE_COMMON_CRYPTO_TEST_VECTORS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/status/status.h"

// For tests: published keys in and out of SecretKey.
namespace keysphere::crypto::testing {

inline std::string FromHex(absl::string_view hex) { return absl::HexStringToBytes(hex); }
inline std::string ToHex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }

inline SecretKey KeyOf(absl::string_view bytes) {
  auto key = SecretKey::CopyOf({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  KS_CHECK(key.ok());
  return *std::move(key);
}
inline SecretKey KeyFromHex(absl::string_view hex) { return KeyOf(FromHex(hex)); }

inline std::string BytesOf(const SecretKey& key) {
  const auto bytes = key.bytes(SecretKeyAccess::Token());
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
inline std::string HexOf(const SecretKey& key) { return ToHex(BytesOf(key)); }

// `size` bytes first, first + 1, …
inline SecretKey CountingKey(uint8_t first, size_t size = 32) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(first + i));
  return KeyOf(bytes);
}

}  // namespace keysphere::crypto::testing

#endif  // KEYSPHERE_COMMON_CRYPTO_TEST_VECTORS_H_
