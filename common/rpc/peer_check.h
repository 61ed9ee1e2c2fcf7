#ifndef KEYSPHERE_COMMON_RPC_PEER_CHECK_H_
#define KEYSPHERE_COMMON_RPC_PEER_CHECK_H_

#include <grpcpp/security/tls_credentials_options.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock/clock.h"
#include "common/identity/credentials.h"
#include "common/identity/identity.h"

namespace keysphere::rpc {

// Decides after a handshake, in which OpenSSL has verified the chain, whether the peer is welcome.
// Runs in gRPC's handshake, under its lock: must neither block nor end a channel; so must
// `refused`.
using PeerPolicy = std::function<absl::Status(const identity::Identity& peer)>;

// gRPC's verifier: exactly one SPIFFE URI, valid at the clock's time (simulated expiry), welcome
// to `policy`. What it refuses it also tells `refused`.
std::shared_ptr<grpc::experimental::CertificateVerifier> NewPeerVerifier(
    clock::Clock* clock, PeerPolicy policy, std::function<void(const absl::Status&)> refused);

// The own certificate and key, and the authority.
std::shared_ptr<grpc::experimental::CertificateProviderInterface> NewCertificateProvider(
    const identity::Credentials& credentials);

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_PEER_CHECK_H_
