#include "common/crypto/mac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "common/crypto/openssl.h"
#include "common/status/status.h"

namespace keysphere::crypto {
namespace {

using MacCtx = internal::Ptr<EVP_MAC_CTX, EVP_MAC_CTX_free>;

// HMAC with its digest chosen and without a key: a copy of it spares each call the search for the
// digest by its name, which costs more than the digest itself.
const EVP_MAC_CTX* Keyless() {
  static const EVP_MAC_CTX* const keyless = [] {
    EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
    EVP_MAC_CTX* const ctx = EVP_MAC_CTX_new(hmac);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    KS_CHECK(ctx != nullptr && EVP_MAC_CTX_set_params(ctx, params) == 1);
    return ctx;
  }();
  return keyless;
}

}  // namespace

absl::Status HmacSha256(absl::Span<const uint8_t> key,
                        std::initializer_list<absl::string_view> parts, absl::Span<uint8_t> mac) {
  static constexpr uint8_t kNoKey[kMacBytes] = {};
  if (key.empty()) key = kNoKey;
  const MacCtx ctx(EVP_MAC_CTX_dup(Keyless()));
  bool good = mac.size() == kMacBytes && ctx != nullptr &&
              EVP_MAC_init(ctx.get(), key.data(), key.size(), nullptr) == 1;
  for (const absl::string_view part : parts) {
    good = good && EVP_MAC_update(ctx.get(), internal::AsBytes(part).data(), part.size()) == 1;
  }
  size_t size = 0;
  good = good && EVP_MAC_final(ctx.get(), mac.data(), &size, mac.size()) == 1 && size == kMacBytes;
  return good ? absl::OkStatus() : internal::OpensslError("HMAC");
}

}  // namespace keysphere::crypto
