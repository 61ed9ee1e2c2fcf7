// Attributes: who may set them, and finding objects by them.
#include <iterator>
#include <set>

#include "kmip/server/engine_fixture.h"

namespace keysphere::kmip::server {
namespace {

using messages::Operation;
using messages::ResultReason;
using messages::State;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ttlv::Tag;

class AttributesTest : public EngineTest {
 protected:
  Outcome Add(const std::string& uid, Write attribute) {
    return Ask(Operation::kAddAttribute, Both(Uid(uid), std::move(attribute)));
  }
  Outcome Modify(const std::string& uid, Write attribute) {
    return Ask(Operation::kModifyAttribute, Both(Uid(uid), std::move(attribute)));
  }
  Outcome Delete(const std::string& uid, std::string name,
                 absl::optional<int32_t> index = absl::nullopt) {
    return Ask(Operation::kDeleteAttribute, Both(Uid(uid), [=](ttlv::Writer* writer) {
                 writer->Text(Tag::kAttributeName, name);
                 if (index.has_value()) writer->Integer(Tag::kAttributeIndex, *index);
               }));
  }
  // Create of a key by all that a key needs.
  static Write KeyOf(uint32_t algorithm, int32_t length, int32_t mask) {
    return [=](ttlv::Writer* writer) {
      writer->Enumeration(Tag::kObjectType, messages::ObjectType::kSymmetricKey);
      const ttlv::Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute);
      Enumerated("Cryptographic Algorithm", algorithm)(writer);
      Number("Cryptographic Length", length)(writer);
      Number("Cryptographic Usage Mask", mask)(writer);
    };
  }
  // The type and the object of a Link; none where nothing is given.
  static Write Link(absl::optional<uint32_t> type, absl::optional<std::string> uid) {
    return [=](ttlv::Writer* writer) {
      const ttlv::Writer::Structure attribute = writer->Begin(Tag::kAttribute);
      writer->Text(Tag::kAttributeName, "Link");
      const ttlv::Writer::Structure value = writer->Begin(Tag::kAttributeValue);
      if (type.has_value()) writer->Enumeration(Tag::kLinkType, *type);
      if (uid.has_value()) writer->Text(Tag::kLinkedObjectIdentifier, *uid);
    };
  }
};

TEST_F(AttributesTest, OfANewKey) {
  const std::string uid = Create(Both(Name("k1"), Text("Contact Information", "Joe")));
  const auto attributes = Attributes(uid).attributes;
  EXPECT_EQ(attributes.at("Unique Identifier"), uid);
  EXPECT_EQ(attributes.at("Object Type"), "00000002");
  EXPECT_EQ(attributes.at("Cryptographic Algorithm"), "00000003");
  EXPECT_EQ(attributes.at("Cryptographic Length"), "00000100");
  EXPECT_EQ(attributes.at("Cryptographic Usage Mask"), "0000000c");
  EXPECT_EQ(attributes.at("Operation Policy Name"), "default");
  EXPECT_EQ(attributes.at("Contact Information"), "Joe");
  EXPECT_EQ(attributes.at("State"), "00000001");
  for (const char* name : {"Name", "Digest", "Initial Date", "Last Change Date"}) {
    EXPECT_EQ(attributes.count(name), 1) << name;
  }
  EXPECT_EQ(attributes.count("Activation Date"), 0);
  const Outcome list = Ask(Operation::kGetAttributeList, Uid(uid));
  EXPECT_EQ(list.names.size(), attributes.size());
  EXPECT_THAT(list.names, Contains("Digest"));
}

TEST_F(AttributesTest, OnlyThoseThatAreAsked) {
  const std::string uid = Create();
  const auto ask = [&](bool twice) {
    return Ask(Operation::kGetAttributes, Both(Uid(uid), [=](ttlv::Writer* writer) {
                 writer->Text(Tag::kAttributeName, "State");
                 writer->Text(Tag::kAttributeName, "x-none");
                 if (twice) writer->Text(Tag::kAttributeName, "State");
               }));
  };
  EXPECT_THAT(ask(false).attributes, SizeIs(1));
  // Since 1.1 a name stands in a request once.
  EXPECT_EQ(ask(true).reason, messages::ResultReason::kInvalidField);
  version_ = messages::kVersion10;
  EXPECT_TRUE(ask(true).ok());
  EXPECT_THAT(ask(true).attributes, SizeIs(1));
}

// S129: what the controller adds to a new key.
TEST_F(AttributesTest, S129_CustomAttributes) {
  const std::string uid = Create();
  EXPECT_TRUE(Add(uid, Text("x-Vendor", "keysphere")).ok());
  EXPECT_TRUE(Add(uid, Text("x-Product", "controller")).ok());
  const Outcome second = Add(uid, Text("x-Vendor", "other"));
  EXPECT_TRUE(second.ok());
  EXPECT_EQ(second.attributes.count("x-Vendor[1]"), 1);
  const auto attributes = Attributes(uid).attributes;
  EXPECT_EQ(attributes.at("x-Vendor"), "keysphere");
  EXPECT_EQ(attributes.at("x-Vendor[1]"), "other");
  EXPECT_EQ(attributes.at("x-Product"), "controller");
}

TEST_F(AttributesTest, AddFollowsTheRules) {
  const std::string uid = Create(Text("Contact Information", "Joe"));
  EXPECT_EQ(Add("nobody", Text("x-a", "1")).reason, ResultReason::kItemNotFound);
  EXPECT_EQ(Add(uid, Enumerated("State", 2)).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Add(uid, Number("Cryptographic Length", 128)).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Add(uid, Text("y-server", "1")).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Add(uid, Text("Unheard Of", "1")).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Add(uid, Text("Contact Information", "Jim")).reason, ResultReason::kIllegalOperation);
  EXPECT_EQ(Add(uid, Number("Object Group", 1)).reason, ResultReason::kInvalidField);
  EXPECT_EQ(Add(uid, Name("n", 3)).reason, ResultReason::kInvalidField);
  EXPECT_EQ(Add(uid, Text("x-long", std::string(5000, 'x'))).reason, ResultReason::kInvalidField);
  for (int i = 0; i < 63; ++i) EXPECT_TRUE(Add(uid, Text("x-many", "1")).ok()) << i;
  EXPECT_EQ(Add(uid, Text("x-many", "1")).reason, ResultReason::kIndexOutOfBounds);
}

TEST_F(AttributesTest, ModifyFollowsTheRules) {
  const std::string uid = Create(Both(Text("x-a", "0"), Text("x-a", "1")));
  EXPECT_TRUE(Modify(uid, [](ttlv::Writer* writer) {
                const ttlv::Writer::Structure attribute = writer->Begin(Tag::kAttribute);
                writer->Text(Tag::kAttributeName, "x-a");
                writer->Integer(Tag::kAttributeIndex, 1);
                writer->Text(Tag::kAttributeValue, "changed");
              }).ok());
  EXPECT_EQ(Attributes(uid).attributes.at("x-a"), "0");
  EXPECT_EQ(Attributes(uid).attributes.at("x-a[1]"), "changed");
  EXPECT_EQ(Modify(uid, Text("x-b", "1")).reason, ResultReason::kInvalidField);
  EXPECT_EQ(Modify(uid, Enumerated("State", 2)).reason, ResultReason::kPermissionDenied);
  const Outcome no_instance = Modify(uid, [](ttlv::Writer* writer) {
    const ttlv::Writer::Structure attribute = writer->Begin(Tag::kAttribute);
    writer->Text(Tag::kAttributeName, "x-a");
    writer->Integer(Tag::kAttributeIndex, 7);
    writer->Text(Tag::kAttributeValue, "changed");
  });
  EXPECT_EQ(no_instance.reason, ResultReason::kItemNotFound);
}

TEST_F(AttributesTest, OnlyAlgorithmsOfKmip12) {
  // RSA, DSA, ECDSA; DH, ECDH, ECMQV; EC: no algorithms of symmetric keys.
  const std::set<uint32_t> asymmetric = {4, 5, 6, 13, 14, 15, 26};
  for (uint32_t algorithm = 1; algorithm <= 26; ++algorithm) {
    const Outcome outcome = Ask(Operation::kCreate, KeyOf(algorithm, 128, 12));
    EXPECT_EQ(outcome.ok(), asymmetric.count(algorithm) == 0) << algorithm << outcome.message;
  }
  for (const uint32_t algorithm : {0u, 27u, 99u, 0x80000001u, 0xffffffffu}) {
    EXPECT_EQ(Ask(Operation::kCreate, KeyOf(algorithm, 128, 12)).reason,
              ResultReason::kInvalidField)
        << algorithm;
    // In the key block of what is registered, too, whatever it is.
    for (const messages::ObjectType type :
         {messages::ObjectType::kSymmetricKey, messages::ObjectType::kSecretData}) {
      if (algorithm == 0) continue;
      const Outcome outcome = Ask(Operation::kRegister, [=](ttlv::Writer* writer) {
        writer->Enumeration(Tag::kObjectType, type);
        { const ttlv::Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute); }
        messages::WriteKey(type, 1, messages::KeyFormat::kRaw,
                           crypto::SecretKey::Random(16).value(),
                           static_cast<messages::Algorithm>(algorithm), 128, writer);
      });
      EXPECT_EQ(outcome.reason, ResultReason::kInvalidField) << algorithm;
    }
  }
}

TEST_F(AttributesTest, OnlyUsesOfKmip12) {
  for (int bit = 0; bit < 20; ++bit) {
    EXPECT_TRUE(Ask(Operation::kCreate, KeyOf(3, 256, 1 << bit)).ok()) << bit;
  }
  for (const int32_t mask : {0x00100000, 0x0010000c, 0x40000000, INT32_MIN, -1}) {
    EXPECT_EQ(Ask(Operation::kCreate, KeyOf(3, 256, mask)).reason, ResultReason::kInvalidField)
        << mask;
  }
}

TEST_F(AttributesTest, LinksLeadToObjects) {
  constexpr uint32_t kReplaced = 0x107;
  const std::string old = Create();
  owner_ = "client-b";
  const std::string strange = Create();
  owner_ = "client-a";
  const std::string uid = Create(Link(kReplaced, old));
  EXPECT_EQ(Attributes(uid).attributes.count("Link"), 1);
  EXPECT_EQ(Attributes(old).attributes.count("Link"), 0);

  const Write wrong[] = {
      Link(kReplaced, "nobody"),
      Link(kReplaced, strange),
      Link(kReplaced, ""),
      Link(absl::nullopt, old),
      Link(kReplaced, absl::nullopt),
      Link(absl::nullopt, absl::nullopt),
      Link(0x100, old),
      Link(0x10c, old),
      Link(0, old),
      Both(Link(kReplaced, old), Link(kReplaced, "nobody")),
      [&](ttlv::Writer* writer) {
        const ttlv::Writer::Structure attribute = writer->Begin(Tag::kAttribute);
        writer->Text(Tag::kAttributeName, "Link");
        const ttlv::Writer::Structure value = writer->Begin(Tag::kAttributeValue);
        writer->Enumeration(Tag::kLinkType, kReplaced);
        writer->Integer(Tag::kLinkedObjectIdentifier, 1);
      },
  };
  const size_t keys = EngineTest::Locate(nullptr).size();
  for (size_t i = 0; i < std::size(wrong); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(Ask(Operation::kCreate, Aes256(wrong[i])).reason, ResultReason::kInvalidField);
    if (i == 9) continue;  // two attributes are none for Add and Modify
    EXPECT_EQ(Add(old, wrong[i]).reason, ResultReason::kInvalidField);
    EXPECT_EQ(Modify(uid, wrong[i]).reason, ResultReason::kInvalidField);
  }
  EXPECT_THAT(EngineTest::Locate(nullptr), SizeIs(keys));
  EXPECT_EQ(Attributes(old).attributes.count("Link"), 0);

  EXPECT_TRUE(Add(old, Link(0x106, uid)).ok());
  EXPECT_TRUE(Modify(old, Link(0x10b, old)).ok());
  EXPECT_THAT(EngineTest::Locate(Link(kReplaced, old)), ElementsAre(uid));
  // What was asked before in the same batch is there.
  const auto outcomes = Ask({{Operation::kCreate, Aes256()},
                             {Operation::kAddAttribute, Link(0x106, uid)},
                             {Operation::kDestroy, nullptr}});
  EXPECT_THAT(outcomes, SizeIs(3));
  // Links outlive what they lead to.
  EXPECT_TRUE(Destroy(old).ok());
  EXPECT_EQ(Attributes(uid).attributes.count("Link"), 1);
}

TEST_F(AttributesTest, DatesFollowTheState) {
  const std::string uid = Create();
  EXPECT_EQ(Modify(uid, Date("Activation Date", Now())).reason, ResultReason::kInvalidField);
  EXPECT_TRUE(Add(uid, Date("Activation Date", Now() + 100)).ok());
  EXPECT_EQ(StateOf(uid), State::kPreActive);
  EXPECT_EQ(Add(uid, Date("Deactivation Date", Now() + 50)).reason, ResultReason::kInvalidField);
  EXPECT_TRUE(Modify(uid, Date("Activation Date", Now())).ok());
  EXPECT_EQ(StateOf(uid), State::kActive);
  EXPECT_EQ(Modify(uid, Date("Activation Date", Now() + 9)).reason,
            ResultReason::kPermissionDenied);
  EXPECT_TRUE(Add(uid, Date("Deactivation Date", Now() + 50)).ok());
  EXPECT_TRUE(Modify(uid, Date("Deactivation Date", Now())).ok());
  EXPECT_EQ(StateOf(uid), State::kDeactivated);
  EXPECT_EQ(Modify(uid, Date("Deactivation Date", Now() + 9)).reason,
            ResultReason::kPermissionDenied);
}

TEST_F(AttributesTest, DeleteFollowsTheRules) {
  const std::string uid = Create(Both(Text("x-a", "0"), Text("x-a", "1")));
  EXPECT_EQ(Delete(uid, "x-a", 2).reason, ResultReason::kItemNotFound);
  EXPECT_TRUE(Delete(uid, "x-a").ok());
  EXPECT_EQ(Delete(uid, "x-a").reason, ResultReason::kItemNotFound);
  EXPECT_TRUE(Delete(uid, "x-a", 1).ok());
  EXPECT_EQ(Delete(uid, "State").reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Delete(uid, "x-none").reason, ResultReason::kItemNotFound);
  EXPECT_EQ(Delete(uid, "Unheard Of").reason, ResultReason::kItemNotFound);
}

TEST_F(AttributesTest, NamesAreUnique) {
  const std::string a = Create(Name("a"));
  EXPECT_EQ(Ask(Operation::kCreate, Aes256(Name("a"))).reason, ResultReason::kInvalidField);
  EXPECT_EQ(Ask(Operation::kCreate, Aes256(Both(Name("b"), Name("b")))).reason,
            ResultReason::kInvalidField);
  const std::string b = Create(Name("b"));
  EXPECT_EQ(Add(b, Name("a")).reason, ResultReason::kIllegalOperation);
  EXPECT_EQ(Modify(b, Name("a")).reason, ResultReason::kIllegalOperation);
  EXPECT_TRUE(Modify(b, Name("c")).ok());
  EXPECT_THAT(Locate(Name("b")), IsEmpty());
  EXPECT_THAT(Locate(Name("c")), ElementsAre(b));
  EXPECT_TRUE(Delete(a, "Name").ok());
  EXPECT_TRUE(Add(b, Name("a")).ok());
  EXPECT_THAT(Locate(Name("a")), ElementsAre(b));
  // A destroyed object gives its names back
  EXPECT_TRUE(Destroy(b).ok());
  EXPECT_THAT(Locate(Name("a")), IsEmpty());
  Create(Both(Name("a"), Name("c")));
}

TEST_F(AttributesTest, Locate) {
  const std::string a = Create(Both(Name("a"), Text("x-tag", "red")));
  executor_.AdvanceBy(absl::Seconds(10));
  const std::string b = Create(Both(Name("b"), Text("x-tag", "red")));
  const std::string c = Create(Text("x-tag", "blue"));
  EXPECT_TRUE(Activate(b).ok());
  EXPECT_THAT(EngineTest::Locate(nullptr), UnorderedElementsAre(a, b, c));
  EXPECT_THAT(EngineTest::Locate(Name("b")), ElementsAre(b));
  EXPECT_THAT(EngineTest::Locate(Both(Name("b"), Text("x-tag", "blue"))), IsEmpty());
  EXPECT_THAT(EngineTest::Locate(Text("x-tag", "red")), UnorderedElementsAre(a, b));
  EXPECT_THAT(EngineTest::Locate(Enumerated("State", 2)), ElementsAre(b));
  EXPECT_THAT(EngineTest::Locate(Enumerated("Object Type", 2)), SizeIs(3));
  EXPECT_THAT(EngineTest::Locate(Enumerated("Object Type", 7)), IsEmpty());
  EXPECT_THAT(EngineTest::Locate(Number("Cryptographic Usage Mask", 4)), SizeIs(3));
  EXPECT_THAT(EngineTest::Locate(Number("Cryptographic Usage Mask", 5)), IsEmpty());
  EXPECT_THAT(EngineTest::Locate(Date("Initial Date", Now() - 10)), ElementsAre(a));
  EXPECT_THAT(
      EngineTest::Locate(Both(Date("Initial Date", Now() - 10), Date("Initial Date", Now()))),
      SizeIs(3));
  const auto at_most =
      EngineTest::Locate([](ttlv::Writer* writer) { writer->Integer(Tag::kMaximumItems, 2); });
  EXPECT_THAT(at_most, SizeIs(2));
  // Destroyed ones only for who asks for a state
  EXPECT_TRUE(Destroy(a).ok());
  EXPECT_THAT(EngineTest::Locate(Text("x-tag", "red")), ElementsAre(b));
  EXPECT_THAT(EngineTest::Locate(Enumerated("State", 5)), ElementsAre(a));
}

// What a batch has made so far is there for its later items.
TEST_F(AttributesTest, LocateInsideABatch) {
  const std::string old = Create(Text("x-tag", "red"));
  const auto outcomes = Ask({{Operation::kAddAttribute, Both(Uid(old), Text("x-new", "1"))},
                             {Operation::kCreate, Aes256(Text("x-new", "1"))},
                             {Operation::kLocate, Text("x-new", "1")},
                             {Operation::kCreate, Aes256(Name("only"))},
                             {Operation::kLocate, Name("only")},
                             {Operation::kActivate, nullptr}});
  ASSERT_THAT(outcomes, SizeIs(6));
  EXPECT_THAT(outcomes[2].uids, UnorderedElementsAre(old, outcomes[1].uid));
  EXPECT_EQ(outcomes[5].uid, outcomes[3].uid);
}

TEST_F(AttributesTest, Query) {
  const Outcome outcome = Ask(Operation::kQuery, [](ttlv::Writer* writer) {
    writer->Enumeration(Tag::kQueryFunction, messages::QueryFunction::kOperations);
    writer->Enumeration(Tag::kQueryFunction, messages::QueryFunction::kServerInformation);
  });
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(Ask(Operation::kQuery, nullptr).reason, ResultReason::kMissingData);
}

}  // namespace
}  // namespace keysphere::kmip::server
