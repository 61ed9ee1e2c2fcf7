#ifndef KEYSPHERE_CONTROLLER_KMS_CERTIFICATES_H_
#define KEYSPHERE_CONTROLLER_KMS_CERTIFICATES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"

// What a vCenter shows to a KMS.
namespace keysphere::controller::kms {

// Whether the key belongs to the first certificate. INVALID_ARGUMENT if not, or not PEM.
absl::Status CheckPair(absl::string_view certificate_pem, const crypto::SecretKey& key_pem);

// A new P-256 key and the request for its certificate.
struct NewRequest {
  crypto::SecretKey key_pem;
  std::string csr_pem;  // PKCS#10
};
absl::StatusOr<NewRequest> MakeRequest(const std::string& common_name);

}  // namespace keysphere::controller::kms

#endif  // KEYSPHERE_CONTROLLER_KMS_CERTIFICATES_H_
