#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"
#include "common/crypto/secret_key.h"
#include "common/status/matchers.h"
#include "kmip/messages/fields.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"

namespace keysphere::kmip::messages {
namespace {

using status::IsOk;
using ttlv::Buffer;
using ttlv::Tag;
using ttlv::Writer;

// A request of `items` Gets; `ids`: whether they bear Unique Batch Item IDs.
Buffer Gets(const ProtocolVersion& version, int count, int items, bool ids) {
  Buffer buffer;
  Writer writer(&buffer);
  const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
  WriteRequestHeader(version, Credential{CredentialType::kUsernameAndPassword, "user", "pass"},
                     ErrorContinuation::kContinue, count, &writer);
  for (int i = 0; i < items; ++i) {
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, Operation::kGet);
    const uint8_t id = static_cast<uint8_t>(i);
    if (ids) writer.Bytes(Tag::kUniqueBatchItemId, absl::MakeConstSpan(&id, 1));
    const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
    WriteUid("uid", &writer);
  }
  return buffer;
}

absl::StatusOr<Request> Read(const Buffer& buffer) {
  return ReadRequest(ttlv::Parse(buffer.span()).value());
}

TEST(ReadRequestTest, Batches) {
  const Buffer buffer = Gets(kVersion12, 3, 3, true);
  const auto request = Read(buffer);
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->items.size(), 3);
  EXPECT_EQ(request->items[2].id->front(), 2);
  EXPECT_EQ(request->header.error_continuation, ErrorContinuation::kContinue);
  ASSERT_TRUE(request->header.credential.has_value());
  EXPECT_EQ(request->header.credential->username, "user");
  EXPECT_EQ(request->header.credential->password, "pass");

  for (const Buffer& bad : {Gets(kVersion11, 2, 3, true), Gets(kVersion11, 3, 3, false),
                            Gets(kVersion11, 0, 0, false), Gets(kVersion11, -1, 1, false)}) {
    EXPECT_EQ(ResultReasonOf(Read(bad).status()), ResultReason::kInvalidMessage);
  }
}

TEST(ReadRequestTest, AnotherVersionIsToldApartBeforeTheRestIsRead) {
  const Buffer buffer = Gets({2, 0}, 7, 1, false);
  const auto request = Read(buffer);
  ASSERT_THAT(request, IsOk());
  EXPECT_FALSE(IsSupported(request->header.version));
  EXPECT_EQ(request->header.version.major, 2);
}

TEST(FieldsTest, ErrorsBearKmipsReason) {
  Buffer buffer;
  Writer writer(&buffer);
  {
    const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
    writer.Integer(Tag::kUniqueIdentifier, 1);
  }
  const ttlv::Item payload = ttlv::Parse(buffer.span()).value();
  GetRequest get;
  EXPECT_EQ(ResultReasonOf(ReadGet(payload, &get)), ResultReason::kInvalidField);
  AttributeRequest attribute;
  EXPECT_FALSE(ReadAttributeRequest(payload, &attribute).ok());
  LocateRequest locate;
  const absl::Status unexpected = ReadLocate(payload, &locate);
  EXPECT_EQ(ResultReasonOf(unexpected), ResultReason::kInvalidField);
  EXPECT_EQ(unexpected.message(), "unexpected Unique Identifier in Request Payload");
  QueryFunctions functions;
  EXPECT_EQ(ResultReasonOf(ReadQuery(ttlv::Parse({}).value_or(payload), &functions)),
            ResultReason::kMissingData);
}

TEST(KeyBlockTest, BothFormatsBringTheKeyBack) {
  auto key = crypto::SecretKey::Random(32).value();
  for (const KeyFormat format : {KeyFormat::kRaw, KeyFormat::kTransparentSymmetricKey}) {
    Buffer buffer;
    Writer writer(&buffer);
    {
      const Writer::Structure payload = writer.Begin(Tag::kResponsePayload);
      writer.Enumeration(Tag::kObjectType, ObjectType::kSymmetricKey);
      WriteUid("uid", &writer);
      WriteKey(ObjectType::kSymmetricKey, 0, format, key, Algorithm::kAes, 256, &writer);
    }
    GetResponse get;
    ASSERT_THAT(ReadGetResponse(ttlv::Parse(buffer.span()).value(), &get), IsOk());
    EXPECT_EQ(get.uid, "uid");
    EXPECT_EQ(get.key_block.format, format);
    EXPECT_EQ(get.key_block.algorithm, Algorithm::kAes);
    EXPECT_EQ(get.key_block.length, 256);
    EXPECT_TRUE(crypto::SecretKey::CopyOf(get.key_block.material)->Equals(key));
  }
}

}  // namespace
}  // namespace keysphere::kmip::messages
