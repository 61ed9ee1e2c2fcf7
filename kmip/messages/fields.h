#ifndef KEYSPHERE_KMIP_MESSAGES_FIELDS_H_
#define KEYSPHERE_KMIP_MESSAGES_FIELDS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/status/status.h"
#include "kmip/messages/enums.h"
#include "kmip/ttlv/item.h"

namespace keysphere::kmip::messages {

// An error that the other side of a message gets or gave, with KMIP's reason for it.
absl::Status Refusal(ResultReason reason, absl::string_view message);
// Of a Refusal; for another error a reason by its kind.
ResultReason ResultReasonOf(const absl::Status& status);

// Reads the items of a structure in the order that the specification gives them. The first error
// stays: the rest then reads nothing.
class Fields {
 public:
  explicit Fields(const ttlv::Item& structure)
      : structure_(structure.tag()), items_(nullptr, nullptr), at_(items_.begin()) {
    status_ = structure.Get(&items_);
    if (status_.ok()) at_ = items_.begin();
  }

  // The next item, if it has this tag.
  bool Take(ttlv::Tag tag, ttlv::Item* out) {
    if (!status_.ok() || at_ == items_.end()) return false;
    const ttlv::Item item = *at_;
    if (item.tag() != tag) return false;
    *out = item;
    ++at_;
    return true;
  }
  bool Skip(ttlv::Tag tag) {
    ttlv::Item item;
    return Take(tag, &item);
  }
  // Missing Data unless the next item has this tag.
  bool Need(ttlv::Tag tag, ttlv::Item* out) {
    if (Take(tag, out)) return true;
    Missing(tag);
    return false;
  }

  // Each sets `out` if the next item has this tag, and tells whether it did.
  bool Integer(ttlv::Tag tag, int32_t* out) { return As(tag, out, &ttlv::Item::GetInteger); }
  bool Boolean(ttlv::Tag tag, bool* out) { return As(tag, out, &ttlv::Item::GetBoolean); }
  bool Text(ttlv::Tag tag, absl::string_view* out) { return As(tag, out, &ttlv::Item::GetText); }
  bool Bytes(ttlv::Tag tag, absl::Span<const uint8_t>* out) {
    return As(tag, out, &ttlv::Item::GetBytes);
  }
  bool DateTime(ttlv::Tag tag, int64_t* out) { return As(tag, out, &ttlv::Item::GetDateTime); }
  template <typename Enum>
  bool Enumeration(ttlv::Tag tag, Enum* out) {
    return As(tag, out, &ttlv::Item::GetEnumeration<Enum>);
  }
  template <typename T>
  bool Optional(bool (Fields::*read)(ttlv::Tag, T*), ttlv::Tag tag, absl::optional<T>* out) {
    T value;
    if (!(this->*read)(tag, &value)) return false;
    *out = value;
    return true;
  }
  // Records that `tag` is not there: `fields.Text(tag, &x) || fields.Missing(tag)`.
  bool Missing(ttlv::Tag tag);

  // Whether something is left.
  bool More() const { return status_.ok() && !(at_ == items_.end()); }
  // Passes over what is left (of newer versions).
  absl::Status status() const { return status_; }
  // The first error; Invalid Field if something is left.
  absl::Status End() {
    if (!status_.ok() || at_ == items_.end()) return status_;
    return Unexpected();
  }

 private:
  template <typename T>
  bool As(ttlv::Tag tag, T* out, absl::Status (ttlv::Item::*get)(T*) const) {
    ttlv::Item item;
    if (!Take(tag, &item)) return false;
    status_ = (item.*get)(out);
    return status_.ok();
  }
  absl::Status Unexpected() const;

  const ttlv::Tag structure_;
  ttlv::Items items_;
  ttlv::Items::Iterator at_;
  absl::Status status_;
};

}  // namespace keysphere::kmip::messages

#endif  // KEYSPHERE_KMIP_MESSAGES_FIELDS_H_
