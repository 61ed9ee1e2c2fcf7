#include "services/kms/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock/system_clock.h"
#include "common/identity/authority.h"
#include "common/log/log.h"
#include "common/status/matchers.h"
#include "kmip/client/kmip_client.h"

namespace keysphere::kms {
namespace {

using kmip::client::KeyServer;
using kmip::client::KmipClient;
using status::HasReason;
using status::IsOk;

constexpr absl::Duration kTimeout = absl::Seconds(30);

// A node over TLS, its control, and a client of its keys.
class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_THAT(files_.MakeFolders(folder_), IsOk());
    authority_ =
        identity::Authority::Create("keysphere.test", identity::Validity::From(clock_.Now()))
            .value();
    const identity::CredentialFiles own = Issue(identity::Kind::kKms, "kms-1", "kms");
    Kms::Options options;
    options.ip = "127.0.0.1";
    options.port = 0;
    options.certificate_file = own.certificate;
    options.key_file = own.key;
    options.ca_file = own.ca;
    options.data_dir = folder_ + "/data";
    options.simulation = true;
    kms_ = Kms::Create(options, &clock_, &logger_).value();
    control_ = std::make_unique<Control>(kms_.get());

    const auto user =
        identity::Credentials::Load(Issue(identity::Kind::kUser, "client", "client")).value();
    kmip::client::KmipClientOptions client;
    client.host = "127.0.0.1";
    client.port = kms_->port();
    client.trusted_pem = user.ca_pem;
    client.certificate_pem = user.certificate_pem;
    client.key_pem = identity::SecretPem(user.key_pem.view());
    client_ = KmipClient::Create(std::move(client), loop_.get(), &executor_, &clock_).value();
  }

  identity::CredentialFiles Issue(identity::Kind kind, const std::string& name,
                                  const std::string& stem) {
    identity::Authority::Request request;
    request.kind = kind;
    request.name = name;
    request.validity = identity::Validity::From(clock_.Now());
    request.ip_addresses = {"127.0.0.1"};
    const auto files = identity::CredentialFiles::In(folder_, stem);
    KS_CHECK(authority_->Issue(request).value().Write(files).ok());
    return files;
  }

  // Runs a call with a callback and waits for its outcome.
  template <typename T, typename Start>
  absl::StatusOr<T> Wait(Start start) {
    sync::Mutex mutex;
    sync::CondVar changed;
    absl::optional<absl::StatusOr<T>> result;
    start([&](absl::StatusOr<T> outcome) {
      sync::MutexLock lock(&mutex);
      result = std::move(outcome);
      changed.Signal();
    });
    sync::MutexLock lock(&mutex);
    while (!result.has_value()) changed.Wait(&mutex);
    return *std::move(result);
  }
  absl::Status Set(const sim::v1::SetFaultRequest& request) {
    return Wait<sim::v1::SetFaultResponse>(
               [&](auto done) { control_->SetFault(rpc::CallInfo(), request, std::move(done)); })
        .status();
  }
  absl::Status Set(const sim::v1::KmsFault& fault) {
    sim::v1::SetFaultRequest request;
    *request.mutable_fault() = fault;
    return Set(request);
  }
  sim::v1::KmsStats Stats() {
    return Wait<sim::v1::KmsStats>([&](auto done) {
             control_->GetKmsStats(rpc::CallInfo(), sim::v1::GetKmsStatsRequest(), std::move(done));
           })
        .value();
  }
  absl::StatusOr<std::string> Create() {
    return Wait<std::string>([&](auto done) { client_->CreateKey(kTimeout, std::move(done)); });
  }
  absl::Status Get(const std::string& uid) {
    auto keys = Wait<KeyServer::Keys>(
        [&](auto done) { client_->GetKeys({uid}, kTimeout, std::move(done)); });
    return keys.ok() ? keys->at(0).status() : keys.status();
  }

  void Activate(const std::string& uid) {
    const auto activated = Wait<int>([&](auto done) {
      client_->Activate(uid, kTimeout, [done](const absl::Status& status) mutable {
        done(status.ok() ? absl::StatusOr<int>(0) : absl::StatusOr<int>(status));
      });
    });
    ASSERT_THAT(activated, IsOk());
  }
  kmip::client::KeyState StateOf(const std::string& uid) {
    auto states = Wait<KeyServer::States>(
        [&](auto done) { client_->GetStates({uid}, kTimeout, std::move(done)); });
    return states.value().at(0).value();
  }

  const files::FileSystem files_;
  clock::SystemClock clock_;
  log::NullLogger logger_;
  std::string folder_;
  std::unique_ptr<identity::Authority> authority_;
  executor::RealExecutor executor_{&clock_};
  std::unique_ptr<kmip::net::Loop> loop_ = kmip::net::Loop::Create().value();
  std::unique_ptr<Kms> kms_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<KmipClient> client_;
};

TEST_F(ControlTest, ANodeThatRefusesIsUnreachableUntilItsFaultEnds) {
  const std::string uid = Create().value();
  sim::v1::KmsFault fault;
  fault.set_mode(sim::v1::KmsFault::MODE_REFUSE);
  ASSERT_THAT(Set(fault), IsOk());
  EXPECT_THAT(Get(uid), HasReason(v1::REASON_KMS_UNREACHABLE));
  ASSERT_THAT(Set(sim::v1::KmsFault()), IsOk());
  EXPECT_THAT(Get(uid), IsOk());
}

TEST_F(ControlTest, KeysMayBeMissingOrInactive) {
  const std::string uid = Create().value();
  const std::string other = Create().value();
  Activate(other);
  sim::v1::KmsFault fault;
  fault.add_missing_keys(uid);
  ASSERT_THAT(Set(fault), IsOk());
  EXPECT_THAT(Get(uid), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_THAT(Get(other), IsOk());
  fault.set_all_keys_missing(true);
  ASSERT_THAT(Set(fault), IsOk());
  EXPECT_THAT(Get(other), HasReason(v1::REASON_NOT_FOUND));
  fault.Clear();
  fault.add_inactive_keys(other);
  ASSERT_THAT(Set(fault), IsOk());
  EXPECT_EQ(StateOf(other), kmip::client::KeyState::kPreActive);
  ASSERT_THAT(Set(sim::v1::KmsFault()), IsOk());
  EXPECT_EQ(StateOf(other), kmip::client::KeyState::kActive);
}

TEST_F(ControlTest, ItPresentsAnotherCertificateAndItsOwnAgain) {
  ASSERT_THAT(Create(), IsOk());
  const std::string first = client_->LastCertificate()->sha256;
  const auto other = Issue(identity::Kind::kKms, "kms-1", "kms-other");
  sim::v1::SetFaultRequest request;
  request.set_certificate_file(other.certificate);
  EXPECT_THAT(Set(request), HasReason(v1::REASON_INVALID_ARGUMENT));
  request.set_key_file(other.key);
  ASSERT_THAT(Set(request), IsOk());
  const absl::Status after = Get("none");
  EXPECT_THAT(after, HasReason(v1::REASON_NOT_FOUND));
  EXPECT_NE(client_->LastCertificate()->sha256, first);
  ASSERT_THAT(Set(sim::v1::KmsFault()), IsOk());
  EXPECT_THAT(Get("none"), HasReason(v1::REASON_NOT_FOUND));
  EXPECT_EQ(client_->LastCertificate()->sha256, first);
}

TEST_F(ControlTest, FiguresTellOperationsAndObjects) {
  const std::string uid = Create().value();
  ASSERT_THAT(Create(), IsOk());
  ASSERT_THAT(Get(uid), IsOk());
  sim::v1::KmsFault fault;
  fault.set_fail_request(7);
  ASSERT_THAT(Set(fault), IsOk());
  const sim::v1::KmsStats stats = Stats();
  EXPECT_EQ(stats.requests().at("Create"), 2);
  EXPECT_EQ(stats.requests().at("Get"), 1);
  EXPECT_EQ(stats.objects(), 2);
  EXPECT_EQ(stats.connections(), 1);
  EXPECT_EQ(stats.fault().fail_request(), 7);
}

TEST_F(ControlTest, ValuesOutOfRangeChangeNothing) {
  sim::v1::KmsFault fault;
  fault.set_mode(sim::v1::KmsFault::MODE_REFUSE);
  fault.set_drop_after_bytes(-1);
  EXPECT_THAT(Set(fault), HasReason(v1::REASON_INVALID_ARGUMENT));
  fault.set_drop_after_bytes(0);
  fault.mutable_latency()->set_seconds(-1);
  EXPECT_THAT(Set(fault), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(Create(), IsOk());
}

TEST_F(ControlTest, OnlyTheOwnerMaySetFaults) {
  const auto rules = ControlRules();
  const auto may = [&](identity::Kind kind, const std::string& name) {
    rpc::CallInfo call;
    call.caller = {"keysphere.test", kind, name};
    return rules->Authorize(call, "/keysphere.sim.v1.KmsFaults/SetFault").ok();
  };
  EXPECT_TRUE(may(identity::Kind::kUser, "administrator"));
  EXPECT_TRUE(may(identity::Kind::kUser, "simulator"));
  EXPECT_FALSE(may(identity::Kind::kUser, "alice"));
  EXPECT_FALSE(may(identity::Kind::kController, "administrator"));
}

}  // namespace
}  // namespace keysphere::kms
