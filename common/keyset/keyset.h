#ifndef KEYSPHERE_COMMON_KEYSET_KEYSET_H_
#define KEYSPHERE_COMMON_KEYSET_KEYSET_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "keysphere/host/v1/host_management.pb.h"
#include "keysphere/v1/errors.pb.h"
#include "keysphere/v1/types.pb.h"

// What a controller and a host must compute alike about the keys that a host holds.
namespace keysphere::keyset {

// A digest of the set of standard providers' keys that a host caches, which are many: each change
// costs one step, and equal sets give equal digests however they came about (XOR of SHA-256).
class CachedKeysDigest {
 public:
  // Adds the key, or takes it away if it is in.
  void Toggle(absl::string_view provider, absl::string_view key_id,
              absl::string_view key_check_value);
  // 32 bytes.
  std::string value() const { return std::string(value_.begin(), value_.end()); }

 private:
  std::array<char, 32> value_ = {};
};

// SHA-256 (32 bytes) over the entries, in whatever order they come, the cached keys of standard
// providers, and the cluster that the host is in: name, type, key id, check value and constraint of
// each. Equal digests: nothing to send.
std::string Digest(const std::vector<host::v1::KeyEntry>& entries, absl::string_view cluster,
                   const CachedKeysDigest& cached = CachedKeysDigest());

// The `info` that a key is sealed under on its way to a host (RFC 9180): it opens only on that
// host, in that boot, under that attachment, as the key of that provider.
std::string SealInfo(absl::string_view host, absl::string_view boot_id, int64_t epoch,
                     absl::string_view provider, absl::string_view key_id);

// Whether both are the same instance of a provider: its name and its key, told by the check value
// (S141). The key id does not count: an update of it changes no key (S122).
bool SameKey(const host::v1::KeyEntry& a, const host::v1::KeyEntry& b);
// Whether both name one key: provider and key id.
bool SameKey(const v1::CryptoKeyId& a, const v1::CryptoKeyId& b);

// The cause of a lock by why the key is not on the host (S89): under a native provider it is
// missing there, whatever the reason.
v1::LockCause LockCauseOf(v1::Reason why_missing);

}  // namespace keysphere::keyset

#endif  // KEYSPHERE_COMMON_KEYSET_KEYSET_H_
