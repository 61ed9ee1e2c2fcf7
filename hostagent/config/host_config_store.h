#ifndef KEYSPHERE_HOSTAGENT_CONFIG_HOST_CONFIG_STORE_H_
#define KEYSPHERE_HOSTAGENT_CONFIG_HOST_CONFIG_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/config/config_file.h"
#include "hostagent/config/config_journal.h"
#include "hostagent/config/host_config.pb.h"
#include "hostagent/config/key_file.h"
#include "hostagent/tpm/tpm.h"

namespace keysphere::hostagent::config {

// Names under which secrets of a HostConfig are sealed: sealed bytes open only under their own
// name, so that entries cannot be exchanged.
std::string KdkSecretName(absl::string_view provider, absl::string_view key_id);
std::string PersistedKeySecretName(absl::string_view provider, absl::string_view key_id);
constexpr absl::string_view kVsanKmsSecretName = "vsan kms";

// The host's configuration on disk, encrypted under a configuration key (S138): `config.ks` in the
// state folder. With a TPM 2.0 the key is sealed into the TPM under PCR 7 (mode TPM); without one
// it lies beside, in `config.key` (mode NONE, 0600). A recovery key, given out once, opens it too.
//
// Save replaces the file atomically; Append adds to `config.journal`, which lies beside it and
// begins anew with each Save. After a kill at any moment the old or the new configuration is there.
// A file that does not open is never overwritten by a new one.
//
// Not thread safe, but for SealSecret and OpenSecret: it belongs to one strand. Calls read and
// write files and block for about one fsync.
class HostConfigStore {
 public:
  // Where the configuration lies and what it stands on. Both pointers outlive the store.
  struct Place {
    std::string state_dir;
    // Not usable (S29: also a TPM 1.2): the mode is NONE.
    tpm::Tpm* tpm = nullptr;
    const files::FileSystem* files = nullptr;
  };

  struct Created {
    std::unique_ptr<HostConfigStore> store;
    // 16 groups of 6 digits, joined by "-" (111 characters of ASCII). Each group is a multiple of
    // 11, so that a typing error shows.
    crypto::SecretKey recovery_key;
  };

  // True: the state folder holds a configuration, or remains of one. Open then, never Create.
  static absl::StatusOr<bool> Exists(const Place& place);

  // A new, empty configuration. ALREADY_EXISTS where Exists. The folder is made if missing (0700).
  static absl::StatusOr<Created> Create(Place place);

  // Opens what is there. NOT_FOUND: nothing. RECOVERY_REQUIRED: mode TPM, and the TPM is another
  // one, missing, or its PCR 7 changed; mode NONE, and the key file is missing or damaged.
  // CIPHERTEXT_CORRUPT: config.ks is damaged, or lost while its key file is there. TPM_FAILED: the
  // TPM does not answer; try again. A mode NONE configuration whose host has a TPM 2.0 now becomes
  // mode TPM here (S28).
  static absl::StatusOr<std::unique_ptr<HostConfigStore>> Open(Place place);

  // Opens with the recovery key as Create gave it (spaces and missing dashes do not matter) and
  // seals the configuration key anew to the present TPM and PCR 7. INVALID_ARGUMENT: not of the
  // form, naming the group. WRONG_PASSWORD: not this host's. Where no TPM 2.0 is there any more the
  // mode becomes NONE, and what only a TPM may hold (TPM-only KDKs, persisted keys) is left out.
  static absl::StatusOr<std::unique_ptr<HostConfigStore>> OpenWithRecoveryKey(
      Place place, absl::string_view recovery_key);

  HostConfigStore(const HostConfigStore&) = delete;
  HostConfigStore& operator=(const HostConfigStore&) = delete;

  // As last opened or saved.
  const HostConfig& config() const { return config_; }
  Mode mode() const { return header_.mode(); }
  // Of config.ks: rises by one with each Save.
  uint64_t generation() const { return header_.generation(); }

  // Makes `config` durable; config() is it from then on, and remains the former where this fails
  // (the disk then has either of them).
  // Persisted keys are written only with key_persistence and mode TPM (S56). TPM_REQUIRED: mode
  // NONE and a TPM-only KDK.
  absl::Status Save(const HostConfig& config);

  // The same for changes in their order, all of them or none. What it costs does not grow with the
  // configuration, but where a key goes: then all is written anew, so that no file holds the key.
  absl::Status Append(const JournalRecord& changes);

  // Bytes for a sealed_… field, and back. CIPHERTEXT_CORRUPT: other name, or damaged.
  absl::StatusOr<std::string> SealSecret(absl::string_view name,
                                         const crypto::SecretKey& secret) const;
  absl::StatusOr<crypto::SecretKey> OpenSecret(absl::string_view name,
                                               absl::string_view sealed) const;

  // Makes a new recovery key; the former opens nothing any more.
  absl::StatusOr<crypto::SecretKey> NewRecoveryKey();

 private:
  explicit HostConfigStore(Place place);

  bool HasTpm() const { return place_.tpm != nullptr && place_.tpm->usable(); }
  std::string Path() const;
  absl::StatusOr<ConfigFile> ReadFile() const;
  absl::StatusOr<crypto::SecretKey> ReadKey(const FileHeader& header) const;
  absl::Status AdoptKey(crypto::SecretKey configuration_key);
  absl::StatusOr<crypto::SecretKey> WrapForRecovery(FileHeader* header) const;
  // Seals the configuration key as the host's TPM allows now, and writes all.
  absl::Status Bind(const HostConfig& config);
  absl::Status Write(FileHeader header, HostConfig config);
  // TPM_REQUIRED.
  absl::Status CheckKdks(const google::protobuf::RepeatedPtrField<Kdk>& kdks) const;
  std::string JournalPath() const;
  // Adds the journal of `file` to config_.
  absl::Status ReplayJournal(const ConfigFile& file);
  // Appends to the journal, which is made where there is none.
  absl::Status WriteRecord(absl::string_view record);

  const Place place_;
  const KeyFile key_file_;
  FileHeader header_;
  HostConfig config_;
  crypto::SecretKey configuration_key_;
  crypto::SecretKey body_key_;
  crypto::SecretKey journal_key_;
  crypto::SecretKey secrets_key_;
  // Whether a journal may lie there, of whatever base.
  bool journal_exists_ = false;
  // Open from the first Append after a Save to the next Save.
  files::RandomAccessFile journal_;
  uint64_t journal_bytes_ = 0;
  JournalPosition position_;
};

}  // namespace keysphere::hostagent::config

#endif  // KEYSPHERE_HOSTAGENT_CONFIG_HOST_CONFIG_STORE_H_
