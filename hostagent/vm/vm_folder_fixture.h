#ifndef KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_FIXTURE_H_
#define KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "common/status/status.h"
#include "hostagent/vm/running_vm.h"
#include "hostagent/vm/vm_folder.h"
#include "hostagent/vm/vm_job.h"

namespace keysphere::hostagent::vm {

// A datastore in a temporary folder, keys by id, and a VM made by others in it.
class VmFolderFixture : public ::testing::Test {
 protected:
  VmFolderFixture() {
    // In memory if that can be: there an fsync costs nothing.
    std::string name = "/dev/shm/keysphere-vmXXXXXX";
    if (mkdtemp(&name[0]) == nullptr) {
      name = ::testing::TempDir() + "/vmXXXXXX";
      EXPECT_NE(mkdtemp(&name[0]), nullptr);
    }
    root_ = name;
    for (const KeyId& key : {old_key_, new_key_}) {
      keys_.emplace(key.key_id, crypto::SecretKey::Random(32).value());
    }
  }
  ~VmFolderFixture() override { std::filesystem::remove_all(root_); }

  // The lookup of a host that has the keys of `keys_`.
  absl::StatusOr<crypto::SecretKey> Lookup(const KeyId& key) {
    ++lookups_;
    const auto found = keys_.find(key.key_id);
    if (found == keys_.end()) {
      return status::Error(v1::REASON_KEY_MISSING_ON_HOST, "no such key here")
          .NextStep("Bring the key.");
    }
    return found->second.Clone();
  }
  auto Keys() {
    return [this](const KeyId& key) { return Lookup(key); };
  }
  const crypto::SecretKey& Kek(const KeyId& key) { return keys_.at(key.key_id); }

  static std::string RandomBytes(size_t size, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  }
  static void WriteRaw(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }
  static std::string ReadRaw(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  static std::string Descriptor(const std::string& flat, size_t bytes, const std::string& uuid) {
    return absl::StrCat(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        "createType=\"monolithicFlat\"\n\nRW ",
        bytes / 512, " FLAT \"", flat, "\" 0\n\nddb.adapterType = \"lsilogic\"\n", uuid);
  }

  // A VM as others make it: a .vmx with comments and CD, an NVRAM, and `images` as its disks.
  std::string MakeForeignVm(const std::string& folder, const std::vector<std::string>& images) {
    const std::string path = root_ + "/" + folder;
    std::filesystem::create_directories(path);
    std::string vmx =
        "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\nconfig.version = \"8\"\n"
        "virtualHW.version = \"19\"\nnvram = \"db.nvram\"\n# by the backup team\n"
        "displayName = \"Data |22Base|22\"\nguestOS = \"rhel8-64\"\n"
        "uuid.bios = \"42 1c 8f 6e 0e 5f 7a 41-9b 3d 5a 2e 11 70 c4 9d\"\n"
        "ide1:0.present = \"TRUE\"\nide1:0.deviceType = \"cdrom-image\"\n"
        "ide1:0.fileName = \"/usr/lib/vmware/isoimages/linux.iso\"\nscsi0.present = \"TRUE\"\n";
    for (size_t i = 0; i < images.size(); ++i) {
      const std::string disk = i == 0 ? "db" : absl::StrCat("db_", i);
      absl::StrAppend(&vmx, "scsi0:", i, ".present = \"TRUE\"\nscsi0:", i, ".fileName = \"", disk,
                      ".vmdk\"\n");
      WriteRaw(path + "/" + disk + "-flat.vmdk", images[i]);
      WriteRaw(path + "/" + disk + ".vmdk",
               Descriptor(disk + "-flat.vmdk", images[i].size(),
                          i == 0 ? "ddb.uuid = \"60 00 C2 9e\"\n" : ""));
    }
    WriteRaw(path + "/db.vmx", vmx);
    WriteRaw(path + "/db.nvram", "EFI variables");
    return path;
  }

  static std::string ReadDisk(RunningVm& running, const std::string& disk) {
    const auto guest = running.Disk(disk);
    EXPECT_THAT(guest, status::IsOk());
    if (!guest.ok()) return "";
    std::string data((*guest)->bytes(), '\0');
    EXPECT_THAT(
        (*guest)->Read(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(&data[0]), data.size())),
        status::IsOk());
    return data;
  }
  static absl::Span<const uint8_t> Bytes(const std::string& text) {
    return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
  static absl::Status RunToEnd(absl::StatusOr<std::unique_ptr<VmJob>> job) {
    if (!job.ok()) return job.status();
    return (*job)->RunToEnd();
  }
  static absl::StatusOr<std::unique_ptr<VmFolder>> Make(const files::FileSystem& files,
                                                        const std::string& folder,
                                                        const NewVm& spec) {
    KS_ASSIGN_OR_RETURN(VmInTheMaking making, VmFolder::Create(files, folder, spec));
    KS_RETURN_IF_ERROR(making.job->RunToEnd());
    making.job.reset();
    return std::move(making.folder);
  }
  static NewDisk EmptyDisk(uint64_t bytes) {
    NewDisk disk;
    disk.bytes = bytes;
    return disk;
  }
  static NewDisk Import(const std::string& raw_image) {
    NewDisk disk;
    disk.raw_image = raw_image;
    return disk;
  }
  static std::vector<std::string> Names(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  std::unique_ptr<VmFolder> OpenVmFolder(const std::string& path) {
    auto vm = VmFolder::Open(files_, path);
    EXPECT_THAT(vm, status::IsOk());
    return vm.ok() ? *std::move(vm) : nullptr;
  }

  const KeyId old_key_{"nkp-a", "5f1c3b3a-0000-4f0e-9d55-0c7f9a2f0001"};
  const KeyId new_key_{"skp/b", "5f1c3b3a-0000-4f0e-9d55-0c7f9a2f0002"};
  std::string root_;
  files::FileSystem files_;
  std::map<std::string, crypto::SecretKey> keys_;  // by key id
  int lookups_ = 0;
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_FIXTURE_H_
