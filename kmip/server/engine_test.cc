// Objects, their states, batches, partitions and the store behind them.
#include "kmip/server/engine.h"

#include "common/log/capturing_logger.h"
#include "kmip/server/engine_fixture.h"

namespace keysphere::kmip::server {
namespace {

using messages::ErrorContinuation;
using messages::Operation;
using messages::ResultReason;
using messages::ResultStatus;
using messages::RevocationReason;
using messages::State;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ttlv::Tag;

TEST_F(EngineTest, CreateAndGet) {
  const std::string a = Create();
  const std::string b = Create();
  EXPECT_NE(a, b);
  const Outcome got = Get(a);
  EXPECT_EQ(got.uid, a);
  EXPECT_EQ(got.key.size(), 32);
  EXPECT_TRUE(got.key.Equals(Get(a).key));
  EXPECT_FALSE(got.key.Equals(Get(b).key));
  EXPECT_EQ(StateOf(a), State::kPreActive);
}

TEST_F(EngineTest, CreateRefusesWhatIsNoKey) {
  const auto create = [&](Write attributes) {
    return Ask(Operation::kCreate, [=](ttlv::Writer* writer) {
      writer->Enumeration(Tag::kObjectType, messages::ObjectType::kSymmetricKey);
      const ttlv::Writer::Structure structure = writer->Begin(Tag::kTemplateAttribute);
      attributes(writer);
    });
  };
  const Write aes = Enumerated("Cryptographic Algorithm", 3);
  const Write mask = Number("Cryptographic Usage Mask", 12);
  EXPECT_EQ(create(Both(aes, mask)).reason, ResultReason::kInvalidField);
  EXPECT_EQ(create(Both(aes, Number("Cryptographic Length", 256))).reason,
            ResultReason::kInvalidField);
  EXPECT_EQ(create(Both(Both(aes, mask), Number("Cryptographic Length", 257))).reason,
            ResultReason::kInvalidField);
  EXPECT_EQ(create(Both(Both(aes, mask), Text("Cryptographic Length", "256"))).reason,
            ResultReason::kInvalidField);
  for (const uint32_t asymmetric : {4, 5, 6, 13, 14, 15}) {
    EXPECT_EQ(create(Both(Both(Enumerated("Cryptographic Algorithm", asymmetric), mask),
                          Number("Cryptographic Length", 2048)))
                  .reason,
              ResultReason::kInvalidField);
  }
  EXPECT_EQ(Ask(Operation::kCreate, Aes256(Text("State", "x"))).reason,
            ResultReason::kInvalidField);
  EXPECT_EQ(Ask(Operation::kCreate, Aes256(Text("No Such", "x"))).reason,
            ResultReason::kInvalidField);
  EXPECT_EQ(Ask(Operation::kCreate, Aes256(aes)).reason, ResultReason::kIndexOutOfBounds);
  EXPECT_EQ(Ask(Operation::kCreate, nullptr).reason, ResultReason::kMissingData);
  EXPECT_THAT(Locate(nullptr), IsEmpty());
}

TEST_F(EngineTest, StatesOfAKey) {
  const std::string uid = Create();
  // Pre-Active: not revoked for another reason than a compromise
  EXPECT_EQ(Revoke(uid, RevocationReason::kSuperseded).reason, ResultReason::kIllegalOperation);
  EXPECT_TRUE(Activate(uid).ok());
  EXPECT_EQ(StateOf(uid), State::kActive);
  EXPECT_EQ(Activate(uid).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Destroy(uid).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Get(uid).key.size(), 32);

  executor_.AdvanceBy(absl::Seconds(100));
  EXPECT_TRUE(Revoke(uid, RevocationReason::kCessationOfOperation).ok());
  EXPECT_EQ(StateOf(uid), State::kDeactivated);
  EXPECT_EQ(Get(uid).key.size(), 32);
  EXPECT_EQ(Activate(uid).reason, ResultReason::kPermissionDenied);
  const Outcome shown = Attributes(uid);
  EXPECT_EQ(shown.attributes.count("Deactivation Date"), 1);
  EXPECT_EQ(shown.attributes.count("Revocation Reason"), 1);
  EXPECT_NE(shown.attributes.at("Initial Date"), shown.attributes.at("Last Change Date"));

  EXPECT_TRUE(Destroy(uid).ok());
  EXPECT_EQ(StateOf(uid), State::kDestroyed);
  EXPECT_EQ(Get(uid).reason, ResultReason::kItemNotFound);
  EXPECT_EQ(Destroy(uid).reason, ResultReason::kPermissionDenied);
  EXPECT_EQ(Activate(uid).reason, ResultReason::kPermissionDenied);
  // Its bytes are gone from the store
  EXPECT_THAT(store_.Range("k/", "", 10).value(), IsEmpty());
  // A destroyed key may turn out to be compromised
  EXPECT_TRUE(Revoke(uid, RevocationReason::kKeyCompromise).ok());
  EXPECT_EQ(StateOf(uid), State::kDestroyedCompromised);
}

TEST_F(EngineTest, CompromiseFromEveryState) {
  const std::string uid = Create();
  EXPECT_TRUE(Revoke(uid, RevocationReason::kKeyCompromise).ok());
  EXPECT_EQ(StateOf(uid), State::kCompromised);
  EXPECT_EQ(Attributes(uid).attributes.count("Compromise Date"), 1);
  EXPECT_EQ(Attributes(uid).attributes.count("Compromise Occurrence Date"), 1);
  EXPECT_TRUE(Destroy(uid).ok());
  EXPECT_EQ(StateOf(uid), State::kDestroyedCompromised);
  EXPECT_EQ(Revoke(Create(), static_cast<RevocationReason>(99)).reason,
            ResultReason::kInvalidField);
}

TEST_F(EngineTest, DatesMoveAKeyOn) {
  const std::string uid =
      Create(Both(Date("Activation Date", Now() + 60), Date("Deactivation Date", Now() + 120)));
  EXPECT_EQ(StateOf(uid), State::kPreActive);
  executor_.AdvanceBy(absl::Seconds(60));
  EXPECT_EQ(StateOf(uid), State::kActive);
  EXPECT_EQ(Destroy(uid).reason, ResultReason::kPermissionDenied);
  executor_.AdvanceBy(absl::Seconds(60));
  EXPECT_EQ(StateOf(uid), State::kDeactivated);
  EXPECT_TRUE(Destroy(uid).ok());
  // A date of the past: active from the start
  EXPECT_EQ(StateOf(Create(Date("Activation Date", Now() - 1))), State::kActive);
}

TEST_F(EngineTest, UnknownIdentifiers) {
  for (const Operation operation :
       {Operation::kGet, Operation::kGetAttributes, Operation::kGetAttributeList,
        Operation::kActivate, Operation::kDestroy}) {
    EXPECT_EQ(Ask(operation, Uid("nobody")).reason, ResultReason::kItemNotFound);
    EXPECT_EQ(Ask(operation, Uid(std::string(5000, 'x'))).reason, ResultReason::kItemNotFound);
    EXPECT_EQ(Ask(operation, nullptr).reason, ResultReason::kItemNotFound);
  }
}

TEST_F(EngineTest, PartitionsDoNotSeeEachOther) {
  const std::string uid = Create(Name("mine"));
  owner_ = "client-b";
  EXPECT_EQ(Get(uid).reason, ResultReason::kItemNotFound);
  EXPECT_EQ(Destroy(uid).reason, ResultReason::kItemNotFound);
  EXPECT_THAT(Locate(nullptr), IsEmpty());
  EXPECT_THAT(Locate(Name("mine")), IsEmpty());
  // Names are unique within a partition
  Create(Name("mine"));
  owner_ = "client-a";
  EXPECT_THAT(Locate(nullptr), ElementsAre(uid));
}

TEST_F(EngineTest, CredentialsNameThePartition) {
  log::CapturingLogger logger;
  Engine::Options options;
  options.logger = &logger;
  options.users = Users::Parse("# users\nalice s3 cret\nbob x\n").value();
  MakeEngine(std::move(options));
  credential_ =
      messages::Credential{messages::CredentialType::kUsernameAndPassword, "alice", "s3 cret"};
  const std::string uid = Create();
  // The same user with another certificate
  owner_ = "client-b";
  EXPECT_TRUE(Get(uid).ok());
  EXPECT_THAT(logger.entries(), IsEmpty());
  credential_->password = "wrong";
  EXPECT_EQ(Get(uid).reason, ResultReason::kAuthenticationNotSuccessful);
  // Its administrator sees who tried, and not with what.
  ASSERT_EQ(logger.entries().size(), 1);
  EXPECT_EQ(logger.entries()[0].event, "kmip.wrong_credential");
  EXPECT_THAT(logger.entries()[0].fields, ElementsAre(::testing::Pair("certificate", "client-b"),
                                                      ::testing::Pair("user", "alice")));
  credential_->username = "nobody";
  EXPECT_EQ(Get(uid).reason, ResultReason::kAuthenticationNotSuccessful);
  credential_ = messages::Credential{messages::CredentialType::kUsernameAndPassword, "bob", "x"};
  EXPECT_EQ(Get(uid).reason, ResultReason::kItemNotFound);
  credential_.reset();
  EXPECT_EQ(Get(uid).reason, ResultReason::kItemNotFound);
  EXPECT_THAT(Users::Parse("alice"), status::HasReason(v1::REASON_INVALID_ARGUMENT));
}

// Which of two passwords counts is nothing to guess.
TEST_F(EngineTest, AUserStandsInTheFileOnce) {
  const auto users = Users::Parse("alice one\n# alice again\nbob x\nalice two\n");
  EXPECT_THAT(users, status::HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(std::string(users.status().message()), ::testing::HasSubstr("line 4"));
  EXPECT_THAT(std::string(users.status().message()), ::testing::HasSubstr("alice"));
  EXPECT_THAT(std::string(users.status().message()), ::testing::Not(::testing::HasSubstr("two")));
}

TEST_F(EngineTest, RegisterBringsAKeyIn) {
  const auto key = crypto::SecretKey::Random(32).value();
  const auto payload = [&](messages::ObjectType type, messages::KeyFormat format, int32_t bits) {
    return [&, type, format, bits](ttlv::Writer* writer) {
      writer->Enumeration(Tag::kObjectType, type);
      {
        const ttlv::Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute);
        Number("Cryptographic Usage Mask", 12)(writer);
      }
      absl::optional<messages::Algorithm> algorithm;
      absl::optional<int32_t> length;
      if (type == messages::ObjectType::kSymmetricKey) {
        algorithm = messages::Algorithm::kAes;
        length = bits;
      }
      messages::WriteKey(type, 1, format, key, algorithm, length, writer);
    };
  };
  using messages::KeyFormat;
  using messages::ObjectType;
  for (const KeyFormat format : {KeyFormat::kRaw, KeyFormat::kTransparentSymmetricKey}) {
    const Outcome outcome =
        Ask(Operation::kRegister, payload(ObjectType::kSymmetricKey, format, 256));
    ASSERT_TRUE(outcome.ok()) << outcome.message;
    EXPECT_TRUE(Get(outcome.uid).key.Equals(key));
  }
  const Outcome secret =
      Ask(Operation::kRegister, payload(ObjectType::kSecretData, KeyFormat::kRaw, 0));
  ASSERT_TRUE(secret.ok()) << secret.message;
  EXPECT_TRUE(Get(secret.uid).key.Equals(key));
  for (const uint32_t type : {0u, 3u, 0x80000001u}) {
    const auto unknown = [&](ttlv::Writer* writer) {
      writer->Enumeration(Tag::kObjectType, ObjectType::kSecretData);
      { const ttlv::Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute); }
      messages::WriteKey(ObjectType::kSecretData, type, KeyFormat::kRaw, key, absl::nullopt,
                         absl::nullopt, writer);
    };
    EXPECT_EQ(Ask(Operation::kRegister, unknown).reason, ResultReason::kInvalidField) << type;
  }
  EXPECT_EQ(
      Ask(Operation::kRegister, payload(ObjectType::kSymmetricKey, KeyFormat::kRaw, 128)).reason,
      ResultReason::kInvalidField);
  EXPECT_EQ(
      Ask(Operation::kRegister, payload(ObjectType::kSymmetricKey, static_cast<KeyFormat>(4), 256))
          .reason,
      ResultReason::kKeyFormatTypeNotSupported);
}

TEST_F(EngineTest, GetInFormats) {
  const std::string uid = Create();
  const auto get = [&](uint32_t format) {
    return Ask(Operation::kGet, [=](ttlv::Writer* writer) {
      messages::WriteUid(uid, writer);
      writer->Enumeration(Tag::kKeyFormatType, format);
    });
  };
  EXPECT_TRUE(get(1).key.Equals(get(7).key));
  EXPECT_EQ(get(4).reason, ResultReason::kKeyFormatTypeNotSupported);
  const Outcome wrapped = Ask(Operation::kGet, [=](ttlv::Writer* writer) {
    messages::WriteUid(uid, writer);
    const ttlv::Writer::Structure structure = writer->Begin(Tag::kKeyWrappingSpecification);
  });
  EXPECT_EQ(wrapped.reason, ResultReason::kFeatureNotSupported);
}

TEST_F(EngineTest, BatchWithTheIdPlaceholder) {
  const auto outcomes = Ask({{Operation::kCreate, Aes256()},
                             {Operation::kActivate, nullptr},
                             {Operation::kGet, nullptr}});
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_EQ(outcomes[1].uid, outcomes[0].uid);
  EXPECT_EQ(outcomes[2].key.size(), 32);
  EXPECT_EQ(StateOf(outcomes[0].uid), State::kActive);
  // One commit for all
  EXPECT_EQ(store_.LastRevision().value(), 1);
}

TEST_F(EngineTest, ErrorContinuationOfABatch) {
  const std::vector<Item> items = {{Operation::kCreate, Aes256()},
                                   {Operation::kGet, Uid("nobody")},
                                   {Operation::kCreate, Aes256()}};
  auto outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_TRUE(outcomes[0].ok());
  EXPECT_EQ(outcomes[1].reason, ResultReason::kItemNotFound);
  EXPECT_THAT(Locate(nullptr), SizeIs(1));

  continuation_ = ErrorContinuation::kContinue;
  outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_TRUE(outcomes[2].ok());
  EXPECT_THAT(Locate(nullptr), SizeIs(3));

  continuation_ = ErrorContinuation::kUndo;
  outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes[0].status, ResultStatus::kUndone);
  EXPECT_EQ(outcomes[1].reason, ResultReason::kItemNotFound);
  EXPECT_THAT(Locate(nullptr), SizeIs(3));

  // What is no option is not taken for one.
  continuation_ = static_cast<ErrorContinuation>(9);
  outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].reason, ResultReason::kInvalidField);
  continuation_ = ErrorContinuation::kStop;
  EXPECT_THAT(Locate(nullptr), SizeIs(3));
}

TEST_F(EngineTest, LargeBatchesTakeSeveralCommits) {
  const std::vector<Item> items(100, Item{Operation::kCreate, Aes256()});
  auto outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(100));
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_THAT(Locate(nullptr), SizeIs(100));
  // So many cannot be undone together: nothing is done
  continuation_ = ErrorContinuation::kUndo;
  outcomes = Ask(items);
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].reason, ResultReason::kFeatureNotSupported);
  EXPECT_THAT(Locate(nullptr), SizeIs(100));
}

TEST_F(EngineTest, NothingIsAnsweredThatIsNotCommitted) {
  const std::string uid = Create();
  store_.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "no space left"));
  EXPECT_EQ(Ask(Operation::kCreate, Aes256()).reason, ResultReason::kGeneralFailure);
  store_.FailCommits(status::Error(v1::REASON_STORAGE_FULL, "no space left"));
  EXPECT_EQ(Activate(uid).reason, ResultReason::kGeneralFailure);
  EXPECT_EQ(StateOf(uid), State::kPreActive);
  EXPECT_THAT(Locate(nullptr), ElementsAre(uid));
}

// Another node changes the same object at the same time: done anew, never lost.
TEST_F(EngineTest, ConflictsAreDoneAnew) {
  const std::string uid = Create();
  Engine other(&store_, &executor_, &executor_, &random_, Engine::Options());
  std::vector<ttlv::Buffer> answers;
  for (Engine* engine : {engine_.get(), &other}) {
    for (const char* name : {"x-a", "x-b", "x-c"}) {
      engine->Handle(Request({{Operation::kAddAttribute, Both(Uid(uid), Text(name, "1"))}}),
                     Caller{owner_},
                     [&](ttlv::Buffer answer) { answers.push_back(std::move(answer)); });
    }
  }
  executor_.RunUntilIdle();
  ASSERT_THAT(answers, SizeIs(6));
  for (const ttlv::Buffer& answer : answers) EXPECT_TRUE(Read(answer)[0].ok());
  const auto attributes = Attributes(uid).attributes;
  for (const char* name : {"x-a", "x-a[1]", "x-b", "x-b[1]", "x-c", "x-c[1]"}) {
    EXPECT_EQ(attributes.count(name), 1) << name;
  }
}

TEST_F(EngineTest, OneOfTwoGetsAName) {
  std::vector<ttlv::Buffer> answers;
  for (int i = 0; i < 2; ++i) {
    engine_->Handle(Request({{Operation::kCreate, Aes256(Name("same"))}}), Caller{owner_},
                    [&](ttlv::Buffer answer) { answers.push_back(std::move(answer)); });
  }
  executor_.RunUntilIdle();
  EXPECT_NE(Read(answers[0])[0].ok(), Read(answers[1])[0].ok());
  EXPECT_THAT(Locate(Name("same")), SizeIs(1));
}

TEST_F(EngineTest, Versions) {
  for (const messages::ProtocolVersion version :
       {messages::kVersion10, messages::kVersion11, messages::kVersion12}) {
    version_ = version;
    EXPECT_EQ(Get(Create()).key.size(), 32);
    const Outcome discovered = Ask(Operation::kDiscoverVersions, nullptr);
    EXPECT_EQ(discovered.ok(), version_ != messages::kVersion10);
  }
  for (const messages::ProtocolVersion version :
       {messages::ProtocolVersion{1, 3}, {2, 0}, {0, 9}, {1, -1}}) {
    version_ = version;
    const Outcome refused = Ask(Operation::kCreate, Aes256());
    EXPECT_EQ(refused.reason, ResultReason::kInvalidMessage);
    EXPECT_THAT(refused.message, ::testing::HasSubstr("this server has 1.2, 1.1, 1.0"));
  }
}

TEST_F(EngineTest, LocateRefusesValuesOfAnotherType) {
  Create(Name("key"));
  const auto reason = [&](Write attribute) {
    return Ask(Operation::kLocate, std::move(attribute)).reason;
  };
  EXPECT_EQ(reason(Text("State", "Active")), ResultReason::kInvalidField);
  EXPECT_EQ(reason(Number("State", 1)), ResultReason::kInvalidField);
  EXPECT_EQ(reason(Text("Name", "key")), ResultReason::kInvalidField);
  EXPECT_EQ(reason(Enumerated("Cryptographic Length", 256)), ResultReason::kInvalidField);
  EXPECT_EQ(reason(Number("Initial Date", 1)), ResultReason::kInvalidField);
  // Among others that fit, too, and whatever is asked besides
  EXPECT_EQ(reason(Both(Name("key"), Text("State", "Active"))), ResultReason::kInvalidField);
  EXPECT_EQ(reason([](ttlv::Writer* writer) {
              writer->Integer(Tag::kStorageStatusMask, 2);
              Text("State", "Active")(writer);
            }),
            ResultReason::kInvalidField);
  // What nobody has is only not found.
  EXPECT_THAT(Locate(Text("x-none", "1")), IsEmpty());
  EXPECT_THAT(Locate(Text("No Such Attribute", "1")), IsEmpty());
  EXPECT_THAT(Locate(Enumerated("State", 1)), SizeIs(1));
}

TEST_F(EngineTest, TwoItemsOfABatchDoNotShareAnId) {
  ttlv::Buffer request = Request({{Operation::kCreate, Aes256()}, {Operation::kCreate, Aes256()}});
  // The IDs are byte strings of 1 byte: 1 and 2.
  const std::string bytes(request.data(), request.data() + request.size());
  const size_t second = bytes.find(std::string("\x42\x00\x93\x08\0\0\0\x01\x02", 9));
  ASSERT_NE(second, std::string::npos);
  request.mutable_data()[second + 8] = 1;
  const auto outcomes = Read(Exchange(std::move(request)));
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].reason, ResultReason::kInvalidMessage);
  EXPECT_THAT(Locate(nullptr), IsEmpty());
}

// Of a whole answer.
messages::ProtocolVersion VersionIn(const ttlv::Buffer& answer) {
  return messages::ReadResponse(ttlv::Parse(answer.span()).value()).value().version;
}

// A client of an older version may not read an answer of a newer one, and would not learn why.
TEST_F(EngineTest, ErrorsOfAWholeMessageAreInTheVersionOfTheRequest) {
  // The header of a request, and what is told of its one item.
  struct Case {
    const char* what;
    ResultReason reason;
    std::function<void(ttlv::Writer*)> header;  // after the version
    bool payload = true;
  };
  const auto count = [](int32_t number) {
    return [number](ttlv::Writer* writer) { writer->Integer(Tag::kBatchCount, number); };
  };
  const Case cases[] = {
      {"asynchronous", ResultReason::kFeatureNotSupported,
       [&](ttlv::Writer* writer) {
         writer->Boolean(Tag::kAsynchronousIndicator, true);
         count(1)(writer);
       }},
      {"too large", ResultReason::kResponseTooLarge,
       [&](ttlv::Writer* writer) {
         writer->Integer(Tag::kMaximumResponseSize, 20);
         count(1)(writer);
       }},
      {"batch count", ResultReason::kInvalidMessage, count(2)},
      {"no payload", ResultReason::kInvalidMessage, count(1), false},
      {"no batch count", ResultReason::kInvalidMessage, [](ttlv::Writer*) {}},
  };
  for (const messages::ProtocolVersion version :
       {messages::kVersion10, messages::kVersion11, messages::kVersion12}) {
    SCOPED_TRACE(version.minor);
    for (const Case& one : cases) {
      ttlv::Buffer request;
      ttlv::Writer writer(&request);
      {
        const ttlv::Writer::Structure message = writer.Begin(Tag::kRequestMessage);
        {
          const ttlv::Writer::Structure header = writer.Begin(Tag::kRequestHeader);
          messages::WriteVersion(version, &writer);
          one.header(&writer);
        }
        const ttlv::Writer::Structure item = writer.Begin(Tag::kBatchItem);
        writer.Enumeration(Tag::kOperation, Operation::kLocate);
        if (one.payload) const auto payload = writer.Begin(Tag::kRequestPayload);
      }
      const ttlv::Buffer answer = Exchange(std::move(request));
      EXPECT_EQ(VersionIn(answer), version) << one.what;
      EXPECT_EQ(Read(answer)[0].reason, one.reason) << one.what;
    }

    version_ = version;
    credential_ =
        messages::Credential{messages::CredentialType::kUsernameAndPassword, "nobody", "x"};
    EXPECT_EQ(VersionIn(Exchange(Request({{Operation::kLocate, nullptr}}))), version);
    credential_.reset();

    // Even what is malformed behind its header.
    ttlv::Buffer malformed = Request({{Operation::kLocate, nullptr}});
    malformed.mutable_data()[malformed.size() - 5] = 0x77;
    EXPECT_EQ(VersionIn(Exchange(std::move(malformed))), version);
  }
  // The newest one to those who speak none of ours
  version_ = {2, 0};
  EXPECT_EQ(VersionIn(Exchange(Request({{Operation::kLocate, nullptr}}))), messages::kVersion12);
  EXPECT_EQ(VersionIn(Exchange(ttlv::Buffer())), messages::kVersion12);
}

TEST_F(EngineTest, WhatIsNotSupported) {
  EXPECT_EQ(Ask(Operation::kRekey, Uid("x")).reason, ResultReason::kOperationNotSupported);
  EXPECT_EQ(Ask(static_cast<Operation>(0x77), nullptr).reason,
            ResultReason::kOperationNotSupported);
}

TEST_F(EngineTest, MalformedRequestsAreAnsweredAndChangeNothing) {
  ttlv::Buffer request = Request({{Operation::kCreate, Aes256()}});
  const std::string bytes(request.data(), request.data() + request.size());
  for (size_t i = 8; i < bytes.size(); ++i) {
    ttlv::Buffer damaged;
    damaged.Append(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    damaged.mutable_data()[i] ^= 0xff;
    EXPECT_THAT(Read(Exchange(std::move(damaged))), SizeIs(1)) << i;
  }
  ttlv::Buffer nothing;
  EXPECT_EQ(Read(Exchange(std::move(nothing)))[0].reason, ResultReason::kInvalidMessage);
}

}  // namespace
}  // namespace keysphere::kmip::server
