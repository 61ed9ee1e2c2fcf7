// C. Keys and wrapping: what lies on the datastore and on hosts, looked at from outside.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/crypto/bundle.h"
#include "common/crypto/kdf.h"
#include "common/crypto/key_wrap.h"
#include "common/crypto/xts.h"
#include "tests/semantics/stage.h"

namespace keysphere::tests {
namespace {

// The locators of a file: provider, key id and the blob, one a DEK.
struct Locator {
  std::string provider;
  std::string key_id;
  std::string blob;
};

std::vector<Locator> LocatorsOf(const std::string& text) {
  static constexpr char kBegin[] = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/";
  std::vector<Locator> locators;
  for (size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at + 1)) {
    const size_t provider = at + sizeof(kBegin) - 1;
    const size_t key_id = text.find('/', provider) + 1;
    const size_t mac = text.find(',', key_id);
    const size_t blob = text.find(',', mac + 1) + 1;
    Locator locator;
    locator.provider = text.substr(provider, key_id - provider - 1);
    locator.key_id = text.substr(key_id, mac - key_id);
    EXPECT_EQ(text.substr(mac + 1, blob - mac - 2), "HMAC-SHA-256");
    EXPECT_TRUE(
        absl::Base64Unescape(text.substr(blob, text.find(')', blob) - blob), &locator.blob));
    locators.push_back(std::move(locator));
  }
  return locators;
}

class FilesTest : public Stage {
 protected:
  // The DEK that a locator wraps, with the standard primitives alone: 40 bytes of AES-KWP after
  // the blob's four bytes of format.
  static absl::StatusOr<crypto::SecretKey> Unwrap(const crypto::SecretKey& kdk,
                                                  const Locator& locator) {
    KS_ASSIGN_OR_RETURN(const crypto::SecretKey kek, crypto::DeriveVmKek(kdk, locator.key_id));
    return crypto::UnwrapKey(kek, locator.blob.substr(4, 40));
  }
  std::string DiskFile(const std::string& vm, bool flat) {
    std::string file = a.Vm(vm).disks(0).file_name();
    if (flat) file = absl::StrReplaceAll(file, {{".vmdk", "-flat.vmdk"}});
    return esx1.File(vm, file);
  }
};

TEST_F(FilesTest, S34_TheConfigHoldsTheDekWrappedAndNamesItsKey) {
  const auto bundle = crypto::ReadBundle(UseNkpWithBundle(), nullptr);
  ASSERT_THAT(bundle, IsOk());
  MakeVm("web", /*running=*/false);
  const std::vector<Locator> locators = LocatorsOf(esx1.Vmx("web"));
  ASSERT_EQ(locators.size(), 1u);
  EXPECT_EQ(locators[0].provider, "nkp");
  EXPECT_EQ(locators[0].key_id, a.Vm("web").key_id().key_id());

  const auto dek = Unwrap(bundle->kdk, locators[0]);
  ASSERT_THAT(dek, IsOk());
  ASSERT_EQ(dek->size(), 32u);
  // The DEK itself, or the KDK, is in no file of the VM.
  for (const crypto::SecretKey* key : {&*dek, &bundle->kdk}) {
    const auto bytes = key->bytes(crypto::SecretKeyAccess::Token());
    const std::string half(bytes.begin(), bytes.begin() + 16);
    for (const auto& entry : std::filesystem::directory_iterator(esx1.datastore() + "/web")) {
      const std::string content = esx1.File("web", entry.path().filename());
      EXPECT_FALSE(absl::StrContains(content, half)) << entry.path();
      EXPECT_FALSE(absl::StrContains(content, absl::BytesToHexString(half))) << entry.path();
      EXPECT_FALSE(absl::StrContains(content, absl::Base64Escape(half).substr(0, 20)));
    }
  }
}

TEST_F(FilesTest, S34_ACopyOfTheFilesOpensWhereverTheKeyIs) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("web", /*running=*/false);
  // A replica: the folder is copied, and the original is gone.
  std::filesystem::copy(esx1.datastore() + "/web", cluster.root() + "/replica");
  ASSERT_THAT(a.Unregister("web"), IsOk());
  std::filesystem::remove_all(esx1.datastore() + "/web");
  std::filesystem::copy(cluster.root() + "/replica", esx1.datastore() + "/web");

  HostNode& esx2 = cluster.AddHost("esx-2");
  ASSERT_THAT(b.AddHost("esx-2", "cluster-b"), IsOk());
  ASSERT_THAT(b.Import(bundle), IsOk());
  ASSERT_THAT(b.Register("esx-2", "web"), IsOk());
  EXPECT_THAT(b.PowerOn("web"), IsOk());
  ExpectData("web", esx2.name());
}

TEST_F(FilesTest, S35_VmsShareOneKdkAndTheProviderStoresNothingForThem) {
  UseNkp();
  MakeVm("one", /*running=*/false);
  const auto stored = [this] {
    std::set<std::string> kinds;  // of what is stored: the first parts of the keys
    const auto entries = a.store().Range("", "", 10'000);
    for (const auto& entry : *entries) {
      kinds.insert(entry.key.substr(0, entry.key.find('/')));
    }
    return kinds;
  };
  const auto before = stored();
  const size_t providers_before = a.store().Range("provider", "", 10'000)->size();
  MakeVm("two", /*running=*/false);
  MakeVm("three", /*running=*/false);
  EXPECT_EQ(a.store().Range("provider", "", 10'000)->size(), providers_before);
  EXPECT_EQ(stored(), before);
  EXPECT_EQ(before.count("provider"), 1u);
  EXPECT_EQ(before.count("key"), 0u);
  EXPECT_EQ(esx1.Stats().held_keys(), 1);
  EXPECT_NE(a.Vm("one").key_id().key_id(), a.Vm("two").key_id().key_id());
  EXPECT_NE(a.Vm("two").key_id().key_id(), a.Vm("three").key_id().key_id());
}

TEST_F(FilesTest, S36_TheSameInputsGiveTheSameKekEverywhere) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("web", /*running=*/false);
  const auto read = crypto::ReadBundle(bundle, nullptr);
  ASSERT_THAT(read, IsOk());
  // What the host of vcenter-a made opens with what is derived here from the backup alone …
  const std::vector<Locator> locators = LocatorsOf(esx1.Vmx("web"));
  EXPECT_THAT(Unwrap(read->kdk, locators[0]), IsOk());
  // … and on a host of vcenter-b.
  ASSERT_THAT(b.Import(bundle), IsOk());
  MoveToB();
  Tick();
  EXPECT_THAT(b.PowerOn("web"), IsOk());
  ExpectData("web");
}

TEST_F(FilesTest, S41_TheHostsConfigurationIsEncryptedWithoutAnyProvider) {
  HostNode& none = AddHostToA("esx-none", TpmVersion::kNone);
  for (HostNode* host : {&esx1, &none}) {
    std::ifstream in(host->state_dir() + "/config.ks", std::ios::binary);
    std::ostringstream content;
    content << in.rdbuf();
    ASSERT_FALSE(content.str().empty());
    EXPECT_FALSE(absl::StrContains(content.str(), "vcenter-a"));
    EXPECT_FALSE(absl::StrContains(content.str(), "cluster-a"));
    ASSERT_THAT(host->Reboot(), IsOk());
    EXPECT_EQ(host->Status().controller(), "vcenter-a");
  }
}

TEST_F(FilesTest, S81_ConfigKeyIdNamesKeyAndProviderAndItsAbsenceMeansPlain) {
  UseNkp();
  ASSERT_THAT(a.CreateVm("esx-1", "plain"), IsOk());
  MakeVm("web", /*running=*/false);
  EXPECT_FALSE(a.Vm("plain").has_key_id());
  EXPECT_EQ(a.Vm("web").key_id().provider_id(), "nkp");
  EXPECT_NE(a.Vm("web").key_id().key_id(), "");
  EXPECT_EQ(a.Vm("web").disks(0).key_id().provider_id(), "nkp");
  ASSERT_THAT(a.DecryptVm("web"), IsOk());
  EXPECT_FALSE(a.Vm("web").has_key_id());
}

TEST_F(FilesTest, S131_TheVmxHasVMwaresKeySafe) {
  ASSERT_THAT(a.CreateUsableNkp("a/b (c)"), IsOk());
  MakeVm("web", /*running=*/false, "esx-1", "a/b (c)");
  const std::string vmx = esx1.Vmx("web");
  const std::string key_id = a.Vm("web").key_id().key_id();
  EXPECT_THAT(vmx, HasSubstr(absl::StrCat(
                       "encryption.keySafe = \"vmware:key/list/(pair/(fqid/<VMWARE-NULL>/"
                       "a%2fb%20%28c%29/",
                       key_id, ",HMAC-SHA-256,")));
  EXPECT_THAT(vmx, HasSubstr("encryption.data = \""));
  // What the home says is in encryption.data, not beside it.
  EXPECT_THAT(vmx, Not(HasSubstr("scsi0:0.fileName")));
}

TEST_F(FilesTest, S136_TheProvidersKeyIdIsNoInputOfTheDerivation) {
  const std::string bundle = UseNkpWithBundle();
  MakeVm("web", /*running=*/false);
  auto read = crypto::ReadBundle(bundle, nullptr);
  ASSERT_THAT(read, IsOk());
  read->key_id = "0f8fad5b-d9cb-469f-a165-70867728950e";
  const auto relabelled = crypto::WriteBundle(*read, nullptr, 1000);
  ASSERT_THAT(relabelled, IsOk());
  ASSERT_THAT(b.Import(*relabelled), IsOk());
  MoveToB();
  Tick();
  EXPECT_FALSE(b.Locked("web"));
  EXPECT_THAT(b.PowerOn("web"), IsOk());
  ExpectData("web");
}

TEST_F(FilesTest, S137_DisksAreXtsUnderADekWrappedWithKwp) {
  const auto bundle = crypto::ReadBundle(UseNkpWithBundle(), nullptr);
  ASSERT_THAT(bundle, IsOk());
  MakeVm("web", /*running=*/false);
  const std::string flat = DiskFile("web", /*flat=*/true);
  ASSERT_EQ(flat.size(), 64u << 10);
  EXPECT_FALSE(absl::StrContains(flat, kData));
  EXPECT_FALSE(absl::StrContains(flat.substr(0, 4096), std::string(64, '\0')));

  std::vector<Locator> locators = LocatorsOf(DiskFile("web", /*flat=*/false));
  ASSERT_EQ(locators.size(), 1u);
  EXPECT_EQ(locators[0].key_id, a.Vm("web").key_id().key_id());
  const auto dek = Unwrap(bundle->kdk, locators[0]);
  ASSERT_THAT(dek, IsOk());
  const auto home_dek = Unwrap(bundle->kdk, LocatorsOf(esx1.Vmx("web"))[0]);
  ASSERT_THAT(home_dek, IsOk());
  EXPECT_FALSE(dek->Equals(*home_dek));
  const auto xts = crypto::DeriveXtsKey(*dek);
  ASSERT_THAT(xts, IsOk());
  // What the guest never wrote is not there either: the first unit is.
  std::vector<uint8_t> blocks(flat.begin(), flat.begin() + 4096);
  ASSERT_THAT(crypto::XtsDecrypt(*xts, 0, blocks, absl::MakeSpan(blocks)), IsOk());
  const std::string plain(blocks.begin(), blocks.end());
  EXPECT_TRUE(absl::StartsWith(plain, absl::StrCat(kData, "web")));
  EXPECT_EQ(plain.find_first_not_of('\0', std::string(kData).size() + 3), std::string::npos);
}

TEST_F(FilesTest, S137_AChangedBitOfHomeIsNoticed) {
  UseNkp();
  MakeVm("web", /*running=*/false);
  const std::string path = esx1.datastore() + "/web/web.vmx";
  std::string vmx = esx1.Vmx("web");
  const size_t at = vmx.find("encryption.data = \"") + 60;
  vmx[at] = vmx[at] == 'A' ? 'B' : 'A';
  std::ofstream(path, std::ios::binary | std::ios::trunc) << vmx;
  EXPECT_THAT(a.Reload("web"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_CIPHERTEXT_CORRUPT);
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  // After a boot, too: the damaged VM is shown, and is not taken for one whose key is missing.
  ASSERT_THAT(esx1.Reboot(), IsOk());
  cluster.Advance(absl::Minutes(2));
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_CIPHERTEXT_CORRUPT);
  EXPECT_THAT(a.PowerOn("web"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  // What helps is told, and that is no provider: also when that is gone, or has gone.
  const std::string helps = a.Explain("web").next_step();
  EXPECT_FALSE(helps.empty());
  EXPECT_FALSE(absl::StrContains(helps, "provider")) << helps;
  ASSERT_THAT(a.DeleteProvider("nkp"), IsOk());
  EXPECT_EQ(a.Explain("web").next_step(), helps);
  EXPECT_EQ(a.Explain("web").reason(), v1::REASON_CIPHERTEXT_CORRUPT);
}

}  // namespace
}  // namespace keysphere::tests
