#include "common/store/store.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::store {

Transaction& Transaction::Compare(absl::string_view key, Revision mod_revision) & {
  compares_.push_back({std::string(key), mod_revision});
  return *this;
}

Transaction& Transaction::Put(absl::string_view key, std::string value) & {
  PutOp put;
  put.key = std::string(key);
  put.value = std::move(value);
  puts_.push_back(std::move(put));
  return *this;
}

Transaction& Transaction::PutSecret(absl::string_view key, crypto::SecretKey value) & {
  PutOp put;
  put.key = std::string(key);
  put.secret = std::move(value);
  put.is_secret = true;
  puts_.push_back(std::move(put));
  return *this;
}

Transaction& Transaction::Delete(absl::string_view key) & {
  deletes_.emplace_back(key);
  return *this;
}

size_t Transaction::Bytes() const {
  size_t bytes = 0;
  for (const CompareOp& compare : compares_) bytes += compare.key.size();
  for (const PutOp& put : puts_) bytes += put.key.size() + put.value.size() + put.secret.size();
  for (const std::string& key : deletes_) bytes += key.size();
  return bytes;
}

absl::Status Transaction::Check() const {
  const auto invalid = [](absl::string_view what) -> absl::Status {
    return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat("transaction: ", what));
  };
  const auto too_large = [](absl::string_view what, size_t limit) -> absl::Status {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("transaction: more than ", limit, " ", what));
  };
  if (compares_.size() + puts_.size() + deletes_.size() > kMaxOperations) {
    return too_large("operations", kMaxOperations);
  }
  if (Bytes() > kMaxTransactionBytes) {
    return too_large("bytes of keys and values", kMaxTransactionBytes);
  }
  for (const CompareOp& compare : compares_) {
    if (compare.key.empty()) return invalid("an empty key");
  }
  std::set<absl::string_view> written;
  for (const PutOp& put : puts_) {
    if (put.key.empty()) return invalid("an empty key");
    if (put.value.size() > kMaxValueBytes) return too_large("bytes in a value", kMaxValueBytes);
    if (put.is_secret && put.secret.empty()) return invalid("an empty secret");
    if (!written.insert(put.key).second) return invalid("a key is written twice");
  }
  for (const std::string& key : deletes_) {
    if (key.empty()) return invalid("an empty key");
    if (!written.insert(key).second) return invalid("a key is written twice");
  }
  return absl::OkStatus();
}

}  // namespace keysphere::store
