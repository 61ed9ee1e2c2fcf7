// What KMIP publishes is read with the meaning that it has there, and written again byte for byte.
#include "kmip/messages/published.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/crypto/secret_key.h"
#include "common/status/matchers.h"
#include "kmip/messages/fields.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"
#include "kmip/ttlv/buffer.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::messages::published {
namespace {

using status::IsOk;
using ::testing::ElementsAre;
using ttlv::Buffer;
using ttlv::Tag;
using ttlv::Writer;

constexpr char kUid[] = "668eff89-3010-4258-bc0e-8c402309c746";
constexpr char kSecretUid[] = "9e9ed79f-d8f5-4fea-a93d-e02242dfc1d1";
constexpr char kNamedUid[] = "28c7bad1-bc9b-41df-b439-1ba04a6fd982";
constexpr int64_t kNow = 0x4f9a54e8;  // of the answers, in 2012

// The one item of a request in KMIP 1.1; views into `message`.
RequestItem ItemOf(const Message& message) {
  const auto request = ReadRequest(message.item());
  EXPECT_THAT(request, IsOk());
  if (!request.ok()) return RequestItem();
  EXPECT_EQ(request->header.version, kVersion11);
  EXPECT_EQ(request->items.size(), 1);
  return request->items[0];
}
ResponseItem AnswerOf(const Message& message) {
  const auto response = ReadResponse(message.item());
  EXPECT_THAT(response, IsOk());
  if (!response.ok()) return ResponseItem();
  EXPECT_EQ(response->version, kVersion11);
  EXPECT_EQ(response->items.size(), 1);
  return response->items[0];
}

std::string Hex(const Buffer& buffer) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(buffer.data()), buffer.size()));
}

template <typename Payload>
std::string WriteRequest(Operation operation, Payload payload) {
  Buffer buffer;
  Writer writer(&buffer);
  {
    const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
    WriteRequestHeader(kVersion11, absl::nullopt, ErrorContinuation::kStop, 1, &writer);
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, operation);
    const Writer::Structure structure = writer.Begin(Tag::kRequestPayload);
    payload(&writer);
  }
  return Hex(buffer);
}

template <typename Payload>
std::string WriteResponse(int64_t now, Operation operation, Payload payload) {
  Buffer buffer;
  Writer writer(&buffer);
  {
    const Writer::Structure message = writer.Begin(Tag::kResponseMessage);
    WriteResponseHeader(kVersion11, now, 1, &writer);
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, operation);
    writer.Enumeration(Tag::kResultStatus, ResultStatus::kSuccess);
    const Writer::Structure structure = writer.Begin(Tag::kResponsePayload);
    payload(&writer);
  }
  return Hex(buffer);
}

// A request and an answer that say no more than which object it is.
void ExpectOnlyUid(const Exchange& exchange, Operation operation, const char* expected) {
  SCOPED_TRACE(OperationName(operation));
  const Message request(exchange.request);
  const RequestItem item = ItemOf(request);
  EXPECT_EQ(item.operation, operation);
  UidRequest asked;
  EXPECT_THAT(ReadUid(item.payload, &asked), IsOk());
  EXPECT_EQ(asked.uid, absl::string_view(expected));

  const Message response(exchange.response);
  const ResponseItem answer = AnswerOf(response);
  EXPECT_EQ(answer.operation, operation);
  EXPECT_EQ(answer.status, ResultStatus::kSuccess);
  UidResponse told;
  EXPECT_THAT(ReadUidResponse(answer.payload.value(), &told), IsOk());
  EXPECT_EQ(told.uid, expected);

  const auto uid = [&](Writer* writer) { WriteUid(expected, writer); };
  EXPECT_EQ(WriteRequest(operation, uid), exchange.request);
  EXPECT_EQ(WriteResponse(kNow, operation, uid), exchange.response);
}

TEST(PublishedTest, Create) {
  const Message message(kCreateRequest);
  const auto request = ReadRequest(message.item());
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.version, kVersion11);
  EXPECT_EQ(request->header.batch_count, 1);
  EXPECT_EQ(request->header.error_continuation, ErrorContinuation::kStop);
  ASSERT_EQ(request->items.size(), 1);
  EXPECT_EQ(request->items[0].operation, Operation::kCreate);
  CreateRequest create;
  ASSERT_THAT(ReadCreate(request->items[0].payload, &create), IsOk());
  EXPECT_EQ(create.object_type, ObjectType::kSymmetricKey);
  ASSERT_EQ(create.attributes.size(), 3);
  EXPECT_EQ(create.attributes[0].name, "Cryptographic Algorithm");
  Algorithm algorithm;
  EXPECT_THAT(create.attributes[0].value.GetEnumeration(&algorithm), IsOk());
  EXPECT_EQ(algorithm, Algorithm::kAes);
  int32_t number = 0;
  EXPECT_THAT(create.attributes[1].value.GetInteger(&number), IsOk());
  EXPECT_EQ(number, 128);
  EXPECT_EQ(create.attributes[2].name, "Cryptographic Usage Mask");
  EXPECT_THAT(create.attributes[2].value.GetInteger(&number), IsOk());
  EXPECT_EQ(number, kUsageEncrypt | kUsageDecrypt);

  // Ours has 256 bits; nothing else differs.
  std::string published = message.bytes();
  const size_t length = published.find(std::string("\x02\0\0\0\x04\0\0\0\x80", 9)) + 7;
  published[length] = 1;
  published[length + 1] = 0;
  EXPECT_EQ(WriteRequest(Operation::kCreate, [](Writer* writer) { WriteCreateAes256(writer); }),
            absl::BytesToHexString(published));
}

TEST(PublishedTest, RegisterOfSecretData) {
  const Message message(kRegisterSecret.request);
  const RequestItem item = ItemOf(message);
  EXPECT_EQ(item.operation, Operation::kRegister);
  RegisterRequest request;
  ASSERT_THAT(ReadRegister(item.payload, &request), IsOk());
  EXPECT_EQ(request.object_type, ObjectType::kSecretData);
  EXPECT_EQ(request.secret_data_type, 1);  // Password
  EXPECT_EQ(request.key_block.format, KeyFormat::kOpaque);
  EXPECT_FALSE(request.key_block.algorithm.has_value());
  const absl::Span<const uint8_t> material = request.key_block.material;
  EXPECT_EQ(std::string(material.begin(), material.end()), "SecretPassword");
  ASSERT_EQ(request.attributes.size(), 1);
  EXPECT_EQ(request.attributes[0].name, "Cryptographic Usage Mask");
  int32_t mask = 0;
  EXPECT_THAT(request.attributes[0].value.GetInteger(&mask), IsOk());
  EXPECT_EQ(mask, 2);  // Verify

  const auto secret = crypto::SecretKey::CopyOf(material).value();
  EXPECT_EQ(WriteRequest(Operation::kRegister,
                         [&](Writer* writer) {
                           writer->Enumeration(Tag::kObjectType, ObjectType::kSecretData);
                           {
                             const Writer::Structure structure =
                                 writer->Begin(Tag::kTemplateAttribute);
                             const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
                             writer->Text(Tag::kAttributeName, "Cryptographic Usage Mask");
                             writer->Integer(Tag::kAttributeValue, 2);
                           }
                           WriteKey(ObjectType::kSecretData, 1, KeyFormat::kOpaque, secret,
                                    absl::nullopt, absl::nullopt, writer);
                         }),
            kRegisterSecret.request);

  const Message response(kRegisterSecret.response);
  UidResponse told;
  ASSERT_THAT(ReadUidResponse(AnswerOf(response).payload.value(), &told), IsOk());
  EXPECT_EQ(told.uid, kSecretUid);
  EXPECT_EQ(WriteResponse(kNow, Operation::kRegister,
                          [](Writer* writer) { WriteUid(kSecretUid, writer); }),
            kRegisterSecret.response);
}

TEST(PublishedTest, ActivateAndDestroy) {
  ExpectOnlyUid(kActivate, Operation::kActivate, kUid);
  ExpectOnlyUid(kDestroySecret, Operation::kDestroy, kSecretUid);
}

TEST(PublishedTest, Revoke) {
  const Message message(kRevoke.request);
  RevokeRequest request;
  ASSERT_THAT(ReadRevoke(ItemOf(message).payload, &request), IsOk());
  EXPECT_EQ(request.uid, absl::string_view(kUid));
  EXPECT_EQ(request.reason, RevocationReason::kKeyCompromise);
  EXPECT_EQ(request.message, "");
  EXPECT_EQ(request.compromise_occurred, 6);
  EXPECT_EQ(WriteRequest(Operation::kRevoke,
                         [](Writer* writer) {
                           WriteUid(kUid, writer);
                           {
                             const Writer::Structure reason = writer->Begin(Tag::kRevocationReason);
                             writer->Enumeration(Tag::kRevocationReasonCode,
                                                 RevocationReason::kKeyCompromise);
                           }
                           writer->DateTime(Tag::kCompromiseOccurrenceDate, 6);
                         }),
            kRevoke.request);
  EXPECT_EQ(WriteResponse(kNow, Operation::kRevoke, [](Writer* writer) { WriteUid(kUid, writer); }),
            kRevoke.response);
}

TEST(PublishedTest, GetAttributes) {
  const struct {
    const Exchange& exchange;
    State state;
  } cases[] = {{kGetStatePreActive, State::kPreActive},
               {kGetStateActive, State::kActive},
               {kGetStateCompromised, State::kCompromised}};
  for (const auto& one : cases) {
    const Message message(one.exchange.request);
    UidRequest request;
    ASSERT_THAT(ReadGetAttributes(ItemOf(message).payload, &request), IsOk());
    EXPECT_EQ(request.uid, absl::string_view(kUid));
    EXPECT_THAT(request.attribute_names, ElementsAre("State"));
    EXPECT_EQ(WriteRequest(Operation::kGetAttributes,
                           [](Writer* writer) {
                             WriteUid(kUid, writer);
                             writer->Text(Tag::kAttributeName, "State");
                           }),
              one.exchange.request);

    const Message response(one.exchange.response);
    AttributesResponse answer;
    ASSERT_THAT(ReadAttributesResponse(AnswerOf(response).payload.value(), &answer), IsOk());
    EXPECT_EQ(answer.uid, kUid);
    ASSERT_EQ(answer.attributes.size(), 1);
    EXPECT_EQ(answer.attributes[0].name, "State");
    EXPECT_FALSE(answer.attributes[0].index.has_value());
    State state;
    EXPECT_THAT(answer.attributes[0].value.GetEnumeration(&state), IsOk());
    EXPECT_EQ(state, one.state);
    EXPECT_EQ(WriteResponse(kNow, Operation::kGetAttributes,
                            [&](Writer* writer) {
                              WriteUid(kUid, writer);
                              const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
                              writer->Text(Tag::kAttributeName, "State");
                              writer->Enumeration(Tag::kAttributeValue, one.state);
                            }),
              one.exchange.response);
  }
}

TEST(PublishedTest, GetAttributeList) {
  const Message message(kGetAttributeList.request);
  const RequestItem item = ItemOf(message);
  EXPECT_EQ(item.operation, Operation::kGetAttributeList);
  UidRequest request;
  ASSERT_THAT(ReadUid(item.payload, &request), IsOk());
  EXPECT_EQ(request.uid, absl::string_view(kUid));

  const Message response(kGetAttributeList.response);
  Fields fields(AnswerOf(response).payload.value());
  absl::string_view uid, name;
  EXPECT_TRUE(fields.Text(Tag::kUniqueIdentifier, &uid));
  EXPECT_EQ(uid, kUid);
  std::vector<absl::string_view> names;
  while (fields.Text(Tag::kAttributeName, &name)) names.push_back(name);
  EXPECT_THAT(fields.End(), IsOk());
  EXPECT_THAT(names, ElementsAre("Cryptographic Length", "Cryptographic Algorithm", "State",
                                 "Compromise Occurrence Date", "Compromise Date", "Digest",
                                 "Lease Time", "Initial Date", "Activation Date",
                                 "Revocation Reason", "Unique Identifier", "Name",
                                 "Cryptographic Usage Mask", "Object Type", "Last Change Date"));
  EXPECT_EQ(WriteResponse(kNow, Operation::kGetAttributeList,
                          [&](Writer* writer) {
                            WriteUid(kUid, writer);
                            for (const auto& one : names) writer->Text(Tag::kAttributeName, one);
                          }),
            kGetAttributeList.response);
}

TEST(PublishedTest, Get) {
  const Message message(kGet.request);
  GetRequest request;
  ASSERT_THAT(ReadGet(ItemOf(message).payload, &request), IsOk());
  EXPECT_EQ(request.uid, absl::string_view(kUid));
  EXPECT_FALSE(request.format.has_value());

  const Message response(kGet.response);
  GetResponse answer;
  ASSERT_THAT(ReadGetResponse(AnswerOf(response).payload.value(), &answer), IsOk());
  EXPECT_EQ(answer.object_type, ObjectType::kSymmetricKey);
  EXPECT_EQ(answer.uid, kUid);
  EXPECT_EQ(answer.key_block.format, KeyFormat::kRaw);
  EXPECT_EQ(answer.key_block.algorithm, Algorithm::kAes);
  EXPECT_EQ(answer.key_block.length, 128);
  ASSERT_EQ(answer.key_block.material.size(), 16);
  EXPECT_EQ(answer.key_block.material[0], 0x9c);
  const auto key = crypto::SecretKey::CopyOf(answer.key_block.material).value();
  EXPECT_EQ(WriteResponse(kNow, Operation::kGet,
                          [&](Writer* writer) {
                            writer->Enumeration(Tag::kObjectType, ObjectType::kSymmetricKey);
                            WriteUid(kUid, writer);
                            WriteKey(ObjectType::kSymmetricKey, 0, KeyFormat::kRaw, key,
                                     Algorithm::kAes, 128, writer);
                          }),
            kGet.response);
}

TEST(PublishedTest, LocateByName) {
  const Message message(kLocate.request);
  LocateRequest locate;
  ASSERT_THAT(ReadLocate(ItemOf(message).payload, &locate), IsOk());
  ASSERT_EQ(locate.attributes.size(), 2);
  EXPECT_EQ(locate.attributes[0].name, "Object Type");
  EXPECT_EQ(locate.attributes[1].name, "Name");
  Fields name(locate.attributes[1].value);
  absl::string_view text;
  EXPECT_TRUE(name.Text(Tag::kNameValue, &text));
  EXPECT_EQ(text, "Key1");
}

TEST(PublishedTest, AttributesInABatch) {
  const Message message(kAddAttributes.request);
  const auto request = ReadRequest(message.item());
  ASSERT_THAT(request, IsOk());
  ASSERT_EQ(request->items.size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(request->items[i].operation, Operation::kAddAttribute);
    EXPECT_EQ(request->items[i].id->front(), i == 0 ? 0x23 : 0x9b);
    AttributeRequest add;
    ASSERT_THAT(ReadAttributeRequest(request->items[i].payload, &add), IsOk());
    EXPECT_EQ(add.uid, absl::string_view(kUid));
    EXPECT_EQ(add.attribute.name, i == 0 ? "x-attribute1" : "x-attribute2");
    absl::string_view value;
    EXPECT_THAT(add.attribute.value.GetText(&value), IsOk());
    EXPECT_EQ(value, i == 0 ? "Value1" : "Value2");
  }
}

TEST(PublishedTest, ModifyAndDeleteAttribute) {
  const Message modified(kModifyContact.request);
  AttributeRequest modify;
  ASSERT_THAT(ReadAttributeRequest(ItemOf(modified).payload, &modify), IsOk());
  EXPECT_EQ(modify.uid, absl::string_view(kNamedUid));
  EXPECT_EQ(modify.attribute.name, "Contact Information");
  EXPECT_EQ(modify.attribute.index, 0);
  absl::string_view value;
  EXPECT_THAT(modify.attribute.value.GetText(&value), IsOk());
  EXPECT_EQ(value, "donald@localhost");

  const Message deleted(kDeleteName.request);
  AttributeRequest remove;
  ASSERT_THAT(ReadDeleteAttribute(ItemOf(deleted).payload, &remove), IsOk());
  EXPECT_EQ(remove.uid, absl::string_view(kNamedUid));
  EXPECT_EQ(remove.attribute.name, "Name");
  EXPECT_FALSE(remove.attribute.index.has_value());
}

TEST(PublishedTest, Query) {
  const Message message(kQueryRequest);
  QueryFunctions functions;
  ASSERT_THAT(ReadQuery(message.item(), &functions), IsOk());
  EXPECT_THAT(functions, ElementsAre(QueryFunction::kOperations, QueryFunction::kObjects,
                                     QueryFunction::kServerInformation));
  const Message extensions(kQueryExtensionsRequest);
  QueryFunctions one;
  ASSERT_THAT(ReadQuery(extensions.item(), &one), IsOk());
  EXPECT_THAT(one, ElementsAre(QueryFunction::kExtensionList));

  for (const QueryFunctions& asked : {functions, one}) {
    Buffer buffer;
    Writer writer(&buffer);
    {
      const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
      for (const QueryFunction function : asked) {
        writer.Enumeration(Tag::kQueryFunction, function);
      }
    }
    EXPECT_EQ(Hex(buffer), asked.size() == 1 ? kQueryExtensionsRequest : kQueryRequest);
  }
}

TEST(PublishedTest, QueryResponse) {
  const Message message(kQueryResponse);
  Fields fields(message.item());
  std::vector<Operation> operations;
  std::vector<ObjectType> types;
  Operation operation;
  ObjectType type;
  while (fields.Enumeration(Tag::kOperation, &operation)) operations.push_back(operation);
  while (fields.Enumeration(Tag::kObjectType, &type)) types.push_back(type);
  absl::string_view vendor;
  EXPECT_TRUE(fields.Text(Tag::kVendorIdentification, &vendor));
  EXPECT_TRUE(fields.Skip(Tag::kServerInformation));
  EXPECT_THAT(fields.End(), IsOk());
  ASSERT_EQ(operations.size(), 26);
  EXPECT_EQ(operations.front(), Operation::kCreate);
  EXPECT_EQ(operations[10], Operation::kGetAttributeList);
  EXPECT_EQ(operations.back(), Operation::kDiscoverVersions);
  EXPECT_THAT(types, ElementsAre(ObjectType::kCertificate, ObjectType::kSymmetricKey,
                                 ObjectType::kPublicKey, ObjectType::kPrivateKey,
                                 ObjectType::kTemplate, ObjectType::kSecretData));
  EXPECT_EQ(vendor, "IBM test server, not-TKLM 2.0.1.1 KMIP 2.0.0.1");

  Buffer buffer;
  Writer writer(&buffer);
  {
    const Writer::Structure payload = writer.Begin(Tag::kResponsePayload);
    for (const Operation one : operations) writer.Enumeration(Tag::kOperation, one);
    for (const ObjectType one : types) writer.Enumeration(Tag::kObjectType, one);
    writer.Text(Tag::kVendorIdentification, vendor);
    const Writer::Structure information = writer.Begin(Tag::kServerInformation);
  }
  EXPECT_EQ(Hex(buffer), kQueryResponse);
}

TEST(PublishedTest, DiscoverVersions) {
  const struct {
    const Exchange& exchange;
    int64_t now;
    Versions asked;
    Versions told;
  } cases[] = {{kDiscoverAll, 0x4ed73ed7, {}, {kVersion11, kVersion10}},
               {kDiscover10, 0x4e048882, {kVersion10}, {kVersion10}},
               {kDiscover11, 0x4ed73ed7, {kVersion11}, {kVersion11}},
               {kDiscover931, 0x4ed73ed7, {{9, 31}}, {}}};
  for (const auto& one : cases) {
    const Message request(one.exchange.request);
    const RequestItem item = ItemOf(request);
    EXPECT_EQ(item.operation, Operation::kDiscoverVersions);
    Versions versions;
    ASSERT_THAT(ReadVersions(item.payload, &versions), IsOk());
    EXPECT_EQ(versions, one.asked);
    const Message response(one.exchange.response);
    versions.clear();
    ASSERT_THAT(ReadVersions(AnswerOf(response).payload.value(), &versions), IsOk());
    EXPECT_EQ(versions, one.told);

    const auto write = [](const Versions& which) {
      return [&which](Writer* writer) {
        for (const ProtocolVersion& version : which) WriteVersion(version, writer);
      };
    };
    EXPECT_EQ(WriteRequest(Operation::kDiscoverVersions, write(one.asked)), one.exchange.request);
    EXPECT_EQ(WriteResponse(one.now, Operation::kDiscoverVersions, write(one.told)),
              one.exchange.response);
  }
}

}  // namespace
}  // namespace keysphere::kmip::messages::published
