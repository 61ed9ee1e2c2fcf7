#include "kmip/messages/payloads.h"

#include <cstring>

#include "kmip/messages/fields.h"

namespace keysphere::kmip::messages {
namespace {

using ttlv::Item;
using ttlv::Tag;
using ttlv::Writer;

void ReadOptionalUid(Fields* fields, absl::optional<absl::string_view>* uid) {
  fields->Optional(&Fields::Text, Tag::kUniqueIdentifier, uid);
}

void NeedUid(Fields* fields, absl::string_view* uid) {
  fields->Text(Tag::kUniqueIdentifier, uid) || fields->Missing(Tag::kUniqueIdentifier);
}

absl::Status ReadAttributes(Fields* fields, Attributes* out) {
  Item item;
  while (fields->Take(Tag::kAttribute, &item)) {
    out->emplace_back();
    KS_RETURN_IF_ERROR(ReadAttribute(item, &out->back()));
  }
  return fields->status();
}

void NeedObjectType(Fields* fields, ObjectType* type) {
  fields->Enumeration(Tag::kObjectType, type) || fields->Missing(Tag::kObjectType);
}

absl::Status ReadKeyValue(const Item& item, KeyBlock* out) {
  Fields fields(item);
  Item material;
  if (!fields.Need(Tag::kKeyMaterial, &material)) return fields.status();
  if (material.type() == ttlv::Type::kStructure) {
    if (out->format != KeyFormat::kTransparentSymmetricKey) {
      return Refusal(ResultReason::kKeyFormatTypeNotSupported,
                     "this transparent key format is not supported");
    }
    Fields of_material(material);
    of_material.Bytes(Tag::kKey, &out->material) || of_material.Missing(Tag::kKey);
    KS_RETURN_IF_ERROR(of_material.End());
  } else {
    KS_RETURN_IF_ERROR(material.GetBytes(&out->material));
  }
  KS_RETURN_IF_ERROR(ReadAttributes(&fields, &out->attributes));
  return fields.End();
}

// The object after its type and identifier.
absl::Status ReadObject(Fields* fields, ObjectType type, KeyBlock* key_block,
                        uint32_t* secret_data_type) {
  Item object;
  if (type != ObjectType::kSymmetricKey && type != ObjectType::kSecretData) {
    return Refusal(ResultReason::kInvalidField,
                   "only symmetric keys and secret data are supported");
  }
  const bool is_key = type == ObjectType::kSymmetricKey;
  if (!fields->Need(is_key ? Tag::kSymmetricKey : Tag::kSecretData, &object)) {
    return fields->status();
  }
  Fields of_object(object);
  if (!is_key) {
    of_object.Enumeration(Tag::kSecretDataType, secret_data_type) ||
        of_object.Missing(Tag::kSecretDataType);
  }
  Item block;
  if (!of_object.Need(Tag::kKeyBlock, &block)) return of_object.status();
  KS_RETURN_IF_ERROR(ReadKeyBlock(block, key_block));
  return of_object.End();
}

}  // namespace

absl::Status ReadAttribute(const Item& item, Attribute* out) {
  Fields fields(item);
  fields.Text(Tag::kAttributeName, &out->name) || fields.Missing(Tag::kAttributeName);
  fields.Optional(&Fields::Integer, Tag::kAttributeIndex, &out->index);
  fields.Take(Tag::kAttributeValue, &out->value);
  return fields.End();
}

absl::Status ReadTemplateAttribute(const Item& item, Attributes* out) {
  Fields fields(item);
  if (fields.Skip(Tag::kName)) {
    return Refusal(ResultReason::kItemNotFound, "there are no templates on this server");
  }
  KS_RETURN_IF_ERROR(ReadAttributes(&fields, out));
  return fields.End();
}

void WriteTextAttribute(absl::string_view name, absl::string_view value, Writer* writer) {
  const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
  writer->Text(Tag::kAttributeName, name);
  writer->Text(Tag::kAttributeValue, value);
}

absl::Status ReadCreate(const Item& payload, CreateRequest* out) {
  Fields fields(payload);
  NeedObjectType(&fields, &out->object_type);
  Item attributes;
  if (!fields.Need(Tag::kTemplateAttribute, &attributes)) return fields.status();
  KS_RETURN_IF_ERROR(ReadTemplateAttribute(attributes, &out->attributes));
  return fields.End();
}

void WriteCreateAes256(Writer* writer) {
  writer->Enumeration(Tag::kObjectType, ObjectType::kSymmetricKey);
  const Writer::Structure attributes = writer->Begin(Tag::kTemplateAttribute);
  {
    const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
    writer->Text(Tag::kAttributeName, "Cryptographic Algorithm");
    writer->Enumeration(Tag::kAttributeValue, Algorithm::kAes);
  }
  {
    const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
    writer->Text(Tag::kAttributeName, "Cryptographic Length");
    writer->Integer(Tag::kAttributeValue, 256);
  }
  const Writer::Structure attribute = writer->Begin(Tag::kAttribute);
  writer->Text(Tag::kAttributeName, "Cryptographic Usage Mask");
  writer->Integer(Tag::kAttributeValue, kUsageEncrypt | kUsageDecrypt);
}

absl::Status ReadKeyBlock(const Item& item, KeyBlock* out) {
  Fields fields(item);
  fields.Enumeration(Tag::kKeyFormatType, &out->format) || fields.Missing(Tag::kKeyFormatType);
  uint32_t compression = 0;
  fields.Enumeration(Tag::kKeyCompressionType, &compression);
  Item value;
  if (!fields.Need(Tag::kKeyValue, &value)) return fields.status();
  Algorithm algorithm;
  if (fields.Enumeration(Tag::kCryptographicAlgorithm, &algorithm)) out->algorithm = algorithm;
  fields.Optional(&Fields::Integer, Tag::kCryptographicLength, &out->length);
  out->wrapped = fields.Skip(Tag::kKeyWrappingData);
  KS_RETURN_IF_ERROR(fields.End());
  return out->wrapped ? absl::OkStatus() : ReadKeyValue(value, out);
}

absl::Status ReadRegister(const Item& payload, RegisterRequest* out) {
  Fields fields(payload);
  NeedObjectType(&fields, &out->object_type);
  Item attributes;
  if (!fields.Need(Tag::kTemplateAttribute, &attributes)) return fields.status();
  KS_RETURN_IF_ERROR(ReadTemplateAttribute(attributes, &out->attributes));
  KS_RETURN_IF_ERROR(
      ReadObject(&fields, out->object_type, &out->key_block, &out->secret_data_type));
  return fields.End();
}

absl::Status ReadGet(const Item& payload, GetRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  KeyFormat format;
  if (fields.Enumeration(Tag::kKeyFormatType, &format)) out->format = format;
  out->compressed = fields.Skip(Tag::kKeyCompressionType);
  out->wrapped = fields.Skip(Tag::kKeyWrappingSpecification);
  return fields.End();
}

absl::Status ReadUid(const Item& payload, UidRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  return fields.End();
}

absl::Status ReadGetAttributes(const Item& payload, UidRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  absl::string_view name;
  while (fields.Text(Tag::kAttributeName, &name)) out->attribute_names.push_back(name);
  return fields.End();
}

void WriteUid(absl::string_view uid, Writer* writer) { writer->Text(Tag::kUniqueIdentifier, uid); }

absl::Status ReadAttributeRequest(const Item& payload, AttributeRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  Item attribute;
  if (!fields.Need(Tag::kAttribute, &attribute)) return fields.status();
  KS_RETURN_IF_ERROR(ReadAttribute(attribute, &out->attribute));
  return fields.End();
}

absl::Status ReadDeleteAttribute(const Item& payload, AttributeRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  fields.Text(Tag::kAttributeName, &out->attribute.name) || fields.Missing(Tag::kAttributeName);
  fields.Optional(&Fields::Integer, Tag::kAttributeIndex, &out->attribute.index);
  return fields.End();
}

absl::Status ReadLocate(const Item& payload, LocateRequest* out) {
  Fields fields(payload);
  fields.Optional(&Fields::Integer, Tag::kMaximumItems, &out->maximum_items);
  fields.Optional(&Fields::Integer, Tag::kStorageStatusMask, &out->storage_status);
  out->has_group_member = fields.Skip(Tag::kObjectGroupMember);
  KS_RETURN_IF_ERROR(ReadAttributes(&fields, &out->attributes));
  return fields.End();
}

absl::Status ReadRevoke(const Item& payload, RevokeRequest* out) {
  Fields fields(payload);
  ReadOptionalUid(&fields, &out->uid);
  Item reason;
  if (!fields.Need(Tag::kRevocationReason, &reason)) return fields.status();
  Fields of_reason(reason);
  of_reason.Enumeration(Tag::kRevocationReasonCode, &out->reason) ||
      of_reason.Missing(Tag::kRevocationReasonCode);
  of_reason.Text(Tag::kRevocationMessage, &out->message);
  KS_RETURN_IF_ERROR(of_reason.End());
  fields.Optional(&Fields::DateTime, Tag::kCompromiseOccurrenceDate, &out->compromise_occurred);
  return fields.End();
}

absl::Status ReadQuery(const Item& payload, QueryFunctions* out) {
  Fields fields(payload);
  QueryFunction function;
  while (fields.Enumeration(Tag::kQueryFunction, &function)) out->push_back(function);
  if (out->empty()) fields.Missing(Tag::kQueryFunction);
  return fields.End();
}

absl::Status ReadVersions(const Item& payload, Versions* out) {
  Fields fields(payload);
  Item item;
  while (fields.Take(Tag::kProtocolVersion, &item)) {
    out->emplace_back();
    KS_RETURN_IF_ERROR(ReadVersion(item, &out->back()));
  }
  return fields.End();
}

absl::Status ReadUidResponse(const Item& payload, UidResponse* out) {
  Fields fields(payload);
  ObjectType type;
  if (fields.Enumeration(Tag::kObjectType, &type)) out->object_type = type;
  NeedUid(&fields, &out->uid);
  return fields.status();
}

absl::Status ReadGetResponse(const Item& payload, GetResponse* out) {
  Fields fields(payload);
  NeedObjectType(&fields, &out->object_type);
  NeedUid(&fields, &out->uid);
  KS_RETURN_IF_ERROR(fields.status());
  uint32_t secret_data_type = 0;
  return ReadObject(&fields, out->object_type, &out->key_block, &secret_data_type);
}

void WriteKey(ObjectType type, uint32_t secret_data_type, KeyFormat format,
              const crypto::SecretKey& key, absl::optional<Algorithm> algorithm,
              absl::optional<int32_t> length, Writer* writer) {
  const bool is_key = type == ObjectType::kSymmetricKey;
  const Writer::Structure object = writer->Begin(is_key ? Tag::kSymmetricKey : Tag::kSecretData);
  if (!is_key) writer->Enumeration(Tag::kSecretDataType, secret_data_type);
  const Writer::Structure block = writer->Begin(Tag::kKeyBlock);
  writer->Enumeration(Tag::kKeyFormatType, format);
  {
    const Writer::Structure value = writer->Begin(Tag::kKeyValue);
    const absl::Span<const uint8_t> bytes = key.bytes(crypto::SecretKeyAccess::Token());
    if (format == KeyFormat::kTransparentSymmetricKey) {
      const Writer::Structure material = writer->Begin(Tag::kKeyMaterial);
      writer->Bytes(Tag::kKey, bytes);
    } else {
      writer->Bytes(Tag::kKeyMaterial, bytes);
    }
  }
  if (algorithm.has_value()) writer->Enumeration(Tag::kCryptographicAlgorithm, *algorithm);
  if (length.has_value()) writer->Integer(Tag::kCryptographicLength, *length);
}

absl::Status ReadAttributesResponse(const Item& payload, AttributesResponse* out) {
  Fields fields(payload);
  NeedUid(&fields, &out->uid);
  KS_RETURN_IF_ERROR(fields.status());
  return ReadAttributes(&fields, &out->attributes);
}

}  // namespace keysphere::kmip::messages
