#ifndef KEYSPHERE_KMIP_MESSAGES_MESSAGE_H_
#define KEYSPHERE_KMIP_MESSAGES_MESSAGE_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "kmip/messages/enums.h"
#include "kmip/ttlv/item.h"
#include "kmip/ttlv/writer.h"

// Messages and their batch items (6 and 7 of the specification). What is read are views into the
// message's bytes.
namespace keysphere::kmip::messages {

struct ProtocolVersion {
  int32_t major = 1;
  int32_t minor = 1;
  friend bool operator==(const ProtocolVersion& a, const ProtocolVersion& b) {
    return a.major == b.major && a.minor == b.minor;
  }
  friend bool operator!=(const ProtocolVersion& a, const ProtocolVersion& b) { return !(a == b); }
  friend bool operator<(const ProtocolVersion& a, const ProtocolVersion& b) {
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
  }
};
constexpr ProtocolVersion kVersion10{1, 0};
constexpr ProtocolVersion kVersion11{1, 1};
constexpr ProtocolVersion kVersion12{1, 2};

void WriteVersion(const ProtocolVersion& version, ttlv::Writer* writer);
absl::Status ReadVersion(const ttlv::Item& item, ProtocolVersion* version);

// User name and password.
struct Credential {
  CredentialType type = CredentialType::kUsernameAndPassword;
  absl::string_view username;
  absl::string_view password;
};

struct RequestHeader {
  ProtocolVersion version;
  absl::optional<int32_t> maximum_response_size;
  bool asynchronous = false;
  absl::optional<Credential> credential;
  ErrorContinuation error_continuation = ErrorContinuation::kStop;
  int32_t batch_count = 0;
};

struct RequestItem {
  Operation operation = Operation::kQuery;
  absl::optional<absl::Span<const uint8_t>> id;
  ttlv::Item payload;
  bool critical_extension = false;  // one that this reader does not know
};

struct Request {
  RequestHeader header;
  absl::InlinedVector<RequestItem, 4> items;
};

// Of a Request Message. Its version alone is read first: a message of another version is OK here,
// with nothing but `version` set in it.
absl::StatusOr<Request> ReadRequest(const ttlv::Item& message);

// The version in the header of a Request Message, whatever stands behind it: in this the answer is
// given that refuses the rest. None: the bytes do not begin like a request.
absl::optional<ProtocolVersion> VersionOf(absl::Span<const uint8_t> request);

// Versions whose messages ReadRequest reads.
bool IsSupported(const ProtocolVersion& version);

struct ResponseItem {
  absl::optional<Operation> operation;
  absl::optional<absl::Span<const uint8_t>> id;
  ResultStatus status = ResultStatus::kSuccess;
  absl::optional<ResultReason> reason;
  absl::string_view message;
  absl::optional<ttlv::Item> payload;
};

struct Response {
  ProtocolVersion version;
  int32_t batch_count = 0;
  absl::InlinedVector<ResponseItem, 4> items;
};

// Of a Response Message; items of newer versions are passed over.
absl::StatusOr<Response> ReadResponse(const ttlv::Item& message);

// What stands before the batch items of a request.
void WriteRequestHeader(const ProtocolVersion& version,
                        const absl::optional<Credential>& credential,
                        ErrorContinuation error_continuation, int32_t batch_count,
                        ttlv::Writer* writer);
// `now`: seconds since 1970.
void WriteResponseHeader(const ProtocolVersion& version, int64_t now, int32_t batch_count,
                         ttlv::Writer* writer);

}  // namespace keysphere::kmip::messages

#endif  // KEYSPHERE_KMIP_MESSAGES_MESSAGE_H_
