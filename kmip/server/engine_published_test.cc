// The engine gives the very answers that KMIP publishes. What a server chooses (identifiers, keys,
// the words of an error, the order of a list) is the one thing that may differ.
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "kmip/messages/published.h"
#include "kmip/server/engine_fixture.h"

namespace keysphere::kmip::server {
namespace {

namespace published = messages::published;
using messages::ResultReason;
using ::testing::IsSupersetOf;

class EnginePublishedTest : public EngineTest {
 protected:
  // Before the first of them was written down.
  EnginePublishedTest() : EngineTest(absl::FromUnixSeconds(0x4e000000)) {}

  // Sends a published request at the time of its published answer, about our object `uid` in place
  // of the published one.
  ttlv::Buffer Send(const published::Exchange& exchange, const std::string& uid) {
    const published::Message message(exchange.response);
    messages::Fields fields(message.item());
    ttlv::Item header;
    EXPECT_TRUE(fields.Need(ttlv::Tag::kResponseHeader, &header));
    messages::Fields of_header(header);
    EXPECT_TRUE(of_header.Skip(ttlv::Tag::kProtocolVersion));
    int64_t time = 0;
    EXPECT_TRUE(of_header.DateTime(ttlv::Tag::kTimeStamp, &time));
    executor_.AdvanceBy(absl::FromUnixSeconds(time) - executor_.Now());

    const std::string bytes = With(uid, published::Message(exchange.request).bytes());
    ttlv::Buffer request;
    request.Append({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return Exchange(std::move(request));
  }

  void ExpectAnswer(const published::Exchange& exchange, const std::string& uid = "") {
    ExpectSame(Send(exchange, uid), exchange, uid);
  }
  // Of a Create or Register: the identifier of the new object.
  std::string ExpectNew(const published::Exchange& exchange) {
    const ttlv::Buffer answer = Send(exchange, "");
    const std::vector<Outcome> outcomes = Read(answer);
    const std::string uid = outcomes.empty() ? "" : outcomes[0].uid;
    ExpectSame(answer, exchange, uid);
    return uid;
  }

 private:
  static std::string With(const std::string& uid, const std::string& bytes) {
    if (uid.empty()) return bytes;
    return absl::StrReplaceAll(bytes, {{"9e9ed79f-d8f5-4fea-a93d-e02242dfc1d1", uid},
                                       {"668eff89-3010-4258-bc0e-8c402309c746", uid},
                                       {"28c7bad1-bc9b-41df-b439-1ba04a6fd982", uid}});
  }
  static void ExpectSame(const ttlv::Buffer& answer, const published::Exchange& exchange,
                         const std::string& uid) {
    EXPECT_EQ(absl::BytesToHexString(std::string(answer.data(), answer.data() + answer.size())),
              absl::BytesToHexString(With(uid, published::Message(exchange.response).bytes())));
  }
};

// 3.1.5
TEST_F(EnginePublishedTest, SecretData) {
  const std::string uid = ExpectNew(published::kRegisterSecret);
  EXPECT_EQ(Get(uid).key.size(), 14);
  ExpectAnswer(published::kDestroySecret, uid);
}

// 4.1
TEST_F(EnginePublishedTest, LifeOfAKey) {
  const std::string uid = Create(Name("Key1"));
  ExpectAnswer(published::kGetStatePreActive, uid);
  ExpectAnswer(published::kActivate, uid);
  ExpectAnswer(published::kGetStateActive, uid);
  ExpectAnswer(published::kLocate, uid);
  ExpectAnswer(published::kRevoke, uid);
  ExpectAnswer(published::kGetStateCompromised, uid);
  // We have no leases.
  EXPECT_THAT(
      Read(Send(published::kGetAttributeList, uid))[0].names,
      IsSupersetOf({"Cryptographic Length", "Cryptographic Algorithm", "State",
                    "Compromise Occurrence Date", "Compromise Date", "Digest", "Initial Date",
                    "Activation Date", "Revocation Reason", "Unique Identifier", "Name",
                    "Cryptographic Usage Mask", "Object Type", "Last Change Date"}));
  ExpectAnswer(published::kAddAttributes, uid);
}

// 16.1
TEST_F(EnginePublishedTest, DiscoverVersions) {
  ExpectAnswer(published::kDiscover10);
  ExpectAnswer(published::kDiscover11);
  ExpectAnswer(published::kDiscover931);
}

// 17.1
TEST_F(EnginePublishedTest, Attributes) {
  const std::string uid = ExpectNew(published::kCreateNamed);
  EXPECT_EQ(Read(Send(published::kGetTypeTwice, uid))[0].reason, ResultReason::kInvalidField);
  ExpectAnswer(published::kGetType, uid);
  ExpectAnswer(published::kModifyContact, uid);
  ExpectAnswer(published::kDeleteName, uid);
}

}  // namespace
}  // namespace keysphere::kmip::server
