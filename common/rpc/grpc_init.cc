#include "common/rpc/grpc_init.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"

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
  if (const auto log = LogSink().load()) {
    log(args->message);
  } else if (absl::StartsWith(args->message, "assertion failed")) {
    std::fprintf(stderr, "gRPC: %s\n", args->message);  // its last words
  }
}

// Of protobuf: what it says of a message that cannot be read is told to the caller by an error.
void OnProtobufLog(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/,
                   const std::string& message) {
  if (const auto log = LogSink().load()) {
    log(message.c_str());
  } else if (level == google::protobuf::LOGLEVEL_FATAL) {
    std::fprintf(stderr, "protobuf: %s\n", message.c_str());
  }
}

bool InitOnce(const InitOptions& options) {
  setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", /*replace=*/1);
  if (!options.simulation) {
    unsetenv("GRPC_TRACE");
    unsetenv("GRPC_VERBOSITY");
  }
  LogSink() = options.log;
  gpr_set_log_function(OnGrpcLog);
  google::protobuf::SetLogHandler(OnProtobufLog);
  // Debian's Abseil searches for cycles at every lock of gRPC's mutexes, as a debug build does.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::EnableDefaultHealthCheckService(true);
  return true;
}

}  // namespace

void InitGrpc(const InitOptions& options) {
  static const bool done = InitOnce(options);
  (void)done;
}

void KeepGrpcRunning() {
  // A channel takes its share of the threads with its first callback call. This one, made without
  // credentials, connects to nobody, so that the call fails at once.
  struct FirstCall {
    grpc::ClientContext context;
    grpc::Slice nothing{""};
    grpc::ByteBuffer request{&nothing, 1};  // one without a slice is refused
    grpc::ByteBuffer response;
  };
  static std::atomic<grpc::GenericStub*> kept{[] {
    auto channel = grpc::CreateChannel("none", nullptr);
    auto* const stub = new grpc::GenericStub(channel);
    auto call = std::make_shared<FirstCall>();
    stub->UnaryCall(&call->context, "/none/None", grpc::StubOptions(), &call->request,
                    &call->response, [call](const grpc::Status&) {});
    return stub;
  }()};
  (void)kept.load();
}

int64_t FailedHandshakes() { return HandshakeFailures().load(std::memory_order_relaxed); }

}  // namespace keysphere::rpc
