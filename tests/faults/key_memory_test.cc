// S147: keys in the memory of real daemons, read from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "hostagent/vm/vm_disk.h"
#include "hostagent/vm/vm_folder.h"
#include "tests/processes/host_driver.h"
#include "tests/processes/memory_probe.h"

namespace keysphere::faults {
namespace {

using processes::HostDriver;
using processes::HostProcess;
using processes::HostSettings;
using processes::MemoryFinding;
using processes::MemoryPattern;
using processes::NativeProvider;
using status::IsOk;

std::string Bytes(const crypto::SecretKey& key) {
  const auto bytes = key.bytes(crypto::SecretKeyAccess::Token());
  return std::string(bytes.begin(), bytes.end());
}

// Every key of an encrypted VM: KEK, data keys of home and disk, and the disk's XTS key.
void AddVmKeys(const std::string& folder, const NativeProvider& provider,
               std::vector<MemoryPattern>* patterns) {
  namespace vm = hostagent::vm;
  static const files::FileSystem files;
  auto opened = vm::VmFolder::Open(files, folder);
  ASSERT_THAT(opened, IsOk());
  const vm::KeyId key = *(*opened)->Describe().key_id;
  auto kek = crypto::DeriveVmKek(*provider.kdk, key.key_id);
  ASSERT_THAT(kek, IsOk());
  processes::AddHalves("KEK", Bytes(*kek), patterns);
  const auto home = (*opened)->UnwrapHome(*kek);
  ASSERT_THAT(home, IsOk());
  processes::AddHalves("home DEK", Bytes(home->home_dek()), patterns);
  const vm::VmDescription description = (*opened)->Describe();
  ASSERT_EQ(home->config().disks.size(), 1u);
  const vm::VmDisk disk = vm::LoadDisk(files, (*opened)->paths(), home->config().disks[0]);
  ASSERT_TRUE(disk.encrypted());
  const auto dek =
      vm::OpenDek(*kek, *disk.key_safe, vm::DiskBinding(description.uuid, disk), disk.file);
  ASSERT_THAT(dek, IsOk());
  processes::AddHalves("disk DEK", Bytes(*dek), patterns);
  processes::AddHalves("disk XTS key", Bytes(crypto::DeriveXtsKey(*dek).value()), patterns);
}

class KeyMemoryTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Hosts, KeyMemoryTest, ::testing::Values("2.0", "none"),
                         [](const auto& instance) {
                           return std::string(instance.param) == "none" ? "NoTpm" : "Tpm20";
                         });

TEST_P(KeyMemoryTest, S147_AnIdleHostHasNoKeyInMemoryThatADumpWouldHold) {
  // Given a host that was given keys, has booted from its own disk, and runs a VM.
  processes::Lab lab;
  HostSettings settings;
  settings.tpm = GetParam();
  HostProcess& host = lab.AddHost(settings);
  ASSERT_THAT(host.Start(), IsOk());
  HostDriver driver(&host);
  const NativeProvider nkp = NativeProvider::Make("nkp");
  const NativeProvider spare = NativeProvider::Make("spare");
  const std::string data = processes::GuestData(3);
  ASSERT_THAT(driver.Prepare(nkp), IsOk());
  ASSERT_THAT(driver.CreateEncrypted("web", nkp, data), IsOk());
  ASSERT_THAT(driver.CreateEncrypted("off", nkp, data), IsOk());
  ASSERT_THAT(driver.PowerOn("web"), IsOk());
  ASSERT_THAT(driver.Add({spare}), IsOk());
  ASSERT_THAT(driver.Read("web", data.size()), IsOk());

  std::vector<MemoryPattern> patterns;
  processes::AddHalves("KDK", Bytes(*nkp.kdk), &patterns);
  processes::AddHalves("other KDK", Bytes(*spare.kdk), &patterns);
  AddVmKeys(driver.Folder("web"), nkp, &patterns);
  AddVmKeys(driver.Folder("off"), nkp, &patterns);

  for (const char* const moment : {"after work", "after a boot"}) {
    SCOPED_TRACE(moment);
    const auto findings = processes::ProbeMemory(host.child().pid(), patterns);
    ASSERT_THAT(findings, IsOk());
    int kdk_in_key_memory = 0;
    for (const MemoryFinding& finding : *findings) {
      EXPECT_FALSE(finding.dumped) << finding.pattern << " in " << finding.mapping;
      if (finding.pattern.rfind("KDK", 0) == 0) ++kdk_in_key_memory;
    }
    // The control: both halves are found where they may be.
    EXPECT_EQ(kdk_in_key_memory, 2);
    host.Kill();
    ASSERT_THAT(host.Start(), IsOk());
    ASSERT_THAT(driver.PowerOn("web"), IsOk());
    ASSERT_THAT(driver.Read("web", data.size()), IsOk());
  }
}

TEST(KeyMemoryTest, S147_KeysThatWereTakenAwayAreNowhere) {
  processes::Lab lab;
  HostProcess& host = lab.AddHost({});
  ASSERT_THAT(host.Start(), IsOk());
  HostDriver driver(&host);
  const NativeProvider nkp = NativeProvider::Make("nkp");
  ASSERT_THAT(driver.Prepare(nkp), IsOk());
  ASSERT_THAT(driver.CreateEncrypted("web", nkp, "data"), IsOk());
  ASSERT_THAT(driver.PowerOn("web"), IsOk());
  std::vector<MemoryPattern> patterns;
  processes::AddHalves("KDK", Bytes(*nkp.kdk), &patterns);
  AddVmKeys(driver.Folder("web"), nkp, &patterns);
  const auto before = processes::ProbeMemory(host.child().pid(), patterns);
  ASSERT_THAT(before, IsOk());
  EXPECT_FALSE(before->empty());

  ASSERT_THAT(driver.Tick({}), IsOk());
  ASSERT_THAT(driver.PowerOff("web"), IsOk());

  const auto after = processes::ProbeMemory(host.child().pid(), patterns);
  ASSERT_THAT(after, IsOk());
  for (const MemoryFinding& finding : *after) {
    ADD_FAILURE() << finding.pattern << " in " << finding.mapping;
  }
}

}  // namespace
}  // namespace keysphere::faults
