#include "kmip/messages/message.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "kmip/messages/fields.h"

namespace keysphere::kmip::messages {
namespace {

using ttlv::Item;
using ttlv::Tag;

absl::Status ReadCredential(const Item& authentication, absl::optional<Credential>* out) {
  Fields fields(authentication);
  Item item;
  if (!fields.Need(Tag::kCredential, &item)) return fields.status();
  Fields of_credential(item);
  Credential credential;
  Item value;
  of_credential.Enumeration(Tag::kCredentialType, &credential.type) ||
      of_credential.Missing(Tag::kCredentialType);
  of_credential.Need(Tag::kCredentialValue, &value);
  KS_RETURN_IF_ERROR(of_credential.End());
  if (credential.type == CredentialType::kUsernameAndPassword) {
    Fields of_value(value);
    of_value.Text(Tag::kUsername, &credential.username) || of_value.Missing(Tag::kUsername);
    of_value.Text(Tag::kPassword, &credential.password);
    KS_RETURN_IF_ERROR(of_value.End());
  }
  *out = credential;
  // 1.2 allows several; the first counts.
  while (fields.Skip(Tag::kCredential)) {
  }
  return fields.End();
}

absl::Status ReadRequestHeader(const Item& item, RequestHeader* header) {
  Fields fields(item);
  Item version;
  if (!fields.Need(Tag::kProtocolVersion, &version)) return fields.status();
  KS_RETURN_IF_ERROR(ReadVersion(version, &header->version));
  if (!IsSupported(header->version)) return absl::OkStatus();
  fields.Optional(&Fields::Integer, Tag::kMaximumResponseSize, &header->maximum_response_size);
  fields.Boolean(Tag::kAsynchronousIndicator, &header->asynchronous);
  fields.Skip(Tag::kAttestationCapableIndicator);
  while (fields.Skip(Tag::kAttestationType)) {
  }
  Item authentication;
  if (fields.Take(Tag::kAuthentication, &authentication)) {
    KS_RETURN_IF_ERROR(ReadCredential(authentication, &header->credential));
  }
  fields.Enumeration(Tag::kBatchErrorContinuationOption, &header->error_continuation);
  bool in_order = true;  // items are always processed in their order
  fields.Boolean(Tag::kBatchOrderOption, &in_order);
  int64_t time_stamp = 0;
  fields.DateTime(Tag::kTimeStamp, &time_stamp);
  fields.Integer(Tag::kBatchCount, &header->batch_count) || fields.Missing(Tag::kBatchCount);
  return fields.End();
}

absl::Status ReadRequestItem(const Item& item, RequestItem* out) {
  Fields fields(item);
  fields.Enumeration(Tag::kOperation, &out->operation) || fields.Missing(Tag::kOperation);
  fields.Optional(&Fields::Bytes, Tag::kUniqueBatchItemId, &out->id);
  fields.Need(Tag::kRequestPayload, &out->payload);
  Item extension;
  if (fields.Take(Tag::kMessageExtension, &extension)) {
    Fields of_extension(extension);
    of_extension.Skip(Tag::kVendorIdentification) ||
        of_extension.Missing(Tag::kVendorIdentification);
    of_extension.Boolean(Tag::kCriticalityIndicator, &out->critical_extension) ||
        of_extension.Missing(Tag::kCriticalityIndicator);
    of_extension.Skip(Tag::kVendorExtension);
    KS_RETURN_IF_ERROR(of_extension.End());
  }
  return fields.End();
}

absl::Status ReadResponseItem(const Item& item, ResponseItem* out) {
  Fields fields(item);
  Operation operation;
  if (fields.Enumeration(Tag::kOperation, &operation)) out->operation = operation;
  fields.Optional(&Fields::Bytes, Tag::kUniqueBatchItemId, &out->id);
  fields.Enumeration(Tag::kResultStatus, &out->status) || fields.Missing(Tag::kResultStatus);
  ResultReason reason;
  if (fields.Enumeration(Tag::kResultReason, &reason)) out->reason = reason;
  fields.Text(Tag::kResultMessage, &out->message);
  fields.Skip(Tag::kAsynchronousCorrelationValue);
  Item payload;
  if (fields.Take(Tag::kResponsePayload, &payload)) out->payload = payload;
  return fields.status();
}

// Of several items: each has an ID of its own.
absl::Status CheckIds(const Request& request) {
  absl::InlinedVector<absl::string_view, 16> ids;
  for (const RequestItem& one : request.items) {
    if (!one.id.has_value()) {
      return Refusal(ResultReason::kInvalidMessage,
                     "several batch items, and one has no Unique Batch Item ID");
    }
    ids.emplace_back(reinterpret_cast<const char*>(one.id->data()), one.id->size());
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return Refusal(ResultReason::kInvalidMessage,
                   "two batch items have the same Unique Batch Item ID");
  }
  return absl::OkStatus();
}

}  // namespace

void WriteVersion(const ProtocolVersion& version, ttlv::Writer* writer) {
  const ttlv::Writer::Structure structure = writer->Begin(Tag::kProtocolVersion);
  writer->Integer(Tag::kProtocolVersionMajor, version.major);
  writer->Integer(Tag::kProtocolVersionMinor, version.minor);
}

absl::Status ReadVersion(const Item& item, ProtocolVersion* version) {
  Fields fields(item);
  fields.Integer(Tag::kProtocolVersionMajor, &version->major) ||
      fields.Missing(Tag::kProtocolVersionMajor);
  fields.Integer(Tag::kProtocolVersionMinor, &version->minor) ||
      fields.Missing(Tag::kProtocolVersionMinor);
  return fields.End();
}

absl::optional<ProtocolVersion> VersionOf(absl::Span<const uint8_t> request) {
  // It is the first item of the first item: nothing of variable length stands before it.
  constexpr size_t kBegin = 2 * ttlv::kHeaderBytes;
  constexpr size_t kBytes = ttlv::kHeaderBytes + 2 * (ttlv::kHeaderBytes + 8);
  if (request.size() < kBegin + kBytes || !ttlv::MessageBytes(request, Tag::kRequestMessage).ok() ||
      !ttlv::MessageBytes(request.subspan(ttlv::kHeaderBytes), Tag::kRequestHeader).ok()) {
    return absl::nullopt;
  }
  const auto item = ttlv::Parse(request.subspan(kBegin, kBytes));
  ProtocolVersion version;
  if (!item.ok() || item->tag() != Tag::kProtocolVersion || !ReadVersion(*item, &version).ok()) {
    return absl::nullopt;
  }
  return version;
}

bool IsSupported(const ProtocolVersion& version) {
  return version.major == 1 && version.minor >= 0 && version.minor <= 2;
}

absl::StatusOr<Request> ReadRequest(const Item& message) {
  if (message.tag() != Tag::kRequestMessage) {
    return Refusal(ResultReason::kInvalidMessage, "not a Request Message");
  }
  Request request;
  Fields fields(message);
  Item header;
  if (!fields.Need(Tag::kRequestHeader, &header)) return fields.status();
  KS_RETURN_IF_ERROR(ReadRequestHeader(header, &request.header));
  if (!IsSupported(request.header.version)) return request;
  Item item;
  while (fields.Take(Tag::kBatchItem, &item)) {
    request.items.emplace_back();
    KS_RETURN_IF_ERROR(ReadRequestItem(item, &request.items.back()));
  }
  KS_RETURN_IF_ERROR(fields.End());
  if (static_cast<int64_t>(request.items.size()) != request.header.batch_count ||
      request.items.empty()) {
    return Refusal(ResultReason::kInvalidMessage,
                   absl::StrCat(request.items.size(), " batch items, the header says ",
                                request.header.batch_count));
  }
  if (request.items.size() > 1) KS_RETURN_IF_ERROR(CheckIds(request));
  return request;
}

absl::StatusOr<Response> ReadResponse(const Item& message) {
  if (message.tag() != Tag::kResponseMessage) {
    return Refusal(ResultReason::kInvalidMessage, "not a Response Message");
  }
  Response response;
  Fields fields(message);
  Item header;
  if (!fields.Need(Tag::kResponseHeader, &header)) return fields.status();
  Fields of_header(header);
  Item version;
  if (!of_header.Need(Tag::kProtocolVersion, &version)) return of_header.status();
  KS_RETURN_IF_ERROR(ReadVersion(version, &response.version));
  int64_t time_stamp = 0;
  of_header.DateTime(Tag::kTimeStamp, &time_stamp);
  of_header.Skip(Tag::kNonce);
  while (of_header.Skip(Tag::kAttestationType)) {
  }
  of_header.Integer(Tag::kBatchCount, &response.batch_count) || of_header.Missing(Tag::kBatchCount);
  KS_RETURN_IF_ERROR(of_header.status());
  Item item;
  while (fields.Take(Tag::kBatchItem, &item)) {
    response.items.emplace_back();
    KS_RETURN_IF_ERROR(ReadResponseItem(item, &response.items.back()));
  }
  return response;
}

void WriteRequestHeader(const ProtocolVersion& version,
                        const absl::optional<Credential>& credential,
                        ErrorContinuation error_continuation, int32_t batch_count,
                        ttlv::Writer* writer) {
  const ttlv::Writer::Structure header = writer->Begin(Tag::kRequestHeader);
  WriteVersion(version, writer);
  if (credential.has_value()) {
    const ttlv::Writer::Structure authentication = writer->Begin(Tag::kAuthentication);
    const ttlv::Writer::Structure structure = writer->Begin(Tag::kCredential);
    writer->Enumeration(Tag::kCredentialType, credential->type);
    const ttlv::Writer::Structure value = writer->Begin(Tag::kCredentialValue);
    writer->Text(Tag::kUsername, credential->username);
    writer->Text(Tag::kPassword, credential->password);
  }
  if (batch_count > 1) {
    writer->Enumeration(Tag::kBatchErrorContinuationOption, error_continuation);
  }
  writer->Integer(Tag::kBatchCount, batch_count);
}

void WriteResponseHeader(const ProtocolVersion& version, int64_t now, int32_t batch_count,
                         ttlv::Writer* writer) {
  const ttlv::Writer::Structure header = writer->Begin(Tag::kResponseHeader);
  WriteVersion(version, writer);
  writer->DateTime(Tag::kTimeStamp, now);
  writer->Integer(Tag::kBatchCount, batch_count);
}

}  // namespace keysphere::kmip::messages
