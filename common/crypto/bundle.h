#ifndef KEYSPHERE_COMMON_CRYPTO_BUNDLE_H_
#define KEYSPHERE_COMMON_CRYPTO_BUNDLE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/secret_key.h"

// The file that backs up a native key provider: PKCS#12 (RFC 7292) with one secret bag. The bag
// holds the KDK; its attributes are the friendlyName (the provider's name) and those below, all of
// them text but the check value. Nothing else is in the file (S5).
//
// With a password the content is encrypted with AES-256-CBC under PBKDF2 with HMAC-SHA-256, without
// it stands in the clear (S4). There is always a MAC (SHA-256, 16 bytes of salt): without a
// password it is made with no password, which is not the same as with an empty one.
namespace keysphere::crypto {

struct KeyBundle {
  std::string provider;  // 1 to 80 characters, UTF-8
  std::string key_id;    // 1 to 256 bytes
  SecretKey kdk;         // 32 bytes
  bool tpm_required = false;
  absl::Time export_time;
};

inline constexpr int kBundleIterations = 100000;
inline constexpr int64_t kMaxBundleIterations = 10000000;
inline constexpr size_t kMaxBundleBytes = 65536;

// password nullptr: none. The caller wipes the result of a call without password: it holds the KDK.
// INVALID_ARGUMENT for a name, key id, key or number of iterations out of its limits, or an empty
// password.
absl::StatusOr<std::string> WriteBundle(const KeyBundle& bundle, const SecretKey* password,
                                        int iterations = kBundleIterations);

// WRONG_PASSWORD for a wrong, a missing or a needless password; BUNDLE_INVALID for a file that is
// no such bundle, is damaged, uses weaker algorithms, has above 64 KiB, or asks for more than
// kMaxBundleIterations (before anything is derived); CHECK_VALUE_MISMATCH where the KDK is not the
// one that was exported. No error quotes the file. Damage to an encrypted file looks like a wrong
// password.
absl::StatusOr<KeyBundle> ReadBundle(absl::string_view p12, const SecretKey* password);

// The bag's attributes beside friendlyName: object identifiers below a UUID of this product's own.
namespace bundle_attributes {
inline constexpr char kFormatVersion[] = "2.25.129570412522312883281489581177039253858.1";  // "1"
inline constexpr char kKeyId[] = "2.25.129570412522312883281489581177039253858.2";
inline constexpr char kTpmRequired[] =  // "true" or "false"
    "2.25.129570412522312883281489581177039253858.3";
inline constexpr char kExportTime[] =  // RFC 3339, UTC
    "2.25.129570412522312883281489581177039253858.4";
inline constexpr char kCheckValue[] =  // octets: KeyCheckValue of the KDK
    "2.25.129570412522312883281489581177039253858.5";
}  // namespace bundle_attributes

}  // namespace keysphere::crypto

#endif  // KEYSPHERE_COMMON_CRYPTO_BUNDLE_H_
