#include "common/rpc/stream_handler.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/metadata.h"
#include "common/status/status.h"

namespace keysphere::rpc::internal {

absl::Status TooSlow(size_t limit) {
  return status::Error(v1::REASON_RESUME_FROM,
                       absl::StrCat("the client reads too slowly: ", limit, " messages wait"))
      .NextStep("Watch again from what was received last.");
}

absl::Status StreamCancelled() {
  return status::Error(v1::REASON_CANCELLED, "cancelled by the caller");
}

absl::Status StreamDropped() {
  return status::Error(v1::REASON_SHUTTING_DOWN, "what was watched has ended");
}

absl::Status StreamDrained() {
  return status::Error(v1::REASON_SHUTTING_DOWN, "the process is stopping")
      .NextStep("Watch again when it has started.");
}

uint64_t StreamNumber(const grpc::CallbackServerContext& context) {
  const auto sent = context.client_metadata().find(kStreamKey);
  if (sent == context.client_metadata().end()) return 0;
  uint64_t number = 0;
  const absl::string_view text(sent->second.data(), sent->second.size());
  return absl::SimpleAtoi(text, &number) ? number : 0;
}

}  // namespace keysphere::rpc::internal
