#include "common/keyset/keyset.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/crypto/labels.h"

namespace keysphere::keyset {
namespace {

// Length first, so that no two lists of fields give the same bytes.
void AppendField(absl::string_view field, std::string* out) {
  absl::StrAppend(out, field.size(), ":", field, ",");
}

std::string EncodeEntry(const host::v1::KeyEntry& entry) {
  std::string out;
  AppendField(entry.provider(), &out);
  AppendField(absl::StrCat(static_cast<int>(entry.type())), &out);
  AppendField(entry.key_id(), &out);
  AppendField(entry.key_check_value(), &out);
  AppendField(entry.tpm_required() ? "1" : "0", &out);
  return out;
}

}  // namespace

void CachedKeysDigest::Toggle(absl::string_view provider, absl::string_view key_id,
                              absl::string_view key_check_value) {
  std::string key;
  AppendField(provider, &key);
  AppendField(key_id, &key);
  AppendField(key_check_value, &key);
  const std::string hash = crypto::Sha256(key);
  for (size_t i = 0; i < value_.size(); ++i) value_[i] ^= hash[i];
}

std::string Digest(const std::vector<host::v1::KeyEntry>& entries, absl::string_view cluster,
                   const CachedKeysDigest& cached) {
  std::vector<std::string> encoded;
  encoded.reserve(entries.size());
  for (const host::v1::KeyEntry& entry : entries) encoded.push_back(EncodeEntry(entry));
  std::sort(encoded.begin(), encoded.end());
  std::string all = "keysphere key set 2;";
  AppendField(cluster, &all);
  AppendField(cached.value(), &all);
  for (const std::string& entry : encoded) AppendField(entry, &all);
  return crypto::Sha256(all);
}

std::string SealInfo(absl::string_view host, absl::string_view boot_id, int64_t epoch,
                     absl::string_view provider, absl::string_view key_id) {
  return crypto::labels::TransportInfo(host, boot_id, static_cast<uint64_t>(epoch), provider,
                                       key_id);
}

bool SameKey(const host::v1::KeyEntry& a, const host::v1::KeyEntry& b) {
  return a.provider() == b.provider() && a.key_check_value() == b.key_check_value();
}

bool SameKey(const v1::CryptoKeyId& a, const v1::CryptoKeyId& b) {
  return a.provider_id() == b.provider_id() && a.key_id() == b.key_id();
}

v1::LockCause LockCauseOf(v1::Reason why_missing) {
  switch (why_missing) {
    case v1::REASON_KMS_UNREACHABLE:
      return v1::LOCK_CAUSE_KMS_CLUSTER_ERROR;
    case v1::REASON_KEY_MISSING_ON_KMS:
      return v1::LOCK_CAUSE_KEY_MISSING_ON_KMS;
    default:
      return v1::LOCK_CAUSE_KEY_MISSING_ON_HOST;
  }
}

}  // namespace keysphere::keyset
