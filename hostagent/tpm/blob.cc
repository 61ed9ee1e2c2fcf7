#include "hostagent/tpm/blob.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr size_t kChecksumBytes = 32;

}  // namespace

std::string FrameBlob(absl::string_view magic, absl::string_view payload) {
  std::string blob = absl::StrCat(magic, payload);
  blob += crypto::Sha256(blob);
  return blob;
}

absl::StatusOr<absl::string_view> UnframeBlob(absl::string_view magic, absl::string_view blob) {
  if (!absl::StartsWith(blob, magic) || blob.size() < magic.size() + kChecksumBytes) {
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "not a blob that a TPM sealed");
  }
  const absl::string_view framed = blob.substr(0, blob.size() - kChecksumBytes);
  if (absl::string_view(crypto::Sha256(framed)) != blob.substr(framed.size())) {
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "the blob that the TPM sealed is damaged");
  }
  return framed.substr(magic.size());
}

}  // namespace keysphere::hostagent::tpm
