#ifndef KEYSPHERE_HOSTAGENT_KEYS_KEY_CACHE_H_
#define KEYSPHERE_HOSTAGENT_KEYS_KEY_CACHE_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/sync/mutex.h"
#include "hostagent/keys/key_plan.h"
#include "hostagent/keys/standard_keys.h"
#include "keysphere/host/v1/host_management.pb.h"

namespace keysphere::hostagent::keys {

// The providers' keys that a running host holds, in locked memory, and what it was told about those
// that it does not hold: whole keys of native providers, which it derives others from, and the
// cached keys of standard ones. A key that is removed is wiped, once no derivation uses it any
// more. Thread safe: VMs derive their KEKs on strands of their own.
class KeyCache {
 public:
  using KdkPtr = std::shared_ptr<const crypto::SecretKey>;

  // Holds a key; the former one of that provider goes.
  void Put(const host::v1::KeyEntry& entry, crypto::SecretKey kdk);
  // Another key id or constraint for the key that is held (S122).
  void Relabel(const host::v1::KeyEntry& entry);
  void Remove(absl::string_view provider);
  // All keys, wiped: the host stops.
  void Clear();

  // What a message of the controller says beside the keys. A tick's replaces all that was known;
  // one that only adds replaces it for the providers that it names.
  void Note(const KeyPlan& plan, const host::v1::ApplyKeysRequest& request);

  // A native provider's key.
  bool Holds(absl::string_view provider) const;
  // What VmKek and HostKey need: a native provider's key, or that very key of a standard one.
  bool HoldsKey(absl::string_view provider, absl::string_view key_id) const;
  // Of what HoldsKey tells of; empty: not held.
  std::string CheckValue(absl::string_view provider, absl::string_view key_id) const;
  // Another key is wanted under that name than the one that is held (S141).
  bool Collides(absl::string_view provider) const;
  std::vector<host::v1::KeyEntry> Held() const;
  size_t size() const;

  // Those of standard providers.
  StandardKeys& standard() { return standard_; }
  const StandardKeys& standard() const { return standard_; }

  // The KEK of a VM: derived (S35), or as cached. KEY_MISSING_ON_HOST, naming provider and key id.
  absl::StatusOr<crypto::SecretKey> VmKek(absl::string_view provider,
                                          absl::string_view key_id) const;
  // The host key, derived or as cached (S139). KEY_MISSING_ON_HOST.
  absl::StatusOr<crypto::SecretKey> HostKey(absl::string_view provider,
                                            absl::string_view key_id) const;

  // Why the key is not held: of a standard provider as StandardKeys::WhyMissing, else
  // KEY_MISSING_ON_HOST.
  v1::Reason WhyMissing(absl::string_view provider, absl::string_view key_id) const {
    return standard_.WhyMissing(provider, key_id);
  }
  // Why the controller, or the host itself, keeps the provider's key away from here, in no order:
  // VERSION_UNSUPPORTED, TPM_REQUIRED and the like. Empty: not for a reason that is known.
  std::vector<v1::Reason> WhyWithheld(absl::string_view provider) const;

  host::v1::KeyReport Report(absl::string_view cluster) const;
  // All that a report tells of, as bytes: to tell whether anything changed.
  std::string ReportBytes() const;
  std::string Digest(absl::string_view cluster) const;

 private:
  struct Key {
    host::v1::KeyEntry entry;
    KdkPtr kdk;
  };
  absl::StatusOr<KdkPtr> Find(absl::string_view provider, absl::string_view key_id) const;
  // Of a standard provider; an empty one where it is not cached.
  absl::StatusOr<crypto::SecretKey> FindStandard(absl::string_view provider,
                                                 absl::string_view key_id) const;
  std::vector<host::v1::KeyEntry> HeldLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  host::v1::KeyReport ReportLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  StandardKeys standard_;
  mutable sync::Mutex mutex_;
  // By provider.
  std::map<std::string, Key, std::less<>> keys_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, host::v1::KeyEntry, std::less<>> collisions_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, host::v1::WithheldProvider, std::less<>> refused_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, host::v1::WithheldProvider, std::less<>> withheld_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::hostagent::keys

#endif  // KEYSPHERE_HOSTAGENT_KEYS_KEY_CACHE_H_
