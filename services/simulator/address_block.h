#ifndef KEYSPHERE_SERVICES_SIMULATOR_ADDRESS_BLOCK_H_
#define KEYSPHERE_SERVICES_SIMULATOR_ADDRESS_BLOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/files/file_system.h"

namespace keysphere::simulator {

inline constexpr int kSimulatorPort = 8980;
inline constexpr int kControllerPort = 8989;
inline constexpr int kHostPort = 8990;
inline constexpr int kKmsPort = 5696;
inline constexpr int kKmsControlPort = 8991;

// The addresses of one cluster: a 127.N.0.0/16 that no other cluster of this machine has. Each
// process has an address of its own, so that it keeps address and port across restarts and nobody
// else can be met there.
class AddressBlock {
 public:
  // Where the lock files of all clusters of a machine are.
  static constexpr char kLockFolder[] = "/tmp";
  // Takes a free N of 1 to 254, tried from `first` on: an open file description lock on
  // LOCK_FOLDER/keysphere-127.N.lock, which ends with this process however that ends. All users of
  // the machine have to name the same folder. TOO_LARGE: all are taken.
  static absl::StatusOr<std::unique_ptr<AddressBlock>> Take(const files::FileSystem* files,
                                                            const std::string& lock_folder,
                                                            int first);
  // Removes the lock file of a block whose cluster was killed. VM_IN_USE: another cluster has the
  // block by now; NOT_FOUND: there is none.
  static absl::Status RemoveDead(const files::FileSystem* files, const std::string& lock_folder,
                                 int number);
  // Gives the block back and removes its lock file.
  ~AddressBlock();
  AddressBlock(const AddressBlock&) = delete;
  AddressBlock& operator=(const AddressBlock&) = delete;

  int number() const { return number_; }
  const std::string& lock_file() const { return lock_.path(); }

  // IP:PORT. The indexes count from 0.
  std::string Simulator() const;
  std::string Controller(int index) const;
  std::string Host(int index) const;
  std::string Kms(int index) const;
  std::string KmsControl(int index) const;  // the same IP

 private:
  AddressBlock(const files::FileSystem* files, int number, files::FileLock lock);

  const files::FileSystem* const files_;
  const int number_;
  files::FileLock lock_;
};

// "127.3.0.1:8989" -> "127.3.0.1".
std::string IpOf(const std::string& address);
// "127.3.0.1:8989" -> 3; 0: it is in no block.
int BlockOf(const std::string& address);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_ADDRESS_BLOCK_H_
