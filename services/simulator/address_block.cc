#include "services/simulator/address_block.h"

#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status/status.h"

namespace keysphere::simulator {
namespace {

constexpr int kBlocks = 254;  // 127.0 is everybody's, 127.255 ends in a broadcast address
constexpr int kPerByte = 250;

std::string Address(int block, int net, int index, int port) {
  return absl::StrCat("127.", block, ".", net + index / kPerByte, ".", 1 + index % kPerByte, ":",
                      port);
}

std::string LockFile(const std::string& folder, int number) {
  return absl::StrCat(folder, "/keysphere-127.", number, ".lock");
}

// Another user's lock file may not be opened, and one that is being given back may vanish: both are
// no more than "not this one".
absl::StatusOr<files::FileLock> TryLock(const files::FileSystem& files, const std::string& path) {
  {
    const auto made = files.Open(path, files::OpenMode::kCreate, 0600);
    if (!made.ok()) return made.status();
  }
  return files.Lock(path);
}

}  // namespace

std::string IpOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

int BlockOf(const std::string& address) {
  const std::vector<absl::string_view> parts = absl::StrSplit(address, '.');
  int number = 0;
  const bool in_block = parts.size() == 4 && parts[0] == "127" &&
                        absl::SimpleAtoi(parts[1], &number) && number >= 1 && number <= kBlocks;
  return in_block ? number : 0;
}

absl::StatusOr<std::unique_ptr<AddressBlock>> AddressBlock::Take(const files::FileSystem* files,
                                                                 const std::string& lock_folder,
                                                                 int first) {
  absl::Status last;
  for (int i = 0; i < kBlocks; ++i) {
    const int number = 1 + (first - 1 + i) % kBlocks;
    auto lock = TryLock(*files, LockFile(lock_folder, number));
    if (lock.ok()) return absl::WrapUnique(new AddressBlock(files, number, *std::move(lock)));
    last = lock.status();
  }
  return status::Error(v1::REASON_TOO_LARGE,
                       absl::StrCat("no free block of addresses: ", last.message()))
      .NextStep("End a running cluster, or see who may write to the folder of the lock files.");
}

absl::Status AddressBlock::RemoveDead(const files::FileSystem* files,
                                      const std::string& lock_folder, int number) {
  const std::string path = LockFile(lock_folder, number);
  KS_ASSIGN_OR_RETURN(const files::FileLock lock, files->Lock(path));
  return files->Remove(path, files::Durability::kNotDurable);
}

AddressBlock::AddressBlock(const files::FileSystem* files, int number, files::FileLock lock)
    : files_(files), number_(number), lock_(std::move(lock)) {}

AddressBlock::~AddressBlock() {
  // While it is locked: whoever locks the file next sees that it has no name any more.
  files_->Remove(lock_.path(), files::Durability::kNotDurable).IgnoreError();
}

std::string AddressBlock::Simulator() const { return Address(number_, 0, 0, kSimulatorPort); }

std::string AddressBlock::Controller(int index) const {
  return Address(number_, 1, index, kControllerPort);
}

std::string AddressBlock::Kms(int index) const { return Address(number_, 5, index, kKmsPort); }

std::string AddressBlock::KmsControl(int index) const {
  return Address(number_, 5, index, kKmsControlPort);
}

std::string AddressBlock::Host(int index) const { return Address(number_, 10, index, kHostPort); }

}  // namespace keysphere::simulator
