// Our client against key servers that are wrong, by mistake or on purpose.
#include "kmip/client/hostile_server.h"

#include "kmip/client/loopback.h"
#include "kmip/messages/payloads.h"

namespace keysphere::kmip::client {
namespace {

using messages::Algorithm;
using messages::KeyFormat;
using messages::ObjectType;
using messages::Operation;
using messages::RequestItem;
using messages::ResultReason;
using messages::ResultStatus;
using status::HasReason;
using status::IsOk;
using ttlv::Tag;
using ttlv::Writer;

using Answer = HostileServer::Answer;
using Payload = std::function<void(const RequestItem&, Writer*)>;

class HostileServerTest : public Loopback {
 protected:
  // One item for each of the request's, with its id (or that of `id_of`).
  static Answer AnswerTo(const messages::Request& request, const Payload& payload,
                         const std::function<size_t(size_t)>& id_of = nullptr,
                         messages::ProtocolVersion version = messages::kVersion11) {
    Answer answer;
    Writer writer(&answer.bytes);
    const Writer::Structure message = writer.Begin(Tag::kResponseMessage);
    messages::WriteResponseHeader(version, 1'700'000'000, request.items.size(), &writer);
    for (size_t i = 0; i < request.items.size(); ++i) {
      const RequestItem& item = request.items[i];
      const Writer::Structure structure = writer.Begin(Tag::kBatchItem);
      writer.Enumeration(Tag::kOperation, item.operation);
      const auto& id = request.items[id_of == nullptr ? i : id_of(i)].id;
      if (id.has_value()) writer.Bytes(Tag::kUniqueBatchItemId, *id);
      writer.Enumeration(Tag::kResultStatus, ResultStatus::kSuccess);
      const Writer::Structure body = writer.Begin(Tag::kResponsePayload);
      payload(item, &writer);
    }
    return answer;
  }

  static Answer Versions(const messages::Request& request,
                         std::vector<messages::ProtocolVersion> versions) {
    return AnswerTo(request, [&](const RequestItem&, Writer* writer) {
      for (const auto& version : versions) messages::WriteVersion(version, writer);
    });
  }

  // Right until Discover Versions is answered, then as the script says.
  void Serve(HostileServer::Script script) {
    ServeFromTheFirst([script = std::move(script)](const messages::Request& request) {
      if (request.items[0].operation != Operation::kDiscoverVersions) return script(request);
      return Versions(request, {messages::kVersion11});
    });
  }
  void ServeFromTheFirst(HostileServer::Script script) {
    server_ = HostileServer::Start(FilesOf(server_credentials_), loop_.get(), clock_.Now(),
                                   std::move(script));
    KmipClientOptions options = Options();
    options.port = server_->port();
    client_ = Client(std::move(options));
  }

  // To each Get a key of these properties.
  static Answer KeysOf(const messages::Request& request, size_t bytes, Algorithm algorithm,
                       const std::string& uid = "",
                       const std::function<size_t(size_t)>& id_of = nullptr) {
    return AnswerTo(
        request,
        [&](const RequestItem& item, Writer* writer) {
          messages::GetRequest get;
          EXPECT_THAT(messages::ReadGet(item.payload, &get), IsOk());
          writer->Enumeration(Tag::kObjectType, ObjectType::kSymmetricKey);
          messages::WriteUid(uid.empty() ? *get.uid : absl::string_view(uid), writer);
          const crypto::SecretKey key =
              crypto::SecretKey::CopyOf(std::vector<uint8_t>(bytes, 7)).value();
          messages::WriteKey(ObjectType::kSymmetricKey, 0, KeyFormat::kRaw, key, algorithm,
                             static_cast<int32_t>(8 * bytes), writer);
        },
        id_of);
  }

  std::unique_ptr<HostileServer> server_;
  std::unique_ptr<KmipClient> client_;
};

TEST_F(HostileServerTest, RightAnswersAreTaken) {
  Serve([](const messages::Request& request) { return KeysOf(request, 32, Algorithm::kAes); });
  const auto keys = Get(client_.get(), {"a", "b"});
  ASSERT_THAT(keys, IsOk());
  EXPECT_THAT((*keys)[0], IsOk());
  EXPECT_THAT((*keys)[1], IsOk());
}

TEST_F(HostileServerTest, KeyOfAnotherLength) {
  Serve([](const messages::Request& request) { return KeysOf(request, 16, Algorithm::kAes); });
  EXPECT_THAT(Get(client_.get(), {"a"}).value()[0], HasReason(v1::REASON_KMS_BAD_RESPONSE));
}

TEST_F(HostileServerTest, KeyOfAnotherAlgorithm) {
  Serve([](const messages::Request& request) {
    return KeysOf(request, 32, static_cast<Algorithm>(2));  // 3DES
  });
  EXPECT_THAT(Get(client_.get(), {"a"}).value()[0], HasReason(v1::REASON_KMS_BAD_RESPONSE));
}

TEST_F(HostileServerTest, AnotherKeyThanAskedFor) {
  Serve([](const messages::Request& request) {
    return KeysOf(request, 32, Algorithm::kAes, "other");
  });
  EXPECT_THAT(Get(client_.get(), {"a"}).value()[0], HasReason(v1::REASON_KMS_BAD_RESPONSE));
}

TEST_F(HostileServerTest, BatchIdsOfAnotherRequestOrOrder) {
  Serve([](const messages::Request& request) {
    return KeysOf(request, 32, Algorithm::kAes, "",
                  [&](size_t i) { return request.items.size() - 1 - i; });
  });
  EXPECT_THAT(Get(client_.get(), {"a", "b"}), HasReason(v1::REASON_KMS_BAD_RESPONSE));
  // Whoever answers so gets no further question over that connection
  EXPECT_THAT(Get(client_.get(), {"a"}).value()[0], IsOk());
  EXPECT_EQ(client_->handshakes(), 2);
}

TEST_F(HostileServerTest, MalformedTtlv) {
  std::vector<uint8_t> bytes;
  Serve([&](const messages::Request&) {
    Answer answer;
    answer.bytes.Append(bytes);
    return answer;
  });
  // No message at all; a structure that is longer than the message; an unknown type
  const std::vector<uint8_t> malformed[] = {
      {'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4', '0', '0', ' ', 'n', 'o', '\n'},
      {0x42, 0, 0x7b, 1, 0, 0, 0, 8, 0x42, 0, 0x7a, 1, 0, 0, 0, 64},
      {0x42, 0, 0x7b, 1, 0, 0, 0, 8, 0x42, 0, 0x7a, 99, 0, 0, 0, 0},
  };
  for (const auto& one : malformed) {
    bytes = one;
    EXPECT_THAT(Create(client_.get()), HasReason(v1::REASON_KMS_BAD_RESPONSE));
  }
}

TEST_F(HostileServerTest, ClosesInTheMiddleOfAMessage) {
  Serve([](const messages::Request& request) {
    Answer answer = KeysOf(request, 32, Algorithm::kAes);
    answer.bytes.Truncate(answer.bytes.size() / 2);
    answer.then_close = true;
    return answer;
  });
  EXPECT_THAT(Get(client_.get(), {"a"}), HasReason(v1::REASON_KMS_UNREACHABLE));
}

TEST_F(HostileServerTest, AnswersTooMuch) {
  bool second = false;
  Serve([&](const messages::Request& request) {
    Answer answer;
    if (second) {
      // The answer, and more that nobody asked for
      answer = KeysOf(request, 32, Algorithm::kAes);
      answer.bytes.Append(std::vector<uint8_t>(64, 0));
      return answer;
    }
    // A message of 256 MiB begins
    const uint8_t head[] = {0x42, 0, 0x7b, 1, 0x10, 0, 0, 0};
    answer.bytes.Append(head);
    answer.bytes.Append(std::vector<uint8_t>(4 << 20, 0));
    return answer;
  });
  EXPECT_THAT(Get(client_.get(), {"a"}), HasReason(v1::REASON_KMS_BAD_RESPONSE));
  second = true;
  EXPECT_THAT(Get(client_.get(), {"a"}), HasReason(v1::REASON_KMS_BAD_RESPONSE));
}

TEST_F(HostileServerTest, S129_VersionsThatItHasAreNamed) {
  ServeFromTheFirst([](const messages::Request& request) {
    return Versions(request, {{2, 1}, {2, 0}, {1, 0}});
  });
  const auto health = CheckHealth(client_.get());
  EXPECT_THAT(health, HasReason(v1::REASON_KMS_VERSION_UNSUPPORTED));
  EXPECT_THAT(std::string(health.status().message()), ::testing::HasSubstr("2.1, 2.0, 1.0"));
}

TEST_F(HostileServerTest, S129_VersionOfAServerWithoutDiscoverVersions) {
  ServeFromTheFirst([](const messages::Request&) {
    Answer answer;
    Writer writer(&answer.bytes);
    const Writer::Structure message = writer.Begin(Tag::kResponseMessage);
    messages::WriteResponseHeader(messages::kVersion10, 1'700'000'000, 1, &writer);
    const Writer::Structure item = writer.Begin(Tag::kBatchItem);
    writer.Enumeration(Tag::kResultStatus, ResultStatus::kFailed);
    writer.Enumeration(Tag::kResultReason, ResultReason::kInvalidMessage);
    writer.Text(Tag::kResultMessage, "what?");
    return answer;
  });
  const auto health = CheckHealth(client_.get());
  EXPECT_THAT(health, HasReason(v1::REASON_KMS_VERSION_UNSUPPORTED));
  EXPECT_THAT(std::string(health.status().message()), ::testing::HasSubstr("it has 1.0"));
}

}  // namespace
}  // namespace keysphere::kmip::client
