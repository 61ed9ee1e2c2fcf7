#include "hostagent/config/key_file.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;

constexpr size_t kKeyBytes = 32;

}  // namespace

KeyFile::KeyFile(absl::string_view state_dir, const files::FileSystem* files)
    : files_(files),
      path_(absl::StrCat(state_dir, "/config.key")),
      new_path_(absl::StrCat(path_, ".new")) {}

absl::StatusOr<bool> KeyFile::Exists() const { return files_->Exists(path_); }

absl::Status KeyFile::Prepare(const SecretKey& key) const {
  const auto bytes = key.bytes(SecretKeyAccess::Token());
  return files_->WriteFileAtomically(
      new_path_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 0600);
}

absl::Status KeyFile::Finish() const { return files_->Rename(new_path_, path_); }

absl::StatusOr<SecretKey> KeyFile::ReadFrom(const std::string& path) const {
  KS_ASSIGN_OR_RETURN(const auto file, files_->Open(path, files::OpenMode::kRead));
  KS_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size != kKeyBytes) {
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT, "the configuration key file is damaged");
  }
  // Straight into locked memory.
  KS_ASSIGN_OR_RETURN(SecretKey key, SecretKey::Zeroed(kKeyBytes));
  KS_RETURN_IF_ERROR(file.ReadAt(0, key.mutable_bytes(SecretKeyAccess::Token())).status());
  return key;
}

absl::StatusOr<SecretKey> KeyFile::Read() const {
  auto key = ReadFrom(path_);
  if (!absl::IsNotFound(key.status())) return key;
  key = ReadFrom(new_path_);
  if (key.ok()) KS_RETURN_IF_ERROR(Finish());
  return key;
}

absl::Status KeyFile::EraseAt(const std::string& path) const {
  KS_ASSIGN_OR_RETURN(const bool exists, files_->Exists(path));
  if (!exists) return absl::OkStatus();
  {
    KS_ASSIGN_OR_RETURN(auto file, files_->Open(path, files::OpenMode::kReadWrite));
    const std::string zeros(kKeyBytes, '\0');
    KS_RETURN_IF_ERROR(
        file.WriteAt(0, {reinterpret_cast<const uint8_t*>(zeros.data()), zeros.size()}));
    KS_RETURN_IF_ERROR(file.Sync());
  }
  return files_->Remove(path);
}

absl::Status KeyFile::Erase() const {
  KS_RETURN_IF_ERROR(EraseAt(path_));
  return EraseAt(new_path_);
}

}  // namespace keysphere::hostagent::config
