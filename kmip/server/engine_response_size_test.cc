// Answers that are larger than their client takes.
#include <algorithm>
#include <utility>
#include <vector>

#include "kmip/server/engine_fixture.h"

namespace keysphere::kmip::server {
namespace {

using messages::ErrorContinuation;
using messages::Operation;
using messages::ResultReason;
using messages::State;
using ::testing::SizeIs;
using ttlv::Tag;

// A client that is told that its request failed must find nothing of it done.
TEST_F(EngineTest, WhatCannotBeToldIsNotDone) {
  const std::string uid = Create();
  const auto key = crypto::SecretKey::Random(32).value();
  const Write registration = [&](ttlv::Writer* writer) {
    writer->Enumeration(Tag::kObjectType, messages::ObjectType::kSecretData);
    { const ttlv::Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute); }
    messages::WriteKey(messages::ObjectType::kSecretData, 1, messages::KeyFormat::kRaw, key,
                       absl::nullopt, absl::nullopt, writer);
  };
  const std::vector<Item> requests[] = {
      {{Operation::kCreate, Aes256(Name("k"))}},
      {{Operation::kRegister, registration}},
      {{Operation::kActivate, Uid(uid)}},
      {{Operation::kDestroy, Uid(uid)}},
      {{Operation::kCreate, Aes256()}, {Operation::kActivate, nullptr}, {Operation::kGet, nullptr}},
      {{Operation::kCreate, Aes256()}, {Operation::kGet, Uid("nobody")}},
  };
  for (const std::vector<Item>& request : requests) {
    SCOPED_TRACE(messages::OperationName(request[0].operation));
    for (const ErrorContinuation option :
         {ErrorContinuation::kContinue, ErrorContinuation::kStop, ErrorContinuation::kUndo}) {
      continuation_ = option;
      maximum_response_size_ = 100;
      const auto outcomes = Ask(request);
      maximum_response_size_.reset();
      ASSERT_THAT(outcomes, SizeIs(1));
      EXPECT_EQ(outcomes[0].reason, ResultReason::kResponseTooLarge);
      EXPECT_EQ(store_.LastRevision().value(), 1);
    }
  }
  EXPECT_EQ(StateOf(uid), State::kPreActive);
  maximum_response_size_ = 300;
  Create(Name("k"));
}

// A batch of several commits: when the first one was done, the answer tells what was, and it has
// the size that the client takes.
TEST_F(EngineTest, OfALargeBatchItIsToldWhatWasDone) {
  const std::vector<Item> creates(60, Item{Operation::kCreate, Aes256()});
  const int32_t enough = static_cast<int32_t>(Exchange(Request(creates)).size());
  size_t keys = creates.size();
  maximum_response_size_ = enough;
  EXPECT_THAT(Ask(creates), SizeIs(creates.size()));
  keys += creates.size();
  maximum_response_size_ = 1000;
  const auto refused = Ask(creates);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].reason, ResultReason::kResponseTooLarge);
  maximum_response_size_.reset();
  ASSERT_THAT(Locate(nullptr), SizeIs(keys));

  std::vector<Item> large_at_the_end = creates;
  large_at_the_end.push_back({Operation::kLocate, nullptr});
  large_at_the_end.push_back({Operation::kCreate, Aes256()});
  const std::pair<std::vector<Item>, int32_t> cases[] = {{creates, enough - 1},
                                                         {large_at_the_end, enough + 500}};
  for (const auto& [request, most] : cases) {
    for (const ErrorContinuation option :
         {ErrorContinuation::kContinue, ErrorContinuation::kStop}) {
      SCOPED_TRACE(static_cast<int>(option));
      continuation_ = option;
      maximum_response_size_ = most;
      const ttlv::Buffer answer = Exchange(Request(request));
      maximum_response_size_.reset();
      EXPECT_LE(static_cast<int32_t>(answer.size()), most);
      const auto outcomes = Read(answer);
      size_t done = 0;
      while (done < outcomes.size() && outcomes[done].ok()) ++done;
      EXPECT_GT(done, 0);
      ASSERT_LT(done, outcomes.size());
      for (size_t i = done; i < outcomes.size(); ++i) {
        EXPECT_EQ(outcomes[i].reason, ResultReason::kResponseTooLarge) << i;
      }
      EXPECT_EQ(outcomes.size(), option == ErrorContinuation::kStop ? done + 1 : request.size());
      keys += done;
      EXPECT_THAT(Locate(nullptr), SizeIs(keys));
    }
  }

  // A store that refuses in the middle does not make the answer larger than the client takes.
  continuation_ = ErrorContinuation::kContinue;
  maximum_response_size_ = enough;
  std::vector<Outcome> outcomes;
  const store::Revision before = store_.LastRevision().value();
  engine_->Handle(Request(creates), Caller{owner_}, [&](ttlv::Buffer answer) {
    EXPECT_LE(static_cast<int32_t>(answer.size()), enough);
    outcomes = Read(answer);
  });
  executor_.RunUntil([&] { return store_.LastRevision().value() > before; }, absl::Seconds(1));
  store_.FailCommits(status::Error(v1::REASON_STORAGE_FULL, std::string(200, 'x')));
  executor_.RunUntilIdle();
  ASSERT_THAT(outcomes, SizeIs(creates.size()));
  // The second commit was refused, and no other one.
  EXPECT_TRUE(outcomes.front().ok());
  EXPECT_TRUE(outcomes.back().ok());
  EXPECT_TRUE(std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) {
    return outcome.reason == ResultReason::kGeneralFailure && outcome.message.empty();
  }));
  maximum_response_size_.reset();
  for (const Outcome& outcome : outcomes) keys += outcome.ok() ? 1 : 0;
  EXPECT_THAT(Locate(nullptr), SizeIs(keys));
}

}  // namespace
}  // namespace keysphere::kmip::server
