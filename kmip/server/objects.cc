#include "kmip/server/objects.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::kmip::server {
namespace {

constexpr size_t kPage = 256;
constexpr size_t kMaxUidBytes = 128;

absl::StatusOr<StoredObject> ParseObject(const std::string& value) {
  StoredObject object;
  if (!object.ParseFromString(value)) {
    return status::Error(v1::REASON_STORE_CORRUPT, "an entry of the store is no object");
  }
  return object;
}

}  // namespace

Objects::Objects(store::Store* store, absl::string_view partition)
    : store_(store), partition_(crypto::Sha256Hex(partition).substr(0, 32)) {}

std::string Objects::ObjectKey(absl::string_view uid) const {
  return absl::StrCat("o/", partition_, "/", uid);
}
std::string Objects::KeyKey(absl::string_view uid) const {
  return absl::StrCat("k/", partition_, "/", uid);
}
std::string Objects::NameKey(absl::string_view name) const {
  return absl::StrCat("n/", partition_, "/", crypto::Sha256Hex(name));
}

absl::StatusOr<absl::optional<std::string>> Objects::Read(const std::string& key) {
  const auto found = pending_.find(key);
  if (found != pending_.end()) {
    if (found->second.deleted) return absl::optional<std::string>();
    return absl::make_optional(found->second.value);
  }
  KS_ASSIGN_OR_RETURN(absl::optional<store::Entry> entry, store_->Get(key));
  revisions_[key] = entry.has_value() ? entry->mod_revision : 0;
  if (!entry.has_value()) return absl::optional<std::string>();
  return absl::make_optional(std::move(entry->value));
}

absl::StatusOr<Objects::Pending*> Objects::Change(const std::string& key) {
  const auto pending = pending_.find(key);
  if (pending != pending_.end()) return &pending->second;
  if (revisions_.count(key) == 0) KS_RETURN_IF_ERROR(Read(key).status());
  Pending& change = pending_[key];
  change.base = revisions_[key];
  return &change;
}

absl::StatusOr<absl::optional<StoredObject>> Objects::Find(absl::string_view uid) {
  if (uid.empty() || uid.size() > kMaxUidBytes) return absl::optional<StoredObject>();
  KS_ASSIGN_OR_RETURN(const absl::optional<std::string> value, Read(ObjectKey(uid)));
  if (!value.has_value()) return absl::optional<StoredObject>();
  KS_ASSIGN_OR_RETURN(StoredObject object, ParseObject(*value));
  return absl::make_optional(std::move(object));
}

absl::StatusOr<crypto::SecretKey> Objects::KeyOf(absl::string_view uid) {
  const std::string key = KeyKey(uid);
  const auto found = pending_.find(key);
  if (found != pending_.end()) return found->second.secret.Clone();
  return store_->GetSecret(key);
}

absl::StatusOr<absl::optional<std::string>> Objects::FindName(absl::string_view name) {
  return Read(NameKey(name));
}

absl::Status Objects::ForEach(
    absl::FunctionRef<bool(absl::string_view uid, const StoredObject& object)> visit) {
  const std::string prefix = ObjectKey("");
  std::string after;
  auto pending = pending_.lower_bound(prefix);
  // Changes whose place is before `key` (all: empty) are new objects.
  const auto visit_new = [&](absl::string_view key) -> absl::StatusOr<bool> {
    while (pending != pending_.end() && absl::StartsWith(pending->first, prefix) &&
           (key.empty() || absl::string_view(pending->first) < key)) {
      if (!pending->second.deleted) {
        KS_ASSIGN_OR_RETURN(const StoredObject object, ParseObject(pending->second.value));
        if (!visit(absl::string_view(pending->first).substr(prefix.size()), object)) return false;
      }
      ++pending;
    }
    return true;
  };
  while (true) {
    KS_ASSIGN_OR_RETURN(const std::vector<store::Entry> page, store_->Range(prefix, after, kPage));
    for (const store::Entry& entry : page) {
      KS_ASSIGN_OR_RETURN(const bool go_on, visit_new(entry.key));
      if (!go_on) return absl::OkStatus();
      // A changed one comes with visit_new, in its place.
      if (pending != pending_.end() && pending->first == entry.key) continue;
      KS_ASSIGN_OR_RETURN(const StoredObject object, ParseObject(entry.value));
      if (!visit(absl::string_view(entry.key).substr(prefix.size()), object)) {
        return absl::OkStatus();
      }
    }
    if (page.size() < kPage) return visit_new("").status();
    after = page.back().key;
  }
}

void Objects::ExpectNew(absl::string_view uid) {
  revisions_[ObjectKey(uid)] = 0;
  revisions_[KeyKey(uid)] = 0;
}

absl::Status Objects::Put(absl::string_view uid, const StoredObject& object) {
  KS_ASSIGN_OR_RETURN(Pending* const change, Change(ObjectKey(uid)));
  change->deleted = false;
  change->value = object.SerializeAsString();
  return absl::OkStatus();
}

absl::Status Objects::PutKey(absl::string_view uid, crypto::SecretKey key) {
  KS_ASSIGN_OR_RETURN(Pending* const change, Change(KeyKey(uid)));
  change->deleted = false;
  change->is_secret = true;
  change->secret = std::move(key);
  return absl::OkStatus();
}

absl::Status Objects::DeleteKey(absl::string_view uid) {
  KS_ASSIGN_OR_RETURN(Pending* const change, Change(KeyKey(uid)));
  change->deleted = true;
  change->secret = crypto::SecretKey();
  return absl::OkStatus();
}

absl::Status Objects::PutName(absl::string_view name, absl::string_view uid) {
  KS_ASSIGN_OR_RETURN(Pending* const change, Change(NameKey(name)));
  change->deleted = false;
  change->value = std::string(uid);
  return absl::OkStatus();
}

absl::Status Objects::DeleteName(absl::string_view name) {
  KS_ASSIGN_OR_RETURN(Pending* const change, Change(NameKey(name)));
  change->deleted = true;
  return absl::OkStatus();
}

store::Transaction Objects::TakeChanges() {
  store::Transaction transaction;
  for (auto& [key, change] : pending_) {
    transaction.Compare(key, change.base);
    if (change.deleted) {
      transaction.Delete(key);
    } else if (change.is_secret) {
      transaction.PutSecret(key, std::move(change.secret));
    } else {
      transaction.Put(key, std::move(change.value));
    }
  }
  DropChanges();
  return transaction;
}

void Objects::DropChanges() {
  pending_.clear();
  revisions_.clear();
}

}  // namespace keysphere::kmip::server
