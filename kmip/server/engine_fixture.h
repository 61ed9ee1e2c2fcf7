#ifndef KEYSPHERE_KMIP_SERVER_ENGINE_FIXTURE_H_
#define KEYSPHERE_KMIP_SERVER_ENGINE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/executor/simulated_executor.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "common/store/memory_store.h"
#include "kmip/messages/fields.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"
#include "kmip/server/engine.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::server {

// An engine over a store in memory on virtual time, and a client of it that writes any request.
class EngineTest : public ::testing::Test {
 protected:
  using Write = std::function<void(ttlv::Writer*)>;
  struct Item {
    messages::Operation operation;
    Write payload;
  };
  // The outcome of one batch item.
  struct Outcome {
    messages::ResultStatus status = messages::ResultStatus::kSuccess;
    messages::ResultReason reason = static_cast<messages::ResultReason>(0);  // 0: none
    std::string message;
    std::string uid;                                // the first of the payload
    std::vector<std::string> uids;                  // all of them
    std::map<std::string, std::string> attributes;  // name[index] → value in hexadecimal
    std::vector<std::string> names;                 // of Get Attribute List
    crypto::SecretKey key;
    bool ok() const { return status == messages::ResultStatus::kSuccess; }
  };

  explicit EngineTest(absl::Time start = absl::FromUnixSeconds(1'700'000'000))
      : executor_(1, start) {
    MakeEngine(Engine::Options());
  }

  void MakeEngine(Engine::Options options) {
    engine_ =
        std::make_unique<Engine>(&store_, &executor_, &executor_, &random_, std::move(options));
  }

  // The bytes of a request.
  ttlv::Buffer Request(const std::vector<Item>& items) {
    ttlv::Buffer buffer;
    ttlv::Writer writer(&buffer);
    const ttlv::Writer::Structure message = writer.Begin(ttlv::Tag::kRequestMessage);
    const int32_t count = static_cast<int32_t>(items.size());
    if (maximum_response_size_.has_value()) {
      const ttlv::Writer::Structure header = writer.Begin(ttlv::Tag::kRequestHeader);
      messages::WriteVersion(version_, &writer);
      writer.Integer(ttlv::Tag::kMaximumResponseSize, *maximum_response_size_);
      writer.Enumeration(ttlv::Tag::kBatchErrorContinuationOption, continuation_);
      writer.Integer(ttlv::Tag::kBatchCount, count);
    } else {
      messages::WriteRequestHeader(version_, credential_, continuation_, count, &writer);
    }
    uint8_t id = 0;
    for (const Item& item : items) {
      const ttlv::Writer::Structure structure = writer.Begin(ttlv::Tag::kBatchItem);
      writer.Enumeration(ttlv::Tag::kOperation, item.operation);
      ++id;
      writer.Bytes(ttlv::Tag::kUniqueBatchItemId, absl::MakeConstSpan(&id, 1));
      const ttlv::Writer::Structure payload = writer.Begin(ttlv::Tag::kRequestPayload);
      if (item.payload) item.payload(&writer);
    }
    return buffer;
  }

  // Sends bytes and runs until the answer is there.
  ttlv::Buffer Exchange(ttlv::Buffer request) {
    absl::optional<ttlv::Buffer> answer;
    engine_->Handle(std::move(request), Caller{owner_},
                    [&](ttlv::Buffer bytes) { answer = std::move(bytes); });
    executor_.RunUntilIdle();
    EXPECT_TRUE(answer.has_value());
    return answer.has_value() ? *std::move(answer) : ttlv::Buffer();
  }

  std::vector<Outcome> Ask(const std::vector<Item>& items) {
    const ttlv::Buffer answer = Exchange(Request(items));
    return Read(answer);
  }
  Outcome Ask(messages::Operation operation, Write payload) {
    std::vector<Outcome> outcomes = Ask({Item{operation, std::move(payload)}});
    EXPECT_EQ(outcomes.size(), 1);
    return outcomes.empty() ? Outcome() : std::move(outcomes[0]);
  }

  static std::vector<Outcome> Read(const ttlv::Buffer& answer) {
    std::vector<Outcome> outcomes;
    const auto message = ttlv::Parse(answer.span());
    EXPECT_THAT(message, status::IsOk());
    if (!message.ok()) return outcomes;
    const auto response = messages::ReadResponse(*message);
    EXPECT_THAT(response, status::IsOk());
    if (!response.ok()) return outcomes;
    EXPECT_EQ(response->batch_count, static_cast<int32_t>(response->items.size()));
    for (const messages::ResponseItem& item : response->items) {
      Outcome outcome;
      outcome.status = item.status;
      if (item.reason.has_value()) outcome.reason = *item.reason;
      outcome.message = std::string(item.message);
      if (item.payload.has_value()) ReadPayload(*item.payload, &outcome);
      outcomes.push_back(std::move(outcome));
    }
    return outcomes;
  }

  // Payloads.

  static Write Uid(std::string uid) {
    return [uid](ttlv::Writer* writer) { messages::WriteUid(uid, writer); };
  }
  // Create of an AES-256 key with more attributes.
  static Write Aes256(Write more = nullptr) {
    return [more](ttlv::Writer* writer) {
      writer->Enumeration(ttlv::Tag::kObjectType, messages::ObjectType::kSymmetricKey);
      const ttlv::Writer::Structure attributes = writer->Begin(ttlv::Tag::kTemplateAttribute);
      Enumerated("Cryptographic Algorithm", 3)(writer);
      Number("Cryptographic Length", 256)(writer);
      Number("Cryptographic Usage Mask", 12)(writer);
      if (more) more(writer);
    };
  }
  static Write Text(std::string name, std::string value) {
    return [=](ttlv::Writer* writer) { messages::WriteTextAttribute(name, value, writer); };
  }
  static Write Number(std::string name, int32_t value) {
    return [=](ttlv::Writer* writer) {
      const ttlv::Writer::Structure attribute = writer->Begin(ttlv::Tag::kAttribute);
      writer->Text(ttlv::Tag::kAttributeName, name);
      writer->Integer(ttlv::Tag::kAttributeValue, value);
    };
  }
  static Write Enumerated(std::string name, uint32_t value) {
    return [=](ttlv::Writer* writer) {
      const ttlv::Writer::Structure attribute = writer->Begin(ttlv::Tag::kAttribute);
      writer->Text(ttlv::Tag::kAttributeName, name);
      writer->Enumeration(ttlv::Tag::kAttributeValue, value);
    };
  }
  static Write Date(std::string name, int64_t value) {
    return [=](ttlv::Writer* writer) {
      const ttlv::Writer::Structure attribute = writer->Begin(ttlv::Tag::kAttribute);
      writer->Text(ttlv::Tag::kAttributeName, name);
      writer->DateTime(ttlv::Tag::kAttributeValue, value);
    };
  }
  static Write Name(std::string value, absl::optional<int32_t> index = absl::nullopt) {
    return [=](ttlv::Writer* writer) {
      const ttlv::Writer::Structure attribute = writer->Begin(ttlv::Tag::kAttribute);
      writer->Text(ttlv::Tag::kAttributeName, "Name");
      if (index.has_value()) writer->Integer(ttlv::Tag::kAttributeIndex, *index);
      const ttlv::Writer::Structure structure = writer->Begin(ttlv::Tag::kAttributeValue);
      writer->Text(ttlv::Tag::kNameValue, value);
      writer->Enumeration(ttlv::Tag::kNameType, messages::NameType::kText);
    };
  }
  static Write Both(Write first, Write second) {
    return [=](ttlv::Writer* writer) {
      first(writer);
      second(writer);
    };
  }
  static Write Revocation(std::string uid, messages::RevocationReason reason) {
    return [=](ttlv::Writer* writer) {
      messages::WriteUid(uid, writer);
      const ttlv::Writer::Structure structure = writer->Begin(ttlv::Tag::kRevocationReason);
      writer->Enumeration(ttlv::Tag::kRevocationReasonCode, reason);
    };
  }

  // Whole operations.

  std::string Create(Write more = nullptr) {
    const Outcome outcome = Ask(messages::Operation::kCreate, Aes256(std::move(more)));
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    return outcome.uid;
  }
  Outcome Get(const std::string& uid) { return Ask(messages::Operation::kGet, Uid(uid)); }
  Outcome Attributes(const std::string& uid) {
    return Ask(messages::Operation::kGetAttributes, Uid(uid));
  }
  messages::State StateOf(const std::string& uid) {
    const std::string hex = Attributes(uid).attributes["State"];
    return static_cast<messages::State>(hex.size() == 8 ? hex[7] - '0' : 0);
  }
  Outcome Activate(const std::string& uid) { return Ask(messages::Operation::kActivate, Uid(uid)); }
  Outcome Destroy(const std::string& uid) { return Ask(messages::Operation::kDestroy, Uid(uid)); }
  Outcome Revoke(const std::string& uid, messages::RevocationReason reason) {
    return Ask(messages::Operation::kRevoke, Revocation(uid, reason));
  }
  std::vector<std::string> Locate(Write attributes) {
    Outcome outcome = Ask(messages::Operation::kLocate, std::move(attributes));
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    return outcome.uids;
  }
  int64_t Now() { return absl::ToUnixSeconds(executor_.Now()); }

  executor::SimulatedExecutor executor_;
  random::SeededRandom random_{1};
  store::MemoryStore store_{&executor_};
  std::unique_ptr<Engine> engine_;
  messages::ProtocolVersion version_ = messages::kVersion11;
  absl::optional<messages::Credential> credential_;
  messages::ErrorContinuation continuation_ = messages::ErrorContinuation::kStop;
  absl::optional<int32_t> maximum_response_size_;  // with it, no credential is sent
  std::string owner_ = "client-a";

 private:
  static std::string Hex(absl::Span<const uint8_t> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (const uint8_t byte : bytes) {
      hex += kDigits[byte >> 4];
      hex += kDigits[byte & 15];
    }
    return hex;
  }
  static void ReadPayload(const ttlv::Item& payload, Outcome* outcome) {
    ttlv::Items items(nullptr, nullptr);
    EXPECT_THAT(payload.Get(&items), status::IsOk());
    for (const ttlv::Item item : items) {
      absl::string_view text;
      if (item.tag() == ttlv::Tag::kUniqueIdentifier && item.GetText(&text).ok()) {
        if (outcome->uids.empty()) outcome->uid = std::string(text);
        outcome->uids.emplace_back(text);
      } else if (item.tag() == ttlv::Tag::kAttributeName && item.GetText(&text).ok()) {
        outcome->names.emplace_back(text);
      } else if (item.tag() == ttlv::Tag::kAttribute) {
        messages::Attribute attribute;
        EXPECT_THAT(messages::ReadAttribute(item, &attribute), status::IsOk());
        std::string name(attribute.name);
        if (attribute.index.has_value()) name += "[" + std::to_string(*attribute.index) + "]";
        outcome->attributes[name] =
            attribute.value.type() == ttlv::Type::kTextString
                ? std::string(attribute.value.value().begin(), attribute.value.value().end())
                : Hex(attribute.value.value());
      } else if (item.tag() == ttlv::Tag::kSymmetricKey || item.tag() == ttlv::Tag::kSecretData) {
        messages::Fields fields(item);
        fields.Skip(ttlv::Tag::kSecretDataType);
        ttlv::Item block;
        messages::KeyBlock key_block;
        EXPECT_TRUE(fields.Need(ttlv::Tag::kKeyBlock, &block));
        EXPECT_THAT(messages::ReadKeyBlock(block, &key_block), status::IsOk());
        outcome->key = crypto::SecretKey::CopyOf(key_block.material).value();
      }
    }
  }
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_ENGINE_FIXTURE_H_
