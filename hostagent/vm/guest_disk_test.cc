#include "hostagent/vm/guest_disk.h"

#include <algorithm>

#include "hostagent/vm/vm_folder_fixture.h"

namespace keysphere::hostagent::vm {
namespace {

using status::HasReason;
using status::IsOk;

class GuestDiskTest : public VmFolderFixture, public ::testing::WithParamInterface<bool> {};

TEST_P(GuestDiskTest, RandomWritesReadBack) {
  std::string model = RandomBytes(301 * 512, 41);
  const std::string path = MakeForeignVm("db", {model});
  auto vm = OpenVmFolder(path);
  if (GetParam()) {
    ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  }
  std::mt19937_64 random(42);
  for (int round = 0; round < 3; ++round) {
    const auto running = vm->PowerOn(Keys());
    ASSERT_THAT(running, IsOk());
    GuestDisk* const disk = (*running)->Disk("scsi0:0").value();
    EXPECT_EQ(disk->encrypted(), GetParam());
    for (int i = 0; i < 300; ++i) {
      const size_t offset = random() % model.size();
      const size_t length = random() % std::min<size_t>(model.size() - offset, 20000) + 1;
      if (offset + length > model.size()) continue;
      if (random() % 2 == 0) {
        const std::string data = RandomBytes(length, random());
        ASSERT_THAT(disk->Write(offset, Bytes(data)), IsOk());
        model.replace(offset, length, data);
      } else {
        std::string data(length, 'x');
        ASSERT_THAT(
            disk->Read(offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(&data[0]), data.size())),
            IsOk());
        ASSERT_TRUE(data == model.substr(offset, length));
      }
    }
    EXPECT_THAT(disk->Flush(), IsOk());
    EXPECT_TRUE(ReadDisk(**running, "scsi0:0") == model);
  }
}

TEST_P(GuestDiskTest, BeyondTheEndIsRefused) {
  const std::string path = MakeForeignVm("db", {RandomBytes(3 * 512, 43)});
  auto vm = OpenVmFolder(path);
  if (GetParam()) {
    ASSERT_THAT(RunToEnd(vm->Encrypt(Kek(old_key_), old_key_, DiskSelection::All())), IsOk());
  }
  const auto running = vm->PowerOn(Keys());
  GuestDisk* const disk = (*running)->Disk("scsi0:0").value();
  EXPECT_EQ(disk->bytes(), 1536);
  const std::string data(512, 'a');
  EXPECT_THAT(disk->Write(1024, Bytes(data)), IsOk());
  EXPECT_THAT(disk->Write(1025, Bytes(data)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(disk->Write(~uint64_t{0}, Bytes(data)), HasReason(v1::REASON_INVALID_ARGUMENT));
  uint8_t byte = 0;
  EXPECT_THAT(disk->Read(1536, absl::MakeSpan(&byte, 1)), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(disk->Read(1536, {}), IsOk());
  EXPECT_THAT((*running)->Disk("scsi0:9"), HasReason(v1::REASON_NOT_FOUND));
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, GuestDiskTest, ::testing::Bool());

}  // namespace
}  // namespace keysphere::hostagent::vm
