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

// A message of KMIP's published test cases (kmip-testcases 1.1) from its hexadecimal form.
class Message {
 public:
  explicit Message(absl::string_view hex) : bytes_(absl::HexStringToBytes(hex)) {}
  ttlv::Item item() const {
    return ttlv::Parse({reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()}).value();
  }
  const std::string& bytes() const { return bytes_; }

 private:
  const std::string bytes_;
};

// 3.1.1: an AES key of 128 bits for encryption and decryption.
constexpr char kCreate[] =
    "42007801000001204200770100000038420069010000002042006a0200000004000000010000000042006b02"
    "00000004000000010000000042000d0200000004000000010000000042000f01000000d842005c0500000004"
    "000000010000000042007901000000c04200570500000004000000020000000042009101000000a842000801"
    "0000003042000a070000001743727970746f6772617068696320416c676f726974686d0042000b0500000004"
    "0000000300000000420008010000003042000a070000001443727970746f67726170686963204c656e677468"
    "0000000042000b02000000040000008000000000420008010000003042000a070000001843727970746f6772"
    "6170686963205573616765204d61736b42000b02000000040000000c00000000";
constexpr char kGet[] =
    "42007801000000904200770100000038420069010000002042006a0200000004000000010000000042006b02"
    "00000004000000010000000042000d0200000004000000010000000042000f010000004842005c0500000004"
    "0000000a000000004200790100000030420094070000002434396131636138382d366265612d346662322d62"
    "3435302d37653538383032633330333800000000";
// 3.1.3: by object type and name.
constexpr char kLocate[] =
    "42007801000000d04200770100000038420069010000002042006a0200000004000000010000000042006b02"
    "00000004000000010000000042000d0200000004000000010000000042000f010000008842005c0500000004"
    "00000008000000004200790100000070420008010000002842000a070000000b4f626a656374205479706500"
    "0000000042000b05000000040000000200000000420008010000003842000a07000000044e616d6500000000"
    "42000b010000002042005507000000044b65793100000000420054050000000400000001000"
    "00000";

TEST(PublishedExchangesTest, Create) {
  const Message message(kCreate);
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
}

// Ours has 256 bits; nothing else differs.
TEST(PublishedExchangesTest, WeWriteTheSameCreate) {
  Buffer buffer;
  Writer writer(&buffer);
  {
    const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
    WriteRequestHeader(kVersion11, absl::nullopt, ErrorContinuation::kStop, 1, &writer);
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kOperation, Operation::kCreate);
    const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
    WriteCreateAes256(&writer);
  }
  std::string ours(buffer.data(), buffer.data() + buffer.size());
  std::string published = Message(kCreate).bytes();
  const size_t length = published.find(std::string("\x02\0\0\0\x04\0\0\0\x80", 9)) + 7;
  published[length] = 1;
  published[length + 1] = 0;
  EXPECT_EQ(absl::BytesToHexString(ours), absl::BytesToHexString(published));
}

TEST(PublishedExchangesTest, Get) {
  const Message message(kGet);
  const auto request = ReadRequest(message.item());
  ASSERT_THAT(request, IsOk());
  GetRequest get;
  ASSERT_THAT(ReadGet(request->items[0].payload, &get), IsOk());
  EXPECT_EQ(get.uid, absl::string_view("49a1ca88-6bea-4fb2-b450-7e58802c3038"));
  EXPECT_FALSE(get.format.has_value());
}

TEST(PublishedExchangesTest, Locate) {
  const Message message(kLocate);
  const auto request = ReadRequest(message.item());
  ASSERT_THAT(request, IsOk());
  LocateRequest locate;
  ASSERT_THAT(ReadLocate(request->items[0].payload, &locate), IsOk());
  ASSERT_EQ(locate.attributes.size(), 2);
  EXPECT_EQ(locate.attributes[0].name, "Object Type");
  EXPECT_EQ(locate.attributes[1].name, "Name");
  Fields name(locate.attributes[1].value);
  absl::string_view text;
  EXPECT_TRUE(name.Text(Tag::kNameValue, &text));
  EXPECT_EQ(text, "Key1");
}

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
