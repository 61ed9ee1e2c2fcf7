#ifndef KEYSPHERE_COMMON_RPC_METADATA_H_
#define KEYSPHERE_COMMON_RPC_METADATA_H_

namespace keysphere::rpc {

// Metadata between processes of one simulation; other clients send none of it.

// When the caller gives up on the Clock, in microseconds since 1970: gRPC's own deadline is on wall
// time and only a guard there.
inline constexpr char kDeadlineKey[] = "keysphere-deadline-us";
// The number of a server stream for StreamCounters.
inline constexpr char kStreamKey[] = "keysphere-stream";

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_METADATA_H_
