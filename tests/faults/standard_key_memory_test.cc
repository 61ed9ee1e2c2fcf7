// S147, S103: the keys of a KMS in a real host: where they lie in its memory, and its core dumps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/files/file_system.h"
#include "common/keyset/keyset.h"
#include "common/status/matchers.h"
#include "hostagent/dump/dump_file.h"
#include "hostagent/vm/vm_folder.h"
#include "tests/processes/host_driver.h"
#include "tests/processes/memory_probe.h"

namespace keysphere::faults {
namespace {

using host::v1::SetCryptoModeRequest;
using processes::HostDriver;
using processes::HostManagement;
using processes::HostProcess;
using processes::HostVms;
using processes::ManagementCalls;
using processes::MemoryFinding;
using processes::MemoryPattern;
using processes::VmCalls;
using status::IsOk;
using ::testing::StartsWith;

constexpr char kProvider[] = "kms";

std::string Bytes(const crypto::SecretKey& key) {
  const auto bytes = key.bytes(crypto::SecretKeyAccess::Token());
  return std::string(bytes.begin(), bytes.end());
}

v1::CryptoKeyId Id(const std::string& key_id) {
  v1::CryptoKeyId id;
  id.set_provider_id(kProvider);
  id.set_key_id(key_id);
  return id;
}

// A host that is safe with the key "host", and runs the VM "web" under the key "vm". Three more
// keys are cached only.
class StandardKeyMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* id : {"host", "vm", "cached-1", "cached-2", "cached-3"}) {
      keys_[id] = crypto::SecretKey::Random(crypto::kKeyBytes).value();
      processes::AddHalves(id, Bytes(keys_.at(id)), &patterns_);
    }
    ASSERT_THAT(host_.Start(), IsOk());
    ASSERT_THAT(driver_.Attach(), IsOk());
    SetCryptoModeRequest mode;
    mode.set_action(SetCryptoModeRequest::ACTION_PREPARE);
    ASSERT_THAT(Manage(&ManagementCalls::SetCryptoMode, mode), IsOk());
    mode.set_action(SetCryptoModeRequest::ACTION_ENABLE);
    *mode.mutable_host_key() = Id("host");
    *mode.mutable_host_key_material() = Seal({"host"});
    ASSERT_THAT(Manage(&ManagementCalls::SetCryptoMode, mode), IsOk());
    auto keys = driver_.KeysRequest({});
    ASSERT_THAT(keys, IsOk());
    *keys->add_standard_keys() = Seal({"vm", "cached-1", "cached-2", "cached-3"});
    ASSERT_THAT(Manage(&ManagementCalls::ApplyKeys, *keys), IsOk());
    ASSERT_THAT(driver_.Create("web"), IsOk());
    host::v1::EncryptHostVmRequest encrypt;
    encrypt.set_epoch(driver_.epoch());
    encrypt.set_vm("web");
    *encrypt.mutable_key() = Id("vm");
    ASSERT_THAT(driver_.AsController().Call<HostVms>(&VmCalls::EncryptHostVm, encrypt), IsOk());
    ASSERT_THAT(driver_.PowerOn("web"), IsOk());
    ASSERT_THAT(driver_.Write("web", "data"), IsOk());
    // The VM's data key too.
    auto folder = hostagent::vm::VmFolder::Open(files_, driver_.Folder("web"));
    ASSERT_THAT(folder, IsOk());
    const auto home = (*folder)->UnwrapHome(keys_.at("vm"));
    ASSERT_THAT(home, IsOk());
    processes::AddHalves("home DEK", Bytes(home->home_dek()), &patterns_);
  }

  host::v1::SealedStandardKeys Seal(const std::vector<std::string>& ids) {
    const auto status = driver_.Status();
    KS_CHECK(status.ok());
    auto session = crypto::TransportSession::Begin(status->transport_public_key());
    KS_CHECK(session.ok());
    host::v1::SealedStandardKeys sealed;
    sealed.set_provider(kProvider);
    for (const std::string& id : ids) {
      host::v1::SealedStandardKeys::Key* const key = sealed.add_keys();
      key->set_key_id(id);
      const std::string info =
          keyset::SealInfo(host_.name(), status->boot_id(), driver_.epoch(), kProvider, id);
      key->set_sealed(session->Seal(info, keys_.at(id)).value());
    }
    return sealed;
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Manage(
      rpc::internal::UnaryMethod<ManagementCalls, Request, Response> method, Request request) {
    request.set_epoch(driver_.epoch());
    return driver_.AsController().Call<HostManagement>(method, request);
  }

  absl::StatusOr<std::string> ReadDump(const std::string& path, const crypto::SecretKey& key) {
    std::string content;
    KS_RETURN_IF_ERROR(hostagent::dump::ReadDump(
        files_, path, [&key](const hostagent::dump::DumpHeader&) { return key.Clone(); },
        [&content](absl::string_view piece) {
          content.append(piece.data(), piece.size());
          return absl::OkStatus();
        }));
    return content;
  }

  const files::FileSystem files_;
  processes::Lab lab_;
  HostProcess& host_ = lab_.AddHost({});
  HostDriver driver_{&host_};
  std::map<std::string, crypto::SecretKey> keys_;
  std::vector<MemoryPattern> patterns_;
};

TEST_F(StandardKeyMemoryTest, S147_CachedKeysLieInProtectedMemoryAlone) {
  const auto findings = processes::ProbeMemory(host_.child().pid(), patterns_);
  ASSERT_THAT(findings, IsOk());
  int cached_halves = 0;
  for (const MemoryFinding& finding : *findings) {
    EXPECT_FALSE(finding.dumped) << finding.pattern << " in " << finding.mapping;
    if (finding.pattern.rfind("cached", 0) == 0) ++cached_halves;
  }
  // The control: both halves of each are found where they may be.
  EXPECT_EQ(cached_halves, 6);
}

TEST_F(StandardKeyMemoryTest, S56_S103_ACoreDumpHoldsNoKeyAndOnlyTheHostKeyOpensIt) {
  host::v1::WriteCoreDumpRequest request;
  const auto dumped = Manage(&ManagementCalls::WriteCoreDump, request);
  ASSERT_THAT(dumped, IsOk());
  EXPECT_EQ(dumped->key().key_id(), "host");
  const auto raw = files_.ReadFile(dumped->path(), size_t{1} << 30);
  ASSERT_THAT(raw, IsOk());
  // What the process has in its memory, and the file in clear has not.
  EXPECT_EQ(raw->find("cluster-a"), std::string::npos);
  EXPECT_FALSE(ReadDump(dumped->path(), keys_.at("vm")).ok());
  const auto core = ReadDump(dumped->path(), keys_.at("host"));
  ASSERT_THAT(core, IsOk());
  EXPECT_THAT(*core, StartsWith("\177ELF"));
  EXPECT_NE(core->find("cluster-a"), std::string::npos);
  EXPECT_GT(core->size(), 500'000u);
  for (const MemoryPattern& pattern : patterns_) {
    EXPECT_EQ(core->find(pattern.bytes), std::string::npos) << pattern.name;
  }

  request.set_vm("web");
  const auto vm_dumped = Manage(&ManagementCalls::WriteCoreDump, request);
  ASSERT_THAT(vm_dumped, IsOk());
  EXPECT_EQ(vm_dumped->key().key_id(), "vm");
}

}  // namespace
}  // namespace keysphere::faults
