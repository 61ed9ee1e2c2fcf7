#include "common/crypto/digest.h"

#include <openssl/evp.h>

#include <cstdint>

#include "absl/strings/escaping.h"
#include "common/status/status.h"

namespace keysphere::crypto {

std::string Sha256(absl::string_view data) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  std::string digest(32, '\0');
  KS_CHECK(EVP_Digest(data.data(), data.size(), reinterpret_cast<uint8_t*>(&digest[0]), nullptr,
                      algorithm, nullptr) == 1);
  return digest;
}

std::string Sha256Hex(absl::string_view data) { return absl::BytesToHexString(Sha256(data)); }

}  // namespace keysphere::crypto
