#include "common/rpc/gate.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/server_context.h>

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/rpc/metadata.h"
#include "common/status/status.h"

namespace keysphere::rpc {
namespace {

// More certificates than a cluster has; then the cache starts anew.
constexpr size_t kMaxCachedPeers = 8192;

absl::string_view View(grpc::string_ref text) {
  return absl::string_view(text.data(), text.size());
}

absl::Status ShuttingDown() {
  return status::Error(v1::REASON_SHUTTING_DOWN, "the process is stopping")
      .NextStep("Call again when it has started.");
}

// What the client waits for: on the Clock by its metadata, else by gRPC.
absl::optional<absl::Time> DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto sent = metadata.find(kDeadlineKey);
  int64_t micros = 0;
  if (sent != metadata.end() && absl::SimpleAtoi(View(sent->second), &micros)) {
    return absl::FromUnixMicros(micros);
  }
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec wall = gpr_convert_clock_type(deadline, GPR_CLOCK_REALTIME);
  if (gpr_time_cmp(wall, gpr_inf_future(GPR_CLOCK_REALTIME)) == 0) return absl::nullopt;
  return absl::FromUnixSeconds(wall.tv_sec) + absl::Nanoseconds(wall.tv_nsec);
}

}  // namespace

absl::StatusOr<CallInfo> Gate::Admit(grpc::CallbackServerContext* context, std::string method) {
  const std::shared_ptr<const grpc::AuthContext> auth = context->auth_context();
  const std::vector<grpc::string_ref> certificates =
      auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (certificates.size() != 1) {
    return status::Error(v1::REASON_CERT_UNTRUSTED, "the call comes without a certificate");
  }
  const std::string pem(certificates[0].data(), certificates[0].size());
  std::shared_ptr<const identity::CertificateInfo> peer;
  {
    sync::MutexLock lock(&mutex_);
    if (draining_) return ShuttingDown();
    const auto known = peers_.find(pem);
    if (known != peers_.end()) peer = known->second;
  }
  if (peer == nullptr) {
    KS_ASSIGN_OR_RETURN(identity::CertificateInfo info, identity::ReadCertificate(pem));
    peer = std::make_shared<const identity::CertificateInfo>(std::move(info));
    sync::MutexLock lock(&mutex_);
    if (peers_.size() >= kMaxCachedPeers) peers_.clear();
    peers_[pem] = peer;
  }
  // Per call: a connection may be older than the certificate's last day.
  KS_RETURN_IF_ERROR(identity::CheckValidity(*peer, clock()->Now()));

  CallInfo call;
  call.caller = peer->identity;
  call.authority = std::string(View(context->ExperimentalGetAuthority()));
  call.method = std::move(method);
  call.deadline = DeadlineOf(*context);
  KS_RETURN_IF_ERROR(options_.authorizer->Authorize(call, call.method));
  return call;
}

void Gate::BeginDrain() {
  {
    sync::MutexLock lock(&mutex_);
    draining_ = true;
  }
  // Under the lock: RemoveStream waits for it, so that no stream goes meanwhile.
  sync::MutexLock lock(&streams_mutex_);
  streams_closed_ = true;
  for (DrainableStream* stream : streams_) stream->Drain();
}

bool Gate::AddStream(DrainableStream* stream) {
  sync::MutexLock lock(&streams_mutex_);
  if (streams_closed_) return false;
  streams_.insert(stream);
  return true;
}

void Gate::RemoveStream(DrainableStream* stream) {
  sync::MutexLock lock(&streams_mutex_);
  streams_.erase(stream);
}

}  // namespace keysphere::rpc
