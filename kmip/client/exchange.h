#ifndef KEYSPHERE_KMIP_CLIENT_EXCHANGE_H_
#define KEYSPHERE_KMIP_CLIENT_EXCHANGE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "kmip/client/key_server.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"

// Requests, and what answers to them mean.
namespace keysphere::kmip::client {

// A request of items of one operation.
class Exchange {
 public:
  Exchange() = default;
  Exchange(messages::Operation operation, const absl::optional<messages::Credential>& credential,
           size_t items, const std::function<void(size_t item, ttlv::Writer*)>& write);

  const ttlv::Buffer& request() const { return request_; }
  // The answer's items in the order of the request's; KMS_BAD_RESPONSE if they do not belong to it,
  // or why the server refused the request as a whole.
  absl::Status Check(const messages::Response& response) const;

 private:
  messages::Operation operation_ = messages::Operation::kQuery;
  size_t items_ = 0;
  ttlv::Buffer request_;
};

// What a failed item means, OK if it did not fail.
absl::Status StatusOf(const messages::ResponseItem& item, messages::Operation operation);

absl::Status BadResponse(absl::string_view what);

// The payloads of successful items: each is checked to be about `uid`.
absl::StatusOr<std::string> CreatedUid(const messages::ResponseItem& item);
absl::Status CheckUid(const messages::ResponseItem& item, absl::string_view uid);
absl::StatusOr<crypto::SecretKey> KeyOf(const messages::ResponseItem& item, absl::string_view uid);
absl::StatusOr<KeyState> StateOf(const messages::ResponseItem& item, absl::string_view uid);

// Of an answer to Discover Versions; KMS_VERSION_UNSUPPORTED unless 1.1 is among them.
absl::StatusOr<std::vector<Version>> VersionsOf(const messages::Response& response);

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_EXCHANGE_H_
