#ifndef KEYSPHERE_COMMON_RPC_LIMITS_H_
#define KEYSPHERE_COMMON_RPC_LIMITS_H_

namespace keysphere::rpc {

// The largest message that a server or a channel takes: 4 MiB. A larger one is refused with
// TOO_LARGE before it is read.
inline constexpr int kMaxMessageBytes = 4 << 20;

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_LIMITS_H_
