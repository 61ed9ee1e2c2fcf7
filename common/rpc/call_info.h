#ifndef KEYSPHERE_COMMON_RPC_CALL_INFO_H_
#define KEYSPHERE_COMMON_RPC_CALL_INFO_H_

#include <string>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/identity/identity.h"

namespace keysphere::rpc {

// What a server knows of a call. A plain value; no gRPC in it, so that domains may take it.
struct CallInfo {
  identity::Identity caller;  // of the client certificate, verified
  // What the client dialled, e.g. "vcenter-a.keysphere.test:8989" or "127.3.0.1:8989" (S3).
  std::string authority;
  std::string method;                   // "/keysphere.v1.Hosts/GetHost"
  absl::optional<absl::Time> deadline;  // when the client gives up, on the Clock
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_CALL_INFO_H_
