// Random operations and outages from a seed, against a small model of what must hold whatever
// happens, and of where everything ends once all is healed.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/random/random.h"
#include "common/status/matchers.h"
#include "controller/alarms/alarms.h"
#include "gtest/gtest.h"
#include "tests/cluster/in_process_cluster.h"

namespace keysphere::tests {
namespace {

using hostagent::tpm::TpmVersion;
using status::IsOk;

constexpr int kSteps = 60;
constexpr int kSeedsPerTest = 10;
constexpr size_t kMaxVms = 6;

bool IsLocked(const v1::Vm& vm) { return vm.lock_state() == v1::LOCK_STATE_LOCKED; }

class World {
 public:
  explicit World(uint64_t seed) : random_(seed), cluster_(seed) {
    for (const char* name : {"vcenter-a", "vcenter-b"}) {
      vcenters_.push_back(&cluster_.AddVCenter(name));
      EXPECT_THAT(vcenters_.back()->CreateCluster("cluster"), IsOk());
    }
    EXPECT_THAT(vcenters_[0]->CreateNkp("open"), IsOk());
    EXPECT_THAT(vcenters_[0]->CreateNkp("strict", /*tpm_required=*/true), IsOk());
    for (const char* provider : {"open", "strict"}) {
      bundles_[provider] = vcenters_[0]->BackUp(provider).value_or("");
      EXPECT_THAT(vcenters_[1]->Import(bundles_[provider]), IsOk());
    }
    for (VCenterNode* vcenter : vcenters_) EXPECT_THAT(vcenter->SetDefault("open"), IsOk());
    for (const char* name : {"tpm-1", "tpm-2", "none"}) {
      const bool none = std::string(name) == "none";
      hosts_.push_back(&cluster_.AddHost(name, none ? TpmVersion::kNone : TpmVersion::k20));
      owner_[name] = vcenters_[0];
      EXPECT_THAT(vcenters_[0]->AddHost(name, "cluster"), IsOk());
    }
  }

  // One operation. It may be refused: what must hold is in Check.
  void Step() {
    HostNode& host = *hosts_[random_.Below(hosts_.size())];
    VCenterNode& vcenter = *owner_[host.name()];
    const std::string provider = random_.Below(3) == 0 ? "strict" : "open";
    const uint64_t what = random_.Below(18);
    if (what <= 1) {
      Create(vcenter, host, random_.Below(3) == 0 ? "" : provider);
    } else if (what == 12) {
      Encrypt(provider);
    } else if (what == 13) {
      Decrypt();
    } else if (what == 14) {
      Unregister();
    } else if (what <= 16) {
      Register(host);
    } else if (what == 17) {
      CutOrHeal(host);
    } else if (what <= 3) {
      PowerOnAndWrite();
    } else if (what == 4) {
      PowerOff();
    } else if (what == 5) {
      KillOrBoot(host);
    } else if (what == 6) {
      CrashOrStart(vcenter);
    } else if (what == 9) {
      Move(host);
    } else if (what == 11) {
      cluster_.Advance(random_.Between(absl::Seconds(1), absl::Minutes(6)));
    } else if (!vcenter.running()) {
      return;
    } else if (what == 7) {
      vcenter.DeleteProvider(provider).IgnoreError();
    } else if (what == 8) {
      vcenter.Import(bundles_[provider]).status().IgnoreError();
    } else {
      vcenter.ConfigureCryptoKey(host.name()).status().IgnoreError();
    }
  }

  // What holds at every moment.
  void Check() {
    for (HostNode* host : hosts_) {
      if (!host->up()) continue;
      if (host->name() == "none") {
        // S25: without a TPM there can be the one key that wants none.
        EXPECT_LE(host->Stats().held_keys(), 1);
        EXPECT_FALSE(owner_["none"]->running() && owner_["none"]->Holds("none", "strict"));
      }
      for (const auto& [name, vm] : vms_) {
        if (vm.host != host->name() || !vm.registered) {
          EXPECT_EQ(host->Vm(name).name(), "") << name << " is on two hosts";
          continue;
        }
        const v1::Vm now = host->Vm(name);
        ASSERT_EQ(now.name(), name) << "a VM is lost";
        EXPECT_EQ(now.power_state() == v1::POWER_STATE_ON, vm.running) << name;
        EXPECT_EQ(now.key_id().provider_id(), vm.provider) << name;
        if (!vm.running) continue;
        EXPECT_FALSE(IsLocked(now)) << name;
        EXPECT_EQ(host->Read(name, vm.data.size()).value_or("?"), vm.data) << name;
      }
    }
  }

  // All is brought back; then all must be well.
  void HealAndCheck() {
    for (VCenterNode* vcenter : vcenters_) {
      if (!vcenter->running()) CrashOrStart(*vcenter);
    }
    for (HostNode* host : hosts_) {
      if (!host->up()) KillOrBoot(*host);
      if (cut_.count(host->name()) != 0) CutOrHeal(*host);
    }
    cluster_.Advance(absl::Minutes(3));
    for (VCenterNode* vcenter : vcenters_) {
      for (const auto& [provider, bundle] : bundles_) {
        if (vcenter->Provider(provider).ok()) continue;
        EXPECT_THAT(vcenter->Import(bundle), IsOk());
      }
      EXPECT_THAT(vcenter->SetDefault("open"), IsOk());
    }
    cluster_.Advance(absl::Minutes(6));
    for (auto& [name, vm] : vms_) {
      if (vm.registered) continue;
      EXPECT_THAT(owner_[vm.host]->Register(vm.host, name), IsOk()) << name;
      vm.registered = true;
    }
    for (HostNode* host : hosts_) {
      VCenterNode& vcenter = *owner_[host->name()];
      const v1::Host described = vcenter.Host(host->name());
      EXPECT_EQ(described.connection_state(), v1::CONNECTION_STATE_CONNECTED) << host->name();
      EXPECT_EQ(described.held_providers_size(), host->name() == "none" ? 1 : 2) << host->name();
      EXPECT_EQ(described.collisions_size(), 0);
      EXPECT_THAT(vcenter.ConfigureCryptoKey(host->name()), IsOk());
    }
    Check();
    for (auto& [name, vm] : vms_) {
      VCenterNode& vcenter = *owner_[vm.host];
      EXPECT_FALSE(vcenter.Locked(name)) << name;
      EXPECT_FALSE(vcenter.Shows(controller::alarms::kVmLocked, absl::StrCat("vm/", name)));
      if (vm.running) continue;
      EXPECT_THAT(vcenter.PowerOn(name), IsOk()) << name;
      vm.running = true;
    }
    Check();
  }

 private:
  struct Vm {
    std::string host;      // where it is registered, or was last
    std::string provider;  // empty: not encrypted
    std::string data;
    bool running = false;
    bool registered = true;
  };

  void Create(VCenterNode& vcenter, HostNode& host, const std::string& provider) {
    if (vms_.size() == kMaxVms || !vcenter.running() || !host.up()) return;
    const std::string name = absl::StrCat("vm-", ++last_vm_);
    const absl::Status made = provider.empty()
                                  ? vcenter.CreateVm(host.name(), name)
                                  : vcenter.CreateEncryptedVm(host.name(), name, provider);
    if (!made.ok()) return;
    vms_[name] = {host.name(), provider, "", false, true};
  }

  // What is refused leaves the VM as it was: Check sees its key, and a power-on its data.
  void Encrypt(const std::string& provider) {
    std::string name;
    Vm* const vm = Choose(/*running=*/false, &name);
    if (vm == nullptr || !owner_[vm->host]->running()) return;
    const absl::Status encrypted = owner_[vm->host]->EncryptVm(name, provider);
    EXPECT_FALSE(encrypted.ok() && !vm->provider.empty()) << name;  // S107
    if (encrypted.ok()) vm->provider = provider;
  }

  void Decrypt() {
    std::string name;
    Vm* const vm = Choose(/*running=*/false, &name);
    if (vm == nullptr || !owner_[vm->host]->running()) return;
    const bool locked = IsLocked(cluster_.FindHost(vm->host)->Vm(name));
    const absl::Status decrypted = owner_[vm->host]->DecryptVm(name);
    EXPECT_FALSE(decrypted.ok() && (vm->provider.empty() || locked)) << name;  // S72, S107
    if (decrypted.ok()) vm->provider.clear();
  }

  void Unregister() {
    std::string name;
    Vm* const vm = Choose(/*running=*/false, &name);
    if (vm == nullptr) return;
    VCenterNode& vcenter = *owner_[vm->host];
    const absl::Status gone = vcenter.running() ? vcenter.Unregister(name)
                                                : cluster_.FindHost(vm->host)->Unregister(name);
    if (gone.ok()) vm->registered = false;
  }

  // On any host that may have its key: all see its files.
  void Register(HostNode& host) {
    if (!host.up()) return;
    for (auto& [name, vm] : vms_) {
      if (vm.registered || (vm.provider == "strict" && host.name() == "none")) continue;
      VCenterNode& vcenter = *owner_[host.name()];
      const absl::Status there = vcenter.running() ? vcenter.Register(host.name(), name).status()
                                                   : host.Register(name).status();
      if (!there.ok()) continue;
      vm.host = host.name();
      vm.registered = true;
      return;
    }
  }

  // The network between the host and all vCenters.
  void CutOrHeal(HostNode& host) {
    const bool cut = cut_.count(host.name()) == 0;
    host.wire().SetCut(cut);
    if (cut) {
      cut_.insert(host.name());
    } else {
      cut_.erase(host.name());
    }
    cluster_.Settle();
  }

  void KillOrBoot(HostNode& host) {
    if (!host.up()) {
      EXPECT_THAT(host.Boot(), IsOk());
      return;
    }
    host.Kill();
    for (auto& [name, vm] : vms_) vm.running = vm.running && vm.host != host.name();
    cluster_.Settle();
  }

  static void CrashOrStart(VCenterNode& vcenter) {
    if (vcenter.running()) {
      vcenter.Crash();
    } else {
      EXPECT_THAT(vcenter.Start(), IsOk());
    }
  }

  // A VM of a host that is up; nullptr: there is none.
  Vm* Choose(bool running, std::string* name) {
    std::vector<std::string> names;
    for (const auto& [vm_name, vm] : vms_) {
      if (vm.running == running && vm.registered && cluster_.FindHost(vm.host)->up()) {
        names.push_back(vm_name);
      }
    }
    if (names.empty()) return nullptr;
    *name = names[random_.Below(names.size())];
    return &vms_[*name];
  }

  void PowerOnAndWrite() {
    std::string name;
    Vm* const vm = Choose(/*running=*/false, &name);
    if (vm == nullptr) return;
    HostNode& host = *cluster_.FindHost(vm->host);
    VCenterNode& vcenter = *owner_[vm->host];
    const bool locked = IsLocked(host.Vm(name));
    const absl::Status on = vcenter.running() ? vcenter.PowerOn(name) : host.PowerOn(name);
    EXPECT_FALSE(locked && on.ok()) << name;  // S72
    if (!on.ok()) return;
    vm->running = true;
    EXPECT_EQ(host.Read(name, vm->data.size()).value_or("?"), vm->data) << name;
    vm->data = absl::StrCat("data ", random_.Next(), " of ", name);
    EXPECT_THAT(host.Write(name, vm->data), IsOk());
  }

  void PowerOff() {
    std::string name;
    Vm* const vm = Choose(/*running=*/true, &name);
    if (vm == nullptr) return;
    HostNode& host = *cluster_.FindHost(vm->host);
    EXPECT_THAT(host.PowerOff(name), IsOk());
    vm->running = false;
    EXPECT_FALSE(IsLocked(host.Vm(name))) << "a power-off judges nothing (S67)";
  }

  void Move(HostNode& host) {
    VCenterNode* const from = owner_[host.name()];
    VCenterNode* const to = from == vcenters_[0] ? vcenters_[1] : vcenters_[0];
    if (!to->running() || !host.up()) return;
    if (to->AddHost(host.name(), "cluster", /*force=*/true).ok()) owner_[host.name()] = to;
  }

  random::SeededRandom random_;
  InProcessCluster cluster_;
  std::vector<VCenterNode*> vcenters_;
  std::vector<HostNode*> hosts_;
  std::map<std::string, VCenterNode*> owner_;
  std::map<std::string, std::string> bundles_;
  std::map<std::string, Vm> vms_;
  std::set<std::string> cut_;  // hosts
  int last_vm_ = 0;
};

class RandomOperationsTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomOperationsTest, NothingIsLostAndAllConverges) {
  for (int i = 0; i < kSeedsPerTest; ++i) {
    const int seed = GetParam() * kSeedsPerTest + i;
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    World world(static_cast<uint64_t>(seed));
    for (int step = 0; step < kSteps && !HasFailure(); ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      world.Step();
      world.Check();
    }
    if (!HasFailure()) world.HealAndCheck();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomOperationsTest, ::testing::Range(0, 10));

}  // namespace
}  // namespace keysphere::tests
