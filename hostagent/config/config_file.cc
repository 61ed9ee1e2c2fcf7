#include "hostagent/config/config_file.h"

#include <openssl/crypto.h>

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::hostagent::config {
namespace {

constexpr absl::string_view kMagic = "KEYSPHERE CONFIG\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kSizeBytes = 4;

absl::Status Corrupt(absl::string_view what) {
  return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, absl::StrCat("the host configuration ", what))
      .NextStep("Restore config.ks from a backup of the state folder, or set the host up anew.");
}

std::string BigEndian(size_t size) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(size >> shift));
  return bytes;
}

size_t ReadBigEndian(absl::string_view bytes) {
  size_t value = 0;
  for (const char c : bytes.substr(0, kSizeBytes)) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

}  // namespace

absl::StatusOr<ConfigFile> ParseConfigFile(absl::string_view bytes) {
  const size_t header_at = kMagic.size() + kSizeBytes;
  if (!absl::StartsWith(bytes, kMagic) || bytes.size() < header_at + kConfigChecksumBytes) {
    return Corrupt("is not one, or is cut");
  }
  const absl::string_view content = bytes.substr(0, bytes.size() - kConfigChecksumBytes);
  if (absl::string_view(crypto::Sha256(content)) != bytes.substr(content.size())) {
    return Corrupt("is damaged: its checksum does not fit");
  }
  const size_t header_size = ReadBigEndian(content.substr(kMagic.size()));
  ConfigFile file;
  if (header_size > content.size() - header_at ||
      !file.header.ParseFromArray(content.data() + header_at, static_cast<int>(header_size))) {
    return Corrupt("has a malformed header");
  }
  if (file.header.version() != kVersion) {
    return Corrupt(absl::StrCat("is of version ", file.header.version(), ", not ", kVersion));
  }
  file.prefix = std::string(content.substr(0, header_at + header_size));
  file.body = std::string(content.substr(file.prefix.size()));
  file.checksum = std::string(bytes.substr(content.size()));
  return file;
}

absl::StatusOr<HostConfig> OpenBody(const crypto::SecretKey& body_key, const ConfigFile& file) {
  absl::StatusOr<std::string> plaintext = crypto::GcmOpen(body_key, file.prefix, file.body);
  if (!plaintext.ok()) return Corrupt("does not open: its authentication failed");
  HostConfig config;
  const bool parsed = config.ParseFromString(*plaintext);
  OPENSSL_cleanse(&(*plaintext)[0], plaintext->size());
  if (!parsed) return Corrupt("has a malformed body");
  return config;
}

absl::StatusOr<std::string> EncodeConfigFile(const crypto::SecretKey& body_key,
                                             const FileHeader& header, const HostConfig& config) {
  FileHeader versioned = header;
  versioned.set_version(kVersion);
  const std::string header_bytes = versioned.SerializeAsString();
  std::string file = absl::StrCat(kMagic, BigEndian(header_bytes.size()), header_bytes);
  std::string plaintext = config.SerializeAsString();
  const auto body = crypto::GcmSeal(body_key, file, plaintext);
  OPENSSL_cleanse(&plaintext[0], plaintext.size());
  KS_RETURN_IF_ERROR(body.status());
  absl::StrAppend(&file, *body);
  file += crypto::Sha256(file);
  return file;
}

}  // namespace keysphere::hostagent::config
