// Registered VMs: made, found, powered, encrypted.
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "hostagent/agent/host_fixture.h"

namespace keysphere::hostagent::agent {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using VmsTest = HostTest;

TEST_F(VmsTest, S106_S107_EncryptAndDecryptWantThePowerOffAndTheRightState) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().Create("web"), IsOk());
  host::v1::DecryptHostVmRequest decrypt;
  decrypt.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::DecryptHostVm, decrypt),
              HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "plain and sealed"), IsOk());
  EXPECT_THAT(host().Encrypt("web", nkp), HasReason(v1::REASON_INVALID_POWER_STATE));
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  const auto encrypted = host().Encrypt("web", nkp);
  ASSERT_THAT(encrypted, IsOk());
  EXPECT_EQ(encrypted->vm().key_id().provider_id(), "nkp");
  EXPECT_EQ(encrypted->vm().disks(0).key_id().key_id(), encrypted->vm().key_id().key_id());
  EXPECT_EQ(encrypted->vm().migrate_encryption(), "required");
  EXPECT_EQ(encrypted->vm().guest_os(), "debian12-64");
  EXPECT_THAT(host().Encrypt("web", nkp), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Manage(&HostAgent::DecryptHostVm, decrypt),
              HasReason(v1::REASON_INVALID_POWER_STATE));
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  const auto decrypted = host().Manage(&HostAgent::DecryptHostVm, decrypt);
  ASSERT_THAT(decrypted, IsOk());
  EXPECT_FALSE(decrypted->vm().has_key_id());
  // S113: it stays required.
  EXPECT_EQ(decrypted->vm().migrate_encryption(), "required");
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 16), status::IsOkAndHolds("plain and sealed"));
}

TEST_F(VmsTest, S34_S131_TheDiskOfAnEncryptedVmHoldsCiphertextAndTheVmxNamesTheKey) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  ASSERT_THAT(host().Write("web", "a secret of the guest"), IsOk());
  ASSERT_THAT(host().PowerOff("web"), IsOk());
  std::ifstream flat(host().datastore() + "/web/web-1-flat.vmdk", std::ios::binary);
  const std::string blocks((std::istreambuf_iterator<char>(flat)),
                           std::istreambuf_iterator<char>());
  EXPECT_EQ(blocks.find("secret"), std::string::npos);
  const auto vmx = host().files().ReadFile(host().datastore() + "/web/web.vmx", 1 << 20);
  ASSERT_THAT(vmx, IsOk());
  EXPECT_THAT(*vmx, HasSubstr("vmware:key/list/(pair/(fqid/<VMWARE-NULL>/nkp/" +
                              host().Vm("web").key_id().key_id()));
}

TEST_F(VmsTest, S101_EncryptionNeedsASafeHostAndTheKey) {
  const TestProvider nkp = TestProvider::Make("nkp");
  ASSERT_THAT(host().Create("web"), IsOk());
  const auto refused = host().Encrypt("web", nkp);
  EXPECT_THAT(refused, HasReason(v1::REASON_HOST_NOT_SAFE));
  EXPECT_THAT(status::DetailOf(refused.status()).others(),
              ::testing::ElementsAre(v1::REASON_KEY_MISSING_ON_HOST));
  EXPECT_FALSE(host().Vm("web").has_key_id());
}

TEST_F(VmsTest, S112_AVtpmNeedsAnEncryptedHomeOrAKey) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().Create("web"), IsOk());
  host::v1::AddHostVmVtpmRequest request;
  request.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::AddHostVmVtpm, request),
              HasReason(v1::REASON_INVALID_STATE));
  request.mutable_key()->set_provider_id("nkp");
  request.mutable_key()->set_key_id("k");
  const auto added = host().Manage(&HostAgent::AddHostVmVtpm, request);
  ASSERT_THAT(added, IsOk());
  EXPECT_TRUE(added->vm().vtpm());
  EXPECT_EQ(added->vm().key_id().key_id(), "k");
  EXPECT_FALSE(added->vm().disks(0).has_key_id());
  EXPECT_THAT(host().PowerOn("web"), IsOk());
}

TEST_F(VmsTest, CreateEncryptedWithAnImportedImageAndAVtpm) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  {
    std::ofstream image(host().datastore() + "/image.raw", std::ios::binary);
    image << "an image" << std::string((8 << 10) - 8, 'x');
  }
  host::v1::CreateHostVmRequest request;
  request.set_name("web");
  request.add_disks()->set_import_path("[ds1] image.raw");
  request.add_disks()->set_capacity_bytes(4096);
  request.set_vtpm(true);
  request.mutable_key()->set_provider_id("nkp");
  request.mutable_key()->set_key_id("k");
  const auto vm = host().Manage(&HostAgent::CreateHostVm, request);
  ASSERT_THAT(vm, IsOk());
  EXPECT_TRUE(vm->vm().vtpm());
  ASSERT_EQ(vm->vm().disks_size(), 2);
  EXPECT_EQ(vm->vm().disks(0).capacity_bytes(), 8 << 10);
  EXPECT_EQ(vm->vm().disks(1).key_id().key_id(), "k");
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", 8), status::IsOkAndHolds("an image"));
}

TEST_F(VmsTest, ACreateThatFailsLeavesNothing) {
  host::v1::CreateHostVmRequest request;
  request.set_name("web");
  request.add_disks()->set_import_path("[ds1] no-such.raw");
  EXPECT_FALSE(host().Manage(&HostAgent::CreateHostVm, request).ok());
  EXPECT_FALSE(std::filesystem::exists(host().datastore() + "/web/web.vmx"));
  request.clear_disks();
  EXPECT_THAT(host().Manage(&HostAgent::CreateHostVm, request), IsOk());
}

TEST_F(VmsTest, NamesAndPathsThatAreNoneAreRefused) {
  host::v1::CreateHostVmRequest request;
  for (const std::string& name : {std::string(), std::string(81, 'a'), std::string("a\nb")}) {
    request.set_name(name);
    EXPECT_THAT(host().Manage(&HostAgent::CreateHostVm, request),
                HasReason(v1::REASON_INVALID_NAME));
  }
  // A name is never a path.
  request.set_name("../../etc");
  ASSERT_THAT(host().Manage(&HostAgent::CreateHostVm, request), IsOk());
  EXPECT_TRUE(std::filesystem::exists(host().datastore()));
  host::v1::RegisterHostVmRequest path;
  for (const char* bad :
       {"", "web.vmx", "[ds1] ../state/config.ks", "[ds1] /etc/passwd", "[ds1", "[ds1] a//b.vmx"}) {
    path.set_vmx_path(bad);
    EXPECT_THAT(host().Manage(&HostAgent::RegisterHostVm, path),
                HasReason(v1::REASON_INVALID_ARGUMENT))
        << bad;
  }
  path.set_vmx_path("[other] web/web.vmx");
  EXPECT_THAT(host().Manage(&HostAgent::RegisterHostVm, path), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(VmsTest, NoPathLeadsOutOfItsDatastoreByALink) {
  ASSERT_THAT(host().Create("web"), IsOk());
  ASSERT_THAT(host().Unregister("web"), IsOk());
  const std::string ds = host().datastore();
  std::filesystem::create_directory(ds + "/sub");
  std::filesystem::create_directory(ds + "-not");  // its name begins like the datastore's
  std::filesystem::copy(ds + "/web", ds + "-not/web");
  std::filesystem::create_directory_symlink(host().state_dir(), ds + "/statelink");
  std::filesystem::create_directory_symlink(ds + "-not", ds + "/sub/outlink");
  std::filesystem::create_directory_symlink("/no/such/folder", ds + "/nowhere");
  std::filesystem::create_directory_symlink("../web", ds + "/sub/inlink");
  std::filesystem::create_directory_symlink(ds + "-not", ds + "/db");
  host::v1::CreateHostVmRequest import;
  import.set_name("thief");
  host::v1::RegisterHostVmRequest path;
  for (const std::string bad :
       {"[ds1] statelink/config.ks", "[ds1] sub/outlink/web/web.vmx", "[ds1] nowhere/web.vmx"}) {
    SCOPED_TRACE(bad);
    import.clear_disks();
    import.add_disks()->set_import_path(bad);
    path.set_vmx_path(bad);
    for (const absl::Status& refused : {host().Manage(&HostAgent::CreateHostVm, import).status(),
                                        host().Manage(&HostAgent::RegisterHostVm, path).status()}) {
      EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT));
      EXPECT_EQ(status::DetailOf(refused).object(), "file/" + bad);
      EXPECT_THAT(std::string(refused.message()), HasSubstr(bad));
    }
  }
  EXPECT_THAT(host().Create("db"), HasReason(v1::REASON_INVALID_ARGUMENT));
  path.set_vmx_path("[ds1] sub/inlink/web.vmx");
  EXPECT_THAT(host().Manage(&HostAgent::RegisterHostVm, path), IsOk());
  std::filesystem::remove_all(ds + "-not");
}

TEST_F(VmsTest, ImagesAreRegularFilesOfTheDatastoreOfAtMostOneTebibyte) {
  const std::string ds = host().datastore();
  const auto sparse = [&](const std::string& name, uint64_t bytes) {
    std::ofstream(ds + "/" + name) << "";
    std::filesystem::resize_file(ds + "/" + name, bytes);
  };
  sparse("fits.img", uint64_t{1} << 40);
  sparse("big.img", (uint64_t{1} << 40) + 1);
  std::filesystem::create_directory(ds + "/folder.img");
  const auto create = [&](const std::string& image) {
    host::v1::CreateHostVmRequest request;
    request.set_name("web");
    request.add_disks()->set_import_path(image);
    return host().Manage(&HostAgent::CreateHostVm, request).status();
  };
  for (const auto& [image, reason] :
       {std::make_pair("[ds1] big.img", v1::REASON_TOO_LARGE),
        std::make_pair("[ds1] nope.img", v1::REASON_NOT_FOUND),
        std::make_pair("[ds1] folder.img", v1::REASON_INVALID_ARGUMENT)}) {
    const absl::Status refused = create(image);
    EXPECT_THAT(refused, HasReason(reason));
    EXPECT_THAT(std::string(refused.message()), HasSubstr(image));
    EXPECT_EQ(status::DetailOf(refused).object(), absl::StrCat("file/", image));
    EXPECT_NE(status::DetailOf(refused).next_step(), "");
    EXPECT_FALSE(std::filesystem::exists(ds + "/web"));
  }
  EXPECT_THAT(create("[ds1] fits.img"), IsOk());
}

TEST_F(VmsTest, AFileInThePlaceOfTheFolderIsNamed) {
  std::ofstream(host().datastore() + "/web") << "notes";
  const absl::Status refused = host().Create("web").status();
  EXPECT_THAT(refused, HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(status::DetailOf(refused).object(), "vm/web");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("has a file \"web\""));
  EXPECT_NE(status::DetailOf(refused).next_step(), "");
}

TEST_F(VmsTest, TheGuestsOperatingSystemIsAName) {
  host::v1::CreateHostVmRequest request;
  request.set_name("web");
  for (const std::string& bad : {std::string(81, 'a'), std::string("a\nb"), std::string(" a")}) {
    request.set_guest_os(bad);
    const absl::Status refused = host().Manage(&HostAgent::CreateHostVm, request).status();
    EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT));
    EXPECT_EQ(status::DetailOf(refused).object(), "vm/web");
  }
  request.set_guest_os("");
  EXPECT_THAT(host().Manage(&HostAgent::CreateHostVm, request), IsOk());
}

// However long the way to the datastore is on this machine.
TEST_F(VmsTest, ErrorsOfStorageNameDatastorePathsToo) {
  TestHost::Settings settings;
  settings.name = "esx-2";
  settings.datastore = host().datastore() + "/" + std::string(150, 'd') + "/ds1";
  TestHost other(&executor_, settings);
  ASSERT_THAT(other.Start(), IsOk());
  ASSERT_THAT(other.Attach("vcenter-a"), IsOk());
  ASSERT_THAT(other.Create("web"), IsOk());
  const std::string vmx = other.datastore() + "/web/web.vmx";
  std::filesystem::remove(vmx);
  std::filesystem::create_directory(vmx);
  const auto refused = other.PowerOn("web");
  EXPECT_THAT(refused, HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("[ds1] web/web.vmx"));
  EXPECT_EQ(std::string(refused.status().message()).find("ddd"), std::string::npos);
  EXPECT_EQ(status::DetailOf(refused.status()).object(), "vm/web");
}

TEST_F(VmsTest, AVmIsRegisteredOnce) {
  ASSERT_THAT(host().Create("web"), IsOk());
  EXPECT_THAT(host().Create("web"), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_THAT(host().Register("web"), HasReason(v1::REASON_ALREADY_EXISTS));
  ASSERT_THAT(host().Unregister("web"), IsOk());
  EXPECT_THAT(host().Unregister("web"), HasReason(v1::REASON_NOT_FOUND));
  const auto vm = host().Register("web");
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ(vm->vm().name(), "web");
  host().Reboot();
  EXPECT_EQ(host().Vm("web").name(), "web");
}

TEST_F(VmsTest, S109_AVmWithoutItsDiskIsNotRegistered) {
  ASSERT_THAT(host().Create("web"), IsOk());
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  for (const std::string file : {"web-1-flat.vmdk", "web-1.vmdk"}) {
    const std::string path = host().datastore() + "/web/" + file;
    std::filesystem::rename(path, path + ".away");
    const auto reloaded = host().Manage(&HostAgent::ReloadHostVm, reload);
    EXPECT_THAT(reloaded, HasReason(v1::REASON_VM_FILE_MISSING));
    EXPECT_THAT(std::string(reloaded.status().message()), HasSubstr(file));
    // S134: its home opens, so that it is not locked.
    EXPECT_EQ(host().Vm("web").lock_state(), v1::LOCK_STATE_UNLOCKED);
    ASSERT_THAT(host().Unregister("web"), IsOk());
    EXPECT_THAT(host().Register("web"), HasReason(v1::REASON_VM_FILE_MISSING));
    std::filesystem::rename(path + ".away", path);
    ASSERT_THAT(host().Register("web"), IsOk());
  }
}

TEST_F(VmsTest, S109_AVmxThatSaysNothingOrHidesADiskIsRefused) {
  ASSERT_THAT(host().Create("web"), IsOk());
  const std::string path = host().datastore() + "/web/web.vmx";
  const std::string good = host().files().ReadFile(path, 1 << 20).value();
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  for (const std::string& bad : {std::string(), good + "scsi0:1.fileName = \"disk.raw\"\n"}) {
    ASSERT_THAT(host().files().WriteFileAtomically(path, bad, 0600), IsOk());
    EXPECT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload),
                HasReason(v1::REASON_VM_FILE_INVALID));
    EXPECT_EQ(host().Vm("web").lock().reason(), v1::REASON_VM_FILE_INVALID);
    ASSERT_THAT(host().Unregister("web"), IsOk());
    EXPECT_THAT(host().Register("web"), HasReason(v1::REASON_VM_FILE_INVALID));
    ASSERT_THAT(host().files().WriteFileAtomically(path, good, 0600), IsOk());
    ASSERT_THAT(host().Register("web"), IsOk());
  }
}

TEST_F(VmsTest, S135_ADamagedGuidIsADamagedFileAndNoOtherKey) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  const std::string path = host().datastore() + "/web/web.vmx";
  std::string vmx = host().files().ReadFile(path, 1 << 20).value();
  const size_t at = vmx.find("cryptedVM.guid = \"") + 20;
  vmx[at] = vmx[at] == '1' ? '2' : '1';
  ASSERT_THAT(host().files().WriteFileAtomically(path, vmx, 0600), IsOk());
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  EXPECT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(host().Vm("web").lock().reason(), v1::REASON_CIPHERTEXT_CORRUPT);
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(VmsTest, S81_ADamagedVmxStillShowsTheKeyThatItsKeySafeNames) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  const std::string key_id = host().Vm("web").key_id().key_id();
  const std::string path = host().datastore() + "/web/web.vmx";
  const std::string good = host().files().ReadFile(path, 1 << 20).value();
  const size_t data = good.find("encryption.data = \"") + 19;
  std::string other_byte = good;
  other_byte[data + 40] = good[data + 40] == 'A' ? 'B' : 'A';
  for (const std::string& bad :
       {good.substr(0, data) + "no base64!\"\n", other_byte, good.substr(0, data + 40)}) {
    ASSERT_THAT(host().files().WriteFileAtomically(path, bad, 0600), IsOk());
    host().Reboot();
    const v1::Vm vm = host().Vm("web");
    EXPECT_EQ(vm.lock_state(), v1::LOCK_STATE_LOCKED);
    EXPECT_EQ(vm.key_id().provider_id(), "nkp");
    EXPECT_EQ(vm.key_id().key_id(), key_id);
    EXPECT_EQ(vm.migrate_encryption(), "required");
  }
}

TEST_F(VmsTest, AVmThatIsLockedForADamagedFileSaysThatItMustBeReloadedAfterwards) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().CreateEncrypted("web", nkp), IsOk());
  const std::string path = host().datastore() + "/web/web.vmx";
  const std::string good = host().files().ReadFile(path, 1 << 20).value();
  host::v1::ReloadHostVmRequest reload;
  reload.set_vm("web");
  for (const std::string& bad : {good.substr(0, 100), std::string(2 << 20, '#')}) {
    ASSERT_THAT(host().files().WriteFileAtomically(path, bad, 0600), IsOk());
    EXPECT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload),
                HasReason(v1::REASON_VM_FILE_INVALID));
    ASSERT_THAT(host().files().WriteFileAtomically(path, good, 0600), IsOk());
    const auto refused = host().PowerOn("web");
    ASSERT_THAT(refused, HasReason(v1::REASON_VM_FILE_INVALID));
    const v1::ErrorDetail detail = status::DetailOf(refused.status());
    EXPECT_EQ(detail.object(), "vm/web");
    EXPECT_THAT(detail.next_step(), HasSubstr("Restore the file from a backup"));
    EXPECT_THAT(detail.next_step(), HasSubstr("then reload the VM (keysphere vm reload)"));
    EXPECT_EQ(host().Vm("web").lock().next_step(), detail.next_step());
    ASSERT_THAT(host().Manage(&HostAgent::ReloadHostVm, reload), IsOk());
    ASSERT_THAT(host().PowerOn("web"), IsOk());
    ASSERT_THAT(host().PowerOff("web"), IsOk());
  }
}

TEST_F(VmsTest, ErrorsNameDatastorePathsAndNotThoseOfTheMachine) {
  ASSERT_THAT(host().Create("web"), IsOk());
  ASSERT_THAT(host().Unregister("web"), IsOk());
  host::v1::CreateHostVmRequest import;
  import.set_name("db");
  import.add_disks()->set_import_path("[ds1] images/none.raw");
  const std::string vmx = host().datastore() + "/web/web.vmx";
  std::vector<absl::Status> refused = {host().Create("web").status(),
                                       host().Register("none").status(),
                                       host().Manage(&HostAgent::CreateHostVm, import).status()};
  ASSERT_THAT(host().files().WriteFileAtomically(vmx, std::string(2 << 20, '#'), 0600), IsOk());
  refused.push_back(host().Register("web").status());
  for (const absl::Status& status : refused) {
    ASSERT_FALSE(status.ok());
    const v1::ErrorDetail detail = status::DetailOf(status);
    EXPECT_NE(detail.object(), "") << status;
    EXPECT_NE(detail.next_step(), "") << status;
    for (const std::string& text :
         {std::string(status.message()), detail.object(), detail.next_step()}) {
      EXPECT_EQ(text.find(host().datastore()), std::string::npos) << text;
    }
  }
  EXPECT_EQ(status::DetailOf(refused[1]).object(), "file/none.vmx");
  EXPECT_EQ(status::DetailOf(refused[3]).object(), "vm/[ds1] web/web.vmx");
}

TEST_F(VmsTest, AKeyIdThatIsNoneNamesTheVmAndSaysWhatToDo) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().Create("web"), IsOk());
  v1::CryptoKeyId key;
  key.set_provider_id("nkp");
  for (const std::string& key_id : {std::string(), std::string(257, 'k')}) {
    key.set_key_id(key_id);
    host::v1::CreateHostVmRequest create;
    create.set_name("db");
    *create.mutable_key() = key;
    const absl::Status created = host().Manage(&HostAgent::CreateHostVm, create).status();
    const absl::Status encrypted = host().Encrypt("web", key).status();
    for (const auto& [status, object] :
         {std::make_pair(created, "vm/db"), std::make_pair(encrypted, "vm/web")}) {
      EXPECT_THAT(status, HasReason(v1::REASON_INVALID_ARGUMENT));
      EXPECT_EQ(status::DetailOf(status).object(), object);
      EXPECT_NE(status::DetailOf(status).next_step(), "");
    }
  }
}

TEST_F(VmsTest, WhoHasThePowerStateThatIsAskedForIsToldSo) {
  ASSERT_THAT(host().Create("web"), IsOk());
  const auto off = host().PowerOff("web");
  EXPECT_THAT(off, HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_EQ(status::DetailOf(off.status()).next_step(), "");
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const auto on = host().PowerOn("web");
  EXPECT_THAT(on, HasReason(v1::REASON_INVALID_POWER_STATE));
  EXPECT_EQ(status::DetailOf(on.status()).next_step(), "");
}

TEST_F(VmsTest, TwoHostsDoNotRunOneVm) {
  ASSERT_THAT(host().Create("web"), IsOk());
  TestHost::Settings settings;
  settings.name = "esx-2";
  settings.datastore = host().datastore();
  TestHost other(&executor_, settings);
  ASSERT_THAT(other.Start(), IsOk());
  ASSERT_THAT(other.Attach("vcenter-a"), IsOk());
  ASSERT_THAT(other.Register("web"), IsOk());
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  const auto in_use = other.PowerOn("web");
  EXPECT_THAT(in_use, HasReason(v1::REASON_VM_IN_USE));
  EXPECT_EQ(status::DetailOf(in_use.status()).object(), "vm/web");
  EXPECT_THAT(host().Unregister("web"), HasReason(v1::REASON_INVALID_POWER_STATE));
  // The host dies; the other one may.
  host().Kill();
  EXPECT_THAT(other.PowerOn("web"), IsOk());
}

TEST_F(VmsTest, TwoVmsDoNotRunOnOneDisk) {
  const TestProvider nkp = TestProvider::Make("nkp");
  UseProvider(nkp);
  ASSERT_THAT(host().Create("web"), IsOk());
  const std::string folder = host().datastore() + "/web/";
  std::filesystem::copy_file(folder + "web.vmx", folder + "copy.vmx");
  host::v1::RegisterHostVmRequest request;
  request.set_vmx_path("[ds1] web/copy.vmx");
  request.set_name("copy");
  ASSERT_THAT(host().Manage(&HostAgent::RegisterHostVm, request), IsOk());
  ASSERT_THAT(host().PowerOn("copy"), IsOk());
  const auto encrypted = host().Encrypt("web", nkp);
  EXPECT_THAT(encrypted, HasReason(v1::REASON_VM_IN_USE));
  EXPECT_EQ(status::DetailOf(encrypted.status()).object(), "disk/web-1.vmdk");
  EXPECT_THAT(host().PowerOn("web"), HasReason(v1::REASON_VM_IN_USE));
  EXPECT_FALSE(host().Vm("web").has_key_id());
  ASSERT_THAT(host().PowerOff("copy"), IsOk());
  EXPECT_THAT(host().Encrypt("web", nkp), IsOk());
}

TEST_F(VmsTest, OperationsOnAVmRunOneAfterAnotherAndAreBounded) {
  ASSERT_THAT(host().Create("web"), IsOk());
  host::v1::PowerOnHostVmRequest on;
  on.set_vm("web");
  int works = 0;
  int refused = 0;
  int overloaded = 0;
  for (int i = 0; i < 100; ++i) {
    host().agent().PowerOnHostVm(
        UserId("root"), on, [&](const absl::StatusOr<host::v1::HostVm>& vm) {
          if (vm.ok()) {
            ++works;
          } else if (status::ReasonOf(vm.status()) == v1::REASON_OVERLOADED) {
            ++overloaded;
          } else {
            EXPECT_THAT(vm, HasReason(v1::REASON_INVALID_POWER_STATE));
            ++refused;
          }
        });
  }
  executor_.RunUntilIdle();
  EXPECT_EQ(works, 1);
  EXPECT_EQ(works + refused + overloaded, 100);
}

TEST_F(VmsTest, GuestReadsAndWritesAreCheckedAndWantThePowerOn) {
  ASSERT_THAT(host().Create("web"), IsOk());
  EXPECT_THAT(host().Read("web", 1), HasReason(v1::REASON_INVALID_POWER_STATE));
  ASSERT_THAT(host().PowerOn("web"), IsOk());
  EXPECT_THAT(host().Read("web", (1 << 20) + 1), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(host().Read("web", 65 << 10), HasReason(v1::REASON_INVALID_ARGUMENT));
  host::v1::WriteGuestDiskRequest write;
  write.set_vm("web");
  write.set_offset(-1);
  EXPECT_THAT(host().Manage(&HostAgent::WriteGuestDisk, write),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  write.set_offset(0);
  write.set_disk("scsi9:9");
  EXPECT_THAT(host().Manage(&HostAgent::WriteGuestDisk, write), HasReason(v1::REASON_NOT_FOUND));
}

}  // namespace
}  // namespace keysphere::hostagent::agent
