#ifndef KEYSPHERE_HOSTAGENT_KEYS_STANDARD_KEYS_H_
#define KEYSPHERE_HOSTAGENT_KEYS_STANDARD_KEYS_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/hpke.h"
#include "common/crypto/secret_key.h"
#include "common/keyset/keyset.h"
#include "common/sync/mutex.h"
#include "keysphere/host/v1/host_management.pb.h"

namespace keysphere::hostagent::keys {

// A key of a standard provider, with its names.
struct StandardKey {
  std::string provider;
  std::string key_id;
  std::string check_value;  // 8 bytes
  crypto::SecretKey key;
};

// The keys of standard providers that a host caches: in locked memory alone and gone with a reboot
// (S56), and what the controller last told of the key servers behind them. Thread safe: VMs take
// their KEKs on strands of their own.
class StandardKeys {
 public:
  using KeyPtr = std::shared_ptr<const crypto::SecretKey>;

  // Caches a key; one of the same name goes.
  void Put(StandardKey key);
  void Remove(absl::string_view provider, absl::string_view key_id);
  // All keys, wiped: the host stops.
  void Clear();

  // What a message tells of the key servers. A tick's replaces all that was known; one that only
  // adds replaces it for the providers that it names. True: something changed.
  bool Note(const host::v1::ApplyKeysRequest& request);

  // Null: not cached.
  KeyPtr Find(absl::string_view provider, absl::string_view key_id) const;
  // Of a cached key; empty: not cached.
  std::string CheckValue(absl::string_view provider, absl::string_view key_id) const;
  // Whether the provider is known to be a standard one: told by the controller, or cached keys.
  bool Knows(absl::string_view provider) const;
  // Why a key is not cached: KMS_UNREACHABLE, KEY_MISSING_ON_KMS, else KEY_MISSING_ON_HOST (S89).
  v1::Reason WhyMissing(absl::string_view provider, absl::string_view key_id) const;

  // By provider and key id.
  std::vector<host::v1::StandardKeyList> List() const;
  // How many of each provider.
  void Count(host::v1::KeyReport* report) const;
  keyset::CachedKeysDigest digest() const;
  size_t size() const;

 private:
  struct Cached {
    std::string check_value;
    KeyPtr key;
  };
  struct ServerState {
    bool unreachable = false;
    std::set<std::string, std::less<>> missing;
    bool operator==(const ServerState& other) const {
      return unreachable == other.unreachable && missing == other.missing;
    }
  };
  using Keys = std::map<std::string, Cached, std::less<>>;

  const Cached* FindLocked(absl::string_view provider, absl::string_view key_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable sync::Mutex mutex_;
  std::map<std::string, Keys, std::less<>> providers_ ABSL_GUARDED_BY(mutex_);  // none is empty
  std::map<std::string, ServerState, std::less<>> servers_ ABSL_GUARDED_BY(mutex_);
  keyset::CachedKeysDigest digest_ ABSL_GUARDED_BY(mutex_);
  size_t size_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Where keys came sealed to: the boot of a host, under an attachment.
struct SealedFor {
  const crypto::TransportKey* transport_key = nullptr;
  std::string host;
  std::string boot_id;
  int64_t epoch = 0;
};

// Opens keys that came together. CIPHERTEXT_CORRUPT: made for another host, boot, epoch, provider
// or key id. INVALID_ARGUMENT, INVALID_NAME: malformed.
absl::StatusOr<std::vector<StandardKey>> OpenStandardKeys(
    const SealedFor& to, const host::v1::SealedStandardKeys& sealed);

// What ApplyKeys does to the cache.
struct StandardPlan {
  std::vector<StandardKey> add;
  // Only at a tick.
  std::vector<host::v1::StandardKeyList> remove;
  // Cached already, but as another key: it stays until a tick.
  std::vector<host::v1::KeyEntry> collisions;
  // A host that is not safe takes none (S98).
  std::vector<host::v1::WithheldProvider> refused;

  bool empty() const { return add.empty() && remove.empty(); }
};

// Adds never take anything away (S132). A tick replaces what came with another value, removes what
// belongs to providers that the message does not name, and what their key servers lack (S152).
absl::StatusOr<StandardPlan> PlanStandardKeys(const StandardKeys& cached,
                                              const host::v1::ApplyKeysRequest& request,
                                              bool host_is_safe, const SealedFor& to);

}  // namespace keysphere::hostagent::keys

#endif  // KEYSPHERE_HOSTAGENT_KEYS_STANDARD_KEYS_H_
