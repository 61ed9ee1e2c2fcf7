#include "kmip/client/exchange.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/ttlv/endian.h"

namespace keysphere::kmip::client {

using messages::Operation;
using messages::ResponseItem;
using messages::ResultReason;
using messages::ResultStatus;
using ttlv::Tag;
using ttlv::Writer;

namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kIdBytes = 4;

v1::Reason ReasonFor(ResultReason reason, Operation operation) {
  switch (reason) {
    case ResultReason::kItemNotFound:
      return v1::REASON_NOT_FOUND;
    case ResultReason::kPermissionDenied:
      // Activate of a key that is not pre-active is refused so.
      return operation == Operation::kActivate ? v1::REASON_INVALID_STATE
                                               : v1::REASON_NO_PERMISSION;
    case ResultReason::kAuthenticationNotSuccessful:
      return v1::REASON_NO_PERMISSION;
    case ResultReason::kIllegalOperation:
    case ResultReason::kObjectArchived:
      return v1::REASON_INVALID_STATE;
    case ResultReason::kOperationNotSupported:
      return v1::REASON_UNSUPPORTED;
    case ResultReason::kInvalidMessage:
      // Some servers say so of operations that they do not know (PyKMIP's of Add Attribute).
      return operation == Operation::kAddAttribute ? v1::REASON_UNSUPPORTED
                                                   : v1::REASON_KMS_REFUSED;
    default:
      return v1::REASON_KMS_REFUSED;
  }
}

absl::StatusOr<ttlv::Item> PayloadOf(const ResponseItem& item) {
  if (!item.payload.has_value()) return BadResponse("success without a payload");
  return *item.payload;
}

absl::Status CheckUid(absl::string_view is, absl::string_view should) {
  if (is == should) return absl::OkStatus();
  return BadResponse(
      absl::StrCat("asked for ", status::Quote(should), ", it is about ", status::Quote(is)));
}

absl::Status AsBadResponse(const absl::Status& status) {
  return status.ok() ? status : BadResponse(status.message());
}

}  // namespace

absl::Status BadResponse(absl::string_view what) {
  return status::Error(v1::REASON_KMS_BAD_RESPONSE,
                       absl::StrCat("the key server's answer is wrong: ", what))
      .NextStep("See whether the address belongs to the right key server.");
}

Exchange::Exchange(Operation operation, const absl::optional<messages::Credential>& credential,
                   size_t items, const std::function<void(size_t item, Writer*)>& write)
    : operation_(operation), items_(items) {
  Writer writer(&request_);
  const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
  messages::WriteRequestHeader(messages::kVersion11, credential,
                               messages::ErrorContinuation::kContinue, static_cast<int32_t>(items),
                               &writer);
  for (size_t i = 0; i < items; ++i) {
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, operation);
    if (items > 1) {
      uint8_t id[kIdBytes];
      ttlv::Store32(id, static_cast<uint32_t>(i));
      writer.Bytes(Tag::kUniqueBatchItemId, id);
    }
    const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
    write(i, &writer);
  }
}

absl::Status Exchange::Check(const messages::Response& response) const {
  if (response.batch_count != static_cast<int32_t>(response.items.size())) {
    return BadResponse(absl::StrCat("its header tells of ", response.batch_count,
                                    " batch items, there are ", response.items.size()));
  }
  // A request that was refused as a whole has one item without an operation.
  if (response.items.size() == 1 && !response.items[0].operation.has_value() &&
      response.items[0].status != ResultStatus::kSuccess) {
    return StatusOf(response.items[0], operation_);
  }
  if (response.items.size() != items_) {
    return BadResponse(
        absl::StrCat(response.items.size(), " batch items to a request of ", items_));
  }
  for (size_t i = 0; i < items_; ++i) {
    const ResponseItem& item = response.items[i];
    // An error may leave the operation out.
    if (item.status == ResultStatus::kSuccess ? item.operation != operation_
                                              : item.operation.value_or(operation_) != operation_) {
      return BadResponse("a batch item is of another operation");
    }
    uint8_t id[kIdBytes];
    ttlv::Store32(id, static_cast<uint32_t>(i));
    if (items_ > 1 && (!item.id.has_value() || *item.id != absl::MakeConstSpan(id))) {
      return BadResponse("a batch item has another id");
    }
  }
  return absl::OkStatus();
}

absl::Status StatusOf(const ResponseItem& item, Operation operation) {
  if (item.status == ResultStatus::kSuccess) return absl::OkStatus();
  const ResultReason reason = item.reason.value_or(ResultReason::kGeneralFailure);
  return status::Error(
             ReasonFor(reason, operation),
             absl::StrCat(
                 "the key server refuses ", messages::OperationName(operation), ": ",
                 messages::ResultReasonName(reason),
                 item.message.empty() ? "" : absl::StrCat(" ", status::Quote(item.message))))
      .With("server_failed", reason == ResultReason::kGeneralFailure ? "true" : "false");
}

absl::StatusOr<std::string> CreatedUid(const ResponseItem& item) {
  KS_RETURN_IF_ERROR(StatusOf(item, Operation::kCreate));
  KS_ASSIGN_OR_RETURN(const ttlv::Item payload, PayloadOf(item));
  messages::UidResponse response;
  KS_RETURN_IF_ERROR(AsBadResponse(messages::ReadUidResponse(payload, &response)));
  if (response.object_type != messages::ObjectType::kSymmetricKey) {
    return BadResponse("what was created is no symmetric key");
  }
  if (response.uid.empty()) return BadResponse("the new key has no identifier");
  return std::string(response.uid);
}

absl::Status CheckUid(const ResponseItem& item, absl::string_view uid) {
  KS_ASSIGN_OR_RETURN(const ttlv::Item payload, PayloadOf(item));
  messages::UidResponse response;
  KS_RETURN_IF_ERROR(AsBadResponse(messages::ReadUidResponse(payload, &response)));
  return CheckUid(response.uid, uid);
}

absl::StatusOr<crypto::SecretKey> KeyOf(const ResponseItem& item, absl::string_view uid) {
  KS_RETURN_IF_ERROR(StatusOf(item, Operation::kGet));
  KS_ASSIGN_OR_RETURN(const ttlv::Item payload, PayloadOf(item));
  messages::GetResponse response;
  KS_RETURN_IF_ERROR(AsBadResponse(messages::ReadGetResponse(payload, &response)));
  KS_RETURN_IF_ERROR(CheckUid(response.uid, uid));
  const messages::KeyBlock& block = response.key_block;
  if (response.object_type != messages::ObjectType::kSymmetricKey || block.wrapped ||
      (block.format != messages::KeyFormat::kRaw &&
       block.format != messages::KeyFormat::kTransparentSymmetricKey)) {
    return BadResponse(absl::StrCat(status::Quote(uid), " is no plain symmetric key"));
  }
  if (block.algorithm.value_or(messages::Algorithm::kAes) != messages::Algorithm::kAes ||
      block.length.value_or(8 * kKeyBytes) != 8 * kKeyBytes || block.material.size() != kKeyBytes) {
    return BadResponse(absl::StrCat(
        status::Quote(uid), " is no AES key of 256 bits (", block.material.size() * 8,
        " bits, algorithm ",
        static_cast<uint32_t>(block.algorithm.value_or(messages::Algorithm::kAes)), ")"));
  }
  return crypto::SecretKey::CopyOf(block.material);
}

absl::StatusOr<KeyState> StateOf(const ResponseItem& item, absl::string_view uid) {
  KS_RETURN_IF_ERROR(StatusOf(item, Operation::kGetAttributes));
  KS_ASSIGN_OR_RETURN(const ttlv::Item payload, PayloadOf(item));
  messages::AttributesResponse response;
  KS_RETURN_IF_ERROR(AsBadResponse(messages::ReadAttributesResponse(payload, &response)));
  KS_RETURN_IF_ERROR(CheckUid(response.uid, uid));
  for (const messages::Attribute& one : response.attributes) {
    uint32_t state = 0;
    if (one.name != "State" || !one.value.GetEnumeration(&state).ok()) continue;
    if (state >= 1 && state <= 6) return static_cast<KeyState>(state);
  }
  return BadResponse(absl::StrCat(status::Quote(uid), " has no state"));
}

absl::StatusOr<std::vector<Version>> VersionsOf(const messages::Response& response) {
  std::vector<Version> versions;
  std::string names;
  const auto add = [&](const messages::ProtocolVersion& version) {
    versions.push_back({version.major, version.minor});
    absl::StrAppend(&names, names.empty() ? "" : ", ", version.major, ".", version.minor);
  };
  const bool failed =
      response.items.size() == 1 && response.items[0].status != ResultStatus::kSuccess;
  const auto reason = failed ? response.items[0].reason.value_or(ResultReason::kGeneralFailure)
                             : ResultReason::kGeneralFailure;
  if (failed && reason != ResultReason::kInvalidMessage &&
      reason != ResultReason::kOperationNotSupported) {
    return StatusOf(response.items[0], Operation::kDiscoverVersions);
  }
  if (failed) {
    // It does not understand the question: what it speaks stands in its answer's header.
    add(response.version);
    if (response.version == messages::kVersion11) {
      return StatusOf(response.items[0], Operation::kDiscoverVersions);
    }
  } else {
    messages::Versions found;
    if (response.items.size() != 1 || !response.items[0].payload.has_value() ||
        !messages::ReadVersions(*response.items[0].payload, &found).ok()) {
      return BadResponse("no list of versions");
    }
    for (const messages::ProtocolVersion& version : found) add(version);
    for (const Version& version : versions) {
      if (version == Version{1, 1}) return versions;
    }
  }
  return status::Error(v1::REASON_KMS_VERSION_UNSUPPORTED,
                       absl::StrCat("the server does not speak KMIP 1.1; it has ",
                                    names.empty() ? "none" : names))
      .NextStep("Enable KMIP 1.1 on the key server.");
}

}  // namespace keysphere::kmip::client
