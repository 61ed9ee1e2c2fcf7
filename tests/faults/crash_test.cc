// S148: kill -9 of controllers and hosts at random moments. Each test prints its seed;
// KEYSPHERE_SEED in the environment repeats a run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "tests/processes/controller_driver.h"
#include "tests/processes/host_driver.h"

namespace keysphere::faults {
namespace {

using processes::ControllerDriver;
using processes::Daemon;
using processes::HostDriver;
using processes::HostProcess;
using processes::Lab;
using processes::RealClock;
using status::IsOk;
using status::IsOkAndHolds;

// Together at least 200.
constexpr int kRuns = 4;
constexpr int kKillsPerRun = 52;
constexpr size_t kDataBytes = 8192;

uint64_t BaseSeed() {
  static const uint64_t seed = [] {
    uint64_t given = 0;
    const char* const text = getenv("KEYSPHERE_SEED");
    if (text != nullptr && absl::SimpleAtoi(text, &given)) return given;
    return random::SystemRandom().Next();
  }();
  return seed;
}

// What an unanswered or refused call may say when a process died under it.
bool ExpectedOfADeath(const absl::Status& status) {
  static const auto* const reasons = new std::set<v1::Reason>{
      v1::REASON_UNREACHABLE,       v1::REASON_HOST_NOT_RESPONDING,
      v1::REASON_DEADLINE_EXCEEDED, v1::REASON_CONTROLLER_UNAVAILABLE,
      v1::REASON_CANCELLED,         v1::REASON_SHUTTING_DOWN,
      v1::REASON_STALE_EPOCH,
  };
  return reasons->count(status::ReasonOf(status)) > 0;
}

// A provider as a controller has acknowledged it.
struct ProviderModel {
  std::string key_id;
  std::string key_check_value;
  std::string bundle;
};

// What is known of a value: what was acknowledged and, while a change of it has no answer, what it
// may have become.
template <typename T>
struct Known {
  T value{};
  bool pending = false;
  T may_be{};

  void Try(T next) {
    pending = true;
    may_be = std::move(next);
  }
  void Answered(bool ok) {
    if (!ok) return;
    value = may_be;
    pending = false;
  }
  bool Allows(const T& seen) const { return seen == value || (pending && seen == may_be); }
  void Settle(const T& seen) {
    value = seen;
    pending = false;
  }
};

struct VmModel {
  std::string host;
  std::string data;
  Known<std::string> provider;  // empty: not encrypted
};

struct ControllerModel {
  std::unique_ptr<ControllerDriver> driver;
  std::map<std::string, ProviderModel> providers;  // acknowledged
  std::map<std::string, Known<bool>> present;
  Known<std::string> default_provider;
};

struct HostModel {
  std::unique_ptr<HostDriver> driver;
  Known<std::string> controller;
};

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed) : random_(seed) {}

  void SetUp();
  // One operation with a kill in it, and the proof that nothing was lost.
  void Round();
  void VerifyAll();
  int kills() const { return kills_; }

 private:
  struct Operation {
    std::string name;
    std::vector<Daemon*> victims;
    std::function<absl::Status()> run;   // on a thread of its own
    std::function<void(bool)> answered;  // told whether it was acknowledged
    std::string host;                    // whose VMs are looked at
  };

  template <typename Map>
  const std::string& Pick(const Map& map) {
    auto it = map.begin();
    std::advance(it, random_.Below(map.size()));
    return it->first;
  }
  ControllerModel& ControllerOf(const HostModel& host) {
    return controllers_.at(host.controller.value);
  }
  void AddProvider(ControllerModel& controller, const std::string& name);
  Operation MakeOperation();
  Operation ChangeVm();
  Operation ChangeProvider();
  Operation ChangeDefault();
  Operation MoveHost();
  void RunAndKill(Operation operation);
  void VerifyController(ControllerModel& controller);
  void VerifyHost(HostModel& host);
  void WaitUntilManaged(HostModel& host);
  void VerifyVm(HostModel& host, const std::string& name, VmModel& vm);

  random::SeededRandom random_;
  Lab lab_;
  std::map<std::string, ControllerModel> controllers_;
  std::map<std::string, HostModel> hosts_;
  std::map<std::string, VmModel> vms_;
  std::map<std::string, absl::Duration> durations_;  // of operations that nothing disturbed
  int kills_ = 0;
  int acknowledged_ = 0;
};

void CrashRun::AddProvider(ControllerModel& controller, const std::string& name) {
  ControllerDriver& driver = *controller.driver;
  const auto made = driver.CreateProvider(name);
  ASSERT_THAT(made, IsOk());
  const auto bundle = driver.Backup(name);
  ASSERT_THAT(bundle, IsOk());
  for (auto& [other, model] : controllers_) {
    model.providers[name] = {made->native_info().key_id(), made->native_info().key_check_value(),
                             *bundle};
    if (&model != &controller) {
      ASSERT_THAT(model.driver->Import(*bundle), IsOk());
    }
    model.present[name].Settle(true);
  }
}

void CrashRun::SetUp() {
  for (const char* const name : {"vcenter-a", "vcenter-b"}) {
    processes::ControllerProcess& process = lab_.AddController(name);
    ASSERT_THAT(process.Start(), IsOk());
    ControllerModel& model = controllers_[name];
    model.driver = std::make_unique<ControllerDriver>(&process);
    ASSERT_THAT(model.driver->CreateCluster("cluster"), IsOk());
  }
  ControllerModel& first = controllers_["vcenter-a"];
  for (const char* const name : {"nkp-1", "nkp-2", "spare-1", "spare-2"}) AddProvider(first, name);
  for (auto& [name, model] : controllers_) {
    ASSERT_THAT(model.driver->SetDefault("nkp-1"), IsOk());
    model.default_provider.Settle("nkp-1");
  }
  for (const auto& [name, tpm] : {std::pair("esx-1", "2.0"), std::pair("esx-2", "none")}) {
    processes::HostSettings settings;
    settings.name = name;
    settings.tpm = tpm;
    HostProcess& process = lab_.AddHost(settings);
    ASSERT_THAT(process.Start(), IsOk());
    hosts_[name].driver = std::make_unique<HostDriver>(&process);
    hosts_[name].controller.Settle("vcenter-a");
    ASSERT_THAT(first.driver->AddHost(process, "cluster"), IsOk());
    for (int i = 0; i < 3; ++i) {
      const std::string vm = absl::StrCat("vm-", name, "-", i);
      VmModel& model = vms_[vm];
      model.host = name;
      model.data = processes::GuestData(random_.Next(), kDataBytes);
      ASSERT_THAT(first.driver->CreateVm(name, vm), IsOk());
      HostDriver& host = *hosts_[name].driver;
      ASSERT_THAT(host.PowerOn(vm), IsOk());
      ASSERT_THAT(host.Write(vm, model.data), IsOk());
      ASSERT_THAT(host.PowerOff(vm), IsOk());
      // The first ones by the default, so that hosts are made safe.
      if (i > 0) continue;
      ASSERT_THAT(first.driver->EncryptVm(vm), IsOk());
      model.provider.Settle("nkp-1");
    }
  }
  VerifyAll();
}

CrashRun::Operation CrashRun::MakeOperation() {
  switch (random_.Below(8)) {
    case 0:
    case 1:
    case 2:
      return ChangeVm();
    case 3:
    case 4:
      return ChangeProvider();
    case 5:
      return ChangeDefault();
    default:
      return MoveHost();
  }
}

CrashRun::Operation CrashRun::ChangeVm() {
  const std::string name = Pick(vms_);
  VmModel& vm = vms_[name];
  HostModel& host = hosts_[vm.host];
  ControllerDriver* const controller = ControllerOf(host).driver.get();
  Operation operation;
  operation.victims = {&host.driver->host(), &controller->controller()};
  operation.host = vm.host;
  operation.answered = [&vm](bool ok) { vm.provider.Answered(ok); };
  if (vm.provider.value.empty()) {
    const std::string provider = random_.Below(2) == 0 ? "nkp-1" : "nkp-2";
    vm.provider.Try(provider);
    operation.name = "encrypt";
    operation.run = [controller, name, provider] { return controller->EncryptVm(name, provider); };
  } else {
    vm.provider.Try("");
    operation.name = "decrypt";
    operation.run = [controller, name] { return controller->DecryptVm(name); };
  }
  return operation;
}

CrashRun::Operation CrashRun::ChangeProvider() {
  ControllerModel& model = controllers_[Pick(controllers_)];
  ControllerDriver* const controller = model.driver.get();
  const std::string name = random_.Below(2) == 0 ? "spare-1" : "spare-2";
  Known<bool>& present = model.present[name];
  Operation operation;
  operation.victims = {&controller->controller()};
  operation.answered = [&present](bool ok) { present.Answered(ok); };
  if (present.value) {
    present.Try(false);
    operation.name = "delete";
    operation.run = [controller, name] { return controller->DeleteProvider(name); };
  } else {
    present.Try(true);
    operation.name = "import";
    operation.run = [controller, bundle = model.providers[name].bundle] {
      return controller->Import(bundle).status();
    };
  }
  return operation;
}

CrashRun::Operation CrashRun::ChangeDefault() {
  ControllerModel& model = controllers_[Pick(controllers_)];
  ControllerDriver* const controller = model.driver.get();
  const std::string next = model.default_provider.value == "nkp-1" ? "nkp-2" : "nkp-1";
  model.default_provider.Try(next);
  Operation operation;
  operation.name = "default";
  operation.victims = {&controller->controller()};
  operation.answered = [&model](bool ok) { model.default_provider.Answered(ok); };
  operation.run = [controller, next] { return controller->SetDefault(next); };
  return operation;
}

CrashRun::Operation CrashRun::MoveHost() {
  const std::string name = Pick(hosts_);
  HostModel& host = hosts_[name];
  const std::string to = host.controller.value == "vcenter-a" ? "vcenter-b" : "vcenter-a";
  ControllerDriver* const from = ControllerOf(host).driver.get();
  ControllerDriver* const next = controllers_[to].driver.get();
  // A controller that was just started asks first who has the host now; until then it is its own.
  EXPECT_TRUE(processes::Eventually([&] {
    const auto seen = next->GetHost(name);
    return !seen.ok() || seen->connection_state() == v1::CONNECTION_STATE_DISCONNECTED;
  }));
  host.controller.Try(to);
  Operation operation;
  operation.name = "move";
  operation.host = name;
  HostProcess* const process = &host.driver->host();
  operation.victims = {process, &next->controller(), &from->controller()};
  operation.answered = [&host](bool ok) { host.controller.Answered(ok); };
  operation.run = [next, process] {
    return next->AddHost(*process, "cluster", /*force=*/true).status();
  };
  return operation;
}

void CrashRun::RunAndKill(Operation operation) {
  Daemon* const victim = operation.victims[random_.Below(operation.victims.size())];
  const bool disturb = durations_.count(operation.name) > 0;
  const absl::Duration delay =
      disturb ? random_.Between(absl::ZeroDuration(), durations_[operation.name] * 1.2)
              : absl::ZeroDuration();
  SCOPED_TRACE(absl::StrCat("kill ", kills_, ": ", victim->name(), " in ", operation.name,
                            " after ", absl::FormatDuration(delay)));
  rpc::internal::Waiter<bool> killed;
  const absl::Time began = RealClock()->Now();
  if (disturb) {
    RealClock()->RunAfter(delay, [&killed, pid = victim->child().pid()]() {
      kill(pid, SIGKILL);
      killed.Set(true);
    });
  }
  absl::Status answer;
  std::thread worker([&] { answer = operation.run(); });
  if (disturb) {
    ASSERT_THAT(killed.Wait(), IsOk());
    victim->Kill();
    ++kills_;
    ASSERT_THAT(victim->Start(), IsOk());
  }
  worker.join();
  if (!disturb) durations_[operation.name] = RealClock()->Now() - began;
  if (answer.ok()) ++acknowledged_;
  EXPECT_TRUE(answer.ok() || (disturb && ExpectedOfADeath(answer))) << status::ToString(answer);
  operation.answered(answer.ok());
  for (auto& [name, model] : controllers_) VerifyController(model);
  if (!operation.host.empty()) VerifyHost(hosts_[operation.host]);
  for (auto& [name, host] : hosts_) WaitUntilManaged(host);
}

void CrashRun::Round() { RunAndKill(MakeOperation()); }

void CrashRun::VerifyController(ControllerModel& controller) {
  const auto list = controller.driver->ListProviders();
  ASSERT_THAT(list, IsOk());
  std::set<std::string> seen;
  std::string default_provider;
  for (const v1::KeyProvider& provider : list->key_providers()) {
    seen.insert(provider.name());
    if (provider.is_default()) default_provider = provider.name();
    ASSERT_TRUE(controller.providers.count(provider.name())) << provider.name();
    const ProviderModel& model = controller.providers[provider.name()];
    EXPECT_EQ(provider.native_info().key_id(), model.key_id);
    EXPECT_EQ(provider.native_info().key_check_value(), model.key_check_value);
    EXPECT_TRUE(provider.native_info().has_backup());
  }
  for (auto& [name, present] : controller.present) {
    const bool is = seen.count(name) > 0;
    EXPECT_TRUE(present.Allows(is)) << name << (is ? " is back" : " is lost");
    present.Settle(is);
  }
  EXPECT_TRUE(controller.default_provider.Allows(default_provider)) << default_provider;
  controller.default_provider.Settle(default_provider);
}

void CrashRun::VerifyHost(HostModel& host) {
  const auto status = host.driver->Status();
  ASSERT_THAT(status, IsOk());
  ASSERT_TRUE(host.controller.Allows(status->controller())) << status->controller();
  host.controller.Settle(status->controller());
  EXPECT_EQ(status->crypto_state(), v1::CRYPTO_STATE_SAFE);
  const std::string name = host.driver->host().name();
  for (auto& [vm, model] : vms_) {
    if (model.host == name) VerifyVm(host, vm, model);
  }
}

// The next operation needs host and controller to talk to each other; a controller that was killed
// in a move may not know the host yet.
void CrashRun::WaitUntilManaged(HostModel& host) {
  const std::string name = host.driver->host().name();
  ControllerDriver& owner = *ControllerOf(host).driver;
  if (!owner.GetHost(name).ok()) {
    ASSERT_THAT(owner.AddHost(host.driver->host(), "cluster", /*force=*/true), IsOk());
  }
  ASSERT_THAT(owner.WaitForHost(name, v1::CONNECTION_STATE_CONNECTED), IsOk());
  // What the controller tells of the VMs becomes what the host has.
  for (const auto& [vm, model] : vms_) {
    if (model.host != name) continue;
    EXPECT_TRUE(processes::Eventually([&, vm = vm, &model = model] {
      const auto seen = owner.GetVm(vm);
      return seen.ok() && seen->key_id().provider_id() == model.provider.value;
    })) << vm;
  }
}

void CrashRun::VerifyVm(HostModel& host, const std::string& name, VmModel& vm) {
  SCOPED_TRACE(name);
  // What the controller had asked before it died may still be going on.
  absl::Status powered;
  processes::Eventually([&] {
    powered = host.driver->PowerOn(name).status();
    const v1::Reason reason = status::ReasonOf(powered);
    return powered.ok() || (reason != v1::REASON_CONFLICT && reason != v1::REASON_KEYS_PENDING &&
                            reason != v1::REASON_VM_IN_USE);
  });
  ASSERT_THAT(powered, IsOk());
  EXPECT_THAT(host.driver->Read(name, kDataBytes), IsOkAndHolds(vm.data));
  const auto seen = host.driver->Get(name);
  ASSERT_THAT(seen, IsOk());
  const std::string provider = seen->key_id().provider_id();
  EXPECT_TRUE(vm.provider.Allows(provider)) << "encrypted with \"" << provider << "\"";
  vm.provider.Settle(provider);
  ASSERT_EQ(seen->disks_size(), 1);
  EXPECT_EQ(seen->disks(0).key_id().provider_id(), provider);
  EXPECT_EQ(seen->disks(0).key_id().key_id(), seen->key_id().key_id());
  EXPECT_THAT(host.driver->PowerOff(name), IsOk());
}

void CrashRun::VerifyAll() {
  for (auto& [name, model] : controllers_) VerifyController(model);
  for (auto& [name, model] : hosts_) {
    VerifyHost(model);
    WaitUntilManaged(model);
  }
}

class CrashTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Runs, CrashTest, ::testing::Range(0, kRuns));

TEST_P(CrashTest, S148_KillsAtRandomMomentsLoseNothing) {
  const uint64_t seed = BaseSeed() + static_cast<uint64_t>(GetParam());
  std::cout << "KEYSPHERE_SEED=" << BaseSeed() << std::endl;
  RecordProperty("seed", absl::StrCat(BaseSeed()));
  CrashRun run(seed);
  ASSERT_NO_FATAL_FAILURE(run.SetUp());
  while (run.kills() < kKillsPerRun) {
    run.Round();
    if (HasFailure()) break;
  }
  run.VerifyAll();
}

}  // namespace
}  // namespace keysphere::faults
