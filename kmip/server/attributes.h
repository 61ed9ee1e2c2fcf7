#ifndef KEYSPHERE_KMIP_SERVER_ATTRIBUTES_H_
#define KEYSPHERE_KMIP_SERVER_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "kmip/messages/payloads.h"
#include "kmip/server/object.pb.h"

namespace keysphere::kmip::server {

// The state at `now`: dates that have come move a key on by themselves (Activation Date,
// Deactivation Date; 3.17 of the specification).
messages::State StateAt(const StoredObject& object, int64_t now);

// One attribute of an object as clients see it.
struct ShownAttribute {
  std::string name;
  int32_t index = 0;
  std::string value;  // encoded, under the tag Attribute Value
};
// All of them, instances of a name next to each other.
std::vector<ShownAttribute> ShowAttributes(absl::string_view uid, const StoredObject& object,
                                           int64_t now);
void WriteAttribute(const ShownAttribute& attribute, ttlv::Writer* writer);

// What clients do to the attributes of an object. Names that must be unique are not checked here.

// In Create and Register.
absl::Status SetAtCreation(const messages::Attribute& attribute, StoredObject* object);
// The index that the new instance got is set in `attribute`.
absl::Status AddAttribute(messages::Attribute* attribute, int64_t now, StoredObject* object);
absl::Status ModifyAttribute(const messages::Attribute& attribute, int64_t now,
                             StoredObject* object);
// `removed` is what was there.
absl::Status DeleteAttribute(absl::string_view name, absl::optional<int32_t> index,
                             StoredObject* object, ShownAttribute* removed);

// Whether an object that shows `shown` has all attributes that a Locate asks for: equal values;
// two dates of one name are a range; of a Cryptographic Usage Mask all bits that are asked.
bool Matches(const std::vector<ShownAttribute>& shown, const messages::Attributes& wanted);

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_ATTRIBUTES_H_
