#include "common/rpc/grpc_init.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <atomic>
#include <cstdlib>

#include "absl/strings/match.h"

namespace keysphere::rpc {
namespace {

std::atomic<int64_t>& HandshakeFailures() {
  static std::atomic<int64_t> failures{0};
  return failures;
}

std::atomic<void (*)(const char*)>& LogSink() {
  static std::atomic<void (*)(const char*)> sink{nullptr};
  return sink;
}

void OnGrpcLog(gpr_log_func_args* args) {
  if (absl::StartsWith(args->message, "Handshake failed")) {
    HandshakeFailures().fetch_add(1, std::memory_order_relaxed);
  }
  if (const auto log = LogSink().load()) log(args->message);
}

bool InitOnce(const InitOptions& options) {
  setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", /*replace=*/1);
  if (!options.simulation) {
    unsetenv("GRPC_TRACE");
    unsetenv("GRPC_VERBOSITY");
  }
  LogSink() = options.log;
  gpr_set_log_function(OnGrpcLog);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  return true;
}

}  // namespace

void InitGrpc(const InitOptions& options) {
  static const bool done = InitOnce(options);
  (void)done;
}

int64_t FailedHandshakes() { return HandshakeFailures().load(std::memory_order_relaxed); }

}  // namespace keysphere::rpc
