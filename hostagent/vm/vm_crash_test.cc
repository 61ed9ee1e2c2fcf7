// S148: whatever operation on a file is the last one of a process, the VM opens afterwards with the
// keys that its configuration names, its data is intact, and nothing is left over.
#include <cerrno>
#include <functional>

#include "hostagent/vm/vm_folder_fixture.h"

namespace keysphere::hostagent::vm {
namespace {

using files::Fault;
using files::Operation;
using status::IsOk;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

// Counts operations. From the `crash_at`-th on none is done any more, as if the process had been
// killed before it (or in the middle of it, if it writes); or that one only fails.
class Killer : public files::FaultHook {
 public:
  enum class Mode { kKill, kKillHalfway, kFailOnce };

  void Arm(int crash_at, Mode mode, int error) {
    crash_at_ = crash_at;
    mode_ = mode;
    error_ = error;
    seen_ = 0;
    armed_ = true;
  }
  void Disarm() { armed_ = false; }
  bool fired() const { return seen_ > crash_at_; }

  Fault Before(Operation operation, absl::string_view) override {
    Fault fault;
    if (!armed_) return fault;
    const int number = seen_++;
    if (number == crash_at_ && mode_ == Mode::kKillHalfway && operation == Operation::kWrite) {
      fault.at_most = 100;
      return fault;
    }
    if (number == crash_at_ || (number > crash_at_ && mode_ != Mode::kFailOnce)) {
      fault.error = error_;
    }
    return fault;
  }

 private:
  bool armed_ = false;
  int crash_at_ = 0;
  int seen_ = 0;
  Mode mode_ = Mode::kKill;
  int error_ = EIO;
};

class VmCrashTest : public VmFolderFixture {
 protected:
  VmCrashTest() : faulty_(&killer_, [](absl::string_view) {}) {
    images_ = {RandomBytes(33 * 512, 21), RandomBytes(3 * 4096, 22)};
  }

  using Change = std::function<absl::Status(VmFolder&)>;

  // Runs `change` on a copy of `before` with a crash at each operation in turn.
  void CrashEverywhere(const std::string& before, const Change& change, Killer::Mode mode,
                       int error) {
    std::string outcomes;
    for (int at = 0;; ++at) {
      SCOPED_TRACE(absl::StrCat("operation ", at, " mode ", static_cast<int>(mode)));
      ASSERT_LT(at, 2000);
      const std::string path = root_ + "/work";
      std::filesystem::remove_all(path);
      std::filesystem::copy(before, path);
      const bool finished = OneCrash(path, change, at, mode, error, &outcomes);
      if (finished || HasFailure()) break;
    }
    // Both outcomes were seen: nothing happened, and it happened although the process died.
    EXPECT_THAT(outcomes, ::testing::HasSubstr("old"));
    EXPECT_THAT(outcomes, ::testing::HasSubstr("new"));
  }

  bool OneCrash(const std::string& path, const Change& change, int at, Killer::Mode mode, int error,
                std::string* outcomes) {
    absl::Status done;
    bool fired = false;
    {
      auto vm = VmFolder::Open(faulty_, path);
      EXPECT_THAT(vm, IsOk());
      if (!vm.ok()) return true;
      const auto known = (*vm)->UnwrapHome(Keys());
      killer_.Arm(at, mode, error);
      done = change(**vm);
      fired = killer_.fired();
      if (mode == Killer::Mode::kFailOnce) {
        // The process lives on: the same object must work.
        killer_.Disarm();
        EXPECT_THAT((*vm)->Refresh(), IsOk());
        CheckIntact(**vm);
      }
      // Destroyed while dead: it cleans up nothing.
    }
    killer_.Disarm();
    auto vm = OpenVmFolder(path);
    if (vm == nullptr) return true;
    const std::string outcome = CheckIntact(*vm);
    if (done.ok()) {
      EXPECT_EQ(outcome, "new");
    }
    for (const std::string& name : Names(path)) {
      EXPECT_FALSE(absl::StrContains(name, "ks-")) << name;
      EXPECT_FALSE(absl::StartsWith(name, ".")) << name;
    }
    if (fired) *outcomes += outcome + " ";
    return !fired;
  }

  // "old" or "new", by what `is_new_` sees in the VM; never something between.
  std::string CheckIntact(VmFolder& vm) {
    if (vm.encrypted()) {
      EXPECT_THAT(vm.UnwrapHome(Keys()), IsOk());
    }
    const bool is_new = is_new_(vm);
    EXPECT_EQ(was_(vm), !is_new);
    const auto running = vm.PowerOn(Keys());
    EXPECT_THAT(running, IsOk());
    if (!running.ok()) return "broken";
    EXPECT_TRUE(ReadDisk(**running, "db.vmdk") == images_[0]);
    EXPECT_TRUE(ReadDisk(**running, "db_1.vmdk") == images_[1]);
    const auto nvram = (*running)->ReadNvram();
    EXPECT_THAT(nvram, IsOk());
    EXPECT_TRUE(absl::StartsWith(nvram->value_or(""), "EFI variables"));
    return is_new ? "new" : "old";
  }

  void CrashInEveryMode(const std::string& before, const Change& change) {
    for (const Killer::Mode mode :
         {Killer::Mode::kKill, Killer::Mode::kKillHalfway, Killer::Mode::kFailOnce}) {
      CrashEverywhere(before, change, mode, EIO);
      if (HasFailure()) return;
    }
    CrashEverywhere(before, change, Killer::Mode::kFailOnce, ENOSPC);
  }

  static bool AllUnder(VmFolder& vm, const KeyId& key) {
    const auto keys = vm.ListKeyIds();
    if (keys.size() != 4) return false;
    for (const ObjectKey& object : keys) {
      if (object.key != key) return false;
    }
    return true;
  }

  std::string Plain() { return MakeForeignVm("plain", images_); }
  std::string Encrypted() {
    const std::string path = MakeForeignVm("encrypted", images_);
    EXPECT_THAT(
        RunToEnd(OpenVmFolder(path)->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())),
        IsOk());
    return path;
  }

  Killer killer_;
  files::FileSystem faulty_;
  std::vector<std::string> images_;
  std::function<bool(VmFolder&)> was_;
  std::function<bool(VmFolder&)> is_new_;
};

TEST_F(VmCrashTest, S148_Encrypt) {
  was_ = [](VmFolder& vm) { return vm.ListKeyIds().empty() && !vm.encrypted(); };
  is_new_ = [this](VmFolder& vm) { return AllUnder(vm, old_key_); };
  CrashInEveryMode(Plain(), [this](VmFolder& vm) {
    return RunToEnd(vm.Encrypt(Kek(old_key_), old_key_, DiskSelection::All()));
  });
}

TEST_F(VmCrashTest, S148_Decrypt) {
  was_ = [this](VmFolder& vm) { return AllUnder(vm, old_key_); };
  is_new_ = [](VmFolder& vm) { return vm.ListKeyIds().empty() && !vm.encrypted(); };
  CrashInEveryMode(Encrypted(), [this](VmFolder& vm) { return RunToEnd(vm.Decrypt(Keys())); });
}

TEST_F(VmCrashTest, S148_ShallowRekey) {
  was_ = [this](VmFolder& vm) { return AllUnder(vm, old_key_); };
  is_new_ = [this](VmFolder& vm) { return AllUnder(vm, new_key_); };
  CrashInEveryMode(Encrypted(), [this](VmFolder& vm) {
    return vm.ShallowRekey(Keys(), Kek(new_key_), new_key_, /*include_disks=*/true);
  });
}

TEST_F(VmCrashTest, S148_ShallowRekeyOfTheHomeAlone) {
  was_ = [this](VmFolder& vm) { return vm.Describe().key_id == old_key_; };
  is_new_ = [this](VmFolder& vm) { return vm.Describe().key_id == new_key_; };
  CrashEverywhere(
      Encrypted(),
      [this](VmFolder& vm) { return vm.ShallowRekey(Keys(), Kek(new_key_), new_key_, false); },
      Killer::Mode::kKill, EIO);
}

TEST_F(VmCrashTest, S148_DeepRekey) {
  was_ = [this](VmFolder& vm) { return AllUnder(vm, old_key_); };
  is_new_ = [this](VmFolder& vm) { return AllUnder(vm, new_key_); };
  CrashInEveryMode(Encrypted(), [this](VmFolder& vm) {
    return RunToEnd(vm.DeepRekey(Keys(), Kek(new_key_), new_key_, /*include_disks=*/true));
  });
}

TEST_F(VmCrashTest, S148_AddVtpm) {
  was_ = [](VmFolder& vm) { return !vm.Describe().vtpm && !vm.encrypted(); };
  is_new_ = [](VmFolder& vm) { return vm.Describe().vtpm && vm.encrypted(); };
  CrashInEveryMode(Plain(),
                   [this](VmFolder& vm) { return vm.AddVtpm(Keys(), &Kek(old_key_), old_key_); });
}

TEST_F(VmCrashTest, S148_AddDisk) {
  WriteRaw(root_ + "/image", images_[1]);
  was_ = [](VmFolder& vm) { return vm.Describe().disks.size() == 2; };
  is_new_ = [](VmFolder& vm) { return vm.Describe().disks.size() == 3; };
  CrashInEveryMode(Encrypted(), [this](VmFolder& vm) {
    NewDisk import;
    import.raw_image = root_ + "/image";
    return RunToEnd(vm.AddDisk(import, Keys()));
  });
}

// Without its .vmx there is no VM; what a crash left goes with the next Create, and is removed
// where there is none.
TEST_F(VmCrashTest, S148_Create) {
  NewVm spec;
  spec.name = "made";
  WriteRaw(root_ + "/image", images_[1]);
  spec.disks = {Import(root_ + "/image"), Import(root_ + "/image")};
  spec.kek = &Kek(old_key_);
  spec.key = old_key_;
  spec.vtpm = true;
  const std::vector<std::string> kFiles = {"made.vmx",         "made.nvram",  "made-1.vmdk",
                                           "made-1-flat.vmdk", "made-2.vmdk", "made-2-flat.vmdk"};
  for (const Killer::Mode mode :
       {Killer::Mode::kKill, Killer::Mode::kKillHalfway, Killer::Mode::kFailOnce}) {
    bool fired = true;
    int there = 0;
    for (int at = 0; fired; ++at) {
      SCOPED_TRACE(absl::StrCat("operation ", at, " mode ", static_cast<int>(mode)));
      const std::string folder = root_ + "/made";
      std::filesystem::remove_all(folder);
      killer_.Arm(at, mode, EIO);
      auto vm = Make(faulty_, folder, spec);
      fired = killer_.fired();
      killer_.Disarm();
      if (mode == Killer::Mode::kFailOnce && !vm.ok()) {
        EXPECT_FALSE(std::filesystem::exists(folder));
      }
      const bool whole = std::filesystem::exists(folder + "/made.vmx");
      const std::string left = root_ + "/left";
      std::filesystem::remove_all(left);
      if (std::filesystem::exists(folder)) std::filesystem::copy(folder, left);
      EXPECT_THAT(VmFolder::RemoveUnfinished(files_, left + "/made.vmx"), IsOk());
      EXPECT_EQ(std::filesystem::exists(left), whole);
      if (whole) {
        EXPECT_THAT(VmFolder::Open(files_, left).status(), IsOk());
        EXPECT_THAT(Names(left), UnorderedElementsAreArray(kFiles));
      }
      if (whole) {
        ++there;
        vm = VmFolder::Open(files_, folder);
      } else {
        EXPECT_FALSE(vm.ok());
        vm = Make(files_, folder, spec);
      }
      ASSERT_THAT(vm, IsOk());
      const auto running = (*vm)->PowerOn(Keys());
      ASSERT_THAT(running, IsOk());
      for (const char* const disk : {"scsi0:0", "scsi0:1"}) {
        EXPECT_TRUE(ReadDisk(**running, disk) == images_[1]);
      }
      EXPECT_THAT(Names(folder), UnorderedElementsAreArray(kFiles));
      EXPECT_THAT((*running)->ReadNvram()->value_or(""), ::testing::HasSubstr("KSVTPM1"));
    }
    EXPECT_GE(there, 1);
  }
}

// A change that was committed replaces no disk under the guest of another VM that names it, too.
TEST_F(VmCrashTest, S148_ARecoveryWaitsForAnotherVmThatUsesTheDisk) {
  const std::string before = Plain();
  std::string vmx = ReadRaw(before + "/db.vmx");
  int seen = 0;
  for (int at = 0;; ++at) {
    SCOPED_TRACE(at);
    const std::string path = root_ + "/work";
    std::filesystem::remove_all(path);
    std::filesystem::copy(before, path);
    WriteRaw(path + "/copy.vmx", vmx);
    auto vm = VmFolder::Open(faulty_, path + "/db.vmx");
    ASSERT_THAT(vm, IsOk());
    killer_.Arm(at, Killer::Mode::kKill, EIO);
    (void)RunToEnd((*vm)->Encrypt(Kek(old_key_), old_key_, DiskSelection::All()));
    const bool fired = killer_.fired();
    vm->reset();
    killer_.Disarm();
    if (!fired) break;
    auto copy = VmFolder::Open(files_, path + "/copy.vmx");
    ASSERT_THAT(copy, IsOk());
    {
      const auto running = (*copy)->PowerOn(Keys());
      if (!running.ok() || !std::filesystem::exists(path + "/db.ks-journal")) continue;
      bool to_do = false;
      for (const std::string& name : Names(path)) to_do |= absl::StrContains(name, "ks-new");
      if (!to_do) continue;
      const auto refused = VmFolder::Open(files_, path + "/db.vmx");
      EXPECT_THAT(refused, status::HasReason(v1::REASON_VM_IN_USE));
      EXPECT_TRUE(absl::StartsWith(status::DetailOf(refused.status()).object(), "disk/"));
      ++seen;
    }
    auto again = VmFolder::Open(files_, path + "/db.vmx");
    ASSERT_THAT(again, IsOk());
    EXPECT_TRUE(AllUnder(**again, old_key_));
    EXPECT_THAT((*again)->PowerOn(Keys()), IsOk());
  }
  EXPECT_GE(seen, 1);
}

// A crash in the recovery itself is recovered from.
TEST_F(VmCrashTest, S148_RecoveryMayDieToo) {
  was_ = [this](VmFolder& vm) { return AllUnder(vm, old_key_); };
  is_new_ = [this](VmFolder& vm) { return AllUnder(vm, new_key_); };
  const std::string before = Encrypted();
  int recovered = 0;
  for (int at = 0; at < 200; ++at) {
    const std::string half = root_ + "/half";
    std::filesystem::remove_all(half);
    std::filesystem::copy(before, half);
    {
      auto vm = VmFolder::Open(faulty_, half);
      ASSERT_THAT(vm, IsOk());
      killer_.Arm(at, Killer::Mode::kKill, EIO);
      (void)RunToEnd((*vm)->DeepRekey(Keys(), Kek(new_key_), new_key_, true));
      killer_.Disarm();
    }
    if (!std::filesystem::exists(half + "/db.ks-journal")) continue;
    for (int again = 0; again < 100; ++again) {
      SCOPED_TRACE(absl::StrCat(at, " ", again));
      const std::string path = root_ + "/work";
      std::filesystem::remove_all(path);
      std::filesystem::copy(half, path);
      killer_.Arm(again, Killer::Mode::kKill, EIO);
      (void)VmFolder::Open(faulty_, path);
      const bool fired = killer_.fired();
      killer_.Disarm();
      auto vm = OpenVmFolder(path);
      ASSERT_NE(vm, nullptr);
      EXPECT_EQ(CheckIntact(*vm), "new");
      ++recovered;
      if (!fired || HasFailure()) break;
    }
  }
  EXPECT_GT(recovered, 50);
}

}  // namespace
}  // namespace keysphere::hostagent::vm
