#include "controller/requests/request_log.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/testing/domain.h"
#include "gtest/gtest.h"
#include "keysphere/v1/key_providers.pb.h"

namespace keysphere::controller::requests {
namespace {

using status::HasReason;
using status::IsOk;
using testing::Domain;
using testing::User;

constexpr char kCreate[] = "/keysphere.v1.KeyProviders/CreateKeyProvider";
constexpr char kExport[] = "/keysphere.v1.KeyProviders/ExportKeyProvider";

class RequestLogTest : public ::testing::Test {
 protected:
  RequestLogTest() { Load(); }
  void Load() {
    domain_.sim.RunUntilIdle();
    log_ = RequestLog::Load(&domain_.store, &domain_.strand, &domain_.sim).value();
    domain_.sim.RunUntilIdle();
  }
  static v1::CreateKeyProviderRequest Request(const std::string& id, const std::string& name) {
    v1::CreateKeyProviderRequest request;
    request.set_name(name);
    request.set_key_derivation_key("SECRET-SECRET-SECRET-SECRET-SECR");
    request.set_request_id(id);
    return request;
  }
  // A call of `user`; each run of it answers with how many there were.
  absl::StatusOr<v1::KeyProvider> Call(const char* user,
                                       const v1::CreateKeyProviderRequest& request,
                                       const char* method = kCreate) {
    absl::StatusOr<v1::KeyProvider> answer = absl::UnknownError("not answered");
    log_->Run<v1::CreateKeyProviderRequest, v1::KeyProvider>(
        User(user), method, request,
        [&](absl::StatusOr<v1::KeyProvider> result) { answer = std::move(result); },
        [&](status::Callback<v1::KeyProvider> done) {
          ++runs_;
          if (!failure_.ok()) return done(failure_);
          v1::KeyProvider provider;
          provider.set_name(request.name());
          provider.set_etag(absl::StrCat(runs_));
          done(provider);
        });
    domain_.sim.RunUntilIdle();
    return answer;
  }

  Domain domain_;
  std::unique_ptr<RequestLog> log_;
  int runs_ = 0;
  absl::Status failure_;
};

TEST_F(RequestLogTest, TheSameRequestIsDoneOnceAndAnsweredAsTheFirst) {
  EXPECT_EQ(Call("olga", Request("1", "a"))->etag(), "1");
  EXPECT_EQ(Call("olga", Request("1", "a"))->etag(), "1");
  Load();
  EXPECT_EQ(Call("olga", Request("1", "a"))->etag(), "1");
  EXPECT_EQ(runs_, 1);
}

TEST_F(RequestLogTest, AnotherPayloadIsRefused) {
  ASSERT_THAT(Call("olga", Request("1", "a")), IsOk());
  EXPECT_THAT(Call("olga", Request("1", "b")), HasReason(v1::REASON_REQUEST_ID_REUSED));
  v1::CreateKeyProviderRequest other_key = Request("1", "a");
  other_key.set_key_derivation_key("x");
  EXPECT_THAT(Call("olga", other_key), HasReason(v1::REASON_REQUEST_ID_REUSED));
  Load();
  EXPECT_THAT(Call("olga", Request("1", "b")), HasReason(v1::REASON_REQUEST_ID_REUSED));
  EXPECT_EQ(runs_, 1);
}

TEST_F(RequestLogTest, IdsAreThoseOfACallerAndAMethod) {
  ASSERT_THAT(Call("olga", Request("1", "a")), IsOk());
  EXPECT_EQ(Call("otto", Request("1", "b"))->etag(), "2");
  EXPECT_EQ(Call("olga", Request("1", "c"), "/keysphere.v1.X/Y")->etag(), "3");
}

TEST_F(RequestLogTest, WithoutAnIdItOnlyRuns) {
  EXPECT_EQ(Call("olga", Request("", "a"))->etag(), "1");
  EXPECT_EQ(Call("olga", Request("", "a"))->etag(), "2");
  EXPECT_EQ(log_->kept(), 0u);
  EXPECT_THAT(Call("olga", Request(std::string(65, 'x'), "a")),
              HasReason(v1::REASON_INVALID_ARGUMENT));
}

TEST_F(RequestLogTest, WhatFailedIsDoneAgain) {
  failure_ = status::Error(v1::REASON_STORAGE_FULL, "full");
  EXPECT_THAT(Call("olga", Request("1", "a")), HasReason(v1::REASON_STORAGE_FULL));
  failure_ = absl::OkStatus();
  EXPECT_EQ(Call("olga", Request("1", "a"))->etag(), "2");
}

TEST_F(RequestLogTest, WhileTheFirstRunsTheSecondWaitsForItsAnswer) {
  status::Callback<v1::KeyProvider> running;
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    log_->Run<v1::CreateKeyProviderRequest, v1::KeyProvider>(
        User("olga"), kCreate, Request("1", "a"),
        [&](absl::StatusOr<v1::KeyProvider> result) { answers.push_back(result->name()); },
        [&](status::Callback<v1::KeyProvider> done) {
          ++runs_;
          running = std::move(done);
        });
  }
  domain_.sim.RunUntilIdle();
  EXPECT_EQ(runs_, 1);
  EXPECT_TRUE(answers.empty());
  v1::KeyProvider provider;
  provider.set_name("a");
  running(provider);
  domain_.sim.RunUntilIdle();
  EXPECT_EQ(answers, std::vector<std::string>(3, "a"));
}

TEST_F(RequestLogTest, ForgottenAfter24Hours) {
  ASSERT_THAT(Call("olga", Request("1", "a")), IsOk());
  domain_.sim.AdvanceBy(absl::Hours(23));
  EXPECT_EQ(Call("olga", Request("1", "a"))->etag(), "1");
  domain_.sim.AdvanceBy(absl::Hours(1));
  EXPECT_EQ(Call("olga", Request("1", "b"))->etag(), "2");
  EXPECT_EQ(log_->kept(), 1u);
}

TEST_F(RequestLogTest, IsBounded) {
  for (size_t i = 0; i < RequestLog::kMaxKept + 10; ++i) {
    ASSERT_THAT(Call("olga", Request(absl::StrCat(i), "a")), IsOk());
  }
  EXPECT_EQ(log_->kept(), RequestLog::kMaxKept);
}

TEST_F(RequestLogTest, S146_NoSecretIsKeptAndAnAnswerWithOneIsMadeAnew) {
  ASSERT_THAT(Call("olga", Request("1", "a")), IsOk());
  int runs = 0;
  for (int i = 0; i < 2; ++i) {
    v1::ExportKeyProviderRequest request;
    request.set_name("a");
    request.set_password("SECRET-PASSWORD");
    request.set_request_id("2");
    log_->Run<v1::ExportKeyProviderRequest, v1::ExportKeyProviderResponse>(
        User("olga"), kExport, request, [](absl::StatusOr<v1::ExportKeyProviderResponse>) {},
        [&](status::Callback<v1::ExportKeyProviderResponse> done) {
          v1::ExportKeyProviderResponse response;
          response.set_token(absl::StrCat("SECRET-TOKEN", ++runs));
          done(response);
        });
    domain_.sim.RunUntilIdle();
  }
  EXPECT_EQ(runs, 2);
  const auto entries = domain_.store.Range("", "", 100);
  ASSERT_THAT(entries, IsOk());
  ASSERT_GE(entries->size(), 3u);
  for (const store::Entry& entry : *entries) {
    EXPECT_EQ(entry.value.find("SECRET"), std::string::npos) << entry.key;
  }
}

}  // namespace
}  // namespace keysphere::controller::requests
