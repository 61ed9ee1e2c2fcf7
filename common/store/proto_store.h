#ifndef KEYSPHERE_COMMON_STORE_PROTO_STORE_H_
#define KEYSPHERE_COMMON_STORE_PROTO_STORE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/status/status.h"
#include "common/store/store.h"

// Protobuf messages as the values of a Store.
namespace keysphere::store {

template <typename Message>
struct ProtoEntry {
  std::string key;
  Message message;
  Revision mod_revision = 0;
};

// Adds the message to the transaction.
template <typename Message>
void PutProto(Transaction* transaction, absl::string_view key, const Message& message) {
  transaction->Put(key, message.SerializeAsString());
}

// STORE_CORRUPT if the value is no such message.
template <typename Message>
absl::StatusOr<ProtoEntry<Message>> ParseEntry(Entry entry) {
  ProtoEntry<Message> parsed;
  if (entry.is_secret || !parsed.message.ParseFromString(entry.value)) {
    return status::Error(v1::REASON_STORE_CORRUPT,
                         absl::StrCat("the entry ", status::Quote(entry.key), " is no ",
                                      parsed.message.GetTypeName()));
  }
  parsed.key = std::move(entry.key);
  parsed.mod_revision = entry.mod_revision;
  return parsed;
}

template <typename Message>
absl::StatusOr<absl::optional<ProtoEntry<Message>>> GetProto(Store* store, absl::string_view key) {
  KS_ASSIGN_OR_RETURN(absl::optional<Entry> entry, store->Get(key));
  if (!entry.has_value()) return absl::optional<ProtoEntry<Message>>();
  KS_ASSIGN_OR_RETURN(ProtoEntry<Message> parsed, ParseEntry<Message>(*std::move(entry)));
  return absl::make_optional(std::move(parsed));
}

// As Store::Range.
template <typename Message>
absl::StatusOr<std::vector<ProtoEntry<Message>>> RangeProto(Store* store, absl::string_view prefix,
                                                            absl::string_view after, size_t limit) {
  KS_ASSIGN_OR_RETURN(std::vector<Entry> entries, store->Range(prefix, after, limit));
  std::vector<ProtoEntry<Message>> parsed;
  parsed.reserve(entries.size());
  for (Entry& entry : entries) {
    KS_ASSIGN_OR_RETURN(ProtoEntry<Message> one, ParseEntry<Message>(std::move(entry)));
    parsed.push_back(std::move(one));
  }
  return parsed;
}

// Calls `visit` for every entry below `prefix`, by key, holding only a page of them at a time. An
// error that it returns ends the walk and is returned.
template <typename Message>
absl::Status ForEachProto(Store* store, absl::string_view prefix,
                          absl::FunctionRef<absl::Status(ProtoEntry<Message>)> visit) {
  constexpr size_t kPage = 256;
  std::string after;
  while (true) {
    KS_ASSIGN_OR_RETURN(auto page, (RangeProto<Message>(store, prefix, after, kPage)));
    if (page.empty()) return absl::OkStatus();
    after = page.back().key;
    const bool last = page.size() < kPage;
    for (auto& entry : page) KS_RETURN_IF_ERROR(visit(std::move(entry)));
    if (last) return absl::OkStatus();
  }
}

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_PROTO_STORE_H_
