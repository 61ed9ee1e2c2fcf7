#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_AUTHORITY_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_AUTHORITY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keysphere::controller::providers {

// FQDN_REQUIRED unless what the client dialled ("vcenter-a.keysphere.test:7443") is, without its
// port, one of `dns_names`, has a dot, and is no IP address (S3).
absl::Status CheckAuthority(absl::string_view authority, const std::vector<std::string>& dns_names);

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_AUTHORITY_H_
