// S148 for the host's configuration: kill -9, or an error, at every operation on a file.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/test_vectors.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/config/host_config_store.h"
#include "hostagent/tpm/fake_tpm.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using crypto::testing::BytesOf;
using status::HasReason;
using status::IsOk;
using tpm::FakeTpm;
using tpm::FakeTpmHardware;
using tpm::TpmVersion;

// Ends the process, or fails, at its operation number `at`. Writes are short, so that there are
// operations in the middle of a file's content too.
class FaultAt : public files::FaultHook {
 public:
  FaultAt(int at, int error) : at_(at), error_(error) {}
  files::Fault Before(files::Operation operation, absl::string_view /*path*/) override {
    files::Fault fault;
    if (operation == files::Operation::kWrite) fault.at_most = 100;
    if (count_++ != at_) return fault;
    if (error_ == 0) kill(getpid(), SIGKILL);
    fault.error = error_;
    return fault;
  }
  bool met() const { return count_ > at_; }

 private:
  const int at_;
  const int error_;
  int count_ = 0;
};

// A failed sync ends a daemon; a test goes on.
void GoOn(absl::string_view /*message*/) {}

HostConfig ConfigNamed(absl::string_view name) {
  HostConfig config;
  config.add_vms()->set_name(std::string(name));
  return config;
}

std::string NameIn(const HostConfig& config) {
  return config.vms_size() == 1 ? config.vms(0).name() : std::string();
}

JournalRecord Renamed(absl::string_view provider) {
  JournalRecord record;
  record.add_changes()->add_removed_kdks("old");
  record.add_changes()->add_put_kdks()->set_provider(std::string(provider));
  return record;
}

std::string ProvidersIn(const HostConfig& config) {
  std::string all;
  for (const Kdk& kdk : config.kdks()) all += kdk.provider();
  return all;
}

class HostConfigCrashTest : public ::testing::Test {
 protected:
  HostConfigCrashTest() {
    dir_ = absl::StrCat(::testing::TempDir(), "/host_config_crash/",
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    EXPECT_THAT(files_.MakeFolders(dir_, 0700), IsOk());
    Boot(hardware_);
  }

  // The next power-on, and with which TPM.
  void Boot(const std::shared_ptr<FakeTpmHardware>& hardware) {
    tpms_.push_back(std::make_unique<FakeTpm>(hardware));
    place_ = {dir_, tpms_.back().get(), &files_};
  }

  using Files = std::map<std::string, std::string>;
  Files Snapshot() {
    Files snapshot;
    const std::vector<std::string> names = files_.List(dir_).value();
    for (const std::string& name : names) {
      snapshot[name] = files_.ReadFile(absl::StrCat(dir_, "/", name), 1 << 20).value();
    }
    return snapshot;
  }
  void Restore(const Files& snapshot) {
    const std::vector<std::string> names = files_.List(dir_).value();
    for (const std::string& name : names) {
      EXPECT_THAT(files_.Remove(absl::StrCat(dir_, "/", name), files::Durability::kNotDurable),
                  IsOk());
    }
    for (const auto& [name, content] : snapshot) {
      EXPECT_THAT(files_.WriteFileAtomically(absl::StrCat(dir_, "/", name), content, 0600,
                                             files::Durability::kNotDurable),
                  IsOk());
    }
  }

  // Runs `work` from the state that is there now, killed at its first operation on a file, then at
  // its second and so on until it ends by itself; `check` looks at what each kill left.
  void KillAtEveryOperation(const std::function<void(const HostConfigStore::Place&)>& work,
                            const std::function<void(bool killed)>& check) {
    const Files before = Snapshot();
    bool killed = true;
    for (int at = 0; killed; ++at) {
      SCOPED_TRACE(absl::StrCat("killed before operation ", at));
      ASSERT_LT(at, 1000);
      Restore(before);
      const pid_t child = fork();
      if (child == 0) {
        FaultAt faults(at, 0);
        const files::FileSystem files(&faults);
        HostConfigStore::Place place = place_;
        place.files = &files;
        work(place);
        _exit(::testing::Test::HasFailure() ? 1 : 0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      killed = WIFSIGNALED(status);
      ASSERT_TRUE(killed ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
      if (!killed) {
        EXPECT_GT(at, 5) << "the faults were met";
      }
      check(killed);
      if (HasFailure()) return;
    }
  }

  // Runs `change` on a store that `prepare` left behind, while its first operation on a file fails,
  // then its second and so on until all is well; `next` hears whether the change was made.
  void FailAtEveryOperation(const std::function<absl::Status(HostConfigStore*)>& prepare,
                            const std::function<absl::Status(HostConfigStore*)>& change,
                            const std::function<void(HostConfigStore*, bool)>& next) {
    for (const int error : {ENOSPC, EROFS, EIO}) {
      Restore({});
      auto created = HostConfigStore::Create(place_).value();
      ASSERT_THAT(prepare(created.store.get()), IsOk());
      const Files before = Snapshot();
      int failures = 0;
      for (int at = 0;; ++at) {
        SCOPED_TRACE(absl::StrCat("operation ", at));
        Restore(before);
        FaultAt faults(at, error);
        const files::FileSystem files(&faults, &GoOn);
        HostConfigStore::Place place = place_;
        place.files = &files;
        const auto store = HostConfigStore::Open(place);
        if (!store.ok()) {
          EXPECT_THAT(HostConfigStore::Open(place), IsOk()) << "a second try works";
          continue;
        }
        const bool changed = change(store->get()).ok();
        failures += changed ? 0 : 1;
        if (HasFailure() || !faults.met()) break;
        next(store->get(), changed);
      }
      EXPECT_GT(failures, 3);
    }
  }

  const files::FileSystem files_;
  std::string dir_;
  HostConfigStore::Place place_;
  const std::shared_ptr<FakeTpmHardware> hardware_ = std::make_shared<FakeTpmHardware>();
  const std::shared_ptr<FakeTpmHardware> no_tpm_ =
      std::make_shared<FakeTpmHardware>(TpmVersion::kNone);
  std::vector<std::unique_ptr<FakeTpm>> tpms_;
};

TEST_F(HostConfigCrashTest, S148_KilledCreateLeavesNothingOrAConfigurationThatOpens) {
  for (const auto& hardware : {hardware_, no_tpm_}) {
    Restore({});
    Boot(hardware);
    KillAtEveryOperation(
        [](const HostConfigStore::Place& place) {
          EXPECT_THAT(HostConfigStore::Create(place), IsOk());
        },
        [&](bool killed) {
          if (HostConfigStore::Exists(place_).value()) {
            EXPECT_THAT(HostConfigStore::Open(place_), IsOk());
          } else {
            EXPECT_TRUE(killed);
            EXPECT_THAT(HostConfigStore::Create(place_), IsOk());
            EXPECT_THAT(HostConfigStore::Open(place_), IsOk());
          }
        });
  }
}

TEST_F(HostConfigCrashTest, S148_KilledSaveLeavesTheOldOrTheNewConfiguration) {
  for (const auto& hardware : {hardware_, no_tpm_}) {
    Restore({});
    Boot(hardware);
    auto created = HostConfigStore::Create(place_).value();
    ASSERT_THAT(created.store->Save(ConfigNamed("old")), IsOk());
    bool old_seen = false;
    KillAtEveryOperation(
        [](const HostConfigStore::Place& place) {
          const auto store = HostConfigStore::Open(place);
          ASSERT_THAT(store, IsOk());
          EXPECT_THAT((*store)->Save(ConfigNamed("new")), IsOk());
        },
        [&](bool killed) {
          const auto store = HostConfigStore::Open(place_);
          ASSERT_THAT(store, IsOk());
          const std::string name = NameIn((*store)->config());
          old_seen |= name == "old";
          EXPECT_TRUE(name == "new" || (killed && name == "old")) << name;
        });
    EXPECT_TRUE(old_seen);
  }
}

TEST_F(HostConfigCrashTest, S148_KilledAppendLeavesTheOldOrTheNewConfiguration) {
  for (const auto& hardware : {hardware_, no_tpm_}) {
    for (const bool first : {true, false}) {  // of its journal
      SCOPED_TRACE(first);
      Restore({});
      Boot(hardware);
      auto created = HostConfigStore::Create(place_).value();
      HostConfig config;
      config.add_kdks()->set_provider("old");
      ASSERT_THAT(created.store->Save(config), IsOk());
      bool old_seen = false;
      KillAtEveryOperation(
          [first](const HostConfigStore::Place& place) {
            const auto store = HostConfigStore::Open(place);
            ASSERT_THAT(store, IsOk());
            JournalRecord same;
            same.add_changes()->add_put_kdks()->set_provider("old");
            if (!first) {
              ASSERT_THAT((*store)->Append(same), IsOk());
            }
            EXPECT_THAT((*store)->Append(Renamed("new")), IsOk());
          },
          [&](bool killed) {
            for (const char* time : {"first", "second"}) {  // opening folds the journal in
              SCOPED_TRACE(time);
              const auto store = HostConfigStore::Open(place_);
              ASSERT_THAT(store, IsOk());
              const std::string providers = ProvidersIn((*store)->config());
              old_seen |= providers == "old";
              EXPECT_TRUE(providers == "new" || (killed && providers == "old")) << providers;
            }
          });
      EXPECT_TRUE(old_seen);
    }
  }
}

TEST_F(HostConfigCrashTest, S148_KilledSaveAfterAppendsLosesNone) {
  auto created = HostConfigStore::Create(place_).value();
  ASSERT_THAT(created.store->Save(ConfigNamed("old")), IsOk());
  KillAtEveryOperation(
      [](const HostConfigStore::Place& place) {
        const auto store = HostConfigStore::Open(place);
        ASSERT_THAT(store, IsOk());
        ASSERT_THAT((*store)->Append(Renamed("a")), IsOk());
        HostConfig config = (*store)->config();
        config.mutable_vms(0)->set_name("new");
        EXPECT_THAT((*store)->Save(config), IsOk());
        EXPECT_THAT((*store)->Append(Renamed("b")), IsOk());
      },
      [&](bool killed) {
        const auto store = HostConfigStore::Open(place_);
        ASSERT_THAT(store, IsOk());
        const std::string now =
            absl::StrCat(NameIn((*store)->config()), ProvidersIn((*store)->config()));
        EXPECT_TRUE(now == "newab" || (killed && (now == "old" || now == "olda" || now == "newa")))
            << now;
      });
}

TEST_F(HostConfigCrashTest, S148_KilledChangeToATpmStillOpensAndLeavesNoKeyFile) {
  Boot(no_tpm_);
  auto created = HostConfigStore::Create(place_).value();
  ASSERT_THAT(created.store->Save(ConfigNamed("old")), IsOk());
  ASSERT_THAT(created.store->Append(Renamed("a")), IsOk());
  Boot(hardware_);
  KillAtEveryOperation(
      [](const HostConfigStore::Place& place) {
        EXPECT_THAT(HostConfigStore::Open(place), IsOk());
      },
      [&](bool) {
        const auto store = HostConfigStore::Open(place_);
        ASSERT_THAT(store, IsOk());
        EXPECT_EQ((*store)->mode(), MODE_TPM);
        EXPECT_EQ(NameIn((*store)->config()), "old");
        EXPECT_EQ(ProvidersIn((*store)->config()), "a");
        EXPECT_EQ(Snapshot().size(), 1u) << "config.ks alone";
      });
}

TEST_F(HostConfigCrashTest, S148_KilledRecoveryCanBeRepeatedAndOpensAfterwards) {
  auto created = HostConfigStore::Create(place_).value();
  ASSERT_THAT(created.store->Save(ConfigNamed("old")), IsOk());
  ASSERT_THAT(created.store->Append(Renamed("a")), IsOk());
  const std::string key = BytesOf(created.recovery_key);
  const Files before = Snapshot();
  hardware_->SetFirmware("no secureBoot");
  for (const auto& hardware : {hardware_, no_tpm_}) {
    Restore(before);
    Boot(hardware);
    KillAtEveryOperation(
        [&](const HostConfigStore::Place& place) {
          EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(place, key), IsOk());
        },
        [&](bool killed) {
          auto store = HostConfigStore::Open(place_);
          if (killed && !store.ok()) {
            EXPECT_THAT(store, HasReason(v1::REASON_RECOVERY_REQUIRED));
            ASSERT_THAT(HostConfigStore::OpenWithRecoveryKey(place_, key), IsOk());
            store = HostConfigStore::Open(place_);
          }
          ASSERT_THAT(store, IsOk());
          EXPECT_EQ(NameIn((*store)->config()), "old");
          EXPECT_EQ(ProvidersIn((*store)->config()), "a");
        });
  }
}

TEST_F(HostConfigCrashTest, S148_FailedSaveKeepsTheOldConfigurationAndTheNextOneWorks) {
  FailAtEveryOperation([](HostConfigStore* store) { return store->Save(ConfigNamed("old")); },
                       [](HostConfigStore* store) {
                         const absl::Status saved = store->Save(ConfigNamed("new"));
                         EXPECT_EQ(NameIn(store->config()), saved.ok() ? "new" : "old");
                         return saved;
                       },
                       [this](HostConfigStore* store, bool) {
                         EXPECT_THAT(store->Save(ConfigNamed("next")), IsOk());
                         EXPECT_EQ(NameIn(HostConfigStore::Open(place_).value()->config()), "next");
                       });
}

TEST_F(HostConfigCrashTest, S148_FailedAppendKeepsTheOldConfigurationAndTheNextOneWorks) {
  FailAtEveryOperation([](HostConfigStore* store) { return store->Append(Renamed("old")); },
                       [](HostConfigStore* store) {
                         const absl::Status appended = store->Append(Renamed("new"));
                         EXPECT_EQ(ProvidersIn(store->config()), appended.ok() ? "new" : "old");
                         return appended;
                       },
                       [this](HostConfigStore* store, bool before) {
                         EXPECT_THAT(store->Append(Renamed("next")), IsOk());
                         const std::string expected = before ? "newnext" : "next";
                         EXPECT_EQ(ProvidersIn(store->config()), expected);
                         EXPECT_EQ(ProvidersIn(HostConfigStore::Open(place_).value()->config()),
                                   expected);
                       });
}

}  // namespace
}  // namespace keysphere::hostagent::config
