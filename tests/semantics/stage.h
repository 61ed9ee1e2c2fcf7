#ifndef KEYSPHERE_TESTS_SEMANTICS_STAGE_H_
#define KEYSPHERE_TESTS_SEMANTICS_STAGE_H_

#include <string>
#include <vector>

#include "common/status/matchers.h"
#include "controller/alarms/alarms.h"
#include "controller/events/event_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/in_process_cluster.h"

// What the tests of the contract begin with.
namespace keysphere::tests {

using controller::encryption::HostEncryption;
using controller::vcenter::VCenter;
using hostagent::agent::HostAgent;
using hostagent::tpm::TpmVersion;
using status::HasReason;
using status::IsOk;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

inline constexpr char kData[] = "what the guest wrote";

// The refusal's reason, and all further causes.
inline std::vector<v1::Reason> OthersOf(const absl::Status& status) {
  std::vector<v1::Reason> others;
  const v1::ErrorDetail detail = status::DetailOf(status);
  for (const int other : detail.others()) {
    others.push_back(static_cast<v1::Reason>(other));
  }
  return others;
}

inline std::vector<std::string> TypesOf(const std::vector<v1::Event>& events) {
  std::vector<std::string> types;
  for (const v1::Event& event : events) types.push_back(event.type());
  return types;
}

// vcenter-a with "cluster-a" and host esx-1 (TPM 2.0) in it; vcenter-b with "cluster-b", empty.
class Stage : public ::testing::Test {
 protected:
  Stage()
      : a(cluster.AddVCenter("vcenter-a")),
        b(cluster.AddVCenter("vcenter-b")),
        esx1(cluster.AddHost("esx-1")) {
    EXPECT_THAT(a.CreateCluster("cluster-a"), IsOk());
    EXPECT_THAT(b.CreateCluster("cluster-b"), IsOk());
    EXPECT_THAT(a.AddHost("esx-1", "cluster-a"), IsOk());
  }

  // vcenter-a's default is the backed-up NKP "nkp"; its bundle, where a test imports it elsewhere.
  void UseNkp() {
    ASSERT_THAT(a.CreateUsableNkp("nkp"), IsOk());
    ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  }
  std::string UseNkpWithBundle() {
    EXPECT_THAT(a.CreateNkp("nkp"), IsOk());
    const auto bundle = a.BackUp("nkp");
    EXPECT_THAT(bundle, IsOk());
    EXPECT_THAT(a.SetDefault("nkp"), IsOk());
    return bundle.value_or("");
  }
  HostNode& AddHostToA(const std::string& name, TpmVersion tpm = TpmVersion::k20) {
    HostNode& host = cluster.AddHost(name, tpm);
    EXPECT_THAT(a.AddHost(name, "cluster-a"), IsOk());
    return host;
  }
  // An encrypted VM with data on its disk, running if asked.
  void MakeVm(const std::string& vm, bool running, const std::string& host = "esx-1",
              const std::string& provider = "") {
    ASSERT_THAT(a.CreateEncryptedVm(host, vm, provider), IsOk());
    ASSERT_THAT(a.PowerOn(vm), IsOk());
    ASSERT_THAT(cluster.FindHost(host)->Write(vm, kData + vm), IsOk());
    if (!running) {
      ASSERT_THAT(a.PowerOff(vm), IsOk());
    }
  }
  // The VM runs, and its disk has what MakeVm wrote.
  void ExpectData(const std::string& vm, const std::string& host = "esx-1") {
    const std::string wanted = kData + vm;
    const auto data = cluster.FindHost(host)->Read(vm, wanted.size());
    ASSERT_THAT(data, IsOk());
    EXPECT_EQ(*data, wanted);
  }
  // Takes esx-1 to vcenter-b.
  void MoveToB(const std::string& host = "esx-1") {
    ASSERT_THAT(b.AddHost(host, "cluster-b", /*force=*/true), IsOk());
  }
  // One step of the state machine of a host's encryption mode.
  absl::Status Prepare(const std::string& host) {
    v1::PrepareCryptoRequest request;
    request.set_host(host);
    return a.Call(&VCenter::host_encryption, &HostEncryption::PrepareCrypto, request).status();
  }
  absl::Status Enable(const std::string& host, const v1::CryptoKeyId& key) {
    v1::EnableCryptoRequest request;
    request.set_host(host);
    *request.mutable_key() = key;
    return a.Call(&VCenter::host_encryption, &HostEncryption::EnableCrypto, request).status();
  }
  absl::Status Disable(const std::string& host) {
    v1::DisableCryptoRequest request;
    request.set_host(host);
    return a.Call(&VCenter::host_encryption, &HostEncryption::DisableCrypto, request).status();
  }
  absl::Status ChangeKey(const std::string& host, const v1::CryptoKeyId& key) {
    v1::ChangeKeyRequest request;
    request.set_host(host);
    *request.mutable_key() = key;
    return a.Call(&VCenter::host_encryption, &HostEncryption::ChangeKey, request).status();
  }
  absl::Status AddKey(const std::string& host, const v1::CryptoKeyId& key) {
    v1::AddKeyRequest request;
    request.set_host(host);
    *request.mutable_key() = key;
    return a.Call(&VCenter::host_encryption, &HostEncryption::AddKey, request).status();
  }
  // S150, for whatever kind the provider of esx-1's host key is: without it the safe host stays
  // safe until its reboot, and then needs an administrator.
  void ExpectSafeUntilReboot(const std::string& provider) {
    ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
    ASSERT_THAT(a.DeleteProvider(provider), IsOk());
    Tick();
    EXPECT_TRUE(esx1.Safe());
    EXPECT_THAT(a.Events(controller::events::kReqEnableKmsClusterError, "host/esx-1"), SizeIs(1));
    ASSERT_THAT(esx1.Reboot(), IsOk());
    cluster.Advance(absl::Minutes(1));
    EXPECT_FALSE(esx1.Safe());
    EXPECT_TRUE(a.Shows(controller::alarms::kHostRequiresEncryption, "host/esx-1"));
  }
  // S72: vcenter-b's locked VM on esx-1 takes nothing but to be reloaded and given up.
  void ExpectLockedVmRefuses(const std::string& vm) {
    ASSERT_THAT(b.CreateUsableNkp("own"), IsOk());
    ASSERT_THAT(b.SetDefault("own"), IsOk());
    ASSERT_TRUE(b.Locked(vm));
    const std::string vmx = esx1.Vmx(vm);
    for (const absl::Status& refused :
         {b.PowerOn(vm), b.EncryptVm(vm), b.DecryptVm(vm), b.AddVtpm(vm), b.RekeyVm(vm),
          b.RekeyVm(vm, "", /*deep=*/true), esx1.PowerOn(vm)}) {
      EXPECT_FALSE(refused.ok());
      const bool says_locked = status::ReasonOf(refused) == v1::REASON_VM_LOCKED ||
                               ::testing::Value(OthersOf(refused), Contains(v1::REASON_VM_LOCKED));
      EXPECT_TRUE(says_locked) << status::ToString(refused);
    }
    EXPECT_EQ(esx1.Vmx(vm), vmx);
    EXPECT_THAT(b.Reload(vm), IsOk());
    EXPECT_TRUE(b.Locked(vm));
    EXPECT_THAT(b.Unregister(vm), IsOk());
  }
  static v1::CryptoKeyId Key(const std::string& provider, const std::string& id = "") {
    v1::CryptoKeyId key;
    key.set_provider_id(provider);
    key.set_key_id(id);
    return key;
  }
  // To after the next periodic pass of every vCenter.
  void Tick() { cluster.Advance(absl::Minutes(5)); }

  InProcessCluster cluster;
  VCenterNode& a;
  VCenterNode& b;
  HostNode& esx1;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_SEMANTICS_STAGE_H_
