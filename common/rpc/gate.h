#ifndef KEYSPHERE_COMMON_RPC_GATE_H_
#define KEYSPHERE_COMMON_RPC_GATE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/clock/clock.h"
#include "common/identity/certificate.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/call_info.h"
#include "common/rpc/link_faults.h"
#include "common/sync/mutex.h"

namespace grpc {
class CallbackServerContext;
}

namespace keysphere::rpc {

// A server stream that the gate can end.
class DrainableStream {
 public:
  virtual void Drain() = 0;

 protected:
  ~DrainableStream() = default;
};

// What every incoming call passes before its handler: who calls (with a certificate that is valid
// at the clock's time), whether it may, and whether this server still takes calls. Made before the
// api adapters, which pass it to HandleUnary and HandleStream. Thread safe.
class Gate {
 public:
  struct Options {
    clock::Clock* clock = nullptr;              // outlives the gate
    const Authorizer* authorizer = nullptr;     // outlives the gate
    StreamCounters* stream_counters = nullptr;  // with simulated time alone
  };
  explicit Gate(const Options& options) : options_(options) {}

  clock::Clock* clock() const { return options_.clock; }
  StreamCounters* stream_counters() const { return options_.stream_counters; }
  const Authorizer& authorizer() const { return *options_.authorizer; }

  // SHUTTING_DOWN, CERT_UNTRUSTED, CERT_EXPIRED, or what the authorizer says. `method` is
  // "/SERVICE/METHOD".
  absl::StatusOr<CallInfo> Admit(grpc::CallbackServerContext* context, std::string method);

  // From now on calls are refused with SHUTTING_DOWN, and the streams end with it.
  void BeginDrain();

  // Streams that BeginDrain ends. False: it drains already.
  bool AddStream(DrainableStream* stream);
  // Waits until the gate no longer uses the stream.
  void RemoveStream(DrainableStream* stream);

 private:
  const Options options_;
  sync::Mutex mutex_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  sync::Mutex streams_mutex_;
  absl::flat_hash_set<DrainableStream*> streams_ ABSL_GUARDED_BY(streams_mutex_);
  bool streams_closed_ ABSL_GUARDED_BY(streams_mutex_) = false;
  // By the PEM of the client's certificate: reading one costs more than a small call.
  absl::flat_hash_map<std::string, std::shared_ptr<const identity::CertificateInfo>> peers_
      ABSL_GUARDED_BY(mutex_);
};

// "/SERVICE/METHOD".
inline std::string MethodName(absl::string_view service, absl::string_view method) {
  return absl::StrCat("/", service, "/", method);
}

}  // namespace keysphere::rpc

// The name of the method that is being overridden, inside an api adapter's method; `Service` is the
// generated class, e.g. KS_RPC_METHOD(v1::Hosts).
#define KS_RPC_METHOD(Service) ::keysphere::rpc::MethodName(Service::service_full_name(), __func__)

#endif  // KEYSPHERE_COMMON_RPC_GATE_H_
