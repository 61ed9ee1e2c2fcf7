// Files that are damaged, missing, swapped or cannot be written: each gets its own reason, and
// nothing is lost or half done.
#include <cerrno>

#include "common/files/scripted_faults.h"
#include "hostagent/vm/mutate_for_test.h"
#include "hostagent/vm/vm_folder_fixture.h"

namespace keysphere::hostagent::vm {
namespace {

using files::Operation;
using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class BadFilesTest : public VmFolderFixture {
 protected:
  BadFilesTest() : faulty_(&faults_, [](absl::string_view) {}) {
    image_ = RandomBytes(1 << 20, 31);
    plain_ = MakeForeignVm("plain", {image_, image_});
    path_ = MakeForeignVm("db", {image_, image_});
    EXPECT_THAT(
        RunToEnd(OpenVmFolder(path_)->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())),
        IsOk());
  }
  absl::Status TryPowerOn() {
    auto vm = VmFolder::Open(files_, path_);
    if (!vm.ok()) return vm.status();
    return (*vm)->PowerOn(Keys()).status();
  }
  void Flip(const std::string& file, size_t at, int bit = 0) {
    std::string content = ReadRaw(path_ + "/" + file);
    ASSERT_LT(at, content.size());
    content[at] = static_cast<char>(content[at] ^ (1 << bit));
    WriteRaw(path_ + "/" + file, content);
  }

  files::ScriptedFaults faults_;
  files::FileSystem faulty_;
  std::string image_;
  std::string plain_;
  std::string path_;  // encrypted
};

TEST_F(BadFilesTest, ABrokenLineIsNamed) {
  WriteRaw(plain_ + "/db.vmx", ReadRaw(plain_ + "/db.vmx") + "this is no entry\n");
  const auto vm = VmFolder::Open(files_, plain_);
  ASSERT_THAT(vm, HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(vm.status().message(), HasSubstr("db.vmx"));
  EXPECT_THAT(vm.status().message(), HasSubstr("line 18"));
}

TEST_F(BadFilesTest, DisksOutsideTheFolderAreRefused) {
  for (const char* const name : {"../other/secret.vmdk", "/etc/x.vmdk"}) {
    WriteRaw(plain_ + "/db.vmx", absl::StrCat("scsi0:0.fileName = \"", name, "\"\n"));
    EXPECT_THAT(VmFolder::Open(files_, plain_), HasReason(v1::REASON_VM_FILE_INVALID));
  }
  WriteRaw(plain_ + "/db.vmx", "nvram = \"../x.nvram\"\n");
  EXPECT_THAT(VmFolder::Open(files_, plain_), HasReason(v1::REASON_VM_FILE_INVALID));
}

TEST_F(BadFilesTest, S106_ADiskOfAnotherKindIsRefusedAndNotPassedOver) {
  // It would stay in clear when the VM is encrypted.
  for (const char* const disk : {"disk.raw", "../disk.raw", "/var/disk.raw", "disk"}) {
    for (const char* const type : {"", "scsi0:1.deviceType = \"scsi-hardDisk\"\n"}) {
      WriteRaw(plain_ + "/db.vmx", absl::StrCat("scsi0:1.fileName = \"", disk, "\"\n", type));
      const auto vm = VmFolder::Open(files_, plain_);
      ASSERT_THAT(vm, HasReason(v1::REASON_VM_FILE_INVALID)) << disk;
      EXPECT_THAT(vm.status().message(), HasSubstr("scsi0:1"));
    }
  }
  for (const char* const other : {"deviceType = \"cdrom-image\"", "deviceType = \"atapi-cdrom\"",
                                  "deviceType = \"floppy\"", "present = \"FALSE\""}) {
    WriteRaw(plain_ + "/db.vmx",
             absl::StrCat("ide1:0.fileName = \"/isos/debian.iso\"\nide1:0.", other, "\n"));
    EXPECT_THAT(VmFolder::Open(files_, plain_), IsOk()) << other;
  }
}

TEST_F(BadFilesTest, AnEmptyVmxIsNoVm) {
  for (const char* const text : {"", "\n", "# nothing\n"}) {
    WriteRaw(plain_ + "/db.vmx", text);
    EXPECT_THAT(VmFolder::Open(files_, plain_), HasReason(v1::REASON_VM_FILE_INVALID));
  }
}

TEST_F(BadFilesTest, ALinkInTheFolderIsNotFollowed) {
  std::filesystem::remove(plain_ + "/db-flat.vmdk");
  std::filesystem::create_symlink(path_ + "/db-flat.vmdk", plain_ + "/db-flat.vmdk");
  auto vm = OpenVmFolder(plain_);
  EXPECT_FALSE(vm->PowerOn(Keys()).ok());
}

TEST_F(BadFilesTest, MissingAndShortDisksAreNamedWithNumbers) {
  std::filesystem::resize_file(path_ + "/db_1-flat.vmdk", 1000);
  absl::Status refused = TryPowerOn();
  ASSERT_THAT(refused, HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(refused.message(), HasSubstr("1000"));
  EXPECT_THAT(refused.message(), HasSubstr("1048576"));
  std::filesystem::remove(path_ + "/db_1-flat.vmdk");
  refused = TryPowerOn();
  ASSERT_THAT(refused, HasReason(v1::REASON_VM_FILE_MISSING));
  EXPECT_THAT(refused.message(), HasSubstr("db_1-flat.vmdk"));
  std::filesystem::remove(path_ + "/db_1.vmdk");
  EXPECT_THAT(TryPowerOn(), HasReason(v1::REASON_VM_FILE_MISSING));
  auto vm = OpenVmFolder(path_);
  EXPECT_THAT(vm->UnwrapHome(Keys()), IsOk());  // the VM is there, and not locked
  EXPECT_THAT(vm->Describe().disks[1].problem, HasReason(v1::REASON_VM_FILE_MISSING));
  EXPECT_THAT(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true),
              HasReason(v1::REASON_VM_FILE_MISSING));
  std::filesystem::remove(path_ + "/db.nvram");
  EXPECT_THAT(TryPowerOn(), HasReason(v1::REASON_VM_FILE_MISSING));
  std::filesystem::remove(path_ + "/db.vmx");
  EXPECT_THAT(VmFolder::Open(files_, path_), HasReason(v1::REASON_VM_FILE_MISSING));
  EXPECT_THAT(vm->UnwrapHome(Keys()), HasReason(v1::REASON_VM_FILE_MISSING));
}

TEST_F(BadFilesTest, FlippedBitsAreFound) {
  const std::string vmx = ReadRaw(path_ + "/db.vmx");
  const size_t data = vmx.find("encryption.data") + 40;
  for (const size_t at :
       {vmx.find(old_key_.key_id), vmx.find("HMAC-SHA-256,") + 30, vmx.find("nkp-a"), data}) {
    Flip("db.vmx", at);
    const absl::Status refused = TryPowerOn();
    EXPECT_TRUE(status::ReasonOf(refused) == v1::REASON_VM_FILE_INVALID ||
                status::ReasonOf(refused) == v1::REASON_CIPHERTEXT_CORRUPT)
        << status::ToString(refused);
    WriteRaw(path_ + "/db.vmx", vmx);
  }
  // In the sealed configuration it is the ciphertext's authentication that fails.
  std::string flipped = vmx;
  flipped[data] = flipped[data] == 'A' ? 'B' : 'A';
  WriteRaw(path_ + "/db.vmx", flipped);
  EXPECT_THAT(TryPowerOn(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  WriteRaw(path_ + "/db.vmx", vmx);

  const std::string descriptor = ReadRaw(path_ + "/db.vmdk");
  Flip("db.vmdk", descriptor.find("HMAC-SHA-256,") + 50);
  EXPECT_THAT(TryPowerOn(), HasReason(v1::REASON_VM_FILE_INVALID));
  WriteRaw(path_ + "/db.vmdk", descriptor);
  Flip("db.nvram", 30);
  auto vm = OpenVmFolder(path_);
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_THAT((*running)->ReadNvram(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(BadFilesTest, S135_AWrongKekUnderTheRightNameFailsInTheUnwrap) {
  keys_[old_key_.key_id] = crypto::SecretKey::Random(32).value();
  auto vm = OpenVmFolder(path_);
  const auto open = vm->UnwrapHome(Keys());
  ASSERT_THAT(open, HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  const auto detail = status::DetailOf(open.status());
  EXPECT_EQ(detail.metadata().at("provider"), "nkp-a");
  EXPECT_EQ(detail.metadata().at("key_id"), old_key_.key_id);
  EXPECT_FALSE(vm->Describe().config_known);
  // S111: an absent key is told from a wrong one.
  keys_.erase(old_key_.key_id);
  EXPECT_THAT(vm->UnwrapHome(Keys()), HasReason(v1::REASON_KEY_MISSING_ON_HOST));
}

TEST_F(BadFilesTest, ADamagedGuidSpeaksAgainstTheFileAndNotAgainstTheKey) {
  std::string vmx = ReadRaw(path_ + "/db.vmx");
  const size_t at = vmx.find("cryptedVM.guid = \"") + 20;
  vmx[at] = vmx[at] == '1' ? '2' : '1';
  WriteRaw(path_ + "/db.vmx", vmx);
  const absl::Status refused = TryPowerOn();
  ASSERT_THAT(refused, HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(status::DetailOf(refused).metadata().count("provider"), 0u);
  EXPECT_THAT(status::DetailOf(refused).next_step(), HasSubstr("Restore the file"));
}

TEST_F(BadFilesTest, SwappedFilesDoNotOpen) {
  // Two VMs under one KEK: what is sealed for one does not open in the other.
  const std::string other = MakeForeignVm("other", {image_, image_});
  std::string vmx = ReadRaw(other + "/db.vmx");
  vmx.replace(vmx.find("c4 9d"), 5, "c4 9e");
  WriteRaw(other + "/db.vmx", vmx);
  ASSERT_THAT(RunToEnd(OpenVmFolder(other)->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())),
              IsOk());
  const std::string descriptor = ReadRaw(path_ + "/db.vmdk");
  WriteRaw(path_ + "/db.vmdk", ReadRaw(other + "/db.vmdk"));
  absl::Status refused = TryPowerOn();
  EXPECT_THAT(refused, HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(status::DetailOf(refused).metadata().at("disk"), "db.vmdk");
  // Two disks of one VM, too.
  WriteRaw(path_ + "/db.vmdk", ReadRaw(path_ + "/db_1.vmdk"));
  EXPECT_THAT(TryPowerOn(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  WriteRaw(path_ + "/db.vmdk", descriptor);
  EXPECT_THAT(TryPowerOn(), IsOk());
  // The sealed configuration and NVRAM of another VM.
  std::filesystem::copy_file(other + "/db.nvram", path_ + "/db.nvram",
                             std::filesystem::copy_options::overwrite_existing);
  auto vm = OpenVmFolder(path_);
  EXPECT_THAT((*vm->PowerOn(Keys()))->ReadNvram(), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(BadFilesTest, AnEncryptedDiskOfAPlainVmIsRefused) {
  WriteRaw(plain_ + "/db.vmdk", ReadRaw(path_ + "/db.vmdk"));
  auto vm = OpenVmFolder(plain_);
  EXPECT_THAT(vm->PowerOn(Keys()), HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_EQ(lookups_, 0);
}

TEST_F(BadFilesTest, AFullDiskLeavesTheVmAsItWas) {
  for (const int error : {ENOSPC, EROFS, EIO}) {
    auto vm = VmFolder::Open(faulty_, plain_);
    ASSERT_THAT(vm, IsOk());
    const std::string before = ReadRaw(plain_ + "/db.vmx");
    faults_.Add({Operation::kWrite, "-flat", 2, -1, {error}, {}});
    const absl::Status refused =
        RunToEnd((*vm)->Encrypt(Kek(old_key_), old_key_, DiskSelection::All()));
    EXPECT_THAT(refused, HasReason(error == ENOSPC  ? v1::REASON_STORAGE_FULL
                                   : error == EROFS ? v1::REASON_STORAGE_READ_ONLY
                                                    : v1::REASON_STORAGE_ERROR));
    faults_.Clear();
    EXPECT_EQ(ReadRaw(plain_ + "/db.vmx"), before);
    EXPECT_THAT(Names(plain_), SizeIs(6));
    EXPECT_FALSE((*vm)->Describe().encrypted);
    const auto running = (*vm)->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    EXPECT_TRUE(ReadDisk(**running, "db.vmdk") == image_);
  }
}

TEST_F(BadFilesTest, ACreateThatFailsRemovesWhatItMade) {
  NewVm spec;
  spec.name = "new";
  spec.disks = {EmptyDisk(1 << 16)};
  const std::string folder = root_ + "/new";
  const auto create_fails = [&](Operation operation, const std::string& part) {
    faults_.Fail(operation, part, ENOSPC, -1);
    EXPECT_THAT(Make(faulty_, folder, spec), HasReason(v1::REASON_STORAGE_FULL));
    faults_.Clear();
    EXPECT_FALSE(std::filesystem::exists(folder));
  };
  create_fails(Operation::kOpen, "-flat");
  create_fails(Operation::kTruncate, "-flat");
  create_fails(Operation::kWrite, "");
  // What others put there stays.
  std::filesystem::create_directories(folder);
  WriteRaw(folder + "/note.txt", "mine");
  faults_.Fail(Operation::kWrite, "", ENOSPC, -1);
  EXPECT_THAT(Make(faulty_, folder, spec), HasReason(v1::REASON_STORAGE_FULL));
  faults_.Clear();
  EXPECT_THAT(Names(folder), ::testing::ElementsAre("note.txt"));
  EXPECT_THAT(Make(faulty_, folder, spec), IsOk());
}

TEST_F(BadFilesTest, AReadOnlyDatastoreStillOpensItsVms) {
  auto vm = VmFolder::Open(faulty_, path_);
  ASSERT_THAT(vm, IsOk());
  faults_.Fail(Operation::kWrite, "", EROFS, -1);
  faults_.Fail(Operation::kRename, "", EROFS, -1);
  EXPECT_THAT((*vm)->ShallowRekey(Keys(), Kek(new_key_), new_key_, true),
              HasReason(v1::REASON_STORAGE_READ_ONLY));
  EXPECT_THAT((*vm)->UnwrapHome(Keys()), IsOk());
  EXPECT_EQ((*vm)->Describe().key_id, old_key_);
}

TEST_F(BadFilesTest, AnEncryptedDiskNeverBecomesPlainByAnEdit) {
  std::string descriptor = ReadRaw(path_ + "/db.vmdk");
  const size_t at = descriptor.find("encryptionKeys");
  descriptor.erase(at, descriptor.find('\n', at) + 1 - at);
  WriteRaw(path_ + "/db.vmdk", descriptor);
  const absl::Status refused = TryPowerOn();
  EXPECT_THAT(refused, HasReason(v1::REASON_VM_FILE_INVALID));
  EXPECT_THAT(refused.message(), HasSubstr("no key"));
}

TEST_F(BadFilesTest, ADamagedJournalIsNotGuessedAt) {
  WriteRaw(path_ + "/db.ks-journal", "keysphere journal 1\nW 5 3\n../ab" + std::string(32, 'x'));
  EXPECT_THAT(VmFolder::Open(files_, path_), HasReason(v1::REASON_VM_FILE_INVALID));
}

TEST_F(BadFilesTest, MutatedVmsOpenOrAreRefused) {
  std::mt19937_64 random(99);
  const std::string vmx = ReadRaw(path_ + "/db.vmx");
  const std::string descriptor = ReadRaw(path_ + "/db.vmdk");
  for (int i = 0; i < 1000; ++i) {
    WriteRaw(path_ + "/db.vmx", i % 2 == 0 ? Mutate(vmx, random) : vmx);
    WriteRaw(path_ + "/db.vmdk", i % 2 == 1 ? Mutate(descriptor, random) : descriptor);
    auto vm = VmFolder::Open(files_, path_);
    if (!vm.ok()) continue;
    (void)(*vm)->Describe();
    const auto running = (*vm)->PowerOn(Keys());
    if (!running.ok() || !(*vm)->encrypted()) continue;
    EXPECT_TRUE(ReadDisk(**running, "db.vmdk") == image_) << i;
  }
}

}  // namespace
}  // namespace keysphere::hostagent::vm
