// S163 with real daemons: who is refused before any byte of a message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/status/matchers.h"
#include "tests/processes/controller_driver.h"
#include "tests/processes/host_driver.h"
#include "tests/processes/raw_client.h"

namespace keysphere::faults {
namespace {

using processes::ControllerDriver;
using processes::ControllerProcess;
using processes::Daemon;
using processes::HostDriver;
using processes::HostProcess;
using processes::Lab;
using processes::SpeaksTls;
using processes::Tls;
using status::HasReason;
using status::IsOk;

const identity::Authority& OtherAuthority() {
  static const auto* const authority =
      identity::Authority::Create(processes::kTrustDomain,
                                  identity::Validity::From(processes::RealClock()->Now()))
          .value()
          .release();
  return *authority;
}

identity::Credentials IssueBy(const identity::Authority& authority, identity::Kind kind,
                              const std::string& name, absl::Time from, absl::Time until) {
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = {from, until};
  return authority.Issue(request).value();
}

// Everything that a server of ours must refuse, whoever it is.
void ExpectGuarded(const Lab& lab, Daemon& daemon) {
  SCOPED_TRACE(daemon.name());
  const absl::Time now = processes::RealClock()->Now();
  const auto kind = identity::Kind::kUser;
  const identity::Credentials good = lab.Issue(kind, "root");
  const identity::Credentials stranger =
      IssueBy(OtherAuthority(), kind, "root", now - absl::Hours(1), now + absl::Hours(1));
  const identity::Credentials expired =
      IssueBy(lab.authority(), kind, "root", now - absl::Hours(2), now - absl::Hours(1));
  EXPECT_TRUE(SpeaksTls(daemon.address(), Tls::k13, &good));  // the control
  EXPECT_FALSE(SpeaksTls(daemon.address(), Tls::k12, &good));
  EXPECT_FALSE(SpeaksTls(daemon.address(), Tls::k13, nullptr));
  EXPECT_FALSE(SpeaksTls(daemon.address(), Tls::k13, &stranger));
  EXPECT_FALSE(SpeaksTls(daemon.address(), Tls::k13, &expired));
  const std::string answer = processes::AnswerToPlaintext(daemon.address());
  // At most an alert of TLS, never a frame of HTTP/2.
  EXPECT_TRUE(answer.empty() || answer[0] == 0x15) << answer;
  // Our own client says why before it dials.
  EXPECT_THAT(daemon.With(expired.Clone()), HasReason(v1::REASON_CERT_EXPIRED));
  EXPECT_TRUE(SpeaksTls(daemon.address(), Tls::k13, &good));
  EXPECT_TRUE(daemon.Running());
}

TEST(TlsTest, S163_AHostSpeaksTls13WithKnownCertificatesOnly) {
  Lab lab;
  HostProcess& host = lab.AddHost({});
  ASSERT_THAT(host.Start(), IsOk());
  ExpectGuarded(lab, host);
  HostDriver driver(&host);
  host::v1::GetHostStatsRequest request;
  const auto stats =
      driver.AsUser().Call<processes::HostStatus>(&processes::StatusCalls::GetHostStats, request);
  ASSERT_THAT(stats, IsOk());
  EXPECT_GE(stats->handshakes_refused(), 5);
}

TEST(TlsTest, S163_AControllerSpeaksTls13WithKnownCertificatesOnly) {
  Lab lab;
  ControllerProcess& controller = lab.AddController("vcenter-a");
  ASSERT_THAT(controller.Start(), IsOk());
  ExpectGuarded(lab, controller);
  const auto stats = controller.Admin().Call<v1::Controller>(&processes::ControllerCalls::GetStats,
                                                             v1::GetStatsRequest());
  ASSERT_THAT(stats, IsOk());
  EXPECT_GE(stats->handshakes_refused(), 5);
}

// The client's side of it: a controller gives nothing to a host that is not the one it means.
TEST(TlsTest, S163_AControllerSendsNothingToAnotherHostThanItMeans) {
  Lab lab;
  ControllerProcess& process = lab.AddController("vcenter-a");
  HostProcess& host = lab.AddHost({});
  processes::HostSettings settings;
  settings.name = "esx-2";
  HostProcess& other = lab.AddHost(settings);
  ASSERT_THAT(process.Start(), IsOk());
  ASSERT_THAT(other.Start(), IsOk());
  // One with the right name, of an authority that nobody here knows.
  const absl::Time now = processes::RealClock()->Now();
  const identity::Credentials unknown = IssueBy(OtherAuthority(), identity::Kind::kHost, "esx-1",
                                                now - absl::Hours(1), now + absl::Hours(1));
  ASSERT_THAT(unknown.Write(identity::CredentialFiles::In(host.folder(), "own")), IsOk());
  ASSERT_THAT(host.Start(), IsOk());

  ControllerDriver driver(&process);
  ASSERT_THAT(driver.CreateCluster("cluster-a"), IsOk());
  EXPECT_FALSE(driver.AddHost(host, "cluster-a").ok());
  v1::AddHostRequest mistaken;
  mistaken.set_name("esx-3");
  mistaken.set_address(other.address());
  mistaken.set_cluster("cluster-a");
  EXPECT_THAT(driver.Admin().Call<v1::Hosts>(&processes::HostCalls::AddHost, mistaken),
              HasReason(v1::REASON_CERT_UNTRUSTED));
  EXPECT_EQ(HostDriver(&other).Status()->controller(), "");
  // It goes on: the right host at the right address is taken.
  EXPECT_THAT(driver.AddHost(other, "cluster-a"), IsOk());
}

}  // namespace
}  // namespace keysphere::faults
