#include "common/rpc/unary_handler.h"

#include "common/status/grpc.h"
#include "common/status/status.h"

namespace keysphere::rpc::internal {

absl::Status NoAnswer() {
  return status::Error(v1::REASON_INTERNAL, "the operation ended without an answer");
}

void UnaryCall::Answer(const absl::Status& status) { Finish(status::ToGrpc(status)); }

void UnaryCall::Unref() {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void UnaryCall::OnCancel() {
  if (Claim()) Answer(status::Error(v1::REASON_CANCELLED, "cancelled by the caller"));
}

}  // namespace keysphere::rpc::internal
