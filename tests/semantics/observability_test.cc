// H. Detail: audit and observability.
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/bundle.h"
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

using controller::alarms::Alarms;
using controller::alarms::kHostRequiresEncryption;
using controller::alarms::kNotBackedUp;
using controller::alarms::kVmFilesUnusable;
using controller::alarms::kVmLocked;
using controller::encryption::VmEncryption;
namespace events = controller::events;

class ObservabilityTest : public Stage {};

TEST_F(ObservabilityTest, S87_ACryptoOperationLeavesAnAuditEvent) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  ASSERT_THAT(a.EncryptVm("web"), IsOk());
  const std::string key = a.Vm("web").key_id().key_id();
  const auto audit = [this](const std::string& object) {
    return a.Events(events::kCryptoOperation, object);
  };
  ASSERT_THAT(audit("vm/web"), SizeIs(1));
  const v1::Event encrypt = audit("vm/web")[0];
  EXPECT_EQ(encrypt.user(), "administrator");
  EXPECT_EQ(encrypt.time().seconds(), absl::ToUnixSeconds(cluster.executor().Now()));
  EXPECT_EQ(encrypt.arguments().at("operation"), "EncryptVm");
  EXPECT_EQ(encrypt.arguments().at("key_id"), key);
  EXPECT_EQ(encrypt.arguments().at("provider"), "nkp");

  ASSERT_THAT(a.DecryptVm("web"), IsOk());
  ASSERT_THAT(audit("vm/web"), SizeIs(2));
  EXPECT_EQ(audit("vm/web")[1].arguments().at("old_key_id"), key);
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_THAT(audit("host/esx-1"), Not(IsEmpty()));
  EXPECT_THAT(audit("provider/nkp"), Not(IsEmpty()));
  // What was refused was not done.
  const size_t before = audit("").size();
  EXPECT_FALSE(a.DecryptVm("web").ok());
  EXPECT_THAT(audit(""), SizeIs(before));
}

TEST_F(ObservabilityTest, S154_AVmOfAHostThatIsAwayExplainsWhyItDoesNotPowerOn) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  MakeVm("dark", /*running=*/false);
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_UNSPECIFIED);
  const auto expect_away = [this](const std::string& vm, const std::string& step) {
    EXPECT_THAT(a.PowerOn(vm), HasReason(v1::REASON_HOST_NOT_RESPONDING));
    const v1::LockExplanation told = a.Explain(vm);
    EXPECT_EQ(told.reason(), v1::REASON_HOST_NOT_RESPONDING);
    EXPECT_EQ(told.host(), "esx-1");
    EXPECT_THAT(told.summary(), HasSubstr("esx-1"));
    EXPECT_THAT(told.next_step(), HasSubstr(step));
  };
  esx1.Kill();
  cluster.Settle();
  expect_away("web", "Start the host");
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_UNSPECIFIED);

  // Locked when it was told last: that is told too.
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  ASSERT_TRUE(a.Locked("dark"));
  MoveToB();
  expect_away("dark", "Add it again with force");
  EXPECT_THAT(a.Explain("dark").others(), Contains(v1::REASON_KEY_MISSING_ON_HOST));
}

// An operation whose answer the vCenter never hears, though the host has done it.
class LostAnswerTest : public Stage {
 protected:
  LostAnswerTest() { UseNkp(); }

  // Asks for it, and goes on to the instant at which the VM's files are as it leaves them.
  template <typename Request>
  void AskUntilWritten(void (VmEncryption::*method)(const VCenterNode::Caller&, const Request&,
                                                    status::Callback<v1::Task>),
                       const Request& request, bool encrypted) {
    a.vcenter().strand()->Post([this, method, request] {
      (a.vcenter().vm_encryption().*method)(a.caller, request,
                                            [this](absl::StatusOr<v1::Task> task) {
                                              ASSERT_THAT(task, IsOk());
                                              task_ = task->id();
                                            });
    });
    const auto written = [this, encrypted] {
      const std::string vmx = esx1.Vmx("web");
      return !vmx.empty() && absl::StrContains(vmx, "encryption.keySafe") == encrypted;
    };
    cluster.executor().RunUntil(written, absl::Minutes(1));
    ASSERT_TRUE(written());
  }
  void Encrypt() {
    v1::EncryptVmRequest request;
    request.set_vm("web");
    AskUntilWritten(&VmEncryption::EncryptVm, request, /*encrypted=*/true);
  }
  void Decrypt() {
    v1::DecryptVmRequest request;
    request.set_vm("web");
    AskUntilWritten(&VmEncryption::DecryptVm, request, /*encrypted=*/false);
  }
  void Create() {
    v1::CreateVmRequest request;
    request.set_host("esx-1");
    request.set_name("web");
    request.mutable_crypto();
    AskUntilWritten(&VmEncryption::CreateVm, request, /*encrypted=*/true);
  }
  // Answers and what the host tells are lost, for longer than a call may take.
  void LoseTheHost() {
    esx1.wire().SetCut(true);
    cluster.Advance(absl::Hours(1) + absl::Minutes(1));
    EXPECT_EQ(Task().error().reason(), v1::REASON_HOST_NOT_RESPONDING);
    EXPECT_THAT(audit(), SizeIs(audited_));
    esx1.wire().SetCut(false);
    cluster.Advance(absl::Minutes(2));
  }
  void LoseTheVCenter() {
    a.Crash();
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Minutes(2));
    EXPECT_EQ(Task().error().reason(), v1::REASON_CONTROLLER_UNAVAILABLE);
  }
  v1::Task Task() {
    v1::GetTaskRequest request;
    request.set_id(task_);
    return a.Call(&VCenter::tasks, &controller::tasks::Tasks::GetTask, request).value();
  }
  std::vector<v1::Event> audit() { return a.Events(events::kCryptoOperation, "vm/web"); }
  // One event more, and it tells this.
  void ExpectAudited(const std::string& operation) {
    ASSERT_THAT(audit(), SizeIs(audited_ + 1));
    const v1::Event event = audit().back();
    EXPECT_EQ(event.user(), "administrator");
    EXPECT_EQ(event.arguments().at("operation"), operation);
    EXPECT_EQ(event.arguments().at("host"), "esx-1");
    EXPECT_EQ(event.arguments().at("task"), task_);
    EXPECT_EQ(event.arguments().at("answer"), "lost");
    EXPECT_THAT(event.message(), HasSubstr("lost"));
    if (operation != "DecryptVm") {
      EXPECT_EQ(event.arguments().at("key_id"), a.Vm("web").key_id().key_id());
      EXPECT_EQ(event.arguments().at("provider"), "nkp");
    }
    // Once.
    a.Crash();
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Minutes(1));
    ASSERT_THAT(esx1.Reboot(), IsOk());
    cluster.Advance(absl::Minutes(1));
    EXPECT_THAT(audit(), SizeIs(audited_ + 1));
  }

  std::string task_;
  size_t audited_ = 0;  // before
};

TEST_F(LostAnswerTest, S87_AnEncryptionIsAuditedWhenTheHostIsBack) {
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  Encrypt();
  LoseTheHost();
  ExpectAudited("EncryptVm");
}

TEST_F(LostAnswerTest, S87_AnEncryptionIsAuditedWhenTheVCenterIsBack) {
  ASSERT_THAT(a.CreateVm("esx-1", "web"), IsOk());
  Encrypt();
  LoseTheVCenter();
  ExpectAudited("EncryptVm");
}

TEST_F(LostAnswerTest, S87_ADecryptionIsAuditedWhenTheHostIsBack) {
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  audited_ = 1;
  const std::string key = a.Vm("web").key_id().key_id();
  Decrypt();
  LoseTheHost();
  ExpectAudited("DecryptVm");
  EXPECT_EQ(audit().back().arguments().at("old_key_id"), key);
}

TEST_F(LostAnswerTest, S87_ADecryptionIsAuditedWhenTheVCenterIsBack) {
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  audited_ = 1;
  Decrypt();
  LoseTheVCenter();
  ExpectAudited("DecryptVm");
}

TEST_F(LostAnswerTest, S87_AnEncryptedCreateIsAuditedWhenTheVCenterIsBack) {
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  Create();
  LoseTheVCenter();
  ExpectAudited("CreateVm");
}

TEST_F(LostAnswerTest, S87_WhatTheHostNeverDidIsNotAuditedAndALaterOneIsAuditedOnce) {
  ASSERT_THAT(a.CreateEncryptedVm("esx-1", "web"), IsOk());
  // The host goes before the call reaches it.
  v1::DecryptVmRequest request;
  request.set_vm("web");
  a.vcenter().strand()->Post([this, request] {
    a.vcenter().vm_encryption().DecryptVm(
        a.caller, request, [this](absl::StatusOr<v1::Task> task) { task_ = task.value().id(); });
  });
  cluster.executor().RunUntil([this] { return esx1.wire().calls("DecryptHostVm") == 1; },
                              absl::Minutes(1));
  esx1.wire().SetCut(true);
  cluster.Advance(absl::Hours(1) + absl::Minutes(1));
  EXPECT_EQ(Task().error().reason(), v1::REASON_HOST_NOT_RESPONDING);
  esx1.wire().SetCut(false);
  cluster.Advance(absl::Minutes(2));
  EXPECT_FALSE(a.Vm("web").key_id().key_id().empty());
  EXPECT_THAT(audit(), SizeIs(1));  // its creation

  ASSERT_THAT(a.DecryptVm("web"), IsOk());
  ASSERT_THAT(audit(), SizeIs(2));
  EXPECT_EQ(audit().back().arguments().count("answer"), 0u);
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_THAT(audit(), SizeIs(2));
}

TEST_F(ObservabilityTest, ATaskAdvancesAsItsHostDoes) {
  UseNkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  {
    std::ofstream image(esx1.datastore() + "/image.raw", std::ios::binary);
    image << std::string(size_t{16} << 20, 'x');
  }
  v1::CreateVmRequest request;
  request.set_host("esx-1");
  request.set_name("web");
  request.add_disks()->set_import_path("[ds1] image.raw");
  request.mutable_crypto();
  v1::Task task;
  a.vcenter().strand()->Post([&] {
    a.vcenter().vm_encryption().CreateVm(
        a.caller, request, [&task](absl::StatusOr<v1::Task> begun) { task = begun.value(); });
  });
  std::set<int> seen;
  const auto ended = [&] {
    if (task.id().empty()) return false;
    v1::GetTaskRequest get;
    get.set_id(task.id());
    a.vcenter().tasks().GetTask(a.caller, get, [&](absl::StatusOr<v1::Task> now) {
      if (now.ok()) task = *std::move(now);
    });
    seen.insert(task.progress_percent());
    return task.state() != v1::Task::STATE_RUNNING;
  };
  cluster.executor().RunUntil(ended, absl::Minutes(1));
  EXPECT_EQ(task.state(), v1::Task::STATE_SUCCEEDED);
  EXPECT_GT(seen.size(), 10u);
  EXPECT_EQ(*seen.rbegin(), 100);
}

TEST_F(ObservabilityTest, S88_AMissingBackupIsToldAgainEveryDay) {
  ASSERT_THAT(a.CreateNkp("nkp"), IsOk());
  const auto told = [this] { return a.Events(events::kNotBackedUp + std::string(""), "").size(); };
  cluster.Advance(absl::Hours(24));
  EXPECT_TRUE(a.Shows(kNotBackedUp, "provider/nkp"));
  const size_t first = told();
  EXPECT_GE(first, 1u);
  v1::AcknowledgeAlarmRequest acknowledge;
  acknowledge.set_name(kNotBackedUp);
  acknowledge.set_object("provider/nkp");
  ASSERT_THAT(a.Call(&VCenter::alarms, &Alarms::AcknowledgeAlarm, acknowledge), IsOk());
  EXPECT_TRUE(a.Alarms("provider/nkp")[0].acknowledged());

  cluster.Advance(absl::Hours(24));
  EXPECT_GT(told(), first);
  EXPECT_FALSE(a.Alarms("provider/nkp")[0].acknowledged());
  EXPECT_THAT(a.Events(events::kAllBackedUp), IsEmpty());
  ASSERT_THAT(a.BackUp("nkp"), IsOk());
  EXPECT_FALSE(a.Shows(kNotBackedUp, "provider/nkp"));
  EXPECT_THAT(a.Events(events::kAllBackedUp), SizeIs(1));
  const size_t last = told();
  cluster.Advance(absl::Hours(72));
  EXPECT_EQ(told(), last);
}

TEST_F(ObservabilityTest, S89_LocksAndUnlocksAreToldOnceWithTheirCause) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  const auto locked = a.Events("com.vmware.vc.vm.Crypto.VMLocked", "vm/web");
  EXPECT_THAT(TypesOf(locked), ElementsAre(events::kVmLockedKeyMissingOnHost));
  EXPECT_TRUE(a.Shows(kVmLocked, "vm/web"));
  Tick();
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto.VMLocked", "vm/web"), SizeIs(1));

  ASSERT_THAT(a.Import(bundle), IsOk());
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_THAT(a.Events(events::kVmUnlocked, "vm/web"), SizeIs(1));
  EXPECT_FALSE(a.Shows(kVmLocked, "vm/web"));
}

TEST_F(ObservabilityTest, S89_S134_AHostsRebootEndsNoLock) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  ASSERT_TRUE(a.Locked("web"));
  for (int boot = 0; boot < 2; ++boot) {
    ASSERT_THAT(esx1.Reboot(), IsOk());
    cluster.Settle();
    EXPECT_TRUE(a.Locked("web"));
    EXPECT_TRUE(a.Shows(kVmLocked, "vm/web"));
    cluster.Advance(absl::Minutes(2));
  }
  EXPECT_TRUE(a.Locked("web"));
  EXPECT_THAT(a.Events(events::kVmUnlocked, "vm/web"), IsEmpty());
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto.VMLocked", "vm/web"), SizeIs(1));
}

TEST_F(ObservabilityTest, S89_FilesThatCannotBeUsedAreNoMissingKey) {
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  const std::string folder = esx1.datastore() + "/plain";
  std::filesystem::rename(folder, folder + ".away");
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto", "vm/plain"), IsEmpty());
  EXPECT_FALSE(a.Shows(kVmLocked, "vm/plain"));
  EXPECT_TRUE(a.Shows(kVmFilesUnusable, "vm/plain"));
  EXPECT_THAT(a.Events(events::kVmConfigMissing, "vm/plain"), SizeIs(1));
  std::filesystem::rename(folder + ".away", folder);
  ASSERT_THAT(a.Reload("plain"), IsOk());
  EXPECT_FALSE(a.Shows(kVmFilesUnusable, "vm/plain"));
  EXPECT_THAT(a.Events("com.vmware.vc.vm.Crypto", "vm/plain"), IsEmpty());
}

TEST_F(ObservabilityTest, S89_EveryNativeCauseIsKeyMissingOnHost) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  // Provider absent: above. Another key under its name:
  ASSERT_THAT(b.CreateUsableNkp("nkp"), IsOk());
  MoveToB();
  Tick();
  EXPECT_THAT(TypesOf(b.Events("com.vmware.vc.vm.Crypto.VMLocked", "vm/web")),
              ElementsAre(events::kVmLockedKeyMissingOnHost));
  // Not entitled:
  ASSERT_THAT(a.CreateUsableNkp("strict", /*tpm_required=*/true), IsOk());
  AddHostToA("esx-2");
  AddHostToA("esx-none", TpmVersion::kNone);
  MakeVm("db", /*running=*/false, "esx-2", "strict");
  ASSERT_THAT(a.Unregister("db"), IsOk());
  ASSERT_THAT(a.Register("esx-none", "db"), IsOk());
  const auto told = a.Events("com.vmware.vc.vm.Crypto.VMLocked", "vm/db");
  EXPECT_THAT(TypesOf(told), ElementsAre(events::kVmLockedKeyMissingOnHost));
  EXPECT_EQ(told[0].arguments().at("reason"), "REASON_TPM_REQUIRED");
}

TEST_F(ObservabilityTest, S89_ALockThatCameWhileTheControllerWasAwayIsToldOnReconnect) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  HostNode& esx2 = cluster.AddHost("esx-2");
  ASSERT_THAT(b.AddHost("esx-2", "cluster-b"), IsOk());
  b.Crash();
  ASSERT_THAT(esx2.Register("web"), IsOk());
  ASSERT_EQ(esx2.Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  ASSERT_THAT(b.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_THAT(b.Events(events::kVmLockedKeyMissingOnHost, "vm/web"), SizeIs(1));
  EXPECT_TRUE(b.Shows(kVmLocked, "vm/web"));
  // And only once.
  b.Crash();
  ASSERT_THAT(b.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_THAT(b.Events(events::kVmLockedKeyMissingOnHost, "vm/web"), SizeIs(1));
  // The alarm ends with the registration.
  ASSERT_THAT(b.Unregister("web"), IsOk());
  EXPECT_FALSE(b.Shows(kVmLocked, "vm/web"));
}

TEST_F(ObservabilityTest, S89_VmsOfOneNameOnTwoHostsDoNotAnswerForEachOther) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  AddHostToA("esx-2");
  ASSERT_THAT(a.Register("esx-2", "web"), IsOk());
  HostNode& lone = cluster.AddHost("esx-lone");
  ASSERT_THAT(a.AddHost("esx-lone", ""), IsOk());
  ASSERT_THAT(a.Register("esx-lone", "web"), IsOk());
  ASSERT_EQ(lone.Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  EXPECT_THAT(a.Events(events::kVmLockedKeyMissingOnHost), SizeIs(1));
  // The other one of that name runs and stops, unlocked.
  v1::PowerOnVmRequest request;
  request.set_vm("web");
  request.set_host("esx-2");
  ASSERT_THAT(a.Call(&VCenter::vms, &controller::vms::Vms::PowerOnVm, request), IsOk());
  EXPECT_THAT(a.Events(events::kVmUnlocked), IsEmpty());
}

TEST_F(ObservabilityTest, S90_AHostThatCannotHaveItsKeyRequiresEncryptionMode) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  EXPECT_THAT(a.Events("com.vmware.vc.host.Crypto.ReqEnable", "host/esx-1"), Not(IsEmpty()));
  EXPECT_TRUE(a.Shows(kHostRequiresEncryption, "host/esx-1"));
}

TEST_F(ObservabilityTest, S91_EncryptionModeOnAndOffAreTold) {
  UseNkp();
  ASSERT_THAT(a.ConfigureCryptoKey("esx-1"), IsOk());
  EXPECT_THAT(a.Events(events::kHostCryptoEnabled, "host/esx-1"), SizeIs(1));
  EXPECT_THAT(a.Events(events::kHostCryptoDisabled, "host/esx-1"), IsEmpty());
  v1::DisableCryptoRequest request;
  request.set_host("esx-1");
  ASSERT_THAT(a.Call(&VCenter::host_encryption,
                     &controller::encryption::HostEncryption::DisableCrypto, request),
              IsOk());
  EXPECT_THAT(a.Events(events::kHostCryptoDisabled, "host/esx-1"), SizeIs(1));
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_THAT(a.Events(events::kHostCryptoDisabled, "host/esx-1"), SizeIs(1));
  EXPECT_THAT(a.Events(events::kHostCryptoEnabled, "host/esx-1"), SizeIs(1));
}

// A whole story is played; then all that anybody can read of it is searched for its secrets.
TEST_F(ObservabilityTest, S146_NoSecretIsInEventsAlarmsLogsTasksOrAnswers) {
  const std::string password = "correct horse battery staple";
  std::string kdk;
  for (int i = 0; i < 32; ++i) kdk += static_cast<char>('A' + i * 7 % 58);
  v1::CreateKeyProviderRequest create;
  create.set_name("nkp");
  create.set_key_derivation_key(kdk);
  ASSERT_THAT(
      a.Call(&VCenter::providers, &controller::providers::Providers::CreateKeyProvider, create),
      IsOk());
  const auto bundle = a.BackUp("nkp", password);
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(a.SetDefault("nkp"), IsOk());
  MakeVm("web", /*running=*/false);
  const absl::Status wrong = b.Import(*bundle, password + "!").status();
  EXPECT_FALSE(wrong.ok());
  MoveToB();
  Tick();
  const absl::Status locked = b.PowerOn("web");
  ASSERT_THAT(b.Import(*bundle, password), IsOk());
  ASSERT_THAT(b.ConfigureCryptoKey("esx-1", "nkp"), IsOk());

  std::string seen = absl::StrCat(status::ToString(wrong), status::ToString(locked));
  for (VCenterNode* vcenter : {&a, &b}) {
    for (const v1::Event& event : vcenter->Events(""))
      absl::StrAppend(&seen, event.SerializeAsString());
    for (const v1::Alarm& alarm : vcenter->Alarms())
      absl::StrAppend(&seen, alarm.SerializeAsString());
    const auto tasks = vcenter->Call(&VCenter::tasks, &controller::tasks::Tasks::ListTasks,
                                     v1::ListTasksRequest());
    absl::StrAppend(
        &seen, tasks->SerializeAsString(), vcenter->Provider("nkp")->SerializeAsString(),
        vcenter->Host("esx-1").SerializeAsString(), vcenter->Vm("web").SerializeAsString());
  }
  for (const auto& entry : esx1.logger().entries()) {
    absl::StrAppend(&seen, entry.event);
    for (const auto& [key, value] : entry.fields) absl::StrAppend(&seen, key, value);
  }
  absl::StrAppend(&seen, esx1.Status().SerializeAsString());
  ASSERT_THAT(seen, HasSubstr("nkp"));
  for (const std::string& secret :
       {kdk, kdk.substr(0, 16), kdk.substr(16), password, absl::BytesToHexString(kdk.substr(0, 16)),
        absl::BytesToHexString(kdk.substr(16)), absl::Base64Escape(kdk).substr(0, 20)}) {
    EXPECT_FALSE(absl::StrContains(seen, secret));
  }
}

TEST_F(ObservabilityTest, S89_VmsOfOneNameAreToldApartOverARestart) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.Unregister("web"), IsOk());
  AddHostToA("esx-2");
  ASSERT_THAT(a.Register("esx-2", "web"), IsOk());
  HostNode& lone = cluster.AddHost("esx-lone");
  ASSERT_THAT(a.AddHost("esx-lone", ""), IsOk());
  ASSERT_THAT(a.Register("esx-lone", "web"), IsOk());
  ASSERT_EQ(lone.Vm("web").lock_state(), v1::LOCK_STATE_LOCKED);
  const auto restart = [this] {
    a.Crash();
    ASSERT_THAT(a.Start(), IsOk());
    cluster.Advance(absl::Seconds(1));
  };
  // The one that is not locked is heard first.
  lone.wire().SetCut(true);
  restart();
  EXPECT_THAT(a.Events(events::kVmUnlocked), IsEmpty());
  ASSERT_THAT(a.Alarms("vm/web"), SizeIs(1));
  EXPECT_THAT(a.Alarms("vm/web")[0].hosts(), ElementsAre("esx-lone"));
  lone.wire().SetCut(false);
  cluster.Advance(absl::Minutes(1));
  EXPECT_THAT(a.Events(events::kVmLockedKeyMissingOnHost), SizeIs(1));
  EXPECT_TRUE(a.Shows(kVmLocked, "vm/web"));
  // Unregistered while the vCenter is away: the alarm ends when it hears of that.
  a.Crash();
  ASSERT_THAT(lone.Unregister("web"), IsOk());
  ASSERT_THAT(a.Start(), IsOk());
  cluster.Advance(absl::Seconds(1));
  EXPECT_FALSE(a.Shows(kVmLocked, "vm/web"));
}

TEST_F(ObservabilityTest, S89_TheAlarmsOfAHostThatIsRemovedEnd) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  ASSERT_TRUE(a.Shows(kVmLocked, "vm/web"));
  // Also where it has not been heard since the start.
  esx1.wire().SetCut(true);
  a.Crash();
  ASSERT_THAT(a.Start(), IsOk());
  ASSERT_TRUE(a.Shows(kVmLocked, "vm/web"));
  ASSERT_THAT(a.RemoveHost("esx-1"), IsOk());
  EXPECT_FALSE(a.Shows(kVmLocked, "vm/web"));
}

TEST_F(ObservabilityTest, TheHostsOwnAlarmsEndWithItToo) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  MoveToB();
  Tick();
  ASSERT_TRUE(b.Shows(kHostRequiresEncryption, "host/esx-1"));
  ASSERT_THAT(b.RemoveHost("esx-1"), IsOk());
  EXPECT_THAT(b.Alarms("host/esx-1"), IsEmpty());
}

TEST_F(ObservabilityTest, S87_PowerEventsNameWhoAsked) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  const auto users = [this](const char* type) {
    std::vector<std::string> names;
    for (const v1::Event& event : a.Events(type, "vm/web")) names.push_back(event.user());
    return names;
  };
  EXPECT_THAT(users(events::kVmPoweredOn), ElementsAre("administrator"));
  EXPECT_THAT(users(events::kVmPoweredOff), ElementsAre("administrator"));
  // Straight at the host, as one of its own users.
  ASSERT_THAT(esx1.PowerOn("web"), IsOk());
  EXPECT_THAT(users(events::kVmPoweredOn), ElementsAre("administrator", "root"));
  // Nobody's doing: the host loses power.
  esx1.Kill();
  ASSERT_THAT(esx1.Boot(), IsOk());
  cluster.Advance(absl::Minutes(1));
  EXPECT_THAT(users(events::kVmPoweredOff), ElementsAre("administrator", ""));
  ASSERT_THAT(a.Unregister("web"), IsOk());
  EXPECT_THAT(users(events::kVmRemoved), ElementsAre("administrator"));
}

TEST_F(ObservabilityTest, AWaiterIsToldTheStateInWords) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  std::vector<std::string> told;
  const auto wait = [&](const v1::WaitForRequest& request) {
    a.OnStrand([&](VCenter& vcenter) {
      ASSERT_THAT(
          vcenter.waiter().WaitFor(
              request, [&told](const v1::WaitForResponse& now) { told.push_back(now.state()); }),
          IsOk());
    });
  };
  v1::WaitForRequest locked;
  locked.mutable_vm()->set_vm("web");
  locked.mutable_vm()->set_lock_state(v1::LOCK_STATE_LOCKED);
  wait(locked);
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  Tick();
  EXPECT_THAT(told, ElementsAre("vm/web: off, unlocked", "vm/web: off, locked"));
  told.clear();
  v1::WaitForRequest safe;
  safe.mutable_host()->set_host("esx-1");
  safe.mutable_host()->set_crypto_state(v1::CRYPTO_STATE_SAFE);
  wait(safe);
  EXPECT_THAT(told, ElementsAre("host/esx-1: connected, safe"));
}

}  // namespace
}  // namespace keysphere::tests
