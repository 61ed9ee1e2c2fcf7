#include "hostagent/config/host_config_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/crypto/kdf.h"
#include "common/status/status.h"
#include "hostagent/config/recovery_key.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::SecretKey;
using status::Error;

constexpr size_t kMaxFileBytes = size_t{64} << 20;
// A journal of this size is folded into config.ks by the next change: some hundred changes share
// the cost of one write of the whole.
constexpr uint64_t kMaxJournalBytes = 64 << 10;
constexpr size_t kKeyBytes = 32;
constexpr absl::string_view kRecoveryAad = "keysphere host recovery";

absl::Status RecoveryRequired(absl::string_view why) {
  return Error(v1::REASON_RECOVERY_REQUIRED,
               absl::StrCat("the host configuration does not open: ", why))
      .NextStep("Provide the host's recovery key.");
}

// What a host without a TPM 2.0 may not hold, or nobody without Key Persistence (S26, S56).
void RemovePersistedKeys(Mode mode, HostConfig* config) {
  if (mode != MODE_TPM || !config->key_persistence()) config->clear_persisted_keys();
}

void RemoveTpmOnlyKdks(HostConfig* config) {
  auto* const kdks = config->mutable_kdks();
  kdks->erase(
      std::remove_if(kdks->begin(), kdks->end(), [](const Kdk& k) { return k.tpm_required(); }),
      kdks->end());
}

// Names of several parts; the length keeps ("a", "bc") and ("ab", "c") apart.
std::string SecretName(absl::string_view kind, absl::string_view provider,
                       absl::string_view key_id) {
  return absl::StrCat(kind, " ", provider.size(), " ", provider, " ", key_id);
}

}  // namespace

std::string KdkSecretName(absl::string_view provider, absl::string_view key_id) {
  return SecretName("kdk", provider, key_id);
}

std::string PersistedKeySecretName(absl::string_view provider, absl::string_view key_id) {
  return SecretName("persisted", provider, key_id);
}

HostConfigStore::HostConfigStore(Place place)
    : place_(std::move(place)), key_file_(place_.state_dir, place_.files) {}

std::string HostConfigStore::Path() const { return absl::StrCat(place_.state_dir, "/config.ks"); }

std::string HostConfigStore::JournalPath() const {
  return absl::StrCat(place_.state_dir, "/config.journal");
}

absl::StatusOr<bool> HostConfigStore::Exists(const Place& place) {
  const HostConfigStore store(place);
  KS_ASSIGN_OR_RETURN(const bool exists, place.files->Exists(store.Path()));
  if (exists) return true;
  return store.key_file_.Exists();
}

absl::StatusOr<HostConfigStore::Created> HostConfigStore::Create(Place place) {
  KS_ASSIGN_OR_RETURN(const bool exists, Exists(place));
  if (exists) {
    return Error(v1::REASON_ALREADY_EXISTS, "the state folder holds a host configuration already")
        .NextStep("Open it, or give another --state-dir.");
  }
  KS_RETURN_IF_ERROR(place.files->MakeFolders(place.state_dir, 0700));
  Created created;
  created.store.reset(new HostConfigStore(std::move(place)));
  HostConfigStore& store = *created.store;
  KS_ASSIGN_OR_RETURN(SecretKey key, SecretKey::Random(kKeyBytes));
  KS_RETURN_IF_ERROR(store.AdoptKey(std::move(key)));
  KS_ASSIGN_OR_RETURN(created.recovery_key, store.WrapForRecovery(&store.header_));
  KS_RETURN_IF_ERROR(store.Bind(HostConfig()));
  return created;
}

absl::StatusOr<ConfigFile> HostConfigStore::ReadFile() const {
  const auto bytes = place_.files->ReadFile(Path(), kMaxFileBytes);
  if (bytes.ok()) return ParseConfigFile(*bytes);
  if (!absl::IsNotFound(bytes.status())) return bytes.status();
  KS_ASSIGN_OR_RETURN(const bool key_exists, key_file_.Exists());
  if (!key_exists) return Error(v1::REASON_NOT_FOUND, "the host has no configuration yet");
  return Error(v1::REASON_CIPHERTEXT_CORRUPT, "config.ks is missing, but its key file is there")
      .NextStep("Restore config.ks from a backup; to set the host up anew, remove config.key.");
}

absl::StatusOr<SecretKey> HostConfigStore::ReadKey(const FileHeader& header) const {
  if (header.mode() == MODE_TPM) {
    if (!HasTpm()) return RecoveryRequired("a TPM 2.0 sealed it, and the host has none");
    return place_.tpm->Unseal(header.tpm_blob());
  }
  auto key = key_file_.Read();
  if (absl::IsNotFound(key.status())) return RecoveryRequired("its key file is missing");
  if (status::ReasonOf(key.status()) == v1::REASON_CIPHERTEXT_CORRUPT) {
    return RecoveryRequired("its key file is damaged");
  }
  return key;
}

absl::StatusOr<std::unique_ptr<HostConfigStore>> HostConfigStore::Open(Place place) {
  std::unique_ptr<HostConfigStore> store(new HostConfigStore(std::move(place)));
  KS_ASSIGN_OR_RETURN(const ConfigFile file, store->ReadFile());
  KS_ASSIGN_OR_RETURN(SecretKey key, store->ReadKey(file.header));
  KS_RETURN_IF_ERROR(store->AdoptKey(std::move(key)));
  auto config = OpenBody(store->body_key_, file);
  if (!config.ok()) {
    // The file is whole: what does not fit is the key that lay beside it.
    if (file.header.mode() != MODE_TPM) return RecoveryRequired("its key file is not its own");
    return config.status();
  }
  store->header_ = file.header;
  store->config_ = *std::move(config);
  KS_RETURN_IF_ERROR(store->ReplayJournal(file));
  // A write that was killed left its temporary file: perhaps with the key of mode NONE.
  KS_RETURN_IF_ERROR(store->place_.files->RemoveStaleTemporaries(store->place_.state_dir).status());
  if (store->mode() == MODE_TPM) {
    // A change to mode TPM may have been killed before its last step.
    KS_RETURN_IF_ERROR(store->key_file_.Erase());
  } else if (store->HasTpm()) {
    KS_RETURN_IF_ERROR(store->Bind(store->config_));
  }
  // An append may have been killed: what it left is not appended to. Where this fails nothing is
  // lost; the next change writes the whole.
  if (store->journal_exists_) (void)store->Write(store->header_, store->config_);
  return store;
}

absl::StatusOr<std::unique_ptr<HostConfigStore>> HostConfigStore::OpenWithRecoveryKey(
    Place place, absl::string_view recovery_key) {
  std::unique_ptr<HostConfigStore> store(new HostConfigStore(std::move(place)));
  KS_ASSIGN_OR_RETURN(const SecretKey recovery, ParseRecoveryKey(recovery_key));
  KS_ASSIGN_OR_RETURN(const ConfigFile file, store->ReadFile());
  auto key = crypto::GcmOpenSecret(recovery, kRecoveryAad, file.header.recovery_blob());
  if (!key.ok()) {
    return Error(v1::REASON_WRONG_PASSWORD, "the recovery key is not that of this host")
        .NextStep("Give the recovery key that this host showed last.");
  }
  KS_RETURN_IF_ERROR(store->AdoptKey(*std::move(key)));
  KS_ASSIGN_OR_RETURN(store->config_, OpenBody(store->body_key_, file));
  store->header_ = file.header;
  KS_RETURN_IF_ERROR(store->ReplayJournal(file));
  HostConfig config = store->config_;
  if (!store->HasTpm()) RemoveTpmOnlyKdks(&config);
  KS_RETURN_IF_ERROR(store->Bind(config));
  return store;
}

absl::Status HostConfigStore::AdoptKey(SecretKey configuration_key) {
  KS_ASSIGN_OR_RETURN(body_key_, crypto::DeriveHostConfigBodyKey(configuration_key));
  KS_ASSIGN_OR_RETURN(journal_key_, crypto::DeriveHostConfigJournalKey(configuration_key));
  KS_ASSIGN_OR_RETURN(secrets_key_, crypto::DeriveHostConfigSecretsKey(configuration_key));
  configuration_key_ = std::move(configuration_key);
  return absl::OkStatus();
}

absl::StatusOr<SecretKey> HostConfigStore::WrapForRecovery(FileHeader* header) const {
  KS_ASSIGN_OR_RETURN(const SecretKey recovery, SecretKey::Random(kKeyBytes));
  KS_ASSIGN_OR_RETURN(*header->mutable_recovery_blob(),
                      crypto::GcmSealSecret(recovery, kRecoveryAad, configuration_key_));
  return FormatRecoveryKey(recovery);
}

absl::Status HostConfigStore::Bind(const HostConfig& config) {
  FileHeader header = header_;
  if (!HasTpm()) {
    header.set_mode(MODE_NONE);
    header.clear_tpm_blob();
    KS_RETURN_IF_ERROR(key_file_.Prepare(configuration_key_));
    KS_RETURN_IF_ERROR(Write(std::move(header), config));
    return key_file_.Finish();
  }
  header.set_mode(MODE_TPM);
  KS_ASSIGN_OR_RETURN(*header.mutable_tpm_blob(), place_.tpm->Seal(configuration_key_));
  KS_RETURN_IF_ERROR(Write(std::move(header), config));
  return key_file_.Erase();
}

absl::Status HostConfigStore::Write(FileHeader header, HostConfig config) {
  header.set_generation(header_.generation() + 1);
  RemovePersistedKeys(header.mode(), &config);
  // Until this has succeeded nobody knows which file is there: nothing is appended to a journal.
  position_.base.clear();
  KS_ASSIGN_OR_RETURN(const std::string bytes, EncodeConfigFile(body_key_, header, config));
  KS_RETURN_IF_ERROR(place_.files->WriteFileAtomically(Path(), bytes, 0600));
  header_ = std::move(header);
  config_ = std::move(config);
  position_ = {};
  position_.base = bytes.substr(bytes.size() - kConfigChecksumBytes);
  journal_.Close();
  journal_bytes_ = 0;
  // The journal of the former file counts no more, whether it goes or not.
  if (journal_exists_) journal_exists_ = !place_.files->Remove(JournalPath()).ok();
  return absl::OkStatus();
}

absl::Status HostConfigStore::ReplayJournal(const ConfigFile& file) {
  const auto bytes = place_.files->ReadFile(JournalPath(), kMaxFileBytes);
  if (absl::IsNotFound(bytes.status())) {
    position_.base = file.checksum;
    return absl::OkStatus();
  }
  KS_RETURN_IF_ERROR(bytes.status());
  KS_ASSIGN_OR_RETURN(const std::vector<ConfigChange> changes,
                      ReadJournal(journal_key_, file.checksum, *bytes));
  for (const ConfigChange& change : changes) Apply(change, &config_);
  journal_exists_ = true;
  return absl::OkStatus();
}

absl::Status HostConfigStore::WriteRecord(absl::string_view record) {
  const auto append = [this](absl::string_view bytes) -> absl::Status {
    KS_RETURN_IF_ERROR(journal_.WriteAt(
        journal_bytes_, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
    KS_RETURN_IF_ERROR(journal_.Sync());
    journal_bytes_ += bytes.size();
    return absl::OkStatus();
  };
  if (journal_.is_open()) return append(record);
  journal_exists_ = true;
  KS_ASSIGN_OR_RETURN(journal_, place_.files->Open(JournalPath(), files::OpenMode::kCreate, 0600));
  KS_RETURN_IF_ERROR(journal_.Truncate(0));
  KS_RETURN_IF_ERROR(append(absl::StrCat(JournalHeader(position_.base), record)));
  return place_.files->SyncFolder(place_.state_dir);
}

absl::Status HostConfigStore::Append(const JournalRecord& changes) {
  for (const ConfigChange& change : changes.changes()) {
    KS_RETURN_IF_ERROR(CheckKdks(change.put_kdks()));
  }
  // Where persisted keys may not be kept, Write leaves them out.
  const bool persists = mode() == MODE_TPM && config_.key_persistence();
  bool whole = journal_bytes_ >= kMaxJournalBytes || position_.base.empty() ||
               TakesKeysAway(changes, config_);
  for (const ConfigChange& change : changes.changes()) {
    whole = whole || (!persists && !change.put_persisted_keys().empty());
  }
  if (whole) {
    HostConfig next = config_;
    for (const ConfigChange& change : changes.changes()) Apply(change, &next);
    return Write(header_, std::move(next));
  }
  JournalPosition next = position_;
  KS_ASSIGN_OR_RETURN(const std::string record, EncodeRecord(journal_key_, changes, &next));
  const absl::Status written = WriteRecord(record);
  if (!written.ok()) {
    // Any part of it may be there: nothing is appended behind it.
    position_.base.clear();
    return written;
  }
  position_ = std::move(next);
  for (const ConfigChange& change : changes.changes()) Apply(change, &config_);
  return absl::OkStatus();
}

absl::Status HostConfigStore::CheckKdks(const google::protobuf::RepeatedPtrField<Kdk>& kdks) const {
  if (mode() == MODE_TPM) return absl::OkStatus();
  for (const Kdk& kdk : kdks) {
    if (!kdk.tpm_required()) continue;
    return Error(v1::REASON_TPM_REQUIRED, "a TPM-only provider's key cannot be kept without one")
        .Object("provider", kdk.provider())
        .NextStep("Use a host with a TPM 2.0, or a provider that is not for TPM hosts only.");
  }
  return absl::OkStatus();
}

absl::Status HostConfigStore::Save(const HostConfig& config) {
  KS_RETURN_IF_ERROR(CheckKdks(config.kdks()));
  return Write(header_, config);
}

absl::StatusOr<std::string> HostConfigStore::SealSecret(absl::string_view name,
                                                        const SecretKey& secret) const {
  return crypto::GcmSealSecret(secrets_key_, name, secret);
}

absl::StatusOr<SecretKey> HostConfigStore::OpenSecret(absl::string_view name,
                                                      absl::string_view sealed) const {
  return crypto::GcmOpenSecret(secrets_key_, name, sealed);
}

absl::StatusOr<SecretKey> HostConfigStore::NewRecoveryKey() {
  FileHeader header = header_;
  KS_ASSIGN_OR_RETURN(SecretKey text, WrapForRecovery(&header));
  KS_RETURN_IF_ERROR(Write(std::move(header), config_));
  return text;
}

}  // namespace keysphere::hostagent::config
