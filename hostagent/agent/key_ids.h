#ifndef KEYSPHERE_HOSTAGENT_AGENT_KEY_IDS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_KEY_IDS_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status/status.h"
#include "hostagent/vm/key_safe.h"
#include "keysphere/v1/types.pb.h"

// Names of keys as requests give them.
namespace keysphere::hostagent::agent {

inline vm::KeyId ToKeyId(const v1::CryptoKeyId& key) { return {key.provider_id(), key.key_id()}; }

// INVALID_ARGUMENT unless it can name a key of the VM `vm`.
inline absl::Status CheckKeyId(const v1::CryptoKeyId& key, absl::string_view vm) {
  if (!key.provider_id().empty() && !key.key_id().empty() &&
      key.provider_id().size() <= vm::kMaxProviderBytes &&
      key.key_id().size() <= vm::kMaxKeyIdBytes) {
    return absl::OkStatus();
  }
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("key needs a provider_id, of at most ", vm::kMaxProviderBytes,
                                    " bytes, and a key_id, of at most ", vm::kMaxKeyIdBytes))
      .Object("vm", vm)
      .NextStep("name a provider and one of its keys");
}

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_KEY_IDS_H_
