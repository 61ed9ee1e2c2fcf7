#ifndef KEYSPHERE_COMMON_STATUS_GRPC_H_
#define KEYSPHERE_COMMON_STATUS_GRPC_H_

#include "absl/status/status.h"
#include "common/status/status.h"
#include "grpcpp/support/status.h"

namespace keysphere::status {

// The status that a server answers with: ErrorDetail travels as the one detail of a
// google.rpc.Status in the trailer grpc-status-details-bin.
grpc::Status ToGrpc(const absl::Status& status);

// The status that a client got. Without a detail of ours (gRPC made it, or another server) the
// reason is that of the code; a peer that does not answer is `unreachable`: the caller knows whom
// it called, e.g. REASON_HOST_NOT_RESPONDING, REASON_CONTROLLER_UNAVAILABLE.
absl::Status FromGrpc(const grpc::Status& status, Reason unreachable = v1::REASON_UNREACHABLE);

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_GRPC_H_
