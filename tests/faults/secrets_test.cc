// S162: what a copy of a controller's state gives away. S146: after much work, no secret stands in
// anything that the processes wrote or answered. S147: nor in a controller's memory that a dump
// would hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/bundle.h"
#include "common/crypto/kdf.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "common/store/sqlite_store.h"
#include "hostagent/vm/vm_folder.h"
#include "tests/processes/controller_driver.h"
#include "tests/processes/host_driver.h"
#include "tests/processes/memory_probe.h"

namespace keysphere::faults {
namespace {

using processes::ControllerDriver;
using processes::ControllerProcess;
using processes::HostDriver;
using processes::HostProcess;
using processes::KeyProviderCalls;
using processes::Lab;
using processes::MemoryPattern;
using status::IsOk;

std::string Bytes(const crypto::SecretKey& key) {
  const auto bytes = key.bytes(crypto::SecretKeyAccess::Token());
  return std::string(bytes.begin(), bytes.end());
}

// A text, and what may not be in it.
class SecretSearch {
 public:
  // A key: its halves, raw, in hexadecimal, and in base64 at any place of a longer text.
  void AddKey(const std::string& name, const std::string& key) {
    std::vector<MemoryPattern> halves;
    processes::AddHalves(name, key, &halves);
    for (const MemoryPattern& half : halves) AddForms(half.name, half.bytes);
  }
  // A password or token, which may be short.
  void AddText(const std::string& name, const std::string& text) { AddForms(name, text); }
  void ExpectNoneIn(const std::string& where, const std::string& text) {
    ++searched_;
    bytes_ += text.size();
    for (const auto& [name, form] : forms_) {
      EXPECT_EQ(text.find(form), std::string::npos) << name << " in " << where;
    }
  }
  bool Finds(const std::string& text) const {
    for (const auto& [name, form] : forms_) {
      if (text.find(form) != std::string::npos) return true;
    }
    return false;
  }
  int searched() const { return searched_; }
  size_t bytes() const { return bytes_; }

 private:
  void AddForms(const std::string& name, const std::string& bytes) {
    forms_.emplace_back(name, bytes);
    const std::string hex = absl::BytesToHexString(bytes);
    forms_.emplace_back(name + " (hex)", hex);
    forms_.emplace_back(name + " (HEX)", absl::AsciiStrToUpper(hex));
    for (int shift = 0; shift < 3; ++shift) {
      // The groups of base64 that depend on these bytes alone.
      const std::string whole = absl::Base64Escape(std::string(shift, '\0') + bytes);
      const size_t from = shift == 0 ? 0 : 4;
      const size_t full = (shift + bytes.size()) / 3 * 4;
      if (full <= from) continue;
      std::string part = whole.substr(from, full - from);
      forms_.emplace_back(name + " (base64)", part);
      for (char& c : part) c = c == '+' ? '-' : c == '/' ? '_' : c;
      forms_.emplace_back(name + " (base64url)", part);
    }
  }
  std::vector<std::pair<std::string, std::string>> forms_;
  int searched_ = 0;
  size_t bytes_ = 0;
};

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class SecretsTest : public ::testing::Test {
 protected:
  SecretsTest()
      : controller_(lab_.AddController("vcenter-a")),
        host_(lab_.AddHost({})),
        driver_(&controller_),
        at_host_(&host_) {
    KS_CHECK(controller_.Start().ok());
    KS_CHECK(host_.Start().ok());
    KS_CHECK(driver_.CreateCluster("cluster").ok());
    KS_CHECK(driver_.AddHost(host_, "cluster").ok());
  }

  // The key of a bundle, which the test has from its own backup.
  static crypto::KeyBundle Open(const std::string& bundle, const std::string& password) {
    const auto secret = crypto::SecretKey::CopyOf(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(password.data()), password.size()));
    auto opened = crypto::ReadBundle(bundle, &*secret);
    KS_CHECK(opened.ok());
    return *std::move(opened);
  }
  // Its VM key, and the data key of its home.
  void AddVmKeys(const std::string& vm, const crypto::SecretKey& kdk, SecretSearch* search) {
    static const files::FileSystem files;
    auto folder = hostagent::vm::VmFolder::Open(files, at_host_.Folder(vm));
    ASSERT_THAT(folder, IsOk());
    auto kek = crypto::DeriveVmKek(kdk, (*folder)->Describe().key_id->key_id);
    ASSERT_THAT(kek, IsOk());
    search->AddKey("KEK of " + vm, Bytes(*kek));
    const auto home = (*folder)->UnwrapHome(*kek);
    ASSERT_THAT(home, IsOk());
    search->AddKey("DEK of " + vm, Bytes(home->home_dek()));
  }

  Lab lab_;
  ControllerProcess& controller_;
  HostProcess& host_;
  ControllerDriver driver_;
  HostDriver at_host_;
};

TEST_F(SecretsTest, S162_TheWholeStateFolderGivesTheKeysAndTheDatabaseAloneDoesNot) {
  const std::string given = processes::GuestData(78, 32);
  ASSERT_THAT(driver_.CreateProvider("given", given), IsOk());
  controller_.Kill();
  const std::string copy = lab_.root() + "/copy";
  std::filesystem::copy(controller_.state_dir(), copy, std::filesystem::copy_options::recursive);
  SecretSearch search;
  search.AddKey("KDK", given);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(copy)) {
    if (!entry.is_regular_file()) continue;
    search.ExpectNoneIn(entry.path().string(), ReadFile(entry.path().string()));
  }
  EXPECT_GE(search.searched(), 2);
  const files::FileSystem files;
  const std::string database = copy + "/controller.db";
  {
    const auto store = store::SqliteStore::Open(&files, database);
    ASSERT_THAT(store, IsOk());
    const auto kdk = (*store)->GetSecret("provider-kdk/given");
    ASSERT_THAT(kdk, IsOk());
    EXPECT_EQ(Bytes(*kdk), given);
  }
  ASSERT_TRUE(std::filesystem::remove(database + ".key"));
  const auto alone = store::SqliteStore::Open(&files, database);
  EXPECT_FALSE(alone.ok() && (*alone)->GetSecret("provider-kdk/given").ok());
}

TEST_F(SecretsTest, S146_NothingThatIsWrittenOrAnsweredHoldsASecret) {
  SecretSearch search;
  std::vector<std::string> answers;
  const auto note = [&](const absl::Status& status) {
    answers.push_back(status::ToString(status));
    answers.push_back(status::DetailOf(status).SerializeAsString());
  };
  // Providers: one whose key the caller gives, one that is made; backups with and without password.
  const std::string given = processes::GuestData(77, 32);
  const std::string password = "a password that nobody may read";
  search.AddKey("given KDK", given);
  search.AddText("password", password);
  ASSERT_THAT(driver_.CreateProvider("given", given), IsOk());
  ASSERT_THAT(driver_.CreateProvider("made"), IsOk());
  note(driver_.CreateProvider("given", given).status());
  note(driver_.CreateProvider("bad", given + "x").status());
  const auto bundle = driver_.Backup("made", password);
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(driver_.Backup("given"), IsOk());
  const crypto::KeyBundle made = Open(*bundle, password);
  search.AddKey("made KDK", Bytes(made.kdk));
  note(driver_.Import(*bundle, password).status());
  note(driver_.Import(*bundle, password + "!").status());
  const auto ticket = driver_.Export("made", password, controller_.fqdn());
  ASSERT_THAT(ticket, IsOk());
  search.AddText("token", ticket->token());
  v1::DownloadKeyProviderRequest download;
  download.set_name("given");
  download.set_token(ticket->token());
  note(driver_.Admin()
           .Read<v1::KeyProviders>(&KeyProviderCalls::DownloadKeyProvider, download)
           .status());
  ASSERT_THAT(driver_.SetDefault("made"), IsOk());
  // VMs: encrypted, run, written, refused, purged, locked, unlocked.
  for (const auto& [vm, provider] : {std::pair("web", "made"), std::pair("db", "given")}) {
    ASSERT_THAT(driver_.CreateVm("esx-1", vm), IsOk());
    ASSERT_THAT(driver_.EncryptVm(vm, provider), IsOk());
    ASSERT_THAT(driver_.PowerOn(vm), IsOk());
  }
  const std::string guest = "what the guest keeps for itself";
  search.AddText("guest data", guest);
  ASSERT_THAT(at_host_.Write("web", guest), IsOk());
  note(driver_.EncryptVm("web", "made"));
  ASSERT_THAT(driver_.PowerOff("web"), IsOk());
  ASSERT_NO_FATAL_FAILURE(AddVmKeys("web", made.kdk, &search));
  ASSERT_THAT(driver_.DeleteProvider("made"), IsOk());
  ASSERT_THAT(driver_.Remediate(), IsOk());
  note(driver_.PowerOn("web").status());
  ASSERT_THAT(driver_.Import(*bundle, password), IsOk());
  v1::ConfigureCryptoKeyRequest configure;
  configure.set_host("esx-1");
  const auto configured =
      driver_.Admin().Call<v1::Hosts>(&processes::HostCalls::ConfigureCryptoKey, configure);
  answers.push_back(configured.ok() ? configured->SerializeAsString()
                                    : status::ToString(configured.status()));
  host_.Kill();
  ASSERT_THAT(host_.Start(), IsOk());
  controller_.Kill();
  ASSERT_THAT(controller_.Start(), IsOk());
  ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_CONNECTED), IsOk());

  // All that can be asked.
  v1::ListEventsRequest events;
  events.set_page_size(1000);
  const auto listed = driver_.Admin().Call<v1::Events>(&processes::EventCalls::ListEvents, events);
  ASSERT_THAT(listed, IsOk());
  EXPECT_GT(listed->events_size(), 10);
  answers.push_back(listed->SerializeAsString());
  answers.push_back(
      driver_.Admin()
          .Call<v1::Alarms>(&processes::AlarmCalls::ListAlarms, v1::ListAlarmsRequest())
          ->SerializeAsString());
  answers.push_back(driver_.Admin()
                        .Call<v1::Tasks>(&processes::TaskCalls::ListTasks, v1::ListTasksRequest())
                        ->SerializeAsString());
  answers.push_back(driver_.ListProviders()->SerializeAsString());
  answers.push_back(driver_.GetHost("esx-1")->SerializeAsString());
  answers.push_back(at_host_.Status()->SerializeAsString());
  for (const char* const vm : {"web", "db"}) {
    answers.push_back(driver_.GetVm(vm)->SerializeAsString());
    v1::ExplainVmRequest explain;
    explain.set_vm(vm);
    answers.push_back(driver_.Admin()
                          .Call<v1::VirtualMachines>(&processes::MachineCalls::ExplainVm, explain)
                          ->SerializeAsString());
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    search.ExpectNoneIn(absl::StrCat("answer ", i, ": ", answers[i].substr(0, 60)), answers[i]);
  }
  // All that was written: logs, stderr, state of hosts and controllers, TPM memory, VM files.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(lab_.root())) {
    if (entry.is_regular_file()) {
      search.ExpectNoneIn(entry.path().string(), ReadFile(entry.path().string()));
    }
  }
  EXPECT_GT(search.searched(), 30);
  EXPECT_GT(search.bytes(), 100u << 10);
  // The controls: the search finds what is there.
  EXPECT_TRUE(search.Finds("x" + given + "y"));
  EXPECT_TRUE(search.Finds(absl::StrCat("{\"k\":\"", absl::Base64Escape("ab" + given), "\"}")));
}

TEST_F(SecretsTest, S147_AnIdleControllerHasNoKeyInMemoryThatADumpWouldHold) {
  const std::string password = "correct horse";
  ASSERT_THAT(driver_.CreateProvider("made"), IsOk());
  const auto bundle = driver_.Backup("made", password);
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(driver_.DeleteProvider("made"), IsOk());
  ASSERT_THAT(driver_.Import(*bundle, password), IsOk());
  ASSERT_THAT(driver_.CreateVm("esx-1", "web"), IsOk());
  ASSERT_THAT(driver_.EncryptVm("web", "made"), IsOk());
  std::vector<MemoryPattern> patterns;
  const crypto::KeyBundle made = Open(*bundle, password);
  processes::AddHalves("KDK", Bytes(made.kdk), &patterns);
  for (const char* const moment : {"after work", "after a restart"}) {
    SCOPED_TRACE(moment);
    // It holds the key, or sends it; either is seen in its key memory.
    const auto findings = processes::ProbeMemory(controller_.child().pid(), patterns);
    ASSERT_THAT(findings, IsOk());
    for (const processes::MemoryFinding& finding : *findings) {
      EXPECT_FALSE(finding.dumped) << finding.pattern << " in " << finding.mapping;
    }
    EXPECT_GE(findings->size(), 2u) << "the control";
    controller_.Kill();
    ASSERT_THAT(controller_.Start(), IsOk());
    ASSERT_THAT(driver_.WaitForHost("esx-1", v1::CONNECTION_STATE_CONNECTED), IsOk());
  }
}

}  // namespace
}  // namespace keysphere::faults
