// Opening: the lock, the key file, the schema, and what may be wrong with them.
#include <errno.h>
#include <fcntl.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/crypto/aead.h"
#include "common/status/status.h"
#include "common/store/sqlite_store.h"

namespace keysphere::store {
namespace {

using crypto::SecretKey;
using crypto::SecretKeyAccess;

constexpr size_t kKeyBytes = 32;
constexpr int64_t kApplicationId = 0x4b535354;  // "KSST"
constexpr int64_t kSchemaVersion = 1;
constexpr int64_t kPageBytes = 4096;
constexpr char kKeyCheckAad[] = "keysphere store: key check";

absl::Status Corrupt(absl::string_view path, absl::string_view what) {
  return status::Error(v1::REASON_STORE_CORRUPT, absl::StrCat(status::Quote(path), " ", what))
      .NextStep("Restore the state folder from a copy, or start with an empty one.");
}

// How long one process waits while another commits.
constexpr char kWaitForOthers[] = "PRAGMA busy_timeout=10000";

absl::StatusOr<files::FileLock> LockStore(const files::FileSystem* files, absl::string_view path) {
  const std::string lock_path = absl::StrCat(path, ".lock");
  KS_RETURN_IF_ERROR(files->Open(lock_path, files::OpenMode::kCreate).status());
  auto lock = files->Lock(lock_path);
  if (!lock.ok() && status::ReasonOf(lock.status()) == v1::REASON_VM_IN_USE) {
    return status::Error(v1::REASON_INVALID_STATE, absl::StrCat("another process has the database ",
                                                                status::Quote(path), " open"))
        .NextStep("Give each process a state folder of its own.");
  }
  return lock;
}

// Held while one of the processes that share a database opens it; the others wait. Ends with the
// descriptor.
absl::StatusOr<files::Descriptor> WaitForOpening(const files::FileSystem* files,
                                                 absl::string_view path) {
  const std::string lock_path = absl::StrCat(path, ".lock");
  KS_RETURN_IF_ERROR(files->Open(lock_path, files::OpenMode::kCreate).status());
  files::Descriptor fd(open(lock_path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (fcntl(fd.get(), F_OFD_SETLKW, &lock) != 0) {
    if (errno != EINTR) return files::FileSystem::ErrorOf(errno, "lock", lock_path);
  }
  return fd;
}

// Empty: there is no key file. The bytes go from the file straight into locked memory.
absl::StatusOr<SecretKey> ReadKey(const files::FileSystem* files, const std::string& path) {
  auto file = files->Open(path, files::OpenMode::kRead);
  if (absl::IsNotFound(file.status())) return SecretKey();
  KS_RETURN_IF_ERROR(file.status());
  KS_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size != kKeyBytes) return Corrupt(path, "is no key file: it does not have 32 bytes");
  KS_ASSIGN_OR_RETURN(SecretKey key, SecretKey::Zeroed(kKeyBytes));
  KS_ASSIGN_OR_RETURN(const size_t read,
                      file->ReadAt(0, key.mutable_bytes(SecretKeyAccess::Token())));
  if (read != kKeyBytes) return Corrupt(path, "is no key file: it does not have 32 bytes");
  return key;
}

// Whole or not there, whenever the process is killed, and 0600 from its first byte on.
absl::StatusOr<SecretKey> MakeKey(const files::FileSystem* files, const std::string& path) {
  KS_ASSIGN_OR_RETURN(SecretKey key, SecretKey::Random(kKeyBytes));
  const absl::Span<const uint8_t> bytes = key.bytes(SecretKeyAccess::Token());
  KS_RETURN_IF_ERROR(files->WriteFileAtomically(
      path, absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), 0600));
  return key;
}

absl::Status CheckIntegrity(Database* database, absl::string_view path) {
  KS_ASSIGN_OR_RETURN(Database::Query query, database->Prepare("PRAGMA quick_check(1)"));
  KS_ASSIGN_OR_RETURN(const bool row, query.Step());
  if (!row || query.BlobAt(0) != "ok") return Corrupt(path, "is a damaged database");
  return absl::OkStatus();
}

absl::Status SetSchema(Database* database, absl::string_view path) {
  KS_ASSIGN_OR_RETURN(const int64_t application, database->Number("PRAGMA application_id"));
  KS_ASSIGN_OR_RETURN(const int64_t version, database->Number("PRAGMA user_version"));
  KS_ASSIGN_OR_RETURN(const int64_t tables, database->Number("SELECT COUNT(*) FROM sqlite_schema"));
  if (tables > 0 && application != kApplicationId) {
    return Corrupt(path, "is no database of keysphere");
  }
  if (version > kSchemaVersion) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat("the database ", status::Quote(path),
                                      " was made by a newer version of keysphere"))
        .NextStep("Start the newer version.");
  }
  if (tables > 0) return absl::OkStatus();
  return database->Execute(
      absl::StrCat("BEGIN IMMEDIATE;"
                   "CREATE TABLE entries(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL,"
                   " mod_revision INTEGER NOT NULL, secret INTEGER NOT NULL);"
                   "CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value NOT NULL);"
                   "INSERT INTO meta VALUES('revision', 0);"
                   "PRAGMA application_id=",
                   kApplicationId, "; PRAGMA user_version=", kSchemaVersion, "; COMMIT"));
}

absl::Status Configure(Database* database, int64_t max_database_bytes) {
  // Small caches: thousands of host agents run on one machine. Deleted rows are overwritten where
  // that costs no further write.
  KS_RETURN_IF_ERROR(database->Execute(
      absl::StrCat("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-512;"
                   "PRAGMA secure_delete=FAST; PRAGMA journal_size_limit=4194304;"
                   "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY")));
  if (max_database_bytes == 0) return absl::OkStatus();
  return database->Execute(
      absl::StrCat("PRAGMA max_page_count=", max_database_bytes / kPageBytes + 1));
}

absl::StatusOr<bool> HasSecrets(Database* database) {
  KS_ASSIGN_OR_RETURN(const int64_t any,
                      database->Number("SELECT EXISTS(SELECT 1 FROM entries WHERE secret=1)"));
  return any != 0;
}

// Whether `key` is the key of this database. One without secrets takes any key.
absl::Status CheckKey(Database* database, const SecretKey& key, absl::string_view path) {
  {
    KS_ASSIGN_OR_RETURN(Database::Query query,
                        database->Prepare("SELECT value FROM meta WHERE name='key_check'"));
    KS_ASSIGN_OR_RETURN(const bool known, query.Step());
    if (known && crypto::GcmOpen(key, kKeyCheckAad, query.BlobAt(0)).ok()) {
      return absl::OkStatus();
    }
  }
  KS_ASSIGN_OR_RETURN(const bool secrets, HasSecrets(database));
  if (secrets) return Corrupt(path, "has secrets, but its key file is that of another database");
  KS_ASSIGN_OR_RETURN(const std::string check, crypto::GcmSeal(key, kKeyCheckAad, ""));
  KS_ASSIGN_OR_RETURN(Database::Query query,
                      database->Prepare("INSERT OR REPLACE INTO meta VALUES('key_check', ?)"));
  return query.Blob(1, check).Run();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const files::FileSystem* files,
                                                               absl::string_view path,
                                                               Options options) {
  const std::string key_path = absl::StrCat(path, ".key");
  files::FileLock lock;
  files::Descriptor opening;
  if (options.shared) {
    KS_ASSIGN_OR_RETURN(opening, WaitForOpening(files, path));
  } else {
    KS_ASSIGN_OR_RETURN(lock, LockStore(files, path));
  }
  KS_ASSIGN_OR_RETURN(SecretKey key, ReadKey(files, key_path));
  KS_ASSIGN_OR_RETURN(const bool exists, files->Exists(path));
  if (!exists) {
    // The key first: a database that exists once had its key.
    if (key.empty()) {
      KS_ASSIGN_OR_RETURN(key, MakeKey(files, key_path));
    }
    KS_RETURN_IF_ERROR(files->Open(path, files::OpenMode::kCreateExclusive).status());
    KS_RETURN_IF_ERROR(files->SyncFolder(files::FolderOf(path)));
  }
  KS_ASSIGN_OR_RETURN(auto writer, Database::Open(files, path));
  if (options.shared) KS_RETURN_IF_ERROR(writer->Execute(kWaitForOthers));
  KS_RETURN_IF_ERROR(Configure(writer.get(), options.max_database_bytes));
  KS_RETURN_IF_ERROR(CheckIntegrity(writer.get(), path));
  KS_RETURN_IF_ERROR(SetSchema(writer.get(), path));
  if (key.empty()) {
    KS_ASSIGN_OR_RETURN(const bool secrets, HasSecrets(writer.get()));
    if (secrets) {
      return status::Error(v1::REASON_NOT_FOUND,
                           absl::StrCat("the database holds secrets, but their key file ",
                                        status::Quote(key_path), " is not there"))
          .NextStep("Restore the key file, or start with an empty state folder.");
    }
    KS_ASSIGN_OR_RETURN(key, MakeKey(files, key_path));
  }
  KS_RETURN_IF_ERROR(CheckKey(writer.get(), key, path));
  KS_ASSIGN_OR_RETURN(const Revision last_revision,
                      writer->Number("SELECT value FROM meta WHERE name='revision'"));
  KS_ASSIGN_OR_RETURN(auto reader, Database::Open(files, path));
  KS_RETURN_IF_ERROR(reader->Execute("PRAGMA query_only=ON; PRAGMA cache_size=-256"));
  if (options.shared) KS_RETURN_IF_ERROR(reader->Execute(kWaitForOthers));
  return std::unique_ptr<SqliteStore>(new SqliteStore(options, std::move(lock), std::move(key),
                                                      std::move(writer), std::move(reader),
                                                      last_revision));
}

}  // namespace keysphere::store
