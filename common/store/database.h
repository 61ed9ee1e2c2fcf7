#ifndef KEYSPHERE_COMMON_STORE_DATABASE_H_
#define KEYSPHERE_COMMON_STORE_DATABASE_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"

namespace keysphere::store {

// One SQLite connection and its prepared statements. For one thread at a time.
class Database {
 public:
  // A use of a prepared statement: bind, step, read columns. Resets it at its end. Bound views must
  // live until then.
  class Query {
   public:
    Query(Query&& other) noexcept : database_(other.database_), statement_(other.statement_) {
      other.statement_ = nullptr;
    }
    Query& operator=(Query&&) = delete;
    ~Query();

    Query& Blob(int index, absl::string_view bytes);
    Query& Int(int index, int64_t value);
    // True: there is a row. False: done.
    absl::StatusOr<bool> Step();
    // For statements without rows.
    absl::Status Run();
    std::string BlobAt(int column) const;
    int64_t IntAt(int column) const { return sqlite3_column_int64(statement_, column); }

   private:
    friend class Database;
    Query(Database* database, sqlite3_stmt* statement)
        : database_(database), statement_(statement) {}
    Database* database_;
    sqlite3_stmt* statement_;
  };

  // Opens an existing file. `files` tells the process' end when a sync fails.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const files::FileSystem* files,
                                                        absl::string_view path);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // One or more statements without results.
  absl::Status Execute(const std::string& sql);
  // `sql` is a literal: its address names the prepared statement.
  absl::StatusOr<Query> Prepare(const char* sql);
  // Between BEGIN and COMMIT or ROLLBACK. Some errors roll back by themselves.
  bool InTransaction() const { return sqlite3_get_autocommit(connection_) == 0; }
  // The single number that `sql` yields; 0 without a row.
  absl::StatusOr<int64_t> Number(const char* sql);

 private:
  Database(const files::FileSystem* files, std::string path)
      : files_(files), path_(std::move(path)) {}
  absl::Status ErrorOf(int code, absl::string_view action) const;

  const files::FileSystem* const files_;
  const std::string path_;
  sqlite3* connection_ = nullptr;
  absl::flat_hash_map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_DATABASE_H_
