// Who may do what on a host.
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using AccessTest = HostTest;

host::v1::CheckKeysRequest Check(int64_t epoch) {
  host::v1::CheckKeysRequest request;
  request.set_epoch(epoch);
  return request;
}

TEST_F(AccessTest, S140_AnotherControllerNeedsForceAndTheFormerOneIsRefused) {
  ASSERT_EQ(host().epoch(), 1);
  host::v1::AttachRequest attach;
  attach.set_cluster("cluster-b");
  EXPECT_THAT(host().Call(&HostAgent::Attach, ControllerId("vcenter-b"), attach),
              HasReason(v1::REASON_HOST_ATTACHED));
  EXPECT_EQ(host().Status().controller(), "vcenter-a");
  ASSERT_THAT(host().Attach("vcenter-b", "cluster-b", /*force=*/true), IsOk());
  EXPECT_EQ(host().epoch(), 2);
  EXPECT_EQ(host().Status().controller(), "vcenter-b");
  // The former one: with its epoch, and with a guessed one.
  for (const int64_t epoch : {1, 2}) {
    EXPECT_THAT(host().Call(&HostAgent::CheckKeys, ControllerId("vcenter-a"), Check(epoch)),
                HasReason(v1::REASON_STALE_EPOCH));
  }
  host::v1::ListHostVmsRequest list;
  list.set_epoch(1);
  EXPECT_THAT(host().Call(&HostAgent::ListHostVms, ControllerId("vcenter-a"), list),
              HasReason(v1::REASON_STALE_EPOCH));
  // The present one with an epoch that is not its own.
  EXPECT_THAT(host().Call(&HostAgent::CheckKeys, ControllerId("vcenter-b"), Check(1)),
              HasReason(v1::REASON_STALE_EPOCH));
  EXPECT_THAT(host().Call(&HostAgent::CheckKeys, ControllerId("vcenter-b"), Check(2)), IsOk());
}

TEST_F(AccessTest, S140_TheSameControllerKeepsItsEpochUnlessItAsksForANewOne) {
  EXPECT_EQ(host().Attach("vcenter-a")->epoch(), 1);
  host::v1::AttachRequest attach;
  attach.set_new_epoch(true);
  EXPECT_EQ(host().Call(&HostAgent::Attach, ControllerId("vcenter-a"), attach)->epoch(), 2);
  // It lasts over boots.
  host().Reboot();
  EXPECT_EQ(host().Attach("vcenter-a")->epoch(), 2);
}

TEST_F(AccessTest, S140_OnlyAllowedControllersAttach) {
  host::v1::AttachRequest attach;
  attach.set_force(true);
  EXPECT_THAT(host().Call(&HostAgent::Attach, ControllerId("vcenter-x"), attach),
              HasReason(v1::REASON_NO_PERMISSION));
  EXPECT_THAT(host().Call(&HostAgent::Attach, UserId("root"), attach),
              HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, S140_ADetachedHostObeysNobodyUntilItIsAttached) {
  host::v1::DetachRequest detach;
  ASSERT_THAT(host().Manage(&HostAgent::Detach, detach), IsOk());
  EXPECT_EQ(host().Status().controller(), "");
  EXPECT_THAT(host().Call(&HostAgent::CheckKeys, ControllerId("vcenter-a"), Check(1)),
              HasReason(v1::REASON_STALE_EPOCH));
  EXPECT_EQ(host().Attach("vcenter-b")->epoch(), 2);
}

TEST_F(AccessTest, S157_UsersPowerAndRegisterButDoNotEncrypt) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::PowerOnHostVm, on), IsOk());
  EXPECT_THAT(host().Call(&HostAgent::PowerOnHostVm, UserId("eve"), on),
              HasReason(v1::REASON_NO_PERMISSION));
  host::v1::PowerOffHostVmRequest off;
  off.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::PowerOffHostVm, off), IsOk());

  host::v1::EncryptHostVmRequest encrypt;
  encrypt.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::EncryptHostVm, encrypt),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::DecryptHostVm, decrypt),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::AddHostVmVtpmRequest vtpm;
  vtpm.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::AddHostVmVtpm, vtpm),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::UnlockHostVmRequest unlock;
  unlock.set_vm("web");
  EXPECT_THAT(host().Direct(&HostAgent::UnlockHostVm, unlock),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  host::v1::CreateHostVmRequest create;
  create.set_name("db");
  create.mutable_key()->set_provider_id("nkp");
  EXPECT_THAT(host().Direct(&HostAgent::CreateHostVm, create),
              HasReason(v1::REASON_CONTROLLER_UNAVAILABLE));
  // Nothing half done.
  EXPECT_EQ(host().Direct(&HostAgent::ListHostVms, host::v1::ListHostVmsRequest())->vms_size(), 1);
  // Of what only a controller does, they hear that they may not.
  EXPECT_THAT(host().Direct(&HostAgent::ApplyKeys, host::v1::ApplyKeysRequest()),
              HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, HostsHaveNoRoleOnEachOther) {
  const identity::Identity other{"keysphere.test", identity::Kind::kHost, "esx-2"};
  EXPECT_THAT(host().Call(&HostAgent::GetHostStatus, other, host::v1::GetHostStatusRequest()),
              HasReason(v1::REASON_NO_PERMISSION));
}

TEST_F(AccessTest, TheWatchOfAFormerControllerEnds) {
  std::vector<host::v1::HostEvent> events;
  absl::Status end;
  host::v1::WatchHostRequest request;
  request.set_epoch(host().epoch());
  host().agent().WatchHost(ControllerId("vcenter-a"), request,
                           {[&events](const host::v1::HostEvent& event) {
                              events.push_back(event);
                              return true;
                            },
                            [&end](const absl::Status& why) { end = why; }});
  executor_.RunUntilIdle();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].snapshot().status().controller(), "vcenter-a");
  ASSERT_THAT(host().Create("web"), IsOk());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].vm_changed().vm().name(), "web");
  EXPECT_EQ(events[1].sequence(), events[0].sequence() + 1);
  ASSERT_THAT(host().Attach("vcenter-b", "", /*force=*/true), IsOk());
  EXPECT_THAT(end, HasReason(v1::REASON_STALE_EPOCH));
  // It does not come again.
  host().agent().WatchHost(ControllerId("vcenter-a"), request,
                           {[](const host::v1::HostEvent&) { return true; },
                            [&end](const absl::Status& why) { end = why; }});
  end = absl::OkStatus();
  executor_.RunUntilIdle();
  EXPECT_THAT(end, HasReason(v1::REASON_STALE_EPOCH));
}

TEST_F(AccessTest, ASlowWatcherIsDropped) {
  int taken = 0;
  bool ended = false;
  host::v1::WatchHostRequest request;
  request.set_epoch(host().epoch());
  host().agent().WatchHost(ControllerId("vcenter-a"), request,
                           {[&taken](const host::v1::HostEvent&) { return ++taken < 2; },
                            [&ended](const absl::Status&) { ended = true; }});
  executor_.RunUntilIdle();
  ASSERT_THAT(host().Create("a"), IsOk());
  ASSERT_THAT(host().Create("b"), IsOk());
  EXPECT_EQ(taken, 2);
  EXPECT_FALSE(ended);
}

}  // namespace
}  // namespace keysphere::hostagent::agent
