#ifndef KEYSPHERE_COMMON_KEYSET_KEYSET_H_
#define KEYSPHERE_COMMON_KEYSET_KEYSET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "keysphere/host/v1/host_management.pb.h"

// What a controller and a host must compute alike about the keys that a host holds.
namespace keysphere::keyset {

// SHA-256 (32 bytes) over the entries, in whatever order they come, and the cluster that the host
// is in: name, type, key id, check value and constraint of each. Equal digests: nothing to send.
std::string Digest(const std::vector<host::v1::KeyEntry>& entries, absl::string_view cluster);

// The `info` that a key is sealed under on its way to a host (RFC 9180): it opens only on that
// host, in that boot, under that attachment, as the key of that provider.
std::string SealInfo(absl::string_view host, absl::string_view boot_id, int64_t epoch,
                     absl::string_view provider, absl::string_view key_id);

// Whether both are the same instance of a provider: its name and its key, told by the check value
// (S141). The key id does not count: an update of it changes no key (S122).
bool SameKey(const host::v1::KeyEntry& a, const host::v1::KeyEntry& b);

}  // namespace keysphere::keyset

#endif  // KEYSPHERE_COMMON_KEYSET_KEYSET_H_
