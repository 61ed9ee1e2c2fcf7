#ifndef KEYSPHERE_HOSTAGENT_VM_KEK_CACHE_H_
#define KEYSPHERE_HOSTAGENT_VM_KEK_CACHE_H_

#include <list>
#include <utility>

#include "absl/status/statusor.h"
#include "common/crypto/secret_key.h"
#include "common/status/status.h"
#include "hostagent/vm/key_safe.h"
#include "hostagent/vm/vm_folder.h"

namespace keysphere::hostagent::vm {

// The KEKs that one operation has asked for, so that a VM whose objects have one KEK derives it
// once. Lives no longer than the operation.
class VmFolder::KekCache {
 public:
  explicit KekCache(KekLookup lookup) : lookup_(lookup) {}

  absl::StatusOr<const crypto::SecretKey*> Get(const KeyId& key) {
    for (const auto& entry : keks_) {
      if (entry.first == key) return &entry.second;
    }
    KS_ASSIGN_OR_RETURN(crypto::SecretKey kek, lookup_(key));
    keks_.emplace_back(key, std::move(kek));
    return &keks_.back().second;
  }

 private:
  const KekLookup lookup_;
  std::list<std::pair<KeyId, crypto::SecretKey>> keks_;
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_KEK_CACHE_H_
