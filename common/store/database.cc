#include "common/store/database.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::store {
namespace {

v1::Reason ReasonFor(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return v1::REASON_STORAGE_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return v1::REASON_STORAGE_READ_ONLY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return v1::REASON_STORE_CORRUPT;
    case SQLITE_NOMEM:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
      return v1::REASON_INTERNAL;
    default:
      return v1::REASON_STORAGE_ERROR;
  }
}

bool IsFailedSync(int code) { return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC; }

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const files::FileSystem* files,
                                                         absl::string_view path) {
  std::unique_ptr<Database> database(new Database(files, std::string(path)));
  const int code =
      sqlite3_open_v2(database->path_.c_str(), &database->connection_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  if (code != SQLITE_OK) return database->ErrorOf(code, "open");
  return database;
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(connection_);
}

absl::Status Database::ErrorOf(int code, absl::string_view action) const {
  const v1::Reason reason = ReasonFor(code);
  // sqlite3_errstr, not sqlite3_errmsg: the latter may quote values.
  const std::string message =
      absl::StrCat("cannot ", action, " the database ", status::Quote(path_), ": ",
                   sqlite3_errstr(code), " (", code, ")");
  if (IsFailedSync(code)) files_->EndAfterFailedSync(message);
  auto error = status::Error(reason, message);
  if (reason == v1::REASON_STORE_CORRUPT) {
    error.NextStep("Restore the state folder from a copy, or start with an empty one.");
  } else if (reason == v1::REASON_STORAGE_FULL) {
    error.NextStep("Free space on the storage of the state folder and try again.");
  }
  return error;
}

absl::Status Database::Execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : ErrorOf(code, "use");
}

absl::StatusOr<Database::Query> Database::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code =
        sqlite3_prepare_v3(connection_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return ErrorOf(code, "use");
  }
  return Query(this, statement);
}

absl::StatusOr<int64_t> Database::Number(const char* sql) {
  KS_ASSIGN_OR_RETURN(Query query, Prepare(sql));
  KS_ASSIGN_OR_RETURN(const bool row, query.Step());
  return row ? query.IntAt(0) : 0;
}

Database::Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Database::Query& Database::Query::Blob(int index, absl::string_view bytes) {
  // A null pointer would bind NULL instead of no bytes.
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  KS_CHECK(sqlite3_bind_blob64(statement_, index, data, bytes.size(), SQLITE_STATIC) == SQLITE_OK);
  return *this;
}

Database::Query& Database::Query::Int(int index, int64_t value) {
  KS_CHECK(sqlite3_bind_int64(statement_, index, value) == SQLITE_OK);
  return *this;
}

absl::StatusOr<bool> Database::Query::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  // COMMIT counts as one that only reads, and is what writes; it has no columns.
  const bool reads = sqlite3_stmt_readonly(statement_) != 0 && sqlite3_column_count(statement_) > 0;
  return database_->ErrorOf(code, reads ? "read" : "write");
}

absl::Status Database::Query::Run() { return Step().status(); }

std::string Database::Query::BlobAt(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int bytes = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), bytes);
}

}  // namespace keysphere::store
