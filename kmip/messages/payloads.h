#ifndef KEYSPHERE_KMIP_MESSAGES_PAYLOADS_H_
#define KEYSPHERE_KMIP_MESSAGES_PAYLOADS_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/crypto/secret_key.h"
#include "kmip/messages/enums.h"
#include "kmip/messages/message.h"
#include "kmip/ttlv/item.h"
#include "kmip/ttlv/writer.h"

// The payloads of the operations (4 of the specification) and the objects in them (2). What is read
// are views into the message's bytes; nobody keeps them.
namespace keysphere::kmip::messages {

// An attribute of an object: the value is of a type that goes with the name.
struct Attribute {
  absl::string_view name;
  absl::optional<int32_t> index;
  ttlv::Item value;  // empty in Delete Attribute
};
absl::Status ReadAttribute(const ttlv::Item& item, Attribute* out);
using Attributes = absl::InlinedVector<Attribute, 8>;
// The attributes of a Template-Attribute; Feature Not Supported if it names templates.
absl::Status ReadTemplateAttribute(const ttlv::Item& item, Attributes* out);

void WriteTextAttribute(absl::string_view name, absl::string_view value, ttlv::Writer* writer);

// Requests. `uid` is absent where the batch's ID placeholder is meant.

struct CreateRequest {
  ObjectType object_type = ObjectType::kSymmetricKey;
  Attributes attributes;
};
absl::Status ReadCreate(const ttlv::Item& payload, CreateRequest* out);
// A symmetric AES key of 256 bits for encryption and decryption.
void WriteCreateAes256(ttlv::Writer* writer);

// The key block of a key or a secret.
struct KeyBlock {
  KeyFormat format = KeyFormat::kRaw;
  absl::Span<const uint8_t> material;  // of a Raw, Opaque or Transparent Symmetric Key
  Attributes attributes;
  absl::optional<Algorithm> algorithm;
  absl::optional<int32_t> length;  // bits
  bool wrapped = false;            // `material` is not set
};
absl::Status ReadKeyBlock(const ttlv::Item& item, KeyBlock* out);

struct RegisterRequest {
  ObjectType object_type = ObjectType::kSymmetricKey;
  Attributes attributes;
  KeyBlock key_block;
  uint32_t secret_data_type = 0;
};
// Feature Not Supported for objects that are neither symmetric keys nor secret data.
absl::Status ReadRegister(const ttlv::Item& payload, RegisterRequest* out);

struct GetRequest {
  absl::optional<absl::string_view> uid;
  absl::optional<KeyFormat> format;
  bool compressed = false;
  bool wrapped = false;
};
absl::Status ReadGet(const ttlv::Item& payload, GetRequest* out);

// Get Attributes, Get Attribute List (without names), Activate, Destroy.
struct UidRequest {
  absl::optional<absl::string_view> uid;
  absl::InlinedVector<absl::string_view, 4> attribute_names;
};
absl::Status ReadUid(const ttlv::Item& payload, UidRequest* out);
absl::Status ReadGetAttributes(const ttlv::Item& payload, UidRequest* out);
void WriteUid(absl::string_view uid, ttlv::Writer* writer);

// Add, Modify and Delete Attribute.
struct AttributeRequest {
  absl::optional<absl::string_view> uid;
  Attribute attribute;
};
absl::Status ReadAttributeRequest(const ttlv::Item& payload, AttributeRequest* out);
absl::Status ReadDeleteAttribute(const ttlv::Item& payload, AttributeRequest* out);

struct LocateRequest {
  absl::optional<int32_t> maximum_items;
  absl::optional<int32_t> storage_status;  // 1: on-line, 2: archived; bits
  bool has_group_member = false;
  Attributes attributes;
};
absl::Status ReadLocate(const ttlv::Item& payload, LocateRequest* out);

struct RevokeRequest {
  absl::optional<absl::string_view> uid;
  RevocationReason reason = RevocationReason::kUnspecified;
  absl::string_view message;
  absl::optional<int64_t> compromise_occurred;  // seconds since 1970
};
absl::Status ReadRevoke(const ttlv::Item& payload, RevokeRequest* out);

using QueryFunctions = absl::InlinedVector<QueryFunction, 8>;
absl::Status ReadQuery(const ttlv::Item& payload, QueryFunctions* out);

// Both a request's and a response's.
using Versions = absl::InlinedVector<ProtocolVersion, 8>;
absl::Status ReadVersions(const ttlv::Item& payload, Versions* out);

// Responses.

// Of Create, Register, Activate, Add Attribute and the like: what object it was about.
struct UidResponse {
  absl::optional<ObjectType> object_type;
  absl::string_view uid;
};
absl::Status ReadUidResponse(const ttlv::Item& payload, UidResponse* out);

struct GetResponse {
  ObjectType object_type = ObjectType::kSymmetricKey;
  absl::string_view uid;
  KeyBlock key_block;
};
absl::Status ReadGetResponse(const ttlv::Item& payload, GetResponse* out);
// The object of a Get: Raw or Transparent Symmetric Key. `algorithm` and `length` are optional for
// secret data.
void WriteKey(ObjectType type, uint32_t secret_data_type, KeyFormat format,
              const crypto::SecretKey& key, absl::optional<Algorithm> algorithm,
              absl::optional<int32_t> length, ttlv::Writer* writer);

struct AttributesResponse {
  absl::string_view uid;
  Attributes attributes;
};
absl::Status ReadAttributesResponse(const ttlv::Item& payload, AttributesResponse* out);

}  // namespace keysphere::kmip::messages

#endif  // KEYSPHERE_KMIP_MESSAGES_PAYLOADS_H_
