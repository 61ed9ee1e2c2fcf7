#ifndef KEYSPHERE_COMMON_STORE_STORE_H_
#define KEYSPHERE_COMMON_STORE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"

namespace keysphere::store {

// Limits of every implementation (etcd's).
constexpr size_t kMaxOperations = 100;            // compares + puts + deletes of one transaction
constexpr size_t kMaxTransactionBytes = 1 << 20;  // keys and values together
constexpr size_t kMaxValueBytes = 512 << 10;

// The store's count of commits; the first is 1.
using Revision = int64_t;

struct Entry {
  std::string key;
  std::string value;          // empty for a secret: GetSecret reads it
  Revision mod_revision = 0;  // the commit that wrote it
  bool is_secret = false;
};

// All or nothing. A key may be written once in it. Also in one expression:
// store->Commit(Transaction().Compare(key, revision).Put(key, value), done).
class Transaction {
 public:
  // The commit fails (CONFLICT) unless the key was last written at `mod_revision`; 0: is absent.
  Transaction& Compare(absl::string_view key, Revision mod_revision) &;
  Transaction& Put(absl::string_view key, std::string value) &;
  // A value that is kept encrypted (AES-256-GCM under the key file beside the database; the AAD is
  // key and revision). Read it with GetSecret.
  Transaction& PutSecret(absl::string_view key, crypto::SecretKey value) &;
  Transaction& Delete(absl::string_view key) &;

  Transaction&& Compare(absl::string_view key, Revision mod_revision) && {
    return std::move(Compare(key, mod_revision));
  }
  Transaction&& Put(absl::string_view key, std::string value) && {
    return std::move(Put(key, std::move(value)));
  }
  Transaction&& PutSecret(absl::string_view key, crypto::SecretKey value) && {
    return std::move(PutSecret(key, std::move(value)));
  }
  Transaction&& Delete(absl::string_view key) && { return std::move(Delete(key)); }

  struct CompareOp {
    std::string key;
    Revision mod_revision;
  };
  struct PutOp {
    std::string key;
    std::string value;
    crypto::SecretKey secret;
    bool is_secret = false;  // by PutSecret: `secret` holds the value
  };
  const std::vector<CompareOp>& compares() const { return compares_; }
  std::vector<PutOp>& puts() { return puts_; }
  const std::vector<PutOp>& puts() const { return puts_; }
  const std::vector<std::string>& deletes() const { return deletes_; }

  // Keys and values together.
  size_t Bytes() const;
  // INVALID_ARGUMENT: an empty key, a key written twice, an empty secret. TOO_LARGE: over a limit.
  absl::Status Check() const;

 private:
  std::vector<CompareOp> compares_;
  std::vector<PutOp> puts_;
  std::vector<std::string> deletes_;
};

// A small transactional key-value store. Commits run in the order of Commit, several at a time on a
// writer thread (group commit). Thread safe.
class Store {
 public:
  using CommitCallback = absl::AnyInvocable<void(absl::StatusOr<Revision>)>;

  virtual ~Store() = default;

  // Calls `done`, never inside this call and in the order of Commit, when the transaction is
  // durable or was refused: CONFLICT, INVALID_ARGUMENT and TOO_LARGE (Transaction::Check),
  // OVERLOADED (too many commits wait), STORAGE_FULL, STORAGE_READ_ONLY, STORAGE_ERROR. `done` must
  // be short: it posts.
  virtual void Commit(Transaction transaction, CommitCallback done) = 0;

  // What was committed last. Reads may block for a disk read: they are for start-up. STORE_CORRUPT
  // where what is on disk cannot be read.
  virtual absl::StatusOr<absl::optional<Entry>> Get(absl::string_view key) = 0;
  // NOT_FOUND; INVALID_ARGUMENT if the value is no secret.
  virtual absl::StatusOr<crypto::SecretKey> GetSecret(absl::string_view key) = 0;
  // Entries whose key begins with `prefix` and is greater than `after`, by key, at most `limit`.
  virtual absl::StatusOr<std::vector<Entry>> Range(absl::string_view prefix,
                                                   absl::string_view after, size_t limit) = 0;
  virtual absl::StatusOr<Revision> LastRevision() = 0;
};

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_STORE_H_
