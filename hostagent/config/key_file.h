#ifndef KEYSPHERE_HOSTAGENT_CONFIG_KEY_FILE_H_
#define KEYSPHERE_HOSTAGENT_CONFIG_KEY_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::config {

// `config.key`: the configuration key of mode NONE, 32 bytes beside the configuration, readable by
// the host's user alone (S138). It comes into being in two steps around the first write of the
// configuration, so that config.key without config.ks always means that config.ks was lost.
class KeyFile {
 public:
  // `files` outlives it.
  KeyFile(absl::string_view state_dir, const files::FileSystem* files);

  // config.key is there.
  absl::StatusOr<bool> Exists() const;

  // Step 1: durably `config.key.new`. Step 2, after config.ks is written: its final name.
  absl::Status Prepare(const crypto::SecretKey& key) const;
  absl::Status Finish() const;

  // The key, also after a kill between the steps; Finish is done then. NOT_FOUND: there is none.
  // CIPHERTEXT_CORRUPT: it has not 32 bytes.
  absl::StatusOr<crypto::SecretKey> Read() const;

  // Writes zeros over the key and removes it; OK if there is none.
  absl::Status Erase() const;

 private:
  absl::StatusOr<crypto::SecretKey> ReadFrom(const std::string& path) const;
  absl::Status EraseAt(const std::string& path) const;

  const files::FileSystem* const files_;
  const std::string path_;
  const std::string new_path_;
};

}  // namespace keysphere::hostagent::config

#endif  // KEYSPHERE_HOSTAGENT_CONFIG_KEY_FILE_H_
