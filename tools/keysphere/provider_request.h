#ifndef KEYSPHERE_TOOLS_KEYSPHERE_PROVIDER_REQUEST_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_PROVIDER_REQUEST_H_

#include <string>

#include "absl/types/optional.h"
#include "keysphere/v1/key_providers.pb.h"

namespace keysphere::cli {

// What `provider create` sends. Without the option a TPM is required: the box that the product's
// user finds ticked (S24).
inline v1::CreateKeyProviderRequest NewCreateRequest(const std::string& name,
                                                     const std::string& key_id,
                                                     absl::optional<bool> tpm_required) {
  v1::CreateKeyProviderRequest request;
  request.set_name(name);
  request.set_key_id(key_id);
  request.mutable_constraints()->set_tpm_required(tpm_required.value_or(true));
  return request;
}

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_PROVIDER_REQUEST_H_
