#ifndef KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_FILE_H_
#define KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "hostagent/config/host_config.pb.h"

namespace keysphere::hostagent::config {

// The bytes of config.ks:
//   "KEYSPHERE CONFIG\n" | size of header, 32 bits big-endian | header (FileHeader) |
//   body (HostConfig, AES-256-GCM; all before it is authenticated with it) | SHA-256 of all before
// The checksum tells damage from a key that does not fit; it protects against nobody.

struct ConfigFile {
  FileHeader header;
  // What the body is authenticated with, and the sealed body.
  std::string prefix;
  std::string body;
  // SHA-256 of all before it, the last bytes of the file: no two files that were written have one.
  std::string checksum;
};

constexpr size_t kConfigChecksumBytes = 32;

// CIPHERTEXT_CORRUPT: not such a file, cut, damaged, or of a later version.
absl::StatusOr<ConfigFile> ParseConfigFile(absl::string_view bytes);

// CIPHERTEXT_CORRUPT: the key is not that of the file.
absl::StatusOr<HostConfig> OpenBody(const crypto::SecretKey& body_key, const ConfigFile& file);

absl::StatusOr<std::string> EncodeConfigFile(const crypto::SecretKey& body_key,
                                             const FileHeader& header, const HostConfig& config);

}  // namespace keysphere::hostagent::config

#endif  // KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_FILE_H_
