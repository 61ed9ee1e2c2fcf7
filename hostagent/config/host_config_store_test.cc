#include "hostagent/config/host_config_store.h"

#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/test_vectors.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hostagent/tpm/fake_tpm.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using crypto::testing::BytesOf;
using status::EqualsProto;
using status::HasReason;
using status::IsOk;
using status::IsOkAndHolds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using tpm::FakeTpm;
using tpm::FakeTpmHardware;
using tpm::TpmVersion;

class HostConfigStoreTest : public ::testing::Test {
 protected:
  HostConfigStoreTest() {
    dir_ = absl::StrCat(::testing::TempDir(), "/host_config/",
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
  }

  // A power-on of the host: its TPM is reset.
  HostConfigStore::Place Boot(const std::shared_ptr<FakeTpmHardware>& hardware) {
    tpms_.push_back(std::make_unique<FakeTpm>(hardware));
    return {dir_, tpms_.back().get(), &files_};
  }
  HostConfigStore::Place BootWithout() { return Boot(no_tpm_); }

  std::string Path(absl::string_view name) const { return absl::StrCat(dir_, "/", name); }
  std::string Read(absl::string_view name) {
    return files_.ReadFile(Path(name), size_t{1} << 24).value();
  }
  void Write(absl::string_view name, absl::string_view bytes) {
    EXPECT_THAT(files_.WriteFileAtomically(Path(name), bytes, 0600), IsOk());
  }

  static Kdk MakeKdk(const HostConfigStore& store, absl::string_view provider,
                     const SecretKey& key) {
    Kdk kdk;
    kdk.set_provider(std::string(provider));
    kdk.set_key_id("key-1");
    kdk.set_sealed_key(store.SealSecret(KdkSecretName(provider, "key-1"), key).value());
    return kdk;
  }
  static absl::StatusOr<SecretKey> OpenKdk(const HostConfigStore& store, const Kdk& kdk) {
    return store.OpenSecret(KdkSecretName(kdk.provider(), kdk.key_id()), kdk.sealed_key());
  }

  const files::FileSystem files_;
  std::string dir_;
  const std::shared_ptr<FakeTpmHardware> hardware_ = std::make_shared<FakeTpmHardware>();
  const std::shared_ptr<FakeTpmHardware> no_tpm_ =
      std::make_shared<FakeTpmHardware>(TpmVersion::kNone);
  std::vector<std::unique_ptr<FakeTpm>> tpms_;
};

// S28: a TPM host seals, the others keep the key in the encrypted configuration. S51: after a
// reboot it is there without a controller.
TEST_F(HostConfigStoreTest, S28_S51_KdkIsThereAfterRebootInBothModes) {
  for (const auto& hardware : {hardware_, no_tpm_}) {
    dir_ += hardware == hardware_ ? "/tpm" : "/none";
    const SecretKey key = SecretKey::Random(32).value();
    HostConfig config;
    {
      auto created = HostConfigStore::Create(Boot(hardware)).value();
      config = created.store->config();
      *config.add_kdks() = MakeKdk(*created.store, "nkp-a", key);
      config.mutable_attachment()->set_epoch(3);
      config.mutable_host_key()->set_state(CRYPTO_STATE_SAFE);
      config.add_vms()->set_name("web-1");
      ASSERT_THAT(created.store->Save(config), IsOk());
      EXPECT_EQ(created.store->mode(),
                hardware->version() == TpmVersion::k20 ? MODE_TPM : MODE_NONE);
    }
    const auto store = HostConfigStore::Open(Boot(hardware)).value();
    EXPECT_THAT(store->config(), EqualsProto(config));
    EXPECT_EQ(store->generation(), 2u);
    EXPECT_TRUE(OpenKdk(*store, store->config().kdks(0)).value().Equals(key));
    EXPECT_EQ(files_.Exists(Path("config.key")).value(), store->mode() == MODE_NONE);
  }
}

TEST_F(HostConfigStoreTest, S29_Tpm12CountsAsNone) {
  const auto hardware = std::make_shared<FakeTpmHardware>(TpmVersion::k12);
  auto created = HostConfigStore::Create(Boot(hardware)).value();
  EXPECT_EQ(created.store->mode(), MODE_NONE);
  HostConfig config;
  Kdk kdk = MakeKdk(*created.store, "nkp-a", SecretKey::Random(32).value());
  kdk.set_tpm_required(true);
  *config.add_kdks() = kdk;
  EXPECT_THAT(created.store->Save(config), HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_THAT(created.store->config(), EqualsProto(HostConfig()));
}

TEST_F(HostConfigStoreTest, S138_ChangedPcr7NeedsTheRecoveryKeyOnce) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  const SecretKey key = SecretKey::Random(32).value();
  HostConfig config;
  *config.add_kdks() = MakeKdk(*created.store, "nkp-a", key);
  ASSERT_THAT(created.store->Save(config), IsOk());
  const std::string before = Read("config.ks");

  hardware_->SetFirmware("no secureBoot");
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), HasReason(v1::REASON_RECOVERY_REQUIRED));
  EXPECT_THAT(HostConfigStore::Create(Boot(hardware_)), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(Read("config.ks"), before) << "never a new configuration in its place";

  const std::string text = BytesOf(created.recovery_key);
  const std::string other = BytesOf(created.store->NewRecoveryKey().value());
  Write("config.ks", before);
  EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(Boot(hardware_), other),
              HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(Boot(hardware_), "rubbish"),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_EQ(Read("config.ks"), before);
  const auto recovered = HostConfigStore::OpenWithRecoveryKey(Boot(hardware_), text).value();
  EXPECT_TRUE(OpenKdk(*recovered, recovered->config().kdks(0)).value().Equals(key));
  // Sealed to the present state: the next boot needs nothing.
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), IsOk());
}

TEST_F(HostConfigStoreTest, NewRecoveryKeyReplacesTheFormer) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  const std::string former = BytesOf(created.recovery_key);
  const std::string present = BytesOf(created.store->NewRecoveryKey().value());
  EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(Boot(hardware_), former),
              HasReason(v1::REASON_WRONG_PASSWORD));
  EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(Boot(hardware_), present), IsOk());
}

TEST_F(HostConfigStoreTest, S144_StolenStateFolderOpensInModeNoneOnly) {
  const auto thief = std::make_shared<FakeTpmHardware>();
  ASSERT_THAT(HostConfigStore::Create(Boot(hardware_)), IsOk());
  EXPECT_THAT(HostConfigStore::Open(Boot(thief)), HasReason(v1::REASON_RECOVERY_REQUIRED));
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_RECOVERY_REQUIRED));
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), IsOk());

  dir_ += "/none";
  ASSERT_THAT(HostConfigStore::Create(BootWithout()), IsOk());
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), IsOk());
}

TEST_F(HostConfigStoreTest, S28_HostThatGetsATpmSealsWhatItHas) {
  HostConfig config;
  config.add_vms()->set_name("web-1");
  auto created = HostConfigStore::Create(BootWithout()).value();
  ASSERT_THAT(created.store->Save(config), IsOk());
  ASSERT_TRUE(files_.Exists(Path("config.key")).value());
  const auto sealed = HostConfigStore::Open(Boot(hardware_)).value();
  EXPECT_EQ(sealed->mode(), MODE_TPM);
  EXPECT_THAT(sealed->config(), EqualsProto(config));
  EXPECT_THAT(files_.List(dir_).value(), ElementsAre("config.ks"));
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_RECOVERY_REQUIRED));
}

TEST_F(HostConfigStoreTest, S26_RecoveryWithoutATpmLeavesOutWhatOnlyATpmMayHold) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  HostConfig config;
  *config.add_kdks() = MakeKdk(*created.store, "nkp-a", SecretKey::Random(32).value());
  Kdk tpm_only = MakeKdk(*created.store, "nkp-tpm", SecretKey::Random(32).value());
  tpm_only.set_tpm_required(true);
  *config.add_kdks() = tpm_only;
  config.set_key_persistence(true);
  config.add_persisted_keys()->set_provider("skp");
  ASSERT_THAT(created.store->Save(config), IsOk());

  const auto recovered =
      HostConfigStore::OpenWithRecoveryKey(BootWithout(), BytesOf(created.recovery_key)).value();
  EXPECT_EQ(recovered->mode(), MODE_NONE);
  ASSERT_EQ(recovered->config().kdks_size(), 1);
  EXPECT_EQ(recovered->config().kdks(0).provider(), "nkp-a");
  EXPECT_EQ(recovered->config().persisted_keys_size(), 0);
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), IsOk());
}

TEST_F(HostConfigStoreTest, S56_StandardProviderKeysAreKeptOnlyWithKeyPersistence) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  HostConfig config;
  PersistedKey* const persisted = config.add_persisted_keys();
  persisted->set_provider("skp");
  persisted->set_key_id("key-1");
  ASSERT_THAT(created.store->Save(config), IsOk());
  EXPECT_EQ(created.store->config().persisted_keys_size(), 0);
  EXPECT_EQ(HostConfigStore::Open(Boot(hardware_)).value()->config().persisted_keys_size(), 0);
  JournalRecord record;
  *record.add_changes()->add_put_persisted_keys() = *persisted;
  ASSERT_THAT(created.store->Append(record), IsOk());
  EXPECT_EQ(created.store->config().persisted_keys_size(), 0);
  EXPECT_EQ(HostConfigStore::Open(Boot(hardware_)).value()->config().persisted_keys_size(), 0);

  config.set_key_persistence(true);
  ASSERT_THAT(created.store->Save(config), IsOk());
  EXPECT_EQ(HostConfigStore::Open(Boot(hardware_)).value()->config().persisted_keys_size(), 1);
}

TEST_F(HostConfigStoreTest, S147_FilesHoldNeitherHalfOfAKey) {
  for (const auto& hardware : {hardware_, no_tpm_}) {
    dir_ += hardware == hardware_ ? "/tpm" : "/none";
    auto created = HostConfigStore::Create(Boot(hardware)).value();
    std::vector<SecretKey> keys;
    HostConfig config;
    for (int i = 0; i < 20; ++i) {
      keys.push_back(SecretKey::Random(32).value());
      *config.add_kdks() = MakeKdk(*created.store, absl::StrCat("nkp-", i), keys.back());
    }
    ASSERT_THAT(created.store->Save(config), IsOk());
    // Not in the message either, which lies in ordinary memory.
    std::string all = config.SerializeAsString();
    const std::vector<std::string> names = files_.List(dir_).value();
    for (const std::string& name : names) all += Read(name);
    for (const SecretKey& key : keys) {
      const std::string bytes = BytesOf(key);
      EXPECT_EQ(all.find(bytes.substr(0, 16)), std::string::npos);
      EXPECT_EQ(all.find(bytes.substr(16)), std::string::npos);
    }
    EXPECT_EQ(all.find("nkp-19", config.ByteSizeLong()), std::string::npos);
  }
}

TEST_F(HostConfigStoreTest, SecretsOpenUnderTheirOwnNameOnly) {
  auto created = HostConfigStore::Create(BootWithout()).value();
  const HostConfigStore& store = *created.store;
  const std::string sealed =
      store.SealSecret(KdkSecretName("a", "bc"), SecretKey::Random(32).value()).value();
  EXPECT_THAT(store.OpenSecret(KdkSecretName("a", "bc"), sealed), IsOk());
  for (const std::string& name : {KdkSecretName("ab", "c"), PersistedKeySecretName("a", "bc"),
                                  KdkSecretName("a", "bd"), std::string()}) {
    EXPECT_THAT(store.OpenSecret(name, sealed), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

TEST_F(HostConfigStoreTest, DamageAnywhereIsReportedAndNothingIsReplaced) {
  ASSERT_THAT(HostConfigStore::Create(Boot(hardware_)), IsOk());
  const std::string good = Read("config.ks");
  std::vector<std::string> damaged = {"", "x", good + "x"};
  for (size_t i = 0; i < good.size(); ++i) {
    damaged.push_back(good.substr(0, i));
    damaged.push_back(good);
    damaged.back()[i] ^= 0x20;
  }
  const HostConfigStore::Place place = Boot(hardware_);
  const files::FileSystem& files = files_;
  for (const std::string& bytes : damaged) {
    ASSERT_THAT(
        files.WriteFileAtomically(Path("config.ks"), bytes, 0600, files::Durability::kNotDurable),
        IsOk());
    ASSERT_THAT(HostConfigStore::Open(place), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
  EXPECT_THAT(HostConfigStore::Create(place), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(Read("config.ks"), damaged.back());
  Write("config.ks", good);
  EXPECT_THAT(HostConfigStore::Open(place), IsOk());
}

TEST_F(HostConfigStoreTest, AppendedChangesAreThereAfterAReboot) {
  HostConfig expected;
  {
    auto created = HostConfigStore::Create(Boot(hardware_)).value();
    for (int i = 0; i < 1200; ++i) {  // more than one journal holds
      JournalRecord record;
      ConfigChange* const change = record.add_changes();
      Kdk* const kdk = change->add_put_kdks();
      kdk->set_provider(absl::StrCat("nkp-", i % 2));
      kdk->set_key_id(absl::StrCat("label-", i));
      change->mutable_attachment()->set_generation(i);
      ASSERT_THAT(created.store->Append(record), IsOk());
    }
    expected = created.store->config();
    EXPECT_EQ(expected.kdks_size(), 2);
    EXPECT_GT(created.store->generation(), 1u);
    EXPECT_LT(created.store->generation(), 10u);
    EXPECT_TRUE(files_.Exists(Path("config.journal")).value());
  }
  const auto store = HostConfigStore::Open(Boot(hardware_)).value();
  EXPECT_THAT(store->config(), EqualsProto(expected));
  EXPECT_THAT(files_.List(dir_).value(), ElementsAre("config.ks"));
}

TEST_F(HostConfigStoreTest, DamagedJournalIsReportedAndNothingIsReplaced) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  JournalRecord record;
  record.add_changes()->add_put_kdks()->set_provider("nkp-a");
  ASSERT_THAT(created.store->Append(record), IsOk());
  ASSERT_THAT(created.store->Append(record), IsOk());
  const std::string good = Read("config.journal");
  std::string damaged = good;
  damaged[good.size() / 2] ^= 1;
  Write("config.journal", damaged);
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(Read("config.journal"), damaged);
  Write("config.journal", good);
  EXPECT_EQ(HostConfigStore::Open(Boot(hardware_)).value()->config().kdks_size(), 1);
}

// A journal that was kept does not bring back what a later configuration has not.
TEST_F(HostConfigStoreTest, AJournalOfAnotherConfigurationCountsForNothing) {
  auto created = HostConfigStore::Create(Boot(hardware_)).value();
  JournalRecord record;
  record.add_changes()->add_put_kdks()->set_provider("nkp-a");
  ASSERT_THAT(created.store->Append(record), IsOk());
  const std::string journal = Read("config.journal");
  ASSERT_THAT(created.store->Save(HostConfig()), IsOk());
  EXPECT_FALSE(files_.Exists(Path("config.journal")).value());
  Write("config.journal", journal);
  EXPECT_EQ(HostConfigStore::Open(Boot(hardware_)).value()->config().kdks_size(), 0);
  EXPECT_FALSE(files_.Exists(Path("config.journal")).value());
}

TEST_F(HostConfigStoreTest, S29_AppendToAHostWithoutATpmRefusesItsKeys) {
  auto created = HostConfigStore::Create(BootWithout()).value();
  JournalRecord record;
  record.add_changes()->add_put_kdks()->set_tpm_required(true);
  EXPECT_THAT(created.store->Append(record), HasReason(v1::REASON_TPM_REQUIRED));
  EXPECT_EQ(created.store->config().kdks_size(), 0);
}

TEST_F(HostConfigStoreTest, LostFilesAreReported) {
  EXPECT_THAT(HostConfigStore::Exists(BootWithout()), IsOkAndHolds(false));
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_NOT_FOUND));
  auto created = HostConfigStore::Create(BootWithout()).value();
  const std::string config = Read("config.ks");
  const std::string key = Read("config.key");
  // The key file's.
  for (const std::string& bytes : {std::string(32, 'x'), std::string("short"), std::string()}) {
    Write("config.key", bytes);
    EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_RECOVERY_REQUIRED));
  }
  ASSERT_THAT(files_.Remove(Path("config.key")), IsOk());
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_RECOVERY_REQUIRED));
  EXPECT_THAT(HostConfigStore::OpenWithRecoveryKey(BootWithout(), BytesOf(created.recovery_key)),
              IsOk());
  EXPECT_EQ(Read("config.key"), key);
  // The configuration's.
  ASSERT_THAT(files_.Remove(Path("config.ks")), IsOk());
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(HostConfigStore::Create(BootWithout()), HasReason(v1::REASON_ALREADY_EXISTS));
  Write("config.ks", config);
  EXPECT_THAT(HostConfigStore::Open(BootWithout()), IsOk());
}

TEST_F(HostConfigStoreTest, S138_FilesAreReadableByTheHostsUserAlone) {
  ASSERT_THAT(HostConfigStore::Create(BootWithout()), IsOk());
  for (const char* name : {"config.ks", "config.key"}) {
    struct stat info = {};
    ASSERT_EQ(stat(Path(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(HostConfigStoreTest, TpmThatDoesNotAnswerIsNoLoss) {
  ASSERT_THAT(HostConfigStore::Create(Boot(hardware_)), IsOk());
  hardware_->FailNext(1);
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), HasReason(v1::REASON_TPM_FAILED));
  EXPECT_THAT(HostConfigStore::Open(Boot(hardware_)), IsOk());
}

}  // namespace
}  // namespace keysphere::hostagent::config
