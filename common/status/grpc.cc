#include "common/status/grpc.h"

#include <string>

#include "absl/strings/cord.h"
#include "google/rpc/status.pb.h"

namespace keysphere::status {
namespace {

constexpr char kTypeUrl[] = "type.googleapis.com/keysphere.v1.ErrorDetail";

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message(status.message());
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(message);
  rpc.add_details()->PackFrom(DetailOf(status));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      rpc.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status, Reason unreachable) {
  if (status.ok()) return absl::OkStatus();
  const absl::Status plain(static_cast<absl::StatusCode>(status.error_code()),
                           status.error_message());
  google::rpc::Status rpc;
  if (!status.error_details().empty() && rpc.ParseFromString(status.error_details())) {
    for (const auto& any : rpc.details()) {
      ErrorDetail detail;
      if (!any.UnpackTo(&detail)) continue;
      absl::Status result = plain;
      result.SetPayload(kTypeUrl, absl::Cord(detail.SerializeAsString()));
      return result;
    }
  }
  const bool no_answer = plain.code() == absl::StatusCode::kUnavailable;
  const Reason reason = no_answer ? unreachable : ReasonOf(plain);
  // UNKNOWN, UNIMPLEMENTED and the like keep their code, for which no reason stands.
  if (CodeOf(reason) != plain.code()) {
    if (!plain.message().empty()) return plain;
    return absl::Status(plain.code(), plain.code() == absl::StatusCode::kUnimplemented
                                          ? "the server does not know this method"
                                          : "the server says no more");
  }
  return Error(reason, plain.message());
}

}  // namespace keysphere::status
