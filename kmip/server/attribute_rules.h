#ifndef KEYSPHERE_KMIP_SERVER_ATTRIBUTE_RULES_H_
#define KEYSPHERE_KMIP_SERVER_ATTRIBUTE_RULES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "kmip/messages/payloads.h"
#include "kmip/ttlv/item.h"

namespace keysphere::kmip::server {

// What clients may do with an attribute (the tables of section 3 of the specification).
struct AttributeRule {
  absl::string_view name;
  ttlv::Type type;
  bool many;         // instances
  bool at_creation;  // a client may set it in Create and Register
  bool modifiable;   // and add, change
  bool deletable;
};

// Of a standard attribute, or of a custom one ("x-…": the client's, any type; "y-…": the server's).
// None for any other name.
absl::optional<AttributeRule> FindRule(absl::string_view name);

// Whether the value is of the attribute's type and shape and means something in KMIP 1.2: Invalid
// Field if not. Whether an object is there that a Link leads to is not checked here.
absl::Status CheckValue(const AttributeRule& rule, const ttlv::Item& value);

// Invalid Field for a Cryptographic Algorithm that KMIP 1.2 does not have.
absl::Status CheckAlgorithm(uint32_t algorithm);

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_ATTRIBUTE_RULES_H_
