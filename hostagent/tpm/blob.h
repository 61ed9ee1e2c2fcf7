#ifndef KEYSPHERE_HOSTAGENT_TPM_BLOB_H_
#define KEYSPHERE_HOSTAGENT_TPM_BLOB_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::hostagent::tpm {

// The frame of a sealed blob: magic, payload, SHA-256 of both. The checksum guards against bit rot,
// not against people: it lets a damaged blob be told from one that another TPM sealed.
std::string FrameBlob(absl::string_view magic, absl::string_view payload);

// The payload, within `blob`. CIPHERTEXT_CORRUPT: another magic, or damaged.
absl::StatusOr<absl::string_view> UnframeBlob(absl::string_view magic, absl::string_view blob);

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_BLOB_H_
