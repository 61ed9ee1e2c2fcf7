#ifndef KEYSPHERE_COMMON_RPC_GRPC_INIT_H_
#define KEYSPHERE_COMMON_RPC_GRPC_INIT_H_

#include <cstdint>

namespace keysphere::rpc {

struct InitOptions {
  // Simulation keeps GRPC_TRACE and GRPC_VERBOSITY: traces hold messages, so that a daemon that
  // guards real secrets never has them.
  bool simulation = false;
  // Where gRPC's own error lines go (one line, no newline); null: dropped, but for that of an
  // abort. Called on any thread.
  void (*log)(const char* line) = nullptr;
};

// Sets what gRPC reads once from the environment. The first thing in main, before any other thread
// and any gRPC object; again: no effect. Makes TLS 1.3 the only version (S163): gRPC has no such
// option, but with a cipher list of RSA suites alone, certificates of ECDSA leave nothing to 1.2,
// while 1.3 has a list of its own.
void InitGrpc(const InitOptions& options = {});

// Keeps gRPC's callback threads for the life of the process. Without it they end with the last
// channel or server; and when that goes on one of themselves, as a call's last reference may, gRPC
// 1.51 joins the thread with itself and frees its queue twice. For Server and Channel.
void KeepGrpcRunning();

// TLS handshakes that failed in this process so far, as server (plaintext, no or an unknown
// certificate, TLS below 1.3) or as client. gRPC tells them to its log alone.
int64_t FailedHandshakes();

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_GRPC_INIT_H_
