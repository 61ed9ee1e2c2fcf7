#ifndef KEYSPHERE_KMIP_SERVER_OBJECTS_H_
#define KEYSPHERE_KMIP_SERVER_OBJECTS_H_

#include <map>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "common/store/store.h"
#include "kmip/server/object.pb.h"

namespace keysphere::kmip::server {

// The objects of one partition as a request sees them: what is in the store, and over it what the
// request has changed so far. Everything is read from the store anew for each request, since other
// nodes write to it too; a commit is refused (CONFLICT) if one of them changed what this request
// changes, and then the request is done anew.
//
// In the store: "o/PARTITION/UID" the object, "k/PARTITION/UID" its key bytes, "n/PARTITION/NAME"
// the identifier of the object that bears a name.
class Objects {
 public:
  // `partition` is whom the keys belong to, any text. `store` outlives this.
  Objects(store::Store* store, absl::string_view partition);

  absl::StatusOr<absl::optional<StoredObject>> Find(absl::string_view uid);
  absl::StatusOr<crypto::SecretKey> KeyOf(absl::string_view uid);
  // The identifier of the object with this name (an encoded Name value).
  absl::StatusOr<absl::optional<std::string>> FindName(absl::string_view name);
  // By identifier; `visit` returns false to end.
  absl::Status ForEach(
      absl::FunctionRef<bool(absl::string_view uid, const StoredObject& object)> visit);

  // The identifier was made up: nothing has to be read to know that it is free. (Were it not, the
  // commit would be refused, and the request done anew with another.)
  void ExpectNew(absl::string_view uid);
  absl::Status Put(absl::string_view uid, const StoredObject& object);
  absl::Status PutKey(absl::string_view uid, crypto::SecretKey key);
  absl::Status DeleteKey(absl::string_view uid);
  absl::Status PutName(absl::string_view name, absl::string_view uid);
  absl::Status DeleteName(absl::string_view name);

  bool changed() const { return !pending_.empty(); }
  // Operations of the transaction so far; the store allows store::kMaxOperations.
  size_t operations() const { return 2 * pending_.size(); }
  // The changes as one transaction; none are left here.
  store::Transaction TakeChanges();
  void DropChanges();

 private:
  struct Pending {
    store::Revision base = 0;  // what the change stands on
    bool deleted = false;
    bool is_secret = false;
    std::string value;
    crypto::SecretKey secret;
  };

  std::string ObjectKey(absl::string_view uid) const;
  std::string KeyKey(absl::string_view uid) const;
  std::string NameKey(absl::string_view name) const;
  // None: not there.
  absl::StatusOr<absl::optional<std::string>> Read(const std::string& key);
  // The place of a change to `key`.
  absl::StatusOr<Pending*> Change(const std::string& key);

  store::Store* const store_;
  const std::string partition_;
  std::map<std::string, store::Revision> revisions_;  // of what was read; 0: it was not there
  std::map<std::string, Pending> pending_;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_OBJECTS_H_
