#include "hostagent/vm/vm_folder.h"

#include "common/files/scripted_faults.h"
#include "hostagent/vm/vm_folder_fixture.h"

namespace keysphere::hostagent::vm {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class VmFolderTest : public VmFolderFixture {};

TEST_F(VmFolderTest, CreateMakesAPlainVm) {
  NewVm spec;
  spec.name = "web/1";
  spec.disks = {EmptyDisk(1 << 20), EmptyDisk(512 * 3)};
  const auto vm = Make(files_, root_ + "/web", spec);
  ASSERT_THAT(vm, IsOk());
  const VmDescription is = (*vm)->Describe();
  EXPECT_EQ(is.name, "web/1");
  EXPECT_THAT(is.uuid, SizeIs(36));
  EXPECT_FALSE(is.encrypted);
  EXPECT_EQ(is.key_id, absl::nullopt);
  ASSERT_THAT(is.disks, SizeIs(2));
  EXPECT_EQ(is.disks[1].device, "scsi0:1");
  EXPECT_EQ(is.disks[1].bytes, 1536);
  EXPECT_THAT(is.disks[0].problem, IsOk());
  EXPECT_THAT(VmFolder::Create(files_, root_ + "/web", spec), HasReason(v1::REASON_ALREADY_EXISTS));
  const auto running = (*vm)->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_EQ(ReadDisk(**running, "scsi0:1"), std::string(1536, '\0'));
  EXPECT_EQ(lookups_, 0);
}

// From the beginning: nothing that is written for it was ever plain.
TEST_F(VmFolderTest, S112_S113_S131_S153_AVmIsMadeEncrypted) {
  const std::string image = absl::StrCat("a secret of the guest ", RandomBytes(2 << 20, 31));
  WriteRaw(root_ + "/image", image);
  NewVm spec;
  spec.name = "web";
  spec.disks = {Import(root_ + "/image"), EmptyDisk(1 << 20)};
  spec.vtpm = true;
  EXPECT_THAT(VmFolder::Create(files_, root_ + "/web", spec), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/web"));
  spec.kek = &Kek(old_key_);
  spec.key = old_key_;
  auto made = VmFolder::Create(files_, root_ + "/web", spec);
  ASSERT_THAT(made, IsOk());
  int steps = 0;
  while (true) {
    const auto done = made->job->Step(256 << 10);
    ASSERT_THAT(done, IsOk());
    for (const std::string& name : Names(root_ + "/web")) {
      const std::string content = ReadRaw(absl::StrCat(root_, "/web/", name));
      EXPECT_THAT(content, Not(HasSubstr("a secret of the guest"))) << name;
      EXPECT_THAT(content, Not(HasSubstr("scsi0:0.fileName"))) << name;
    }
    if (*done) break;
    EXPECT_FALSE(std::filesystem::exists(root_ + "/web/web.vmx"));
    ++steps;
  }
  EXPECT_GT(steps, 4);
  const VmDescription is = made->folder->Describe();
  EXPECT_EQ(is.key_id, old_key_);
  EXPECT_TRUE(is.vtpm);
  EXPECT_TRUE(is.migrate_encryption_required);
  ASSERT_THAT(is.disks, SizeIs(2));
  EXPECT_EQ(is.disks[0].key_id, old_key_);
  EXPECT_EQ(is.disks[1].key_id, old_key_);
  EXPECT_THAT(Names(root_ + "/web"),
              UnorderedElementsAre("web.vmx", "web.nvram", "web-1.vmdk", "web-1-flat.vmdk",
                                   "web-2.vmdk", "web-2-flat.vmdk"));
  const auto again = OpenVmFolder(root_ + "/web");
  const auto running = again->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_TRUE(absl::StartsWith(ReadDisk(**running, "scsi0:0"), image));
  EXPECT_EQ(ReadDisk(**running, "scsi0:1"), std::string(1 << 20, '\0'));
}

TEST_F(VmFolderTest, AVmThatIsMadeCanLeaveItsDisksPlain) {
  WriteRaw(root_ + "/image", "plain blocks");
  NewVm spec;
  spec.name = "web";
  spec.disks = {Import(root_ + "/image")};
  spec.disks[0].encrypt = false;
  spec.kek = &Kek(old_key_);
  spec.key = old_key_;
  const auto vm = Make(files_, root_ + "/web", spec);
  ASSERT_THAT(vm, IsOk());
  EXPECT_EQ((*vm)->Describe().key_id, old_key_);
  EXPECT_EQ((*vm)->Describe().disks[0].key_id, absl::nullopt);
  EXPECT_THAT(ReadRaw(root_ + "/web/web-1-flat.vmdk"), HasSubstr("plain blocks"));
}

TEST_F(VmFolderTest, ACancelledCreateLeavesNothing) {
  WriteRaw(root_ + "/image", RandomBytes(1 << 20, 32));
  NewVm spec;
  spec.name = "web";
  spec.disks = {Import(root_ + "/image")};
  {
    const auto made = VmFolder::Create(files_, root_ + "/web", spec);
    ASSERT_THAT(made, IsOk());
    ASSERT_THAT(made->job->Step(100000), status::IsOkAndHolds(false));
    EXPECT_THAT(Names(root_ + "/web"), SizeIs(2));
    EXPECT_THAT(Make(files_, root_ + "/web", spec), HasReason(v1::REASON_CONFLICT));
    EXPECT_THAT(Names(root_ + "/web"), SizeIs(2));
  }
  EXPECT_FALSE(std::filesystem::exists(root_ + "/web"));
  spec.disks = {Import(root_ + "/no-image")};
  EXPECT_THAT(VmFolder::Create(files_, root_ + "/web", spec),
              HasReason(v1::REASON_VM_FILE_MISSING));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/web"));
}

// What others put into the folder meanwhile is theirs.
TEST_F(VmFolderTest, ACreateOverwritesAndRemovesNothingThatCameMeanwhile) {
  const std::string folder = root_ + "/web";
  NewVm spec;
  spec.name = "web";
  spec.disks = {EmptyDisk(4096)};
  for (const std::string foreign : {"web.vmx", "other.vmx", "web-1.vmdk", "web-1-flat.vmdk"}) {
    SCOPED_TRACE(foreign);
    {
      const auto made = VmFolder::Create(files_, folder, spec);
      ASSERT_THAT(made, IsOk());
      WriteRaw(folder + "/" + foreign, "of somebody else");
      WriteRaw(folder + "/web-notes.txt", "mine");
      EXPECT_THAT(made->job->RunToEnd(), HasReason(v1::REASON_ALREADY_EXISTS));
    }
    EXPECT_EQ(ReadRaw(folder + "/" + foreign), "of somebody else");
    EXPECT_THAT(Names(folder), UnorderedElementsAre(foreign, "web-notes.txt"));
    std::filesystem::remove_all(folder);
  }
}

// It comes after the last look, while the disks get their names.
TEST_F(VmFolderTest, ACreateDoesNotReplaceAVmxThatComesAtTheLastMoment) {
  files::ScriptedFaults faults;
  const files::FileSystem faulty(&faults);
  const std::string folder = root_ + "/web";
  NewVm spec;
  spec.name = "web";
  spec.disks = {EmptyDisk(4096)};
  faults.Add({files::Operation::kRename, "-flat.vmdk", 0, 1, {}, [&] {
                WriteRaw(folder + "/web.vmx", "of somebody else");
              }});
  EXPECT_THAT(Make(faulty, folder, spec), HasReason(v1::REASON_ALREADY_EXISTS));
  EXPECT_EQ(ReadRaw(folder + "/web.vmx"), "of somebody else");
  EXPECT_THAT(Names(folder), UnorderedElementsAre("web.vmx"));
}

TEST_F(VmFolderTest, WhatIsBeingMadeOrIsThereIsNotRemovedAsUnfinished) {
  const std::string folder = root_ + "/web";
  NewVm spec;
  spec.name = "web";
  spec.disks = {EmptyDisk(4096)};
  const auto made = VmFolder::Create(files_, folder, spec);
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(VmFolder::RemoveUnfinished(files_, folder + "/web.vmx"), IsOk());
  ASSERT_THAT(made->job->RunToEnd(), IsOk());
  EXPECT_THAT(VmFolder::RemoveUnfinished(files_, folder + "/web.vmx"), IsOk());
  EXPECT_THAT(Names(folder), UnorderedElementsAre("web.vmx", "web-1.vmdk", "web-1-flat.vmdk"));
  EXPECT_THAT(made->folder->PowerOn(Keys()), IsOk());
}

TEST_F(VmFolderTest, S131_S34_S81_AnEncryptedVmNamesItsKeyAndKeepsTheRest) {
  const std::string image = RandomBytes(300 * 512, 1);
  const std::string path = MakeForeignVm("db", {image, RandomBytes(1 << 20, 2)});
  const std::string vmx_before = ReadRaw(path + "/db.vmx");
  auto vm = OpenVmFolder(path);
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());

  const std::string vmx = ReadRaw(path + "/db.vmx");
  EXPECT_THAT(vmx, HasSubstr(absl::StrCat(
                       "encryption.keySafe = \"vmware:key/list/(pair/(fqid/<VMWARE-NULL>/nkp-a/",
                       old_key_.key_id, ",HMAC-SHA-256,")));
  EXPECT_THAT(vmx, HasSubstr("encryption.data = \""));
  EXPECT_THAT(vmx, HasSubstr("displayName = \"Data |22Base|22\""));
  EXPECT_THAT(vmx, Not(HasSubstr("scsi0")));
  EXPECT_THAT(vmx, Not(HasSubstr("rhel8")));
  EXPECT_THAT(ReadRaw(path + "/db.nvram"), Not(HasSubstr("EFI")));
  EXPECT_THAT(ReadRaw(path + "/db-flat.vmdk"), Not(HasSubstr(image.substr(4096, 16))));
  EXPECT_THAT(ReadRaw(path + "/db-flat.vmdk"), SizeIs(38 * 4096));  // whole units

  // A copy of the folder (a replica, a backup) is opened elsewhere by who has the key.
  std::filesystem::copy(path, root_ + "/replica");
  auto replica = OpenVmFolder(root_ + "/replica/db.vmx");
  VmDescription is = replica->Describe();
  EXPECT_TRUE(is.encrypted);
  EXPECT_EQ(is.key_id, old_key_);
  EXPECT_EQ(is.name, "Data \"Base\"");
  EXPECT_EQ(is.uuid, "421c8f6e-0e5f-7a41-9b3d-5a2e1170c49d");
  EXPECT_FALSE(is.config_known);
  EXPECT_THAT(is.disks, SizeIs(2));
  EXPECT_THAT(replica->ListKeyIds(), SizeIs(4));  // home, nvram, two disks (S153)
  for (const ObjectKey& key : replica->ListKeyIds()) EXPECT_EQ(key.key, old_key_);
  {
    const auto open = replica->UnwrapHome(Keys());
    ASSERT_THAT(open, IsOk());
    EXPECT_EQ(open->config().guest_os, "rhel8-64");
    EXPECT_EQ(replica->Describe().disks[0].device, "scsi0:0");
    lookups_ = 0;
    const auto running = replica->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    EXPECT_EQ(lookups_, 1);  // one KEK, asked once
    EXPECT_EQ(ReadDisk(**running, "scsi0:0"), image);
    EXPECT_EQ(ReadDisk(**running, "db_1.vmdk"), RandomBytes(1 << 20, 2));
    EXPECT_EQ((*running)->ReadNvram()->value(), "EFI variables");
    ASSERT_THAT((*running)->WriteNvram("changed"), IsOk());
    EXPECT_EQ((*running)->ReadNvram()->value(), "changed");
  }

  // Decryption gives back what was there; S113: migrateEncryption stays required.
  EXPECT_TRUE(vm->Describe().migrate_encryption_required);
  ASSERT_THAT(RunToEnd(vm->Decrypt(Keys())), IsOk());
  EXPECT_EQ(ReadRaw(path + "/db.vmx"), vmx_before + "migrate.encryptionMode = \"required\"\n");
  EXPECT_EQ(ReadRaw(path + "/db-flat.vmdk"), image);
  EXPECT_EQ(ReadRaw(path + "/db.nvram"), "EFI variables");
  EXPECT_THAT(Names(path), UnorderedElementsAre("db.vmx", "db.nvram", "db.vmdk", "db-flat.vmdk",
                                                "db_1.vmdk", "db_1-flat.vmdk"));
  EXPECT_TRUE(vm->Describe().migrate_encryption_required);
  EXPECT_EQ(vm->Describe().key_id, absl::nullopt);
}

TEST_F(VmFolderTest, AnExt4FileSystemSurvives) {
  const std::string source = root_ + "/source";
  std::filesystem::create_directories(source);
  WriteRaw(source + "/hello.txt", "hello from the guest\n");
  const std::string raw = root_ + "/disk.img";
  std::string command =
      absl::StrCat("PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -d ", source, " ", raw, " 4M");
  const bool ext4 = std::system(command.c_str()) == 0;
  if (!ext4) WriteRaw(raw, RandomBytes(4 << 20, 9));
  NewVm spec;
  spec.name = "fs";
  spec.disks = {Import(raw)};
  auto vm = Make(files_, root_ + "/fs", spec).value();
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  const std::string read = ReadDisk(**running, "scsi0:0");
  EXPECT_TRUE(read == ReadRaw(raw));
  if (ext4) {
    WriteRaw(root_ + "/read.img", read);
    command =
        absl::StrCat("PATH=$PATH:/usr/sbin:/sbin e2fsck -fn ", root_, "/read.img >/dev/null 2>&1");
    EXPECT_EQ(std::system(command.c_str()), 0);
    EXPECT_THAT(read, HasSubstr("hello from the guest"));
  }
  EXPECT_THAT(ReadRaw(root_ + "/fs/fs-1-flat.vmdk"), Not(HasSubstr("hello from the guest")));
}

TEST_F(VmFolderTest, S43_ShallowRekeyOfARunningVmKeepsDeksAndCiphertext) {
  const std::string image = RandomBytes(1 << 20, 3);
  const std::string path = MakeForeignVm("db", {image});
  auto vm = OpenVmFolder(path);
  auto other = OpenVmFolder(path);
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  const std::string ciphertext = ReadRaw(path + "/db-flat.vmdk");
  const auto dek = vm->UnwrapHome(Keys())->home_dek().Clone();
  auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  ASSERT_THAT((*(*running)->Disk("scsi0:0"))->Write(0, Bytes(ciphertext.substr(0, 100))), IsOk());
  ASSERT_THAT((*(*running)->Disk("scsi0:0"))->Write(0, Bytes(image.substr(0, 100))), IsOk());

  ASSERT_THAT(vm->ShallowRekey(Keys(), Kek(new_key_), new_key_, /*include_disks=*/true), IsOk());
  for (const ObjectKey& key : vm->ListKeyIds()) EXPECT_EQ(key.key, new_key_);  // S46
  EXPECT_EQ(ReadRaw(path + "/db-flat.vmdk"), ciphertext);
  EXPECT_EQ(ReadDisk(**running, "scsi0:0"), image);
  // Nobody else can take the VM meanwhile, although its .vmx is another file now.
  EXPECT_THAT(other->PowerOn(Keys()), HasReason(v1::REASON_VM_IN_USE));
  running->reset();
  keys_.erase(old_key_.key_id);
  const auto open = other->UnwrapHome(Keys());
  ASSERT_THAT(open, IsOk());
  EXPECT_TRUE(open->home_dek().Equals(*dek));
  running = other->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_EQ(ReadDisk(**running, "scsi0:0"), image);
  EXPECT_EQ((*running)->ReadNvram()->value(), "EFI variables");
}

TEST_F(VmFolderTest, S44_DeepRekeyNeedsPowerOffAndChangesEverything) {
  const std::string image = RandomBytes(1 << 20, 4);
  const std::string path = MakeForeignVm("db", {image});
  auto vm = OpenVmFolder(path);
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  const std::string ciphertext = ReadRaw(path + "/db-flat.vmdk");
  const auto dek = vm->UnwrapHome(Keys())->home_dek().Clone();
  {
    const auto running = vm->PowerOn(Keys());
    EXPECT_THAT(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true),
                HasReason(v1::REASON_INVALID_POWER_STATE));
    EXPECT_THAT(vm->Decrypt(Keys()), HasReason(v1::REASON_INVALID_POWER_STATE));  // S106
    EXPECT_THAT(vm->Encrypt(Kek(new_key_), new_key_, DiskSelection::All()),
                HasReason(v1::REASON_INVALID_POWER_STATE));
  }
  EXPECT_EQ(ReadRaw(path + "/db-flat.vmdk"), ciphertext);
  ASSERT_THAT(RunToEnd(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true)), IsOk());
  EXPECT_FALSE(ReadRaw(path + "/db-flat.vmdk") == ciphertext);
  keys_.erase(old_key_.key_id);
  EXPECT_FALSE(vm->UnwrapHome(Keys())->home_dek().Equals(*dek));
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_EQ(ReadDisk(**running, "scsi0:0"), image);
}

TEST_F(VmFolderTest, S45_S153_S110_WithoutItsDisksARekeyLeavesThemUnderTheOldKey) {
  const std::string path = MakeForeignVm("db", {RandomBytes(1 << 20, 5)});
  auto vm = OpenVmFolder(path);
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  const std::string descriptor = ReadRaw(path + "/db.vmdk");
  ASSERT_THAT(vm->ShallowRekey(Keys(), Kek(new_key_), new_key_, /*include_disks=*/false), IsOk());
  EXPECT_EQ(ReadRaw(path + "/db.vmdk"), descriptor);
  EXPECT_EQ(vm->Describe().key_id, new_key_);
  EXPECT_EQ(vm->Describe().disks[0].key_id, old_key_);
  keys_.erase(old_key_.key_id);
  EXPECT_THAT(vm->UnwrapHome(Keys()), IsOk());  // not locked
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, HasReason(v1::REASON_KEY_MISSING_ON_HOST));
  const auto detail = status::DetailOf(running.status());
  EXPECT_EQ(detail.metadata().at("disk"), "db.vmdk");
  EXPECT_EQ(detail.metadata().at("key_id"), old_key_.key_id);
  EXPECT_EQ(detail.metadata().at("provider"), "nkp-a");
  // The refused power-on holds no lock.
  EXPECT_THAT(files_.Lock(path + "/db.vmx"), IsOk());
}

TEST_F(VmFolderTest, S107_StatesThatDoNotFit) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 6)});
  auto vm = OpenVmFolder(path);
  EXPECT_THAT(vm->Decrypt(Keys()), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true),
              HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(vm->ShallowRekey(Keys(), Kek(new_key_), new_key_, true),
              HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(vm->UnwrapHome(Keys()), HasReason(v1::REASON_INVALID_STATE));
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::None())), IsOk());
  EXPECT_THAT(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All()),
              HasReason(v1::REASON_INVALID_STATE));
  EXPECT_EQ(vm->Describe().disks[0].key_id, absl::nullopt);
  ASSERT_THAT(RunToEnd(vm->EncryptDisks(Keys(), {false, {"scsi0:0"}})), IsOk());
  EXPECT_EQ(vm->Describe().disks[0].key_id, old_key_);
  EXPECT_THAT(vm->EncryptDisks(Keys(), {false, {"scsi0:0"}}), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(vm->EncryptDisks(Keys(), {false, {"scsi9:9"}}), HasReason(v1::REASON_NOT_FOUND));
}

TEST_F(VmFolderTest, S106_SnapshotsAreRefused) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 6)});
  WriteRaw(path + "/db.vmsd", "snapshot.numSnapshots = \"2\"\n");
  auto vm = OpenVmFolder(path);
  EXPECT_THAT(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All()),
              HasReason(v1::REASON_INVALID_STATE));
}

TEST_F(VmFolderTest, S112_AVtpmNeedsAnEncryptedHome) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 7)});
  auto vm = OpenVmFolder(path);
  EXPECT_THAT(vm->AddVtpm(Keys(), nullptr, {}), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_FALSE(vm->Describe().vtpm);
  ASSERT_THAT(vm->AddVtpm(Keys(), &Kek(old_key_), old_key_), IsOk());
  EXPECT_TRUE(vm->Describe().vtpm);
  EXPECT_EQ(vm->Describe().key_id, old_key_);
  EXPECT_EQ(vm->Describe().disks[0].key_id, absl::nullopt);
  EXPECT_THAT(vm->AddVtpm(Keys(), nullptr, {}), HasReason(v1::REASON_INVALID_STATE));
  EXPECT_THAT(vm->Decrypt(Keys()), HasReason(v1::REASON_INVALID_STATE));
  std::string state;
  {
    const auto running = vm->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    state = (*running)->ReadNvram()->value();
    EXPECT_THAT(state, HasSubstr("EFI variables"));
    EXPECT_THAT(state, HasSubstr("KSVTPM1"));
  }
  ASSERT_THAT(RunToEnd(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true)), IsOk());
  EXPECT_EQ((*vm->PowerOn(Keys()))->ReadNvram()->value(), state);
}

TEST_F(VmFolderTest, AVtpmJoinsAnEncryptedHomeWithoutNvram) {
  NewVm spec;
  spec.name = "t";
  auto vm = Make(files_, root_ + "/t", spec).value();
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  ASSERT_THAT(vm->AddVtpm(Keys(), nullptr, {}), IsOk());
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  EXPECT_THAT((*running)->ReadNvram()->value(), HasSubstr("KSVTPM1"));
}

TEST_F(VmFolderTest, S153_ADiskAddedLaterUsesTheKeyOfTheHome) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 8)});
  auto vm = OpenVmFolder(path);
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  const std::string image = RandomBytes(5000, 10);
  WriteRaw(root_ + "/image", image);
  auto running = vm->PowerOn(Keys());
  NewDisk import;
  import.raw_image = root_ + "/image";
  import.bytes = 1 << 20;
  auto job = vm->AddDisk(import, Keys());
  ASSERT_THAT(job, IsOk());
  EXPECT_THAT(vm->AddDisk(import, Keys()), HasReason(v1::REASON_CONFLICT));
  ASSERT_THAT((*job)->RunToEnd(), IsOk());
  const VmDescription is = vm->Describe();
  ASSERT_THAT(is.disks, SizeIs(2));
  EXPECT_EQ(is.disks[1].device, "scsi0:1");
  EXPECT_EQ(is.disks[1].flat_file, "db-1-flat.vmdk");
  EXPECT_EQ(is.disks[1].key_id, old_key_);
  EXPECT_EQ(ReadDisk(**running, "scsi0:1"), image + std::string((1 << 20) - 5000, '\0'));
  running->reset();
  keys_.erase(old_key_.key_id);
  EXPECT_THAT(vm->AddDisk(import, Keys()), HasReason(v1::REASON_KEY_MISSING_ON_HOST));  // S156
}

TEST_F(VmFolderTest, ThinDisksStayThin) {
  NewVm spec;
  spec.name = "thin";
  spec.disks = {EmptyDisk(uint64_t{8} << 30)};
  auto vm = Make(files_, root_ + "/thin", spec).value();
  const std::string data = RandomBytes(10000, 11);
  {
    const auto running = vm->PowerOn(Keys());
    ASSERT_THAT((*(*running)->Disk("scsi0:0"))->Write((uint64_t{5} << 30) + 77, Bytes(data)),
                IsOk());
  }
  ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  EXPECT_LT(files_.Stat(root_ + "/thin/thin-1-flat.vmdk")->allocated_bytes, 1 << 20);
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  std::string read(data.size() + 200, 'x');
  ASSERT_THAT((*(*running)->Disk("scsi0:0"))
                  ->Read((uint64_t{5} << 30) - 23,
                         absl::MakeSpan(reinterpret_cast<uint8_t*>(&read[0]), read.size())),
              IsOk());
  EXPECT_TRUE(read == std::string(100, '\0') + data + std::string(100, '\0'));
}

TEST_F(VmFolderTest, AJobGoesInStepsAndCanBeCancelled) {
  const std::string path = MakeForeignVm("db", {RandomBytes(1 << 20, 12)});
  auto vm = OpenVmFolder(path);
  const std::string before = ReadRaw(path + "/db.vmx");
  {
    const auto job = vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All());
    ASSERT_THAT(job, IsOk());
    ASSERT_THAT((*job)->Step(100000), status::IsOkAndHolds(false));
    EXPECT_EQ((*job)->progress().done_bytes, 102400);
    EXPECT_EQ((*job)->progress().total_bytes, 1 << 20);
    EXPECT_THAT(Names(path), SizeIs(5));
    EXPECT_THAT(vm->PowerOn(Keys()), HasReason(v1::REASON_CONFLICT));
    // Another opener does not disturb it.
    EXPECT_THAT(OpenVmFolder(path)->PowerOn(Keys()), HasReason(v1::REASON_VM_IN_USE));
    EXPECT_THAT(Names(path), SizeIs(5));
  }
  EXPECT_THAT(Names(path), SizeIs(4));
  EXPECT_EQ(ReadRaw(path + "/db.vmx"), before);
  EXPECT_THAT(vm->PowerOn(Keys()), IsOk());
}

// Two .vmx files that name one disk: the guest of one would write its blocks in clear into a disk
// that the other one shows as encrypted.
TEST_F(VmFolderTest, ADiskThatAnotherVmUsesIsInUse) {
  const std::string image = RandomBytes(1 << 20, 14);
  const std::string path = MakeForeignVm("db", {image});
  WriteRaw(path + "/copy.vmx", ReadRaw(path + "/db.vmx"));
  auto vm = OpenVmFolder(path + "/db.vmx");
  auto copy = OpenVmFolder(path + "/copy.vmx");
  const auto expect_in_use = [](const absl::Status& refused) {
    EXPECT_THAT(refused, HasReason(v1::REASON_VM_IN_USE));
    EXPECT_EQ(status::DetailOf(refused).object(), "disk/db.vmdk");
    EXPECT_THAT(std::string(refused.message()), HasSubstr("another VM"));
  };
  {
    const auto running = copy->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    expect_in_use(vm->PowerOn(Keys()).status());
    expect_in_use(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All()).status());
    EXPECT_THAT(Names(path), SizeIs(5));
    ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::None())), IsOk());
    expect_in_use(vm->EncryptDisks(Keys(), DiskSelection::All()).status());
    ASSERT_THAT(RunToEnd(vm->Decrypt(Keys())), IsOk());
  }
  {
    const auto job = vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All());
    ASSERT_THAT(job, IsOk());
    ASSERT_THAT((*job)->Step(1), status::IsOkAndHolds(false));
    expect_in_use(copy->PowerOn(Keys()).status());
    ASSERT_THAT((*job)->RunToEnd(), IsOk());
    // It is not read with what its descriptor said before.
    EXPECT_THAT(copy->PowerOn(Keys()), HasReason(v1::REASON_VM_FILE_INVALID));
  }
  WriteRaw(path + "/copy.vmx", ReadRaw(path + "/db.vmx"));
  {
    const auto running = copy->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    EXPECT_TRUE(ReadDisk(**running, "db.vmdk") == image);
    expect_in_use(vm->DeepRekey(Keys(), Kek(new_key_), new_key_, true).status());
    expect_in_use(vm->Decrypt(Keys()).status());
    // The descriptor may be replaced while its disk is in use (S43).
    ASSERT_THAT(vm->ShallowRekey(Keys(), Kek(new_key_), new_key_, true), IsOk());
    expect_in_use(vm->PowerOn(Keys()).status());
  }
  EXPECT_THAT(vm->PowerOn(Keys()), IsOk());
}

TEST_F(VmFolderTest, ADiskThatIsAddedWhileTheVmRunsIsInUseToo) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 15)});
  auto vm = OpenVmFolder(path + "/db.vmx");
  const auto running = vm->PowerOn(Keys());
  ASSERT_THAT(running, IsOk());
  ASSERT_THAT(RunToEnd(vm->AddDisk(EmptyDisk(8192), Keys())), IsOk());
  WriteRaw(path + "/copy.vmx",
           "displayName = \"copy\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = "
           "\"db-1.vmdk\"\n");
  const auto copy = OpenVmFolder(path + "/copy.vmx");
  const auto refused = copy->PowerOn(Keys());
  EXPECT_THAT(refused, HasReason(v1::REASON_VM_IN_USE));
  EXPECT_EQ(status::DetailOf(refused.status()).object(), "disk/db-1.vmdk");
}

TEST_F(VmFolderTest, DestroyRemovesWhatIsTheVms) {
  const std::string path = MakeForeignVm("db", {RandomBytes(4096, 13)});
  auto vm = OpenVmFolder(path);
  WriteRaw(path + "/notes.txt", "mine");
  ASSERT_THAT(vm->Destroy(), IsOk());
  EXPECT_THAT(Names(path), UnorderedElementsAre("notes.txt"));
}

}  // namespace
}  // namespace keysphere::hostagent::vm
